"""Rotating the encryption key."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, update

from strongroom.config import Settings
from strongroom.crypto.key_source import KeyFile
from strongroom.crypto.keyring import key_id, parse_keys
from strongroom.db.tables import deployment, encryption_keys, sql_values
from strongroom.errors import EncryptionKeyError, Unavailable, ValuesCorrupt
from strongroom.models.audit_event import ListAuditEvents, VerifyAudit
from strongroom.operations import audit
from strongroom.service.encryption_keys import Rotation
from strongroom.service.wiring import Service
from tests.canary import CANARY, read_elsewhere
from tests.fakes.keyring import MemoryKeyring
from tests.people import Person

Open = Callable[[Settings], Service]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens stores, and closes them in the end."""
    services: list[Service] = []

    def open_(settings: Settings) -> Service:
        services.append(Service(settings))
        return services[-1]

    yield open_
    for service in services:
        service.close()


def new_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def rotate(service: Service, to: str | None = None) -> Rotation:
    return service.rotate_key(to, lambda done, total: None)


def keys_in_use(service: Service) -> set[str]:
    """The ids of all keys that anything in the database is wrapped by, or that it knows."""
    with service.deployment.database.snapshot() as connection:
        columns = (sql_values.c.key_id, deployment.c.key_id, encryption_keys.c.id)
        return {text for column in columns for text in connection.execute(select(column)).scalars()}


def person(service: Service) -> Person:
    """The local user."""
    return Person(service, service.deployment.local_actor)


def fill(service: Service, number: int = 5) -> dict[str, str]:
    """Some secrets, one of them with several versions."""
    wanted = {f"s{each}": f"{CANARY}-{each}" for each in range(number)}
    for name, text in wanted.items():
        person(service).create(name, {"k": "first"})
        person(service).update(person(service).get_by_name(name).id, {"k": text})
    return wanted


def read(service: Service, names: dict[str, str]) -> dict[str, str]:
    return {name: person(service).get_by_name(name).secret_values["k"] for name in names}


def _damage(service: Service, secret_id: str, number: int) -> Callable[[], None]:
    """Makes a version unreadable; gives the way to mend it."""
    at = (sql_values.c.secret_id == secret_id, sql_values.c.number == number)

    def set_key(wrapped_key: bytes) -> None:
        with service.deployment.database.write() as connection:
            connection.execute(update(sql_values).where(*at).values(wrapped_key=wrapped_key))

    with service.deployment.database.snapshot() as connection:
        wrapped_key = connection.execute(select(sql_values.c.wrapped_key).where(*at)).scalar_one()
    set_key(bytes(60))
    return lambda: set_key(wrapped_key)


def test_a_managed_key_is_replaced(local_settings: Settings, opened: Open) -> None:
    """A rotation makes a new key, rewraps every version, and forgets the former key; running services go on without a restart."""
    service, other = opened(local_settings), opened(local_settings)
    wanted = fill(service)
    former = service.deployment.keys.keyring.active_id
    seen: list[tuple[int, int]] = []
    rotation = service.rotate_key(None, lambda done, total: seen.append((done, total)))
    assert rotation.key_id != former
    assert (rotation.rewrapped, rotation.retired, rotation.corrupt, rotation.operator_given) == (10, [former], [], False)
    assert seen[-1] == (10, 10)
    assert keys_in_use(service) == {rotation.key_id}
    assert [key_id(key) for key in KeyFile(local_settings.folder / "encryption.key").load()] == [rotation.key_id]
    assert read(service, wanted) == read(other, wanted) == read(opened(local_settings), wanted) == wanted
    person(other).create("after", {"k": CANARY})
    assert read(service, {"after": ""}) == {"after": CANARY}
    assert keys_in_use(service) == {rotation.key_id}


def test_a_service_that_slept_through_a_rotation_writes_with_the_new_key(local_settings: Settings, opened: Open) -> None:
    """A process that knows the former key alone learns the new one when the database refuses the former."""
    sleeper = opened(local_settings)
    wanted = fill(sleeper)
    rotation = rotate(opened(local_settings))
    made = person(sleeper).create("after", {"k": CANARY})
    person(sleeper).update(made.id, {"l": CANARY})
    assert keys_in_use(sleeper) == {rotation.key_id}
    assert read(sleeper, wanted) == wanted


