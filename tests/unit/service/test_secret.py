"""The rules of secrets, on every database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import func, select

from strongroom.auth.policy import Role
from strongroom.config import Settings
from strongroom.db.tables import deletions, intents, placements, secret_labels, secrets, sql_values, versions
from strongroom.errors import (
    AlreadyExists,
    Forbidden,
    InvalidInput,
    NotFound,
    NothingToChange,
    StaleVersion,
    StrongroomError,
    TooLarge,
)
from strongroom.models.secret import MAX_SECRET_BYTES, Scope, Secret
from strongroom.service.wiring import Service
from tests.canary import CANARY, holds_canary
from tests.people import Person, add_person

ONE, TWO, THREE = f"{CANARY}-one", f"{CANARY}-two", f"{CANARY}-three"


def rows(service: Service) -> dict[str, int]:
    """How many rows each table of secrets has."""
    tables = (secrets, secret_labels, versions, placements, sql_values, intents, deletions)
    with service.deployment.database.snapshot() as connection:
        return {table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables}


def without_values(secret: Secret) -> Secret:
    """The metadata of a secret that was read with its values."""
    import msgspec

    return msgspec.structs.replace(secret, values=msgspec.UNSET)


def test_a_new_secret_is_as_it_was_given(alice: Person) -> None:
    """What `create` replies, what `get` reads and what `list` shows agree in every field."""
    expires = datetime(2030, 1, 31, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    before = datetime.now(UTC)
    made = alice.create(
        "my_secret", {"b": ONE, "a": TWO}, Scope.USER, description="what\nit is", labels={"team": "ml ä"}, expires_at=expires
    )
    after = datetime.now(UTC)
    assert (made.name, made.scope, made.version, made.keys) == ("my_secret", Scope.USER, 1, ["b", "a"])
    assert (made.owner, made.created_by, made.workspace) == ("alice", "alice", "default")
    assert (made.description, made.labels, made.expires_at) == ("what\nit is", {"team": "ml ä"}, expires)
    assert before - timedelta(milliseconds=1) <= made.created == made.updated <= after
    read = alice.get(made.id)
    assert without_values(read) == made == alice.get_metadata(made.id) == alice.list().items[0]
    assert read == alice.get_by_name("my_secret")
    assert read.expires_at is not None
    assert read.expires_at.tzinfo == UTC
    assert list(read.secret_values.items()) == [("b", ONE), ("a", TWO)]


def test_replies_to_writes_and_lists_hold_no_values(alice: Person) -> None:
    """Only the two reads of values give values."""
    made = alice.create("s", {"k": ONE})
    replies = [made, alice.update(made.id, {"k": TWO}), alice.rollback(made.id, 1), alice.get_metadata(made.id)]
    replies += [alice.get_metadata_by_name("s"), *alice.list()]
    for reply in replies:
        with pytest.raises(StrongroomError):
            _ = reply.secret_values
    assert not holds_canary(repr([*replies, alice.versions(made.id), alice.get(made.id)]))


@pytest.mark.parametrize(
    "values",
    [
        {"k": ""},
        {"k": "\0"},
        {"k": "ä\U0001f600\u202e\r\n\t\x7f"},
        {"k": '"\\{{a.b}}'},
        {".": "x", "-": "y", "_": "z", "0": ""},
        {f"key{number}": str(number) for number in range(1000)},
    ],
    ids=range(6),
)
def test_values_come_back_exactly(alice: Person, values: dict[str, str]) -> None:
    """Any Unicode text is stored as it is, and keys keep their order."""
    made = alice.create("s", values)
    assert list(alice.get(made.id).secret_values.items()) == list(values.items())


def test_the_limit_is_checked_before_anything_is_written(service: Service, alice: Person) -> None:
    """65,536 bytes are stored; 65,537 are refused on create and on update, and nothing changes."""
    made = alice.create("s", {"k": "x" * (MAX_SECRET_BYTES - 1)})
    assert len(alice.get(made.id).secret_values["k"]) == MAX_SECRET_BYTES - 1
    before = rows(service)
    with pytest.raises(TooLarge):
        alice.create("t", {"k": "x" * MAX_SECRET_BYTES})
    with pytest.raises(TooLarge):
        alice.update(made.id, {"k": "y" * MAX_SECRET_BYTES})
    with pytest.raises(TooLarge, match="65538"):
        alice.update(made.id, {"l": "x"})
    assert rows(service) == before
    assert alice.get_metadata(made.id).version == 1


@pytest.mark.parametrize(
    "attempt",
    [
        lambda person: person.create("a.b", {"k": ONE}),
        lambda person: person.create("name", {"k": ONE}),
        lambda person: person.create("", {"k": ONE}),
        lambda person: person.create("s", {}),
        lambda person: person.create("s", {"a b": ONE}),
        lambda person: person.create("s", {"name": ONE}),
        lambda person: person.create("s", {"k": f"{ONE}\ud800"}),
        lambda person: person.create("s", {"k": ONE}, labels={"a b": "x"}),
        lambda person: person.create("s", {"k": ONE}, labels={"a": "\n"}),
        lambda person: person.create("s", {"k": ONE}, description="\0"),
        lambda person: person.create("s", {"k": ONE}, description="x" * 4097),
        lambda person: person.create("s", {"k": ONE}, expires_at=datetime(2030, 1, 1)),
        lambda person: person.create("s", {"k": ONE}, expires_at=datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))),
        lambda person: person.create("s", {"k": ONE}, expires_at=datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))),
    ],
    ids=range(14),
)
def test_bad_input_stores_nothing(service: Service, alice: Person, attempt: Callable[[Person], Secret]) -> None:
    """Input that breaks a rule is refused before anything is written, and no message has a value."""
    before = rows(service)
    with pytest.raises(InvalidInput) as caught:
        attempt(alice)
    assert rows(service) == before
    assert not holds_canary(f"{caught.value} {caught.value.hint}")


def test_names_are_unique_in_their_scope(alice: Person, bob: Person, service: Service) -> None:
    """One name per workspace, and one per workspace and owner; a second one is refused and changes nothing."""
    made = [alice.create("s", {"k": ONE}), alice.create("s", {"k": TWO}, Scope.USER), bob.create("s", {"k": THREE}, Scope.USER)]
    before = rows(service)
    with pytest.raises(AlreadyExists, match="a secret 's' already exists in workspace 'default'"):
        bob.create("s", {"k": ONE})
    with pytest.raises(AlreadyExists, match="a secret 's' already exists in your user scope"):
        alice.create("s", {"k": ONE}, Scope.USER)
    assert rows(service) == before
    assert [alice.get(made[0].id).secret_values, alice.get(made[1].id).secret_values] == [{"k": ONE}, {"k": TWO}]
    carol = add_person(service, "carol", workspace="elsewhere")
    carol.create("s", {"k": ONE})
    carol.create("s", {"k": ONE}, Scope.USER)
    assert [secret.workspace for secret in carol.list()] == ["elsewhere"] * 2


def test_names_are_exact(alice: Person) -> None:
    """Neither case, blanks, parts, patterns nor odd characters find another name."""
    alice.create("Abc_1", {"k": ONE})
    alice.create("abc_1", {"k": TWO})
    assert alice.get_by_name("abc_1").secret_values == {"k": TWO}
    for near in (
        "ABC_1",
        "abc",
        "abc_1 ",
        " abc_1",
        "abc_",
        "abc%",
        "abc-1",
        "abcX1",
        "*",
        "",
        "äbc_1",
        "abc_1\0",
        "\ud800",
        "x" * 10_000,
    ):
        with pytest.raises(NotFound) as caught:
            alice.get_by_name(near)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 150


def test_ids_are_exact(alice: Person) -> None:
    """Only the full id finds a secret."""
    made = alice.create("s", {"k": ONE})
    for near in (made.id[:-1], made.id.upper(), made.id + " ", made.id.replace("-", ""), "%", "", "\0", "\ud800", "ä", made.name):
        for attempt in (alice.get, alice.get_metadata, alice.versions, alice.delete, lambda text: alice.update(text, {"k": TWO})):
            with pytest.raises(NotFound):
                attempt(near)
    assert alice.get(made.id).secret_values == {"k": ONE}


def test_a_name_is_looked_up_in_the_own_scope_first(alice: Person, bob: Person) -> None:
    """The caller's user scope comes first, then the workspace; a given scope alone counts."""
    shared, own = alice.create("s", {"k": ONE}), alice.create("s", {"k": TWO}, Scope.USER)
    assert alice.get_by_name("s").id == alice.get_by_name("s", Scope.USER).id == own.id
    assert alice.get_by_name("s", Scope.WORKSPACE).id == bob.get_by_name("s").id == shared.id
    with pytest.raises(NotFound, match="in your user scope"):
        bob.get_by_name("s", Scope.USER)
    alice.delete(own.id)
    assert alice.get_by_name("s").id == shared.id


