"""A server's encryption key: the operator's, or one that the operator is told of."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from strongroom.config import read_settings
from strongroom.errors import EncryptionKeyError
from strongroom.server.run import Address, prepare
from tests.servers.strongroom import StrongroomServer

KEY = base64.b64encode(b"k" * 32).decode()
ELSEWHERE = ("0.0.0.0", "::", "192.0.2.7", "2001:db8::1", "server.example", "10.0.0.1", "::ffff:10.0.0.1", "")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.9.10"])
def test_a_key_that_is_made_is_told_once(host: str, tmp_path: Path) -> None:
    """On loopback, with the database of the state folder: one line says where the key lies, and that it must be kept."""
    settings, told = read_settings({"STRONGROOM_CONFIG_PATH": str(tmp_path / "state")}), []
    for _ in range(2):
        prepare(settings, Address(host, 8200), told.append)
    (line,) = told
    assert str(tmp_path / "state" / "encryption.key") in line
    assert "keep a copy" in line
    assert "\n" not in line
    assert stat.S_IMODE((tmp_path / "state" / "encryption.key").stat().st_mode) == 0o600


def test_a_key_of_ones_own_is_no_news(tmp_path: Path) -> None:
    """Neither in a variable nor in a file."""
    file = tmp_path / "key"
    file.write_text(KEY)
    for number, given in enumerate(({"ENCRYPTION_KEY": KEY}, {"ENCRYPTION_KEY_FILE": str(file)})):
        variables = {f"STRONGROOM_{name}": text for name, text in {**given, "CONFIG_PATH": str(tmp_path / str(number))}.items()}
        told: list[str] = []
        prepare(read_settings(variables), Address("0.0.0.0", 8200), told.append)
        assert told == []
        assert not (tmp_path / str(number) / "encryption.key").exists()


@pytest.mark.parametrize("host", ELSEWHERE)
def test_a_server_for_others_needs_a_key(host: str, tmp_path: Path) -> None:
    """At an address that other machines reach it is refused, before anything is made; one that was made before is named."""
    state = tmp_path / "state"
    settings = read_settings({"STRONGROOM_CONFIG_PATH": str(state)})
    with pytest.raises(EncryptionKeyError, match="a server needs a key of yours") as caught:
        prepare(settings, Address(host, 8200), print)
    assert "generate-key" in str(caught.value.hint)
    assert not state.exists()
    prepare(settings, Address("127.0.0.1", 8200), lambda _: None)
    with pytest.raises(EncryptionKeyError, match="a server needs a key of yours") as caught:
        prepare(settings, Address(host, 8200), print)
    assert f"STRONGROOM_ENCRYPTION_KEY_FILE={state / 'encryption.key'}" in str(caught.value.hint)
    given = {"STRONGROOM_CONFIG_PATH": str(state), "STRONGROOM_ENCRYPTION_KEY_FILE": str(state / "encryption.key")}
    told: list[str] = []
    prepare(read_settings(given), Address(host, 8200), told.append)
    assert told == []


@pytest.mark.parametrize("url", ["sqlite:///{}/other.db", "postgresql://127.0.0.1:9/x", "mysql+pymysql://127.0.0.1:9/x"])
def test_a_database_elsewhere_needs_a_key(url: str, tmp_path: Path) -> None:
    """On loopback, too; it is not asked."""
    variables = {"STRONGROOM_CONFIG_PATH": str(tmp_path / "state"), "STRONGROOM_DATABASE_URL": url.format(tmp_path)}
    with pytest.raises(EncryptionKeyError, match="a server needs a key of yours"):
        prepare(read_settings(variables), Address("127.0.0.1", 8200), print)
    assert not (tmp_path / "other.db").exists()
    assert not (tmp_path / "state").exists()


def test_the_line_is_on_standard_error(tmp_path: Path) -> None:
    """Of the command that starts the server, once for all its workers."""
    server = StrongroomServer({"CONFIG_PATH": str(tmp_path / "state")}, "--workers", "2")
    try:
        assert server.log.count("made an encryption key in") == 1
    finally:
        server.stop()
