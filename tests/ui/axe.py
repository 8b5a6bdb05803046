"""axe-core, which looks for what keeps people out of a page. It comes from npm once, pinned by its hash, and is kept in a cache."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.environments import cache_folder, home

PIN = Path(__file__).parents[1] / "requirements" / "axe-core"
_SCRIPT = "package/axe.min.js"


class NotThere(Exception):
    """axe-core cannot be had."""


def script() -> str:
    """The text of axe.min.js. Raises `NotThere`."""
    (name, version), (integrity,) = (line.split() for line in PIN.read_text().splitlines())
    kept = cache_folder() / f"{name}-{version}.min.js"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with kept.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                content = _unpacked(_fetched(name, version), integrity)
                unfinished = kept.with_suffix(".new")
                unfinished.write_bytes(content)
                unfinished.rename(kept)
    return kept.read_text()


def _fetched(name: str, version: str) -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        raise NotThere("npm is not installed")
    with tempfile.TemporaryDirectory(prefix="strongroom-npm-") as folder:
        command = [npm, "pack", f"{name}@{version}", "--silent", "--ignore-scripts"]
        environment = {**os.environ, "HOME": str(home()), "npm_config_cache": f"{folder}/cache"}
        try:
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False, timeout=60)
        except subprocess.TimeoutExpired:
            raise NotThere("npm takes too long") from None
        found = list(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or not found:
            raise NotThere("npm does not get it")
        return found[0].read_bytes()


def _unpacked(package: bytes, integrity: str) -> bytes:
    algorithm, _, expected = integrity.partition("-")
    assert base64.b64encode(hashlib.new(algorithm, package).digest()).decode() == expected, (
        "this is another axe-core than the pinned one"
    )
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        member = archive.extractfile(_SCRIPT)
        assert member is not None
        return member.read()