def test_a_missing_name_suggests_near_ones(alice: Person, bob: Person) -> None:
    """A failed look-up suggests near names that the caller may see, in the scope that was asked for."""
    alice.create("mlflow_secret", {"k": ONE})
    alice.create("mlflow_token", {"k": ONE}, Scope.USER)
    for wanted, hint in (
        ("mlflow_secrets", "did you mean mlflow_secret?"),
        ("MLFLOW_SECRET", "did you mean mlflow_secret?"),
        ("mlflow_toke", "did you mean mlflow_token?"),
        ("zzz", "see them with: strongroom secret list"),
    ):
        with pytest.raises(NotFound) as caught:
            alice.get_by_name(wanted)
        assert caught.value.hint == hint
    with pytest.raises(NotFound) as caught:
        bob.get_by_name("mlflow_toke")
    assert caught.value.hint == "see them with: strongroom secret list"
    with pytest.raises(NotFound) as caught:
        alice.get_by_name("mlflow_secrets", Scope.USER)
    assert "mlflow_secret" not in (caught.value.hint or "").replace("mlflow_token", "")


def test_an_update_merges(alice: Person) -> None:
    """Given keys change or are added behind the others, `None` removes, the rest stays; the version goes up by one."""
    made = alice.create("s", {"a": ONE, "b": ONE, "c": ONE})
    changed = alice.update(made.id, {"d": TWO, "b": TWO, "a": None})
    assert (changed.version, changed.keys, changed.name) == (2, ["b", "c", "d"], "s")
    assert changed.updated > made.updated
    assert changed.created == made.created
    assert list(alice.get(made.id).secret_values.items()) == [("b", TWO), ("c", ONE), ("d", TWO)]
    assert without_values(alice.get(made.id)) == changed
    assert alice.get(made.id, 1).secret_values == {"a": ONE, "b": ONE, "c": ONE}


