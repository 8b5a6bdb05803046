"""What is shipped works without the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_holds_all_that_is_needed(tmp_path: Path) -> None:
    """A wheel built from here has the migrations, the web page and the type marker, no tests, and runs with `src/` out of reach."""
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*build, "--wheel-dir", str(tmp_path / "dist"), str(ROOT)], check=True, capture_output=True, timeout=120)
    (wheel,) = (tmp_path / "dist").glob("strongroom-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "unpacked")
    assert "strongroom/py.typed" in names
    assert "strongroom/db/migrations/env.py" in names
    assert {f"strongroom/server/ui/{name}" for name in ("templates/base.html", "static/style.css", "static/htmx.min.js")} <= set(
        names
    )
    assert all(name.startswith(("strongroom/", "strongroom-")) for name in names)

    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "unpacked"), "STRONGROOM_CONFIG_PATH": str(tmp_path / "state")}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "strongroom", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [sys.executable, "-c", "import strongroom; print(strongroom.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(tmp_path))
    run("secret", "create", "s", "--k=v")
    assert run("secret", "get", "s", "--key=k") == "v"
