"""`strongroom server recover`, from the command line."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from strongroom.client import Client
from strongroom.config import PREFIX
from tests.canary import CANARY
from tests.fakes.folder_store import ROOT, folder_variables, python_path

from .conftest import BIN, CommandLine


@pytest.fixture
def lost(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, allow_values_in: Callable[[Path], Path]) -> str:
    """The id of a deployment with three secrets whose database is gone; its store is configured, and a new database."""
    monkeypatch.syspath_prepend(ROOT)
    for name, text in folder_variables(allow_values_in(tmp_path / "values")).items():
        monkeypatch.setenv(f"{PREFIX}{name}", text)
    with Client() as client:
        for name in ("a", "b"):
            client.create_secret(name, {"k": f"{CANARY}-{name}"})
        client.create_secret("c", {"k": f"{CANARY}-c"}, scope="user")
        lost_id = client.info().deployment_id
    monkeypatch.setenv(f"{PREFIX}CONFIG_PATH", str(tmp_path / "new"))
    return lost_id


def test_shapes_and_exit_status(strongroom: CommandLine, lost: str) -> None:
    """The report is that of every job; 1 if anything could not be restored, 0 when nothing is left to do."""
    tried = strongroom("server", "recover", "--deployment", lost, "--dry-run", "-o", "json")
    assert (tried.code, tried.data["done"], tried.data["failed"]) == (1, 2, 1)
    assert strongroom("secret", "list", "-o", "json").data["items"] == []
    done = strongroom("server", "recover", "--deployment", lost, "-o", "json")
    assert (done.code, done.data) == (1, tried.data)
    assert set(done.data) == {"done", "failed", "skipped", "failures"}
    (failure,) = done.data["failures"]
    assert (set(failure), failure["name"]) == ({"name", "id", "error"}, "c")
    again = strongroom("server", "recover", "--deployment", lost, "-o", "json")
    assert (again.code, again.data) == (0, {"done": 0, "failed": 0, "skipped": 3, "failures": []})
    assert strongroom("secret", "get", "a", "--key", "k").out == f"{CANARY}-a"
    assert strongroom("server", "status", "-o", "json").data["deployment_id"] == lost


def test_interrupted_and_run_again(process: CommandLine, lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C says that what was restored stays; run again, it does the rest."""
    monkeypatch.setenv("PYTHONPATH", python_path())
    gate = tmp_path / "gate"
    gate.touch()
    monkeypatch.setenv(f"{PREFIX}SECRETS_STORE_GATE", str(gate))
    command = [BIN / "strongroom", "server", "recover", "--deployment", lost]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not Path(f"{gate}.get").exists():
        with suppress(subprocess.TimeoutExpired):
            child.wait(0.02)
            break
    child.send_signal(signal.SIGINT)
    gate.unlink()
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out) == (1, "")
    assert err.strip() == "Error: interrupted; what was restored stays\nhint: run it again to go on"
    done = process("server", "recover", "--deployment", lost, "-o", "json")
    assert done.data["done"] + done.data["failed"] + done.data["skipped"] == 3
    assert process("secret", "get", "a", "--key", "k").out == f"{CANARY}-a"


def test_a_store_that_cannot_list_deployments(strongroom: CommandLine, lost: str) -> None:
    """It says where the id stands."""
    found = strongroom("server", "recover")
    assert (found.code, found.out) == (0, "")
    assert found.err.startswith("folder:values cannot list deployments; the id stands in the names and tags of what it holds.\n")
    assert strongroom("server", "recover", "-o", "json").data == [{"store": "folder:values", "deployments": None}]


def test_values_in_the_database_itself(strongroom: CommandLine) -> None:
    """There is no store to recover from, and what to do."""
    for words in ((), ("--deployment", "01a2024b-0000-7000-8000-00000000abcd")):
        outcome = strongroom("server", "recover", *words)
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err.startswith("Error: the values are in the lost database itself")
        assert "hint: restore the database from its backup" in outcome.err


def test_a_database_in_use(strongroom: CommandLine, lost: str) -> None:
    """Nothing is mixed."""
    strongroom("secret", "create", "mine", "--k=hunter22")
    outcome = strongroom("server", "recover", "--deployment", lost)
    assert (outcome.code, outcome.err.count("Error: this database has 1 secret of its own")) == (1, 1)
    assert [each["name"] for each in strongroom("secret", "list", "-o", "json").data["items"]] == ["mine"]
