"""A database is lost while its values are in a real OpenBao: the command line brings the secrets back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.client import Client
from strongroom.config import PREFIX, Settings, read_settings
from tests.canary import CANARY, holds_canary
from tests.servers.openbao import OpenBaoServer
from tests.servers.strongroom import PASSWORD, StrongroomServer

ONE, TWO, THREE = (f"{CANARY}-{each}" for each in ("one", "two", "three"))
CommandLine = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def new_variables(vault_variables: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The variables of a deployment with the same store and a folder that does not exist yet."""
    return {"CONFIG_PATH": str(tmp_path / "new"), **vault_variables}


@pytest.fixture
def strongroom(new_variables: dict[str, str]) -> CommandLine:
    """The command in the new deployment. It shows no value on standard error."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        environment |= {f"{PREFIX}{name}": text for name, text in new_variables.items()}
        command = [sys.executable, "-m", "strongroom", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert not holds_canary(done.stderr)
        return done

    return run


def new_client(variables: dict[str, str]) -> Client:
    return Client(read_settings({f"{PREFIX}{name}": text for name, text in variables.items()}))


def test_the_whole_way(vault_settings: Settings, new_variables: dict[str, str], strongroom: CommandLine) -> None:
    """The ids are listed with no more rights than the policy gives; then a dry run, the recovery, and all is as before."""
    with Client(vault_settings) as client:
        made = [client.create_secret(f"s{number}", {"user": ONE, "password": f"{CANARY}-{number}"}) for number in range(20)]
        client.update_secret("s1", new_name="renamed")
        for value in (TWO, THREE):
            client.update_secret("renamed", add_or_update_values={"user": value})
        client.delete_secret("s2")
        lost_id = client.info().deployment_id
    listed = strongroom("server", "recover")
    assert (listed.returncode, listed.stdout) == (0, f"{lost_id}\n")
    tried = strongroom("server", "recover", "--deployment", lost_id, "--dry-run")
    assert (tried.returncode, tried.stdout, tried.stderr) == (0, "", "Would recover 19 secrets.\n")
    done = strongroom("server", "recover", "--deployment", lost_id)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "Recovered 19 secrets.\n")
    again = strongroom("server", "recover", "--deployment", lost_id)
    assert (again.returncode, again.stderr) == (0, "Recovered 0 secrets, 19 needed nothing.\n")
    with new_client(new_variables) as client:
        assert client.info().deployment_id == lost_id
        assert {each.name for each in client.list_secrets(size=100)} == {"renamed", *(f"s{n}" for n in (0, *range(3, 20)))}
        found = client.get_secret("renamed")
        assert (found.id, found.version, found.secret_values) == (made[1].id, 3, {"user": THREE, "password": f"{CANARY}-1"})
        assert client.get_secret("renamed", version=2).secret_values["user"] == TWO
        report = client.verify_secrets(deep=True)
        assert (report.done, report.failed) == (19, 0)
        assert client.update_secret("s0", add_or_update_values={"user": TWO}).version == 2
    server = StrongroomServer({**new_variables, "ADMIN_USERNAME": "default", "ADMIN_PASSWORD": PASSWORD})
    try:
        from tests.callers import Caller

        with server.connections() as pool:
            admin = Caller(server, pool).log_in("default")
            assert admin.call("GET", f"/secrets/{made[1].id}").data["values"]["user"] == THREE
    finally:
        server.stop()


def test_what_cannot_come_back_is_listed(
    vault_settings: Settings, new_variables: dict[str, str], strongroom: CommandLine, openbao: OpenBaoServer
) -> None:
    """Values that were exchanged, a put that was cut off before it described itself, a private secret; exit status 1."""
    with Client(vault_settings) as client:
        damaged, half = (client.create_secret(name, {"k": ONE}) for name in ("damaged", "half"))
        client.update_secret("half", add_or_update_values={"k": TWO})
        private = client.create_secret("private", {"k": THREE}, scope="user")
        lost_id = client.info().deployment_id
    kv, prefix = openbao.admin.secrets.kv.v2, dict(vault_settings.secrets_store.options)["prefix"]
    (path,) = paths(kv, f"{prefix}/{lost_id}/{damaged.id}")
    about = kv.read_secret_metadata(path)["data"]["custom_metadata"]
    kv.delete_metadata_and_all_versions(path)
    kv.create_or_update_secret(path, {"k": {"nested": 1}})
    kv.update_metadata(path, custom_metadata=about)
    newest = max(paths(kv, f"{prefix}/{lost_id}/{half.id}"))
    kv.update_metadata(newest, custom_metadata={})
    done = strongroom("server", "recover", "--deployment", lost_id)
    assert (done.returncode, done.stdout) == (1, "")
    name = f"private-{private.id.replace('-', '')[-12:]}"
    assert done.stderr.splitlines()[0] == "Recovered 1 secret, 3 failed."
    assert sorted(line.partition(" in vault:")[0] for line in done.stderr.splitlines()[1:]) == sorted([
        f"  damaged: {path.removeprefix(f'{prefix}/')}",
        f"  (no secret): {newest.removeprefix(f'{prefix}/')}",
        f"  private: it was private to somebody; it is private to 'default' now, and called '{name}'",
    ])  # fmt: skip
    with new_client(new_variables) as client:
        assert client.get_secret(name).secret_values == {"k": THREE}
        assert client.get_secret("half").secret_values == {"k": ONE}


def paths(kv: Any, folder: str) -> list[str]:
    """What lies in it."""
    return [f"{folder}/{each}" for each in kv.list_secrets(folder)["data"]["keys"]]


def test_mistakes_are_told(vault_settings: Settings, strongroom: CommandLine) -> None:
    """Another id, no id, an empty store: what to do, and nothing changes."""
    assert strongroom("server", "recover").stderr.startswith("There is nothing in vault://")
    with Client(vault_settings) as client:
        client.create_secret("s", {"k": ONE})
    other = strongroom("server", "recover", "--deployment", "01a2024b-0000-7000-8000-00000000abcd")
    assert (other.returncode, other.stdout) == (1, "")
    assert "holds nothing of the deployment 01a2024b-0000-7000-8000-00000000abcd\nhint: " in other.stderr
    wrong = strongroom("server", "recover", "--deployment", "../../x")
    assert (wrong.returncode, wrong.stderr.splitlines()[0]) == (1, "Error: the id of a deployment is a UUID")
