"""`get`, `list`, `describe`, `history` and `export`."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.cli.export import format_values
from strongroom.cli.values import ValueReader
from strongroom.errors import InvalidInput
from strongroom.models.document import parse_env

from .conftest import CommandLine

pytestmark = pytest.mark.transports("embedded", "server")


@pytest.fixture
def secrets(strongroom: CommandLine) -> None:
    for name, *options in (
        ["db", "--user=admin", "--password=pässwörd\n2"],
        ["ml_a", "--k=v", "--label=team=vision"],
        ["ml_b", "--private", "--k=v"],
    ):
        assert strongroom("secret", "create", name, *options).code == 0


@pytest.mark.usefixtures("secrets")
class TestGet:
    def test_table(self, strongroom: CommandLine) -> None:
        """Keys and values in columns; control characters cannot reach the terminal."""
        strongroom("secret", "create", "odd", "--k=\x1b[31mred")
        assert strongroom("secret", "get", "db").out == "KEY       VALUE\nuser      admin\npassword  pässwörd\n          2\n"
        assert "\x1b" not in strongroom("secret", "get", "odd").out

    def test_json_and_yaml(self, strongroom: CommandLine) -> None:
        """Both hold the metadata and the values, exactly."""
        data = strongroom("secret", "get", "db", "-o", "json").data
        assert data["values"] == {"user": "admin", "password": "pässwörd\n2"}
        assert yaml.safe_load(strongroom("secret", "get", "db", "-o", "yaml").out) == data

    def test_key(self, strongroom: CommandLine) -> None:
        """`--key` prints the bare value, without a line break of its own."""
        assert strongroom("secret", "get", "db", "--key", "password").out == "pässwörd\n2"
        missing = strongroom("secret", "get", "db", "--key=no")
        assert missing.code == 1
        assert "user, password" in missing.err

    def test_by_id_and_prefix(self, strongroom: CommandLine) -> None:
        """A full id, and a unique prefix of it, name the secret."""
        data = strongroom("secret", "get", "db", "-o", "json").data
        identifier = data["id"]
        for text in (identifier, identifier[:30]):
            assert strongroom("secret", "get", text, "-o", "json").data["name"] == "db"
        ambiguous = strongroom("secret", "get", identifier[:8])
        assert ambiguous.code == 1
        assert "3 secrets" in ambiguous.err
        for command in (["update", "--k=v"], ["delete", "-y"], ["rename", "--new-name=x"]):
            assert strongroom("secret", command[0], identifier[:30], *command[1:]).code == 1
        assert strongroom("secret", "get", "db", "-o", "json").data == data

    def test_version(self, strongroom: CommandLine) -> None:
        """An earlier version can be read; one that is not kept is an error that lists those that are."""
        strongroom("secret", "update", "db", "--user=other")
        assert strongroom("secret", "get", "db", "--version=1", "--key=user").out == "admin"
        assert strongroom("secret", "get", "db", "--key=user").out == "other"
        missing = strongroom("secret", "get", "db", "--version=7")
        assert missing.code == 1
        assert "1, 2" in missing.err

    def test_did_you_mean(self, strongroom: CommandLine) -> None:
        """A failed look-up names what is near."""
        outcome = strongroom("secret", "get", "ml-a")
        assert outcome.code == 1
        assert "did you mean ml_a" in outcome.err

    def test_expired(self, strongroom: CommandLine) -> None:
        """An expired secret is read with a warning."""
        strongroom("secret", "create", "old", "--k=v", "--expires-at=2020-01-01T00:00:00Z")
        outcome = strongroom("secret", "get", "old", "--key=k")
        assert (outcome.code, outcome.out) == (0, "v")
        assert "expired" in outcome.err


@pytest.mark.usefixtures("secrets")
class TestList:
    def names(self, strongroom: CommandLine, *options: str) -> list[str]:
        outcome = strongroom("secret", "list", "-o", "json", *options)
        assert outcome.code == 0
        return [item["name"] for item in outcome.data["items"]]

    @pytest.mark.parametrize(
        ("options", "names"),
        [
            ([], ["db", "ml_a", "ml_b"]),
            (["--scope", "user"], ["ml_b"]),
            (["--name", "ml_a"], ["ml_a"]),
            (["--name=startswith:ml"], ["ml_a", "ml_b"]),
            (["--name=contains:_"], ["ml_a", "ml_b"]),
            (["--name=contains:%"], []),
            (["--name=oneof:db,ml_b"], ["db", "ml_b"]),
            (["--user=default"], ["db", "ml_a", "ml_b"]),
            (["--user=nobody"], []),
            (["--label", "team=vision"], ["ml_a"]),
            (["--created=gte:2020-01-01T00:00:00Z"], ["db", "ml_a", "ml_b"]),
            (["--updated=lt:2020-01-01T00:00:00+01:00"], []),
            (["--sort-by=desc:name"], ["ml_b", "ml_a", "db"]),
            (["--sort-by=desc:created", "--page=2", "--size=1"], ["ml_a"]),
            (["--page=9"], []),
            (["--all", "--size=1"], ["db", "ml_a", "ml_b"]),
        ],
    )  # fmt: skip
    def test_filters(self, strongroom: CommandLine, options: list[str], names: list[str]) -> None:
        """Each option does what it says."""
        assert self.names(strongroom, *options) == names

    @pytest.mark.parametrize(
        ("options", "code"),
        [
            (["--sort-by=colour"], 1), (["--created=yesterday"], 1), (["--page=0"], 2),
            (["--size=0"], 2), (["--label=x"], 2), (["word"], 2),
        ],
    )  # fmt: skip
    def test_wrong_usage(self, strongroom: CommandLine, options: list[str], code: int) -> None:
        """One line says what is wrong."""
        outcome = strongroom("secret", "list", *options)
        assert (outcome.code, outcome.out) == (code, "")

    def test_no_values(self, strongroom: CommandLine) -> None:
        """Neither the table nor the data shows a value; people are told where they are."""
        for options in ([], ["-o", "json"], ["-o", "yaml"]):
            assert "admin" not in strongroom("secret", "list", *options).out
        assert "Page 1 of 1, 3 secrets in all." in strongroom("secret", "list").err

    def test_shape_of_a_page(self, strongroom: CommandLine) -> None:
        """The page has the shape of the HTTP API, also when it is empty."""
        data = strongroom("secret", "list", "-o", "json", "--name=nothing").data
        assert data == {"items": [], "total": 0, "page": 1, "size": 20, "total_pages": 0}


@pytest.mark.usefixtures("secrets")
def test_describe_and_history(strongroom: CommandLine) -> None:
    """Both show keys, versions and stores, never a value."""
    strongroom("secret", "update", "db", "--extra=x")
    for command in (["describe", "db"], ["history", "db"]):
        for options in ([], ["-o", "json"], ["-o", "yaml"]):
            outcome = strongroom("secret", *command, *options)
            assert outcome.code == 0
            assert "pässwörd" not in outcome.out
    data = strongroom("secret", "describe", "db", "-o", "json").data
    assert [(version["version"], version["current"]) for version in data["versions"]] == [(2, True), (1, False)]
    assert data["versions"][0]["placements"] == [{"store": "sql", "state": "present"}]
    assert strongroom("secret", "history", "db", "-o", "json").data["items"] == data["versions"]


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize("format_", ["yaml", "json", "dotenv"])
def test_export_and_import(strongroom: CommandLine, tmp_path: Path, format_: str) -> None:
    """An export is private, refuses to overwrite, and reads back as the same values."""
    path = tmp_path / "out"
    assert strongroom("secret", "export", "db", "-f", str(path), "--format", format_).code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    again = strongroom("secret", "export", "ml_a", "-f", str(path), "--format", format_)
    assert again.code == 1
    assert "--force" in again.err
    assert path.read_bytes() == before
    source = ["--from-env-file", str(path)] if format_ == "dotenv" else ["-v", f"@{path}"]
    assert strongroom("secret", "create", "copy", *source).code == 0
    expected = strongroom("secret", "get", "db", "-o", "json").data["values"]
    assert strongroom("secret", "get", "copy", "-o", "json").data["values"] == expected
    assert strongroom("secret", "export", "ml_a", "-f", str(path), "--force").code == 0
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".out")] == []
    assert strongroom("secret", "export", "db", "-f", "/nowhere/x").code == 1


KEYS = st.text("abcXYZ019_.-", min_size=1, max_size=8).filter(lambda key: key != "name")


@pytest.mark.transports("embedded", reason="it works on texts, without a store")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(KEYS, st.text(st.characters(exclude_categories=["Cs"]), max_size=40), min_size=1, max_size=5))
def test_exports_are_exact(values: dict[str, str]) -> None:
    """What is exported in any format reads back character by character, or is refused."""
    assert json.loads(format_values(values, "json")) == values
    for format_ in ("json", "yaml"):
        reader = ValueReader()
        reader.add_document(format_values(values, format_))
        assert reader.values == values
    try:
        text = format_values(values, "dotenv")
    except InvalidInput:
        return
    assert parse_env(text) == values
