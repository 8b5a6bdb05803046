"""Where keys come from and are kept."""

from __future__ import annotations

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keyring
import pytest

from strongroom.config import read_settings
from strongroom.crypto.aead import new_key
from strongroom.crypto.key_source import GivenKeys, KeyFile, KeySource, SystemKeyring, find_key_source
from strongroom.errors import ConfigurationError, EncryptionKeyError
from tests.children import add_first_key
from tests.fakes.keyring import MemoryKeyring
from tests.processes import run_together

KEY, OTHER, THIRD = new_key(), new_key(), new_key()


def encode(*keys: bytes) -> str:
    return ",".join(base64.b64encode(key).decode() for key in keys)


@pytest.fixture(params=["file", "keyring"])
def managed(request: pytest.FixtureRequest, tmp_path: Path) -> KeySource:
    """Each source that strongroom manages, empty."""
    if request.param == "file":
        return KeyFile(tmp_path / "encryption.key")
    request.getfixturevalue("memory_keyring")
    return SystemKeyring(str(tmp_path))


def test_an_empty_source_has_no_keys(managed: KeySource) -> None:
    """Nothing there is not an error, and looking makes nothing."""
    assert managed.managed
    assert managed.load() == []
    assert managed.load() == []


def test_the_first_key_stays(managed: KeySource) -> None:
    """Filling an empty source works once; who comes later gets what is there."""
    assert managed.add_first(KEY) == [KEY]
    assert managed.add_first(OTHER) == [KEY]
    assert managed.load() == [KEY]


def test_keys_can_be_replaced_and_cleared(managed: KeySource) -> None:
    """All keys change at once, in order; a cleared source is empty."""
    managed.add_first(KEY)
    managed.replace([OTHER, KEY, THIRD])
    assert managed.load() == [OTHER, KEY, THIRD]
    managed.replace([THIRD])
    assert managed.load() == [THIRD]
    managed.clear()
    assert managed.load() == []


def test_a_key_file_is_private(tmp_path: Path) -> None:
    """Made and replaced files have mode 0600, whatever the umask, and no drafts stay behind."""
    former = os.umask(0)
    try:
        source = KeyFile(tmp_path / "encryption.key")
        source.add_first(KEY)
        source.add_first(OTHER)
        assert stat.S_IMODE((tmp_path / "encryption.key").stat().st_mode) == 0o600
        source.replace([OTHER])
        assert stat.S_IMODE((tmp_path / "encryption.key").stat().st_mode) == 0o600
    finally:
        os.umask(former)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["encryption.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o610, 0o601])
def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """A key that group or others can touch is not used, and the hint says what to do."""
    path = tmp_path / "encryption.key"
    source = KeyFile(path)
    source.add_first(KEY)
    path.chmod(mode)
    with pytest.raises(EncryptionKeyError, match="others may read") as caught:
        source.load()
    assert f"chmod 600 {path}" in (caught.value.hint or "")
    path.chmod(0o400)
    assert source.load() == [KEY]


@pytest.mark.parametrize("content", [b"", b"nonsense!", b"\xff\xfe", b"AAAA", b"\0" * 44])
def test_a_damaged_key_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    """A file that holds something else is never mistaken for an empty source, and stays as it is."""
    path = tmp_path / "encryption.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(EncryptionKeyError):
        KeyFile(path).load()
    with pytest.raises(EncryptionKeyError):
        KeyFile(path).add_first(KEY)
    assert path.read_bytes() == content


def test_a_folder_in_place_of_the_key_file_is_an_error(tmp_path: Path) -> None:
    """What cannot be read as a file is an error in words."""
    with pytest.raises(EncryptionKeyError, match="cannot read"):
        KeyFile(tmp_path).load()


def test_of_many_threads_one_makes_the_key(tmp_path: Path) -> None:
    """Eight threads at once agree on one first key."""
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: KeyFile(tmp_path / "k").add_first(new_key()), range(8)))
    assert all(result == results[0] for result in results)
    assert KeyFile(tmp_path / "k").load() == results[0]


def test_of_many_processes_one_makes_the_key(tmp_path: Path) -> None:
    """Eight processes at once agree on one first key."""
    source = KeyFile(tmp_path / "k")
    outcomes = run_together(add_first_key, [(source, new_key()) for _ in range(8)])
    assert {outcome.error for outcome in outcomes} == {None}
    assert all(outcome.value == source.load() for outcome in outcomes)


