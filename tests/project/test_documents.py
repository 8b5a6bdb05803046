"""The documents do what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser

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

    def block(language: str, *command: str) -> CodeBlockParser:
        def evaluate(example: Example) -> None:
            done = subprocess.run([*command, example.parsed], cwd=home, env=environment, capture_output=True, check=False, timeout=60)
            assert done.returncode == 0, f"line {example.line}: {done.stderr.decode()}"

        return CodeBlockParser(language=language, evaluator=evaluate)

    parsers: list[Callable] = [block("bash", "bash", "-euo", "pipefail", "-c"), block("python", sys.executable, "-W", "error", "-c")]
    for example in Sybil(parsers).parse(document).examples():
        example.evaluate()


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
