"""The documents do what they say."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser

from tests.servers.strongroom import free_port

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_runs(document: Path, tmp_path: Path) -> None:
    """All `bash` and `python` blocks of a document run, in order, on a machine that has never seen strongroom."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "LANG": "C.UTF-8",
    }

    port = str(free_port())
    servers: list[subprocess.Popen[bytes]] = []

    def block(language: str, *command: str) -> CodeBlockParser:
        def evaluate(example: Example) -> None:
            # Documents say 8200; several of them may be at work here.
            script = example.parsed.replace("8200", port)
            if "strongroom server start" in script:
                servers.append(_started([*command, f"exec env {script}"], port, cwd=home, env=environment))
                return
            done = subprocess.run([*command, script], cwd=home, env=environment, capture_output=True, check=False, timeout=60)
            assert done.returncode == 0, f"line {example.line}: {done.stderr.decode()}"

        return CodeBlockParser(language=language, evaluator=evaluate)

    parsers: list[Callable] = [block("bash", "bash", "-euo", "pipefail", "-c"), block("python", sys.executable, "-W", "error", "-c")]
    try:
        for example in Sybil(parsers).parse(document).examples():
            example.evaluate()
    finally:
        for server in servers:
            server.terminate()
            server.wait(30)


def _started(command: list[str], port: str, **options: Any) -> subprocess.Popen[bytes]:
    """A block that starts a server, which answers when this returns."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    deadline = time.monotonic() + 60
    with urllib3.HTTPConnectionPool("127.0.0.1", int(port), timeout=5) as pool:
        while time.monotonic() < deadline:
            with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
                if pool.request("GET", "/readyz", retries=False).status == 200:
                    return server
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(0.05)
                break
    server.kill()
    server.wait(30)
    raise AssertionError("the server of the document does not start")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """A relative link names a file that exists."""
    import re

    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_generated_reference_is_current() -> None:
    """The generated pages are what `python docs/generate.py` would write now."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for name, page in generate.PAGES.items():
        assert (generate.REFERENCE / name).read_text() == page(), f"run: python docs/generate.py ({name})"
