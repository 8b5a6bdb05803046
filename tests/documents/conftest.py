"""The documents' commands by the names that stand there, through the distribution `compat/zenml`, and by strongroom's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect
import pytest

from strongroom.client import Client
from strongroom.config import read_settings
from tests.documents.blocks import renamed
from tests.e2e.conftest import BIN

ROOT = Path(__file__).parents[2]


@dataclass
class System:
    """A machine on which blocks of the documents are run: `is_compat` by their own names, else by strongroom's."""

    is_compat: bool
    folder: Path
    installed: Path
    variables: dict[str, str] = field(default_factory=dict)
    """By the documents' names, `ZENML_...`."""

    def spelt(self, block: str) -> str:
        """The block as it is run here."""
        return block if self.is_compat else renamed(block)

    def shell(self, block: str, stdin: str = "") -> str:
        """Runs commands in bash; their output."""
        done = self.run(block, stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, block: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """The same, however it ends."""
        return self._run(["bash", "-euc", self.spelt(block)], stdin)

    def python(self, block: str) -> str:
        """Runs code; its output."""
        done = self._run([sys.executable, "-W", "error", "-c", self.spelt(block)], "")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def type(self, block: str, *dialogue: tuple[str, str]) -> str:
        """Runs a command on a terminal, where each question is answered; all that was shown."""
        child = pexpect.spawn(
            "bash", ["-euc", self.spelt(block)], env=self.environment, cwd=str(self.folder), encoding="utf-8", timeout=30
        )
        shown = ""
        for question, answer in dialogue:
            child.expect(question)
            shown += f"{child.before}{child.after}"
            child.sendline(answer)
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0, "it failed on the terminal"
        return shown + str(child.before)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that its processes see."""
        clean = {name: text for name, text in os.environ.items() if not name.startswith(("STRONGROOM_", "ZENML_"))}
        given = {"ZENML_CONFIG_PATH": str(self.folder / "state"), **self.variables}
        path = [str(self.installed / "bin"), str(BIN), os.environ["PATH"]]
        modules = [str(self.installed), str(self.folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        return {
            **clean,
            **{self.spelt(name): text for name, text in given.items()},
            "PATH": os.pathsep.join(path),
            "PYTHONPATH": os.pathsep.join(filter(None, modules)),
        }

    def client(self) -> Client:
        """Looks at the same store from the test."""
        return Client(
            read_settings(
                {renamed(name): text for name, text in self.environment.items() if name.startswith(("ZENML_", "STRONGROOM_"))}
            )
        )

    def values(self, name: str, **more: Any) -> dict[str, str]:
        """The values of a centralized secret."""
        with self.client() as client:
            return client.get_secret(name, **more).secret_values

    def _run(self, command: list[str], stdin: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, input=stdin, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the distribution `strongroom-zenml` is installed, built from here, with its command."""
    target = tmp_path_factory.mktemp("compat")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(ROOT / "compat" / "zenml")], check=True, capture_output=True, timeout=120)
    return target


@pytest.fixture(params=["zenml", "strongroom"])
def system(request: pytest.FixtureRequest, tmp_path: Path, installed: Path) -> Iterator[System]:
    """An embedded store that nobody has used, by the names of either system."""
    folder = tmp_path / "work"
    folder.mkdir()
    return System(request.param == "zenml", folder, installed)