def test_digests_outlive_rotations(local_settings: Settings, opened: Open) -> None:
    """The key for digests stays the same, so that versions can be compared across rotations."""
    service = opened(local_settings)
    before = service.deployment.digest_key
    rotate(service)
    assert service.deployment.keys.digest_key() == opened(local_settings).deployment.digest_key == before


def test_a_given_key_is_rotated_by_the_operator(settings: Settings, key: str, opened: Open) -> None:
    """A new key stands before the current one; after the rotation the former can be dropped; without a new one there is a hint."""
    settings = replace(settings, encryption_key=key) if settings.encryption_key else settings
    if settings.encryption_key is None:
        key = (settings.folder / "encryption.key").read_text().strip()
        (settings.folder / "encryption.key").unlink()
        settings = replace(settings, encryption_key=key)
    service = opened(settings)
    wanted = fill(service)
    with pytest.raises(EncryptionKeyError, match="holds no new key") as caught:
        rotate(service)
    assert "generate-key" in (caught.value.hint or "")
    new = new_key()
    both = opened(replace(settings, encryption_key=f"{new},{key}"))
    rotation = rotate(both)
    assert rotation.operator_given
    assert rotation.key_id == key_id(parse_keys(new, "")[0])
    assert keys_in_use(both) == {rotation.key_id}
    assert read(opened(replace(settings, encryption_key=new)), wanted) == wanted
    with pytest.raises(EncryptionKeyError, match="wrong encryption key"):
        Service(settings)
    with pytest.raises(EncryptionKeyError, match="holds no new key"):
        rotate(both)


def test_each_rotation_is_one_event(local_settings: Settings, opened: Open) -> None:
    """The trail tells which key is in charge since, also when the rest is cut off and done later; and of refusals."""

    def cut_off(done: int, total: int) -> None:
        raise KeyboardInterrupt

    service = opened(local_settings)
    fill(service)
    with pytest.raises(KeyboardInterrupt):
        service.rotate_key(None, cut_off)
    first, second = rotate(service), rotate(service)
    key = (local_settings.folder / "encryption.key").read_text().strip()
    given = opened(replace(local_settings, encryption_key=key))
    with pytest.raises(EncryptionKeyError):
        rotate(given, "keyring")
    events = person(given).ask(audit.LIST, ListAuditEvents(operation="deployment.rotate_key")).items
    told = [(event.outcome, event.target_id) for event in events]
    assert told == [(EncryptionKeyError.code, ""), ("ok", second.key_id), ("ok", first.key_id)]
    assert person(given).ask(audit.VERIFY, VerifyAudit()).valid
    assert all(key not in repr(event) for event in events)