def test_metadata_changes_without_a_new_version(alice: Person) -> None:
    """Name, scope, description, labels and expiry change in place, all at once."""
    made = alice.create("s", {"k": ONE}, labels={"a": "1", "b": "2"})
    moment = datetime(2031, 1, 1, tzinfo=UTC)
    changed = alice.update(made.id, name="t", scope=Scope.USER, description="d", labels={"b": "3"}, expires_at=moment)
    assert (changed.version, changed.name, changed.scope, changed.description) == (1, "t", Scope.USER, "d")
    assert (changed.labels, changed.expires_at, changed.id) == ({"b": "3"}, moment, made.id)
    assert without_values(alice.get_by_name("t")) == changed
    assert alice.list(label=["b=3"]).total == 1
    assert alice.list(label=["a=1"]).total == 0
    assert alice.update(made.id, expires_at=None, labels={}).expires_at is None
    assert alice.get(made.id).labels == {}
    with pytest.raises(NotFound):
        alice.get_by_name("s")


def test_an_update_that_changes_nothing_makes_no_version(alice: Person) -> None:
    """Values and metadata that are already so are accepted and leave version and time alone."""
    made = alice.create("s", {"a": ONE, "b": TWO}, description="d", labels={"l": "x"})
    same = alice.update(made.id, {"b": TWO}, name="s", description="d", labels={"l": "x"}, scope=Scope.WORKSPACE, expires_at=None)
    assert same == made == without_values(alice.get(made.id))


def test_an_update_without_changes_is_an_error(alice: Person) -> None:
    """An update that names no change says so."""
    made = alice.create("s", {"k": ONE})
    for fields in ({}, {"values": {}}):
        with pytest.raises(NothingToChange):
            alice.update(made.id, **fields)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"values": {"b": None}}, "there is no key 'b' to remove"),
        ({"values": {"a": None}}, "at least one key"),
        ({"values": {"x y": ONE}}, "a blank"),
        ({"name": "a.b"}, "a dot"),
        ({"name": ""}, "empty"),
        ({"labels": {"x": "\0"}}, "label"),
        ({"description": "\0"}, "description"),
        ({"expires_at": datetime(2030, 1, 1)}, "zone"),
    ],
)
def test_a_bad_update_changes_nothing(alice: Person, fields: dict[str, object], reason: str) -> None:
    """One bad part refuses the whole update, with the good parts in it."""
    made = alice.create("s", {"a": ONE})
    good = {"values": {"good": TWO}, "name": "good", "description": "good"}
    if reason != "at least one key":
        fields = good | fields | ({"values": good["values"] | fields["values"]} if "values" in fields else {})  # type: ignore[operator]
    with pytest.raises(InvalidInput, match=reason):
        alice.update(made.id, **fields)  # type: ignore[arg-type]
    assert without_values(alice.get(made.id)) == made
    assert alice.get(made.id).secret_values == {"a": ONE}


