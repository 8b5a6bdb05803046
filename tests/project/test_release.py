"""A release is made from a commit alone, and says what is in it."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.environments import NotBuilt, build_environment

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def python() -> Path:
    """Python with the tools that a release takes."""
    try:
        return build_environment(ROOT / "requirements" / "release.txt") / "bin" / "python"
    except NotBuilt as error:
        pytest.skip(f"the environment of releases cannot be built: {error}")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of what is committed."""
    place = tmp_path_factory.mktemp("release") / "clone"
    done = subprocess.run(["git", "clone", "--quiet", "--depth=1", f"file://{ROOT}", str(place)], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return place


def build(python: Path, clone: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Makes a release there, without trying the wheels: `test_wheel.py` does that."""
    command = [str(python), str(clone / "release" / "build.py"), "--no-trial", *options]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(clone)}
    return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_a_draft(python: Path, clone: Path) -> None:
    """Both packages are built, the same when they are built again; checksums fit; the changelog is shown, and nothing is changed."""
    done = build(python, clone, "--draft")
    assert done.returncode == 0, done.stderr
    dist = clone / "dist"
    sums = dict(reversed(line.split("  ")) for line in (dist / "SHA256SUMS").read_text().splitlines())  # type: ignore[misc]
    assert set(sums) == {path.name for path in dist.iterdir()} - {"SHA256SUMS"}
    assert all(hashlib.sha256((dist / name).read_bytes()).hexdigest() == digest for name, digest in sums.items())
    assert sorted(name.partition("-")[0] for name in sums) == ["strongroom", "strongroom", "strongroom_zenml", "strongroom_zenml"]
    (wheel,) = dist.glob("strongroom_zenml-*.whl")
    assert all(name.startswith(("zenml/", "strongroom_zenml-")) for name in zipfile.ZipFile(wheel).namelist())
    (source,) = dist.glob("strongroom-*.tar.gz")
    with tarfile.open(source) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert {"README.md", "pyproject.toml", "src/strongroom/py.typed"} <= set(names)
    assert "### Added" in done.stdout
    assert subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, check=True).stdout == b""


def test_what_is_not_committed_is_not_released(python: Path, clone: Path) -> None:
    """Without --draft, uncommitted changes stop it before anything is built."""
    (clone / "README.md").write_text("something else")
    try:
        done = build(python, clone)
    finally:
        subprocess.run(["git", "checkout", "--quiet", "README.md"], cwd=clone, check=True)
    assert done.returncode == 1
    assert "there are uncommitted changes" in done.stderr
    assert "building" not in done.stdout