def test_no_key_is_put_in_charge_off_the_record(local_settings: Settings, opened: Open) -> None:
    """Where the trail cannot be written the key stays what it was; a refusal is told all the same."""
    service = opened(local_settings)
    wanted = fill(service)
    before = keys_in_use(service)
    with service.deployment.database.write() as connection:
        connection.exec_driver_sql("CREATE TRIGGER full BEFORE INSERT ON audit_events BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(Unavailable, match="the audit trail is damaged"):
        rotate(service)
    assert keys_in_use(service) == before
    key = (local_settings.folder / "encryption.key").read_text().strip()
    with pytest.raises(EncryptionKeyError, match="the key comes from"):
        rotate(opened(replace(local_settings, encryption_key=key.rpartition(",")[2])), "keyring")
    with service.deployment.database.write() as connection:
        connection.exec_driver_sql("DROP TRIGGER full")
    assert keys_in_use(service).isdisjoint({rotate(service).key_id} & before)
    assert read(service, wanted) == wanted


def test_a_given_key_is_not_moved(local_settings: Settings, opened: Open) -> None:
    """What the operator gives is not taken over into a source of our own."""
    key = (local_settings.folder / "encryption.key").read_text().strip()
    with pytest.raises(EncryptionKeyError, match="the key comes from STRONGROOM_ENCRYPTION_KEY"):
        rotate(opened(replace(local_settings, encryption_key=key)), "keyring")


def test_a_key_moves_into_the_keyring_and_back(local_settings: Settings, opened: Open, memory_keyring: MemoryKeyring) -> None:
    """`--to keyring` leaves no key file; a new process and one that runs find the key there; `--to file` is the way back."""
    service, other = opened(local_settings), opened(local_settings)
    wanted = fill(service)
    path = local_settings.folder / "encryption.key"
    rotation = rotate(service, "keyring")
    assert not path.exists()
    assert len(memory_keyring.entries) == 1
    assert read(service, wanted) == read(opened(local_settings), wanted) == read(other, wanted) == wanted
    again = rotate(service)
    assert again.key_id != rotation.key_id
    back = rotate(service, "file")
    assert memory_keyring.entries == {}
    assert [key_id(key) for key in KeyFile(path).load()] == [back.key_id]
    assert read(opened(local_settings), wanted) == read(other, wanted) == wanted


def test_a_locked_keyring_stops_a_rotation_at_once(local_settings: Settings, opened: Open, memory_keyring: MemoryKeyring) -> None:
    """When the new key cannot be kept, nothing is rewrapped, and the store goes on with what it has."""
    service = opened(local_settings)
    wanted = fill(service)
    former = keys_in_use(service)
    memory_keyring.locked = True
    with pytest.raises(EncryptionKeyError, match="refused"):
        rotate(service, "keyring")
    assert keys_in_use(service) == former
    assert read(opened(local_settings), wanted) == wanted
    memory_keyring.locked = False
    rotate(service, "keyring")
    assert read(opened(local_settings), wanted) == wanted


def test_a_version_that_does_not_open_keeps_its_key(local_settings: Settings, opened: Open) -> None:
    """Damaged versions are named and keep the former key alive; all others are rewrapped; mended, the next rotation retires it."""
    service = opened(local_settings)
    wanted = fill(service)
    former = service.deployment.keys.keyring.active_id
    bad = person(service).get_by_name("s3")
    mend = _damage(service, bad.id, 2)
    rotation = rotate(service)
    assert (rotation.corrupt, rotation.retired, rotation.rewrapped) == ([(bad.id, 2)], [], 9)
    assert keys_in_use(service) == {former, rotation.key_id}
    with pytest.raises(ValuesCorrupt):
        person(service).get_by_name("s3")
    others = {name: text for name, text in wanted.items() if name != "s3"}
    assert read(opened(local_settings), others) == others
    mend()
    assert read(opened(local_settings), wanted) == wanted
    rotation = rotate(service)
    assert keys_in_use(service) == {rotation.key_id}
    assert read(opened(local_settings), wanted) == wanted


def test_a_missing_former_key_is_named(local_settings: Settings, opened: Open) -> None:
    """A rotation that needs a former key which is not at hand says which one and changes nothing there; with the key, it ends."""
    path = local_settings.folder / "encryption.key"
    first, second, third = path.read_text().strip(), new_key(), new_key()
    path.unlink()
    service = opened(replace(local_settings, encryption_key=first))
    wanted = fill(service, 2)
    bad = person(service).get_by_name("s1")
    mend = _damage(service, bad.id, 2)
    assert rotate(opened(replace(local_settings, encryption_key=f"{second},{first}"))).corrupt == [(bad.id, 2)]
    mend()
    unaware = opened(replace(local_settings, encryption_key=f"{third},{second}"))
    first_id = key_id(parse_keys(first, "")[0])
    with pytest.raises(EncryptionKeyError, match=f"encrypted with the key {first_id}, which is not at hand"):
        person(unaware).get_by_name("s1")
    with pytest.raises(EncryptionKeyError, match=f"needs the former key {first_id}, which is not at hand"):
        rotate(unaware)
    assert len(rotate(opened(replace(local_settings, encryption_key=f"{third},{second},{first}"))).retired) == 2
    assert read(opened(replace(local_settings, encryption_key=third)), wanted) == wanted


def test_settings_never_hold_what_a_rotation_made(local_settings: Settings, opened: Open, tmp_path: Path) -> None:
    """A managed rotation writes keys into the key file alone."""
    service = opened(local_settings)
    fill(service)
    rotate(service)
    (key,) = KeyFile(local_settings.folder / "encryption.key").load()
    encoded = base64.b64encode(key)
    holders = [
        path.name for path in tmp_path.rglob("*") if path.is_file() and any(each in read_elsewhere(path) for each in (encoded, key))
    ]
    assert holders == ["encryption.key"]
