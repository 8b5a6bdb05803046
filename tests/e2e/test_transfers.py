"""`strongroom secret backup`, `restore` and `verify`, and how the stores are shown, from the command line."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pexpect
import pytest

from strongroom.client import Client
from strongroom.client.login_state import LoginState, write_login
from strongroom.config import PREFIX, read_settings
from strongroom.redaction import SecretText
from tests.callers import Caller
from tests.canary import CANARY, holds_canary
from tests.fakes.folder_store import folder_variables, is_marker_file, python_path
from tests.servers.strongroom import PASSWORD, StrongroomServer

from .conftest import BIN, CommandLine

both = pytest.mark.transports("embedded", "server")
Files = Callable[[], list[Path]]


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """While this file is there, nothing gets into the backup store."""
    return tmp_path / "gate"


@pytest.fixture
def variables(tmp_path: Path, gate: Path, allow_values_in: Callable[[Path], Path], request: pytest.FixtureRequest) -> dict[str, str]:
    """The variables of the backup store, a folder; none with the parameter None."""
    allow_values_in(tmp_path / "backup")
    return {} if hasattr(request, "param") else folder_variables(tmp_path / "backup", "BACKUP_SECRETS_STORE", gate)


@pytest.fixture
def admin(tmp_path: Path, sqlite_template: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    """The administrator of a server of this test's own."""
    monkeypatch.setenv("PYTHONPATH", python_path())
    folder = shutil.copytree(sqlite_template, tmp_path / "server")
    server = StrongroomServer({"CONFIG_PATH": str(folder), "ADMIN_USERNAME": "default", "ADMIN_PASSWORD": PASSWORD, **variables})
    try:
        with server.connections() as pool:
            yield replace(Caller(server, pool).log_in("default"), workspace="default")
    finally:
        log = server.log
        server.stop()
        assert not holds_canary(log)


