"""The document on secret management of a deployment: stores, the backup store, and the migration in five steps.

Here on an embedded store, whose configuration is its environment. Servers, two replicas under load, and OpenBao and AWS as the places
to move to: `tests/integration/test_migration.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.canary import CANARY
from tests.documents import blocks
from tests.documents.conftest import System
from tests.fakes.folder_store import folder_variables, is_marker_file, python_path

NAMES = ("a", "b", "c")


@pytest.fixture
def places(system: System, tmp_path: Path, allow_values_in: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch) -> System:
    """Three secrets in the database, and a place to move to."""
    monkeypatch.setenv("PYTHONPATH", python_path())
    monkeypatch.syspath_prepend(python_path().rpartition(":")[2])
    allow_values_in(tmp_path / "other")
    with system.client() as client:
        for name in NAMES:
            client.create_secret(name, {"k": f"{CANARY}-{name}"})
    return system


def stores(tmp_path: Path, primary: str, backup: str = "") -> dict[str, str]:
    """The variables that make `sql` or `other` the primary, and perhaps the other one the backup."""
    found: dict[str, str] = {}
    for kind, family in ((primary, "SECRETS_STORE"), (backup, "BACKUP_SECRETS_STORE")):
        if kind == "other":
            found |= folder_variables(tmp_path / "other", family)
        elif kind:
            found[f"{family}_TYPE"] = kind
    return {f"ZENML_{name}": text for name, text in found.items()}


def files(tmp_path: Path) -> list[Path]:
    """The versions that the other place has."""
    return [path for path in (tmp_path / "other").rglob("[!.]*") if path.is_file() and not is_marker_file(path)]


def test_metadata_and_values_apart(places: System, tmp_path: Path) -> None:
    """Metadata is in the database, values are in the secrets store that is configured."""
    places.variables = stores(tmp_path, "other")
    places.shell("zenml secret create elsewhere --k=v")
    assert len(files(tmp_path)) == 1
    assert places.values("elsewhere") == {"k": "v"}
    assert "elsewhere" in places.shell("zenml secret list")


def test_the_same_place_twice(places: System, tmp_path: Path) -> None:
    """The backup store has to be at a different location: the same one twice is refused at the start."""
    places.variables = {
        **stores(tmp_path, "other"),
        **{name: text for name, text in stores(tmp_path, "sql", "other").items() if "BACKUP" in name},
    }
    done = places.run("zenml secret list")
    assert done.returncode == 1
    assert "primary and backup secrets store are the same place" in done.stderr


def test_the_backup_is_kept_in_sync(places: System, tmp_path: Path) -> None:
    """With a backup store configured, what is written goes to both, and reads fall back when the primary does not have it."""
    places.variables = stores(tmp_path, "other", "sql")
    places.shell("zenml secret create both --k=v; zenml secret update both --k=w")
    for file in files(tmp_path):
        file.unlink()
    assert places.values("both") == {"k": "w"}


def test_backup_and_restore(places: System, tmp_path: Path) -> None:
    """`secret backup` copies all secrets to the backup store, `secret restore` brings back what the primary lost."""
    places.variables = stores(tmp_path, "sql", "other")
    assert "Backed up 3 secrets." in places.run(blocks.BACKUP).stderr
    assert len(files(tmp_path)) == len(NAMES)
    places.variables = stores(tmp_path, "other", "sql")
    for file in files(tmp_path):
        file.unlink()
    done = places.run(blocks.RESTORE)
    assert done.returncode == 0, done.stderr
    assert len(files(tmp_path)) == len(NAMES)
    check_all(places)


@pytest.mark.parametrize("command", [blocks.BACKUP, blocks.BACKUP_AND_DELETE], ids=["keeping", "deleting"])
def test_the_migration(places: System, tmp_path: Path, command: str) -> None:
    """The five steps: from the database (A) to another place (B), with writes in between, and A is not needed any more."""
    # 1 and 2: B becomes the secondary store.
    places.variables = stores(tmp_path, "sql", "other")
    # 3: everything is backed up; what is created and changed afterwards goes to B by itself.
    done = places.run(command)
    assert done.returncode == 0, done.stderr
    places.shell("zenml secret create later --k=v; zenml secret update a --more=x")
    # 4 and 5: B is the primary store, and A is gone.
    places.variables = stores(tmp_path, "other")
    check_all(places, a={"k": f"{CANARY}-a", "more": "x"}, later={"k": "v"})
    places.shell("zenml secret verify --deep")


def check_all(system: System, **changed: dict[str, str]) -> None:
    """Every secret has its values."""
    wanted = {name: {"k": f"{CANARY}-{name}"} for name in NAMES} | changed
    with system.client() as client:
        assert {each.name: client.get_secret(each.id).secret_values for each in client.list_secrets()} == wanted


def test_another_way_to_the_same_place(places: System, tmp_path: Path) -> None:
    """No migration is needed where the location stays: other options of the same place find everything."""
    places.variables = stores(tmp_path, "other")
    places.shell("zenml secret create s --k=v")
    places.variables["ZENML_SECRETS_STORE_TIMEOUT"] = "5"
    places.variables["ZENML_SECRETS_STORE_GATE"] = str(tmp_path / "none")
    assert places.values("s") == {"k": "v"}