def test_given_keys_are_read_and_never_written(tmp_path: Path) -> None:
    """Keys from the environment or from an operator's file stand in their order and cannot be changed."""
    path = tmp_path / "given"
    path.write_text(encode(KEY) + "\n" + encode(OTHER))
    for source in (
        GivenKeys(read_settings({"STRONGROOM_ENCRYPTION_KEY": encode(KEY, OTHER)})),
        GivenKeys(read_settings({"STRONGROOM_ENCRYPTION_KEY_FILE": str(path)})),
    ):
        assert not source.managed
        assert source.load() == source.add_first(THIRD) == [KEY, OTHER]
        with pytest.raises(ConfigurationError, match="is set by you"):
            source.replace([THIRD])
        with pytest.raises(ConfigurationError, match="is set by you"):
            source.clear()


def test_a_given_file_is_read_anew(tmp_path: Path) -> None:
    """A changed file counts at the next load, so that a running process can learn a rotated key."""
    path = tmp_path / "given"
    path.write_text(encode(KEY))
    source = GivenKeys(read_settings({"STRONGROOM_ENCRYPTION_KEY_FILE": str(path)}))
    assert source.load() == [KEY]
    path.write_text(encode(OTHER, KEY))
    assert source.load() == [OTHER, KEY]


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xfa", b"", b"short"])
def test_a_given_file_without_a_key_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    """A missing, binary, empty or malformed file is one clear error; it is not made."""
    path = tmp_path / "given"
    if content is not None:
        path.write_bytes(content)
    source = GivenKeys(read_settings({"STRONGROOM_ENCRYPTION_KEY_FILE": str(path)}))
    with pytest.raises(EncryptionKeyError, match="STRONGROOM_ENCRYPTION_KEY_FILE"):
        source.load()
    assert path.exists() == (content is not None)


def test_a_locked_keyring_is_an_error(memory_keyring: MemoryKeyring, tmp_path: Path) -> None:
    """What the keyring refuses is told without the key."""
    memory_keyring.locked = True
    with pytest.raises(EncryptionKeyError, match="refused: PasswordSetError") as caught:
        SystemKeyring(str(tmp_path)).add_first(KEY)
    assert encode(KEY) not in f"{caught.value} {caught.value.hint}"


def test_entries_belong_to_one_folder(memory_keyring: MemoryKeyring) -> None:
    """Two local stores have two entries."""
    SystemKeyring("/a").add_first(KEY)
    SystemKeyring("/b").add_first(OTHER)
    assert SystemKeyring("/a").load() == [KEY]
    assert set(memory_keyring.entries) == {("strongroom", "/a"), ("strongroom", "/b")}


@pytest.mark.parametrize("module", ["keyring.backends.fail", "keyring.backends.null", "keyrings.alt.file"])
def test_unsafe_keyrings_are_refused(module: str) -> None:
    """A keyring that keeps nothing, or keeps it in plain text, is refused by name."""
    former = keyring.get_keyring()
    unsafe = type("Keyring", (MemoryKeyring,), {"__module__": module})()
    keyring.set_keyring(unsafe)
    try:
        with pytest.raises(EncryptionKeyError, match="no safe keyring"):
            SystemKeyring("/a").add_first(KEY)
        assert unsafe.entries == {}
    finally:
        keyring.set_keyring(former)


def test_which_source_is_used(tmp_path: Path) -> None:
    """A given key wins; a local key file wins over the keyring; the default is a key file. Looking makes nothing."""

    def find(**settings: str) -> KeySource:
        return find_key_source(read_settings({"STRONGROOM_CONFIG_PATH": str(tmp_path)} | settings))

    assert isinstance(find(STRONGROOM_ENCRYPTION_KEY="x"), GivenKeys)
    assert isinstance(find(STRONGROOM_ENCRYPTION_KEY_FILE="x", STRONGROOM_ENCRYPTION_KEY_STORE="keyring"), GivenKeys)
    assert isinstance(find(), KeyFile)
    assert isinstance(find(STRONGROOM_ENCRYPTION_KEY_STORE="keyring"), SystemKeyring)
    KeyFile(tmp_path / "encryption.key").add_first(KEY)
    assert isinstance(find(STRONGROOM_ENCRYPTION_KEY_STORE="keyring"), KeyFile)
    assert [path.name for path in tmp_path.iterdir()] == ["encryption.key"]