@pytest.fixture
def files(tmp_path: Path, store: Path, transport: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Files:
    """Lists what is in the backup store. The embedded store has one too."""
    monkeypatch.setenv("PYTHONPATH", python_path())
    monkeypatch.syspath_prepend(python_path().rpartition(os.pathsep)[2])
    if transport == "embedded":
        for name, text in variables.items():
            monkeypatch.setenv(f"{PREFIX}{name}", text)
    return lambda: [path for path in (tmp_path / "backup").rglob("[!.]*") if path.is_file() and not is_marker_file(path)]


def fill(names: int) -> None:
    """Makes so many secrets."""
    with Client() as client:
        for number in range(names):
            client.create_secret(f"s{number:02}", {"k": f"{CANARY}-{number}"})


@both
def test_there_and_back(strongroom: CommandLine, files: Files) -> None:
    """A move to the backup store, a move back, and what each says; what needs nothing is counted apart."""
    fill(3)
    assert len(files()) == 3
    done = strongroom("secret", "backup")
    assert (done.code, done.out, done.err) == (0, "", "Backed up 0 secrets, 3 needed nothing.\n")
    done = strongroom("secret", "backup", "--delete-secrets", "-o", "json")
    assert (done.code, done.data) == (0, {"done": 3, "failed": 0, "skipped": 0, "failures": []})
    assert strongroom("secret", "get", "s01", "--key", "k").out == f"{CANARY}-1"
    versions = strongroom("secret", "history", "s01", "-o", "json").data["items"]
    assert [(each["store"], each["state"]) for each in versions[0]["placements"]] == [
        ("folder:backup", "present"),
        ("sql", "emptied"),
    ]
    assert "sql (emptied)" in strongroom("secret", "history", "s01").out
    done = strongroom("secret", "restore", "--delete-secrets")
    assert (done.code, done.out, done.err) == (0, "", "Restored 3 secrets.\n")
    done = strongroom("secret", "backup", "-o", "yaml")
    assert (done.code, done.out) == (0, "done: 3\nfailed: 0\nskipped: 0\nfailures: []\n")
    done = strongroom("secret", "verify", "--deep")
    assert (done.code, done.out, done.err) == (0, "", "Verified 3 secrets.\n")


@both
def test_what_is_wrong_is_named(strongroom: CommandLine, files: Files) -> None:
    """A damaged copy fails a verification and stays out of a move; a repair mends it. Exit status 1 as long as something is wrong."""
    fill(3)
    made = strongroom("secret", "describe", "s01", "-o", "json").data
    damaged = next(path for path in files() if made["id"] in path.name)
    damaged.write_text("something else")
    assert strongroom("secret", "verify").code == 0  # it is there
    found = strongroom("secret", "verify", "--deep")
    assert (found.code, found.out) == (1, "")
    assert found.err == "Verified 2 secrets, 1 failed.\n  s01: version 1: corrupt in folder:backup\n"
    found = strongroom("secret", "verify", "--deep", "-o", "json")
    assert (found.code, found.data) == (1, {
        "done": 2, "failed": 1, "skipped": 0,
        "failures": [{"name": "s01", "id": made["id"], "error": "version 1: corrupt in folder:backup"}],
    })  # fmt: skip
    moved = strongroom("secret", "backup", "--delete-secrets")
    assert (moved.code, moved.err.splitlines()[0]) == (1, "Backed up 2 secrets, 1 failed.")
    stopped = strongroom("secret", "backup", "--delete-secrets", "--no-ignore-errors")
    assert (stopped.code, stopped.out) == (1, "")
    assert stopped.err.startswith("Error: the backup failed: secret 's01', version 1: ")
    assert "strongroom secret verify --deep --repair" in stopped.err
    assert strongroom("secret", "get", "s01", "--key", "k").out == f"{CANARY}-1"
    mended = strongroom("secret", "verify", "--deep", "--repair")
    assert (mended.code, mended.err) == (0, "Verified 3 secrets.\n")
    assert strongroom("secret", "verify", "--deep").code == 0
    (damaged.parent / damaged.name.replace(made["id"], "nobody")).write_text("something")
    extra = strongroom("secret", "verify")
    assert (extra.code, extra.err.splitlines()[0]) == (1, "Verified 3 secrets, 1 failed.")
    assert extra.err.splitlines()[1].startswith("  (no secret): extra: ")


@both
def test_many_failures_are_not_all_printed(strongroom: CommandLine, files: Files) -> None:
    """The first 20, and how to see the rest."""
    fill(22)
    for path in files():
        path.write_text("something else")
    found = strongroom("secret", "verify", "--deep")
    assert (found.code, len(found.err.splitlines())) == (1, 22)
    assert found.err.endswith("  and 2 more; see them with -o json\n")
    assert len(strongroom("secret", "verify", "--deep", "-o", "json").data["failures"]) == 22


@both
@pytest.mark.parametrize("variables", [None], indirect=True)
def test_without_a_backup_store(strongroom: CommandLine, files: Files) -> None:
    """There is nowhere to copy to, and what to do about it; a verification needs none."""
    fill(1)
    for command in ("backup", "restore"):
        outcome = strongroom("secret", command)
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err == (
            "Error: there is no backup secrets store\nhint: configure one: STRONGROOM_BACKUP_SECRETS_STORE_TYPE and its options\n"
        )
    assert strongroom("secret", "verify", "--deep").err == "Verified 1 secret.\n"


@pytest.mark.transports("server")
def test_for_administrators_of_the_server_alone(strongroom: CommandLine, store: Path, admin: Caller, files: Files) -> None:
    """An administrator of a workspace is none; whoever may see secrets may see how the stores are."""
    person = admin.add("alice", "admin")
    assert person.token is not None
    login = LoginState(url=admin.server.url, token=SecretText(person.token), username="alice", workspace="default")
    write_login(read_settings({f"{PREFIX}CONFIG_PATH": str(store)}), login)
    for command in ("backup", "restore", "verify"):
        outcome = strongroom("secret", command)
        assert (outcome.code, outcome.out) == (1, "")
        assert "store:manage" in outcome.err.splitlines()[0]
        assert outcome.err.splitlines()[1:] == ["hint: ask an administrator of the server"]
    assert strongroom("server", "status").code == 0


@both
def test_status(strongroom: CommandLine, files: Files, transport: str) -> None:
    """Each store with its role, its place, and by how much it is behind; the shapes of JSON."""
    fill(1)
    data = strongroom("server", "status", "-o", "json").data
    assert set(data) == {"version", "deployment_id", "database", "stores"}
    assert data["stores"] == [
        {"type": "sql", "role": "primary", "location": "sql", "healthy": True, "behind": 0, "to_delete": 0},
        {"type": "custom", "role": "backup", "location": "folder:backup", "healthy": True, "behind": 0, "to_delete": 0},
    ]
    shown = strongroom("server", "status")
    assert shown.err == ""
    assert [line.split() for line in shown.out.splitlines()[-3:]] == [
        ["STORE", "TYPE", "LOCATION", "HEALTHY", "BEHIND", "TO", "DELETE"],
        ["primary", "sql", "sql", "yes", "0", "0"],
        ["backup", "custom", "folder:backup", "yes", "0", "0"],
    ]


def test_check_stores_tries_both(strongroom: CommandLine, files: Files, gate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each store in turn, and nothing stays behind; one that does not answer is told, and fails."""
    done = strongroom("server", "check-stores")
    assert (done.code, done.err) == (0, "")
    assert [line for line in done.out.splitlines() if not line.startswith(" ")] == [
        "primary: sql at sql", "backup: custom at folder:backup",
    ]  # fmt: skip
    assert files() == []
    found = strongroom("server", "check-stores", "-o", "json").data
    assert [(each["role"], each["healthy"]) for each in found] == [("primary", True), ("backup", True)]
    assert found[1]["rights"] == {"write": True, "read": True, "list": True, "delete": True}
    gate.touch()
    monkeypatch.setenv(f"{PREFIX}BACKUP_SECRETS_STORE_TIMEOUT", "1")
    silent = strongroom("server", "check-stores", "-o", "json")
    assert (silent.code, [each["healthy"] for each in silent.data]) == (1, [True, False])
    assert [each["code"] for each in silent.data[1]["errors"]] == ["unavailable"]


def test_taking_over_asks(strongroom: CommandLine, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without -y the stores are taken over after a yes alone; anything else changes nothing."""
    from strongroom.service.store_markers import StoreMarkers

    taken: list[str] = []
    monkeypatch.setattr(StoreMarkers, "take_over", lambda markers: taken.append("taken"))
    for words, answer, code in (
        (["--take-over"], b"n\n", 1),
        (["--take-over"], b"", 1),
        (["--take-over"], b"y\n", 0),
        (["--take-over", "-y"], b"", 0),
    ):
        before = len(taken)
        done = strongroom("server", "check-stores", *words, stdin=answer)
        assert (done.code, len(taken) - before) == (code, 1 - code), done


@both
def test_a_bar_is_for_terminals(strongroom: CommandLine, files: Files) -> None:
    """Elsewhere there is a line at the end, and nothing else."""
    fill(2)
    for command, label in (("backup", "Backing up"), ("restore", "Restoring"), ("verify", "Verifying")):
        assert label not in strongroom("secret", command).err
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
        child = pexpect.spawn(str(BIN / "strongroom"), ["secret", command], env=environment, encoding="utf-8", timeout=30)
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0
        assert label in child.before
        assert "100%" in child.before


@both
def test_interrupted_and_run_again(
    process: CommandLine, strongroom: CommandLine, files: Files, gate: Path, tmp_path: Path, transport: str
) -> None:
    """Ctrl-C says what goes on; run again, it does the rest. A server goes on by itself, and lets nobody in between."""
    fill(70)  # several pages
    assert strongroom("secret", "restore", "--delete-secrets").code == 0
    gate.touch()
    child = subprocess.Popen([BIN / "strongroom", "secret", "backup"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list((tmp_path / "backup").rglob(".*-*")):
        with suppress(subprocess.TimeoutExpired):
            child.wait(0.02)
            break
    child.send_signal(signal.SIGINT)
    if transport == "server":
        out, err = child.communicate(timeout=30)
        assert "the server goes on with it" in err
        refused = strongroom("secret", "backup")
        assert (refused.code, "is under way" in refused.err) == (1, True)
        gate.unlink()
    else:
        gate.unlink()
        out, err = child.communicate(timeout=30)
        assert "what was done stays done" in err
    assert (child.returncode, out, err.count("Error: ")) == (1, "", 1), err
    assert "nothing was changed" not in err
    while "is under way" in (done := strongroom("secret", "backup", "-o", "json")).err:
        pass
    assert (done.code, done.data["done"] + done.data["skipped"], done.data["failed"]) == (0, 70, 0)
    assert done.data["skipped"] >= 16  # its first page
    assert len(files()) == 70
    assert strongroom("secret", "verify", "--deep").code == 0


def test_help(strongroom: CommandLine) -> None:
    """Each option is there, and says what it does; a mistyped one is wrong usage."""
    options = {
        "backup": ("--delete-secrets", "--no-ignore-errors"),
        "restore": ("--delete-secrets", "--ignore-errors"),
        "verify": ("--deep", "--repair"),
    }
    for command, known in options.items():
        shown = strongroom("secret", command, "--help")
        assert shown.code == 0
        assert all(option in shown.out for option in (*known, "--output"))
        assert "exit status is 1" in " ".join(shown.out.split())
        assert strongroom("secret", command, "--everything").code == 2
        assert strongroom("secret", command, "s").code == 2