def test_a_taken_name_refuses_the_whole_update(alice: Person, service: Service) -> None:
    """Neither a rename nor a change of scope gets onto a taken name, and new values are not stored either."""
    made, own = alice.create("s", {"k": ONE}), alice.create("t", {"k": TWO}, Scope.USER)
    alice.create("t", {"k": THREE})
    before = rows(service)
    for attempt in (
        lambda: alice.update(made.id, {"k": THREE}, name="t"),
        lambda: alice.update(own.id, {"k": THREE}, scope=Scope.WORKSPACE),
        lambda: alice.update(made.id, {"k": THREE}, name="t", scope=Scope.USER),
    ):
        with pytest.raises(AlreadyExists, match="'t'"):
            attempt()
    assert rows(service) == before
    assert alice.get(made.id).secret_values == {"k": ONE}
    assert alice.get(own.id).secret_values == {"k": TWO}


def test_only_the_owner_makes_a_secret_private(alice: Person, bob: Person) -> None:
    """Anybody who may write can change a shared secret, but only its owner can take it out of the workspace."""
    made = alice.create("s", {"k": ONE})
    changed = bob.update(made.id, {"k": TWO}, name="t")
    assert (changed.owner, changed.created_by) == ("alice", "alice")
    assert [version.created_by for version in alice.versions(made.id)] == ["bob", "alice"]
    with pytest.raises(InvalidInput, match="only its owner alice"):
        bob.update(made.id, scope=Scope.USER)
    assert alice.update(made.id, scope=Scope.USER).scope == Scope.USER
    with pytest.raises(NotFound):
        bob.get(made.id)


def test_a_stale_version_is_refused(alice: Person) -> None:
    """`if_version` guards against changes that the caller has not seen; nothing is changed then."""
    made = alice.create("s", {"k": ONE})
    assert alice.update(made.id, {"k": TWO}, if_version=1).version == 2
    for stale in (1, 3, 0, -1, 2**70):
        with pytest.raises(StaleVersion, match="is at version 2"):
            alice.update(made.id, {"k": THREE}, if_version=stale)
        with pytest.raises(StaleVersion):
            alice.update(made.id, name="t", if_version=stale)
    assert alice.get_by_name("s").secret_values == {"k": TWO}


def test_history_and_rollback(alice: Person) -> None:
    """Versions are kept and listed newest first; a rollback moves the pointer, and the next update counts on from the last number."""
    made = alice.create("s", {"a": ONE})
    alice.update(made.id, {"b": TWO})
    alice.update(made.id, {"a": None})
    listed = alice.versions(made.id)
    assert [(version.version, version.current, version.keys) for version in listed] == [
        (3, True, ["b"]),
        (2, False, ["a", "b"]),
        (1, False, ["a"]),
    ]
    assert {(place.store, place.state) for version in listed for place in version.placements} == {("sql", "present")}
    assert (listed.total, listed.page, listed.total_pages) == (3, 1, 1)
    back = alice.rollback(made.id, 1)
    assert (back.version, back.keys) == (1, ["a"])
    assert back.updated > made.updated
    assert without_values(alice.get(made.id)) == back
    assert alice.get(made.id).secret_values == {"a": ONE}
    assert alice.get(made.id, 3).secret_values == {"b": TWO}
    assert alice.update(made.id, {"c": THREE}).version == 4
    assert alice.get(made.id).secret_values == {"a": ONE, "c": THREE}


def test_a_rollback_to_nowhere_is_refused(alice: Person) -> None:
    """The current version and versions that are not kept are no targets; the hint says which are kept."""
    made = alice.create("s", {"k": ONE})
    alice.update(made.id, {"k": TWO})
    with pytest.raises(NothingToChange, match="version 2 is the current one already"):
        alice.rollback(made.id, 2)
    for missing in (0, 3, -1, 2**31, 2**70):
        with pytest.raises(NotFound) as caught:
            alice.rollback(made.id, missing)
        assert caught.value.hint == "it keeps: 1, 2"
        with pytest.raises(NotFound) as caught:
            alice.get(made.id, missing)
        assert caught.value.hint == "it keeps: 1, 2"
    assert alice.get(made.id).secret_values == {"k": TWO}


