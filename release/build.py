"""Makes a release in `dist/`: wheels and source distributions of both packages, an SBOM, checksums; and the changelog.

`make release` runs it in an environment of its own. It tries the wheels in a fresh environment, where this folder is out of reach.
With `--draft` the changelog is shown and not written, and changes need not be committed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
PACKAGES = (ROOT, ROOT / "compat" / "zenml")


def main() -> int:
    """0 if everything was made and tried."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draft", action="store_true", help="show the changelog instead of writing it; allow uncommitted changes")
    parser.add_argument("--no-trial", action="store_true", help="do not try the wheels, and make no SBOM")
    options = parser.parse_args()
    version = _version()
    if not options.draft and _output("git", "status", "--porcelain"):
        sys.exit("there are uncommitted changes; commit them first, or use --draft")
    _build(version)
    if not options.no_trial:
        with tempfile.TemporaryDirectory(prefix="strongroom-release-") as folder:
            python = _install(Path(folder), version)
            _try(python, Path(folder), version)
            _describe(python, version)
    _write_changelog(version, draft=options.draft)
    _write_checksums()
    print(f"strongroom {version} is in {DIST.relative_to(ROOT)}:")
    for path in sorted(DIST.iterdir()):
        print(f"  {path.name}")
    return 0


def _version() -> str:
    """The version, which is the same in both packages."""
    found = {
        str(path.relative_to(ROOT)): tomllib.loads((path / "pyproject.toml").read_text())["project"]["version"] for path in PACKAGES
    }
    if len(set(found.values())) > 1:
        sys.exit(f"the packages have different versions: {found}")
    return str(found["."])


def _build(version: str) -> None:
    """Wheel and source distribution of each package, built twice: the same commit gives the same bytes."""
    print(f"building {version}", flush=True)
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    moment = {"SOURCE_DATE_EPOCH": _output("git", "log", "-1", "--format=%ct")}
    with tempfile.TemporaryDirectory(prefix="strongroom-release-") as again:
        for folder in (DIST, Path(again)):
            for package in PACKAGES:
                _run(sys.executable, "-m", "hatchling", "build", "-d", str(folder), cwd=package, **moment)
        for path in DIST.iterdir():
            if _digest(path) != _digest(Path(again) / path.name):
                sys.exit(f"{path.name} is another one when it is built again")


def _install(folder: Path, version: str) -> Path:
    """A fresh environment with the wheels and what they need, pinned; its Python."""
    print("installing the wheels into a fresh environment", flush=True)
    _run(sys.executable, "-m", "venv", str(folder / "environment"), cwd=folder)
    python = folder / "environment" / "bin" / "python"
    pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(*pip, "--require-hashes", "-r", str(ROOT / "requirements" / "runtime.txt"), cwd=folder)
    # By their names, so that no path of this machine gets into what describes the environment.
    names = (f"{each}=={version}" for each in ("strongroom", "strongroom-zenml"))
    _run(*pip, "--no-deps", "--no-index", "--find-links", str(DIST), *names, cwd=folder)
    return python


def _try(python: Path, folder: Path, version: str) -> None:
    """Runs what was installed, in an environment that knows nothing else."""
    print("trying them", flush=True)
    clean = {"HOME": str(folder), "PATH": f"{python.parent}:/usr/bin:/bin", "LANG": "C.UTF-8"}
    examples = shutil.copytree(ROOT / "examples", folder / "examples")

    def out(*command: str) -> str:
        done = subprocess.run(command, cwd=folder, env=clean, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"this failed with the wheels: {' '.join(command[:4])}\n{done.stdout}{done.stderr}")
        return done.stdout

    assert out(str(python), "-c", "import strongroom; print(strongroom.__file__)").startswith(str(folder))
    assert version in out(str(python.with_name("strongroom")), "version")
    out(str(python.with_name("strongroom")), "secret", "create", "first", "--k=v")
    assert "first" in out(str(python.with_name("zenml")), "secret", "list")
    out(str(python), "-m", "pip", "check")
    out(str(python), str(examples / "demo.py"))


def _describe(python: Path, version: str) -> None:
    """The SBOM, in the format of CycloneDX: strongroom, and what it brings with it."""
    command = Path(sys.executable).with_name("cyclonedx-py")
    options = ("--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible", "--of", "JSON")
    _run(str(command), "environment", *options, "-o", str(DIST / f"strongroom-{version}.cdx.json"), str(python), cwd=ROOT)


def _write_changelog(version: str, *, draft: bool) -> None:
    """Gathers the fragments, unless that has been done for this version."""
    if f"## {version}," in (ROOT / "CHANGELOG.md").read_text():
        return
    command = (str(Path(sys.executable).with_name("towncrier")), "build", "--version", version)
    _run(*command, "--draft" if draft else "--yes", cwd=ROOT)


def _write_checksums() -> None:
    """In the form that `sha256sum --check` takes."""
    lines = [f"{_digest(path)}  {path.name}\n" for path in sorted(DIST.iterdir())]
    (DIST / "SHA256SUMS").write_text("".join(lines))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run(*command: str, cwd: Path, **more: str) -> None:
    environment: Mapping[str, str] = {**os.environ, **more}
    if subprocess.run(command, cwd=cwd, env=environment, check=False).returncode != 0:
        sys.exit(f"this failed: {' '.join(command[:4])} ...")


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
