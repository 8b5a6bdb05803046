"""Programs for tests that would weigh too much in the tests' own environment, or that do not go together with it.

Each has pinned requirements of its own in `tests/requirements/`, and an environment that is built once and kept in a cache:
`~/.cache/strongroom-tests`, or the folder that the variable TESTS_CACHE names.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"


class NotBuilt(Exception):
    """An environment cannot be had."""


def build_environment(name: str | Path, finish: Callable[[Path], object] = lambda _folder: None) -> Path:
    """The folder of the environment of `NAME.txt` here, or of another file of requirements.

    It is built unless it is there; one process builds, and the others wait.

    `finish` gets the folder when everything is installed. Raises `NotBuilt`.
    """
    requirements = name if isinstance(name, Path) else REQUIREMENTS / f"{name}.txt"
    folder = _folder(requirements)
    if folder.exists():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                _build(folder, requirements, finish)
    except OSError as error:
        raise NotBuilt(f"{folder.parent}: {error.strerror}") from error
    return folder


def _folder(requirements: Path) -> Path:
    """Where it is to be; another place for other requirements, another Python or another machine."""
    made_for = requirements.read_bytes() + f"{sys.version} {platform.machine()}".encode()
    return cache_folder() / f"{requirements.stem}-{hashlib.sha256(made_for).hexdigest()[:12]}"


def _build(folder: Path, requirements: Path, finish: Callable[[Path], object]) -> None:
    for abandoned in folder.parent.glob(f"{folder.name}-*"):
        shutil.rmtree(abandoned)
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}-", dir=folder.parent) as temporary:
        unfinished = Path(temporary) / "environment"
        python = ("--python", str(unfinished / "bin" / "python"))
        run_uv("venv", "--relocatable", "--python", sys.executable, str(unfinished))
        # The files are complete, but for what is left out on purpose.
        run_uv("pip", "install", *python, "--require-hashes", "--no-deps", "--compile-bytecode", "-r", str(requirements))
        finish(unfinished)
        unfinished.rename(folder)


def run_uv(*arguments: str) -> None:
    """Runs uv with the settings and the cache of whoever runs the tests. Raises `NotBuilt`."""
    command = [str(Path(sys.executable).parent / "uv"), "--quiet", *arguments]
    environment = {**os.environ, "HOME": str(home())}  # there are uv's settings and its cache
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
    except subprocess.TimeoutExpired:
        raise NotBuilt(f"uv {arguments[0]} takes too long") from None
    if done.returncode != 0:
        raise NotBuilt(f"uv {arguments[0]}: {done.stderr.strip()}")


def cache_folder() -> Path:
    """Where the tests keep what takes long to get."""
    return Path(os.environ.get("TESTS_CACHE") or home() / ".cache" / "strongroom-tests")


def home() -> Path:
    """The real one: the variable HOME is taken from the tests."""
    return Path(pwd.getpwuid(os.getuid()).pw_dir)