def test_as_many_versions_are_kept_as_set(settings: Settings) -> None:
    """Older versions go when newer ones come, with their values; the current one and the one before it always stay."""
    from dataclasses import replace

    service = Service(replace(settings, keep_versions=2))
    alice = add_person(service, "alice")
    made = alice.create("s", {"k": ONE})
    for number in range(2, 6):
        alice.update(made.id, {"k": f"{CANARY}-{number}"})
        assert [version.version for version in alice.versions(made.id)] == [number, number - 1]
    assert (rows(service)["versions"], rows(service)["sql_values"], rows(service)["placements"]) == (2, 2, 2)
    alice.rollback(made.id, 4)
    alice.update(made.id, {"k": THREE})
    assert [version.version for version in alice.versions(made.id)] == [6, 5, 4]
    assert alice.get(made.id, 5).secret_values == {"k": f"{CANARY}-5"}
    service.close()


def test_a_deleted_secret_leaves_nothing(alice: Person, service: Service) -> None:
    """All rows of a deleted secret go, its values first of all; its name is free again, and it is gone for every operation."""
    empty = rows(service)
    made = alice.create("s", {"k": ONE}, labels={"a": "b"})
    alice.update(made.id, {"k": TWO})
    alice.delete(made.id)
    assert rows(service) == empty
    for attempt in (alice.get, alice.get_metadata, alice.versions, alice.delete, lambda text: alice.update(text, {"k": ONE})):
        with pytest.raises(NotFound):
            attempt(made.id)
    with pytest.raises(NotFound):
        alice.rollback(made.id, 1)
    again = alice.create("s", {"k": THREE})
    assert again.id != made.id
    assert [secret.id for secret in alice.list()] == [again.id]


def test_a_page_past_the_end_is_empty(alice: Person) -> None:
    """Pages are counted from 1; past the end there is an empty page with the true total."""
    for number in range(3):
        alice.create(f"s{number}", {"k": ONE})
    page = alice.list(page=2, size=2)
    assert ([secret.name for secret in page], page.total, page.total_pages, page.page, page.size) == (["s2"], 3, 2, 2, 2)
    for number in (3, 10**30):
        page = alice.list(page=number, size=2)
        assert (page.items, page.total, page.page) == ([], 3, number)


@pytest.mark.parametrize(
    "query",
    [
        {"page": 0},
        {"page": -1},
        {"size": 0},
        {"size": 1001},
        {"sort_by": "size"},
        {"sort_by": "up:name"},
        {"sort_by": ""},
        {"sort_by": "asc:"},
        {"label": ["nothing"]},
        {"created": ["yesterday"]},
        {"updated": ["gt:2026-01-01"]},
        {"name": "oneof:["},
    ],
)
def test_bad_queries_are_refused(alice: Person, query: dict[str, object]) -> None:
    """A query that cannot be meant is refused in words."""
    with pytest.raises(InvalidInput):
        alice.list(**query)


@pytest.mark.parametrize(
    ("role", "may_read", "may_write"), [(Role.VIEWER, False, False), (Role.READER, True, False), (Role.EDITOR, True, True)]
)
def test_roles_are_enforced(alice: Person, bob: Person, role: Role, may_read: bool, may_write: bool) -> None:
    """Each operation asks for its permission, whether or not the secret is there; nobody else gets a value through any reply."""
    made = alice.create("s", {"k": ONE})
    alice.update(made.id, {"k": TWO})
    someone = bob.as_role(role)
    assert someone.get_metadata(made.id).name == someone.get_metadata_by_name("s").name == "s"
    assert someone.list().total == 1
    assert someone.versions(made.id).total == 2
    reads = [lambda: someone.get(made.id), lambda: someone.get_by_name("s"), lambda: someone.get_by_name("absent")]
    writes = [
        lambda: someone.create("t", {"k": ONE}),
        lambda: someone.update(made.id, {"k": THREE}),
        lambda: someone.update("absent", {"k": THREE}),
        lambda: someone.rollback(made.id, 1),
        lambda: someone.delete(made.id),
    ]
    for allowed, attempts in ((may_read, reads), (may_write, writes)):
        for attempt in attempts:
            try:
                attempt()
                outcome = True
            except Forbidden:
                outcome = False
            except NotFound:
                outcome = True
            assert outcome == allowed
