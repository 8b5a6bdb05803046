"""Machines as they are: folders with odd names, users without a home, commands whose standard streams are closed."""

from __future__ import annotations

import base64
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import strongroom
from strongroom.config import expand_home, read_settings
from strongroom.errors import ConfigurationError
from tests.canary import CANARY
from tests.servers.strongroom import StrongroomServer


@pytest.mark.parametrize("name", ["100%", "%(here)s %%s", "größe [x] {y};#$HOME"])
def test_a_package_in_a_folder_with_an_odd_name(name: str, tmp_path: Path) -> None:
    """A virtual environment may lie in a folder of any name: the database is made, a secret is kept and read."""
    site = tmp_path / name
    shutil.copytree(Path(strongroom.__file__).parent, site / "strongroom", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(site),
        "STRONGROOM_CONFIG_PATH": str(tmp_path / f"state {name}"),
    }

    def run(*arguments: str, stdin: str = "") -> str:
        command = [sys.executable, "-m", "strongroom", *arguments]
        done = subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("secret", "create", "s", "--k=-", stdin=CANARY)
    assert run("secret", "get", "s", "--key", "k").strip() == CANARY
    assert run("server", "rotate-key", "-o", "json")


def test_a_server_in_a_folder_with_an_odd_name(tmp_path: Path) -> None:
    """Its folder of state, too."""
    key = base64.b64encode(b"k" * 32).decode()
    folder = tmp_path / "100% %(x)s"
    server = StrongroomServer({"CONFIG_PATH": str(folder), "ENCRYPTION_KEY": key})
    try:
        assert (folder / "strongroom.db").exists()
    finally:
        server.stop()


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """HOME is not set, and the user has no account, as in a container with an arbitrary user id."""

    def find(*_: object) -> object:
        raise KeyError("no such user")

    for name in ("HOME", "XDG_DATA_HOME", "STRONGROOM_CONFIG_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", find)
    monkeypatch.setattr(pwd, "getpwnam", find)


@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is told to name a folder; with one, or with a server, needs no home. Nothing is made in a folder called `~`."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="there is no home folder") as caught:
        read_settings({})
    assert "STRONGROOM_CONFIG_PATH" in str(caught.value.hint)
    assert read_settings({"STRONGROOM_CONFIG_PATH": str(tmp_path)}).folder == tmp_path
    for variables in ({"API_KEY": "srk_x"}, {"RUN_TOKEN": "srr_x"}, {}):
        given = {f"STRONGROOM_{name}": text for name, text in {**variables, "SERVER_URL": "https://x"}.items()}
        assert not read_settings(given).folder.exists()
    for path in ("~", "~/x", "~nobody-here/x"):
        for name in ("CONFIG_PATH", "CONFIG_FILE", "CA_CERT", "AUDIT_ANCHOR", "ENCRYPTION_KEY_FILE"):
            with pytest.raises(ConfigurationError):
                read_settings({f"STRONGROOM_{name}": path})
        with pytest.raises(ConfigurationError, match="the path of x starts with the home of a user that does not exist"):
            expand_home(path, "the path of x")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert read_settings({}).folder == tmp_path / "data" / "strongroom"
    assert not (tmp_path / "~").exists()
