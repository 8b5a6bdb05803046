"""What references lead to, on every database: checking and resolving agree, and nobody learns what they may not see."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import UNSET
from sqlalchemy import delete, insert, update

from strongroom.auth.policy import Role
from strongroom.db.tables import encryption_keys, secrets, sql_values
from strongroom.errors import Forbidden, InvalidInput, NotFound
from strongroom.models.reference import (
    MAX_REFERENCES,
    CheckedReference,
    CheckedReferences,
    CheckReferences,
    Reference,
    ReferenceStatus,
    ResolvedReference,
    ResolveReferences,
    parse_reference,
)
from strongroom.models.run import CreateRun, GetRun
from strongroom.models.secret import Scope
from strongroom.operations import run as run_operations
from strongroom.operations import secret as operations
from strongroom.secrets_stores.sql import Place, SqlSecretsStore
from strongroom.service.placements import Placements
from strongroom.service.reference import ReferenceService
from strongroom.service.revision import Revisions
from strongroom.service.wiring import Service
from tests.canary import CANARY, holds_canary
from tests.people import Person, add_person
from tests.statements import statements

ONE, TWO = f"{CANARY}-one", f"{CANARY}-two"
OK, NO_KEY, NO_SECRET, UNREADABLE = ReferenceStatus.OK, ReferenceStatus.NO_KEY, ReferenceStatus.NO_SECRET, ReferenceStatus.UNREADABLE


def references(*texts: str) -> list[Reference]:
    """References as they are written in attributes, without braces."""
    found = [parse_reference(f"{{{{{text}}}}}") for text in texts]
    assert all(found)
    return [reference for reference in found if reference]


def check(person: Person, *texts: str) -> list[CheckedReference]:
    return person.ask(operations.CHECK, CheckReferences(references=references(*texts))).items


def resolve(person: Person, *texts: str, run_id: str | None = None) -> list[ResolvedReference]:
    return person.ask(operations.RESOLVE, ResolveReferences(references=references(*texts), run_id=run_id)).items


def texts_of(items: Sequence[ResolvedReference]) -> list[str | None]:
    return [None if item.value is UNSET else item.value.reveal() for item in items]


def begin(person: Person) -> str:
    """The id of a run that the person begins."""
    return person.ask(run_operations.CREATE, CreateRun(pipeline="p", stack="default")).id


def test_each_reference_has_its_answer(alice: Person) -> None:
    """One item per reference, in the order asked, also for those asked twice: found, without the key, or not there at all."""
    made = alice.create("mydb", {"user": ONE, "tls.key": TWO})
    alice.update(made.id, {"host": ""})
    asked = ("mydb.user", "mydb.password", "mydbs.user", "mydb.tls.key", "mydb.user", "zzz.a", "mydb.host")
    checked, resolved = check(alice, *asked), resolve(alice, *asked)
    assert [item.status for item in checked] == [OK, NO_KEY, NO_SECRET, OK, OK, NO_SECRET, OK]
    assert [item.status for item in resolved] == [item.status for item in checked]
    assert texts_of(resolved) == [ONE, None, None, TWO, ONE, None, ""]
    for item in (*checked, *resolved):
        if item.status is NO_SECRET:
            assert (item.secret_id, item.version, item.keys) == (None, None, [])
        else:
            assert (item.secret_id, item.version, item.keys) == (made.id, 2, ["user", "tls.key", "host"])
    for items in (checked, resolved):
        assert [item.near for item in items] == [[], [], ["mydb"], [], [], [], []]
    assert not holds_canary(repr(checked) + repr(resolved))


def test_nothing_asked(alice: Person) -> None:
    """No references make no items."""
    assert check(alice) == []
    assert resolve(alice) == []


def test_names_are_exact(alice: Person) -> None:
    """A secret whose name is only like the reference's is suggested and never taken."""
    alice.create("mydb-prod", {"user": ONE})
    for text in ("mydb.user", "mydb-pro.user", "MYDB-PROD.user", "mydb_prod.user", "mydb-prod-.user"):
        for item in (*check(alice, text), *resolve(alice, text)):
            assert item.status is NO_SECRET
    assert check(alice, "mydb-pro.user")[0].near == ["mydb-prod"]
    assert check(alice, "mydb-prod.User", "mydb-prod.use", "mydb-prod.user.")[0].status is NO_KEY


def test_the_user_scope_comes_first(alice: Person, bob: Person) -> None:
    """One's own secret hides that of the workspace, which is what everybody else gets."""
    shared = alice.create("s", {"k": ONE})
    own = alice.create("s", {"k": TWO}, Scope.USER)
    assert [item.secret_id for item in check(alice, "s.k")] == [own.id]
    assert texts_of(resolve(alice, "s.k")) == [TWO]
    assert [item.secret_id for item in check(bob, "s.k")] == [shared.id]
    assert texts_of(resolve(bob, "s.k")) == [ONE]
    alice.delete(own.id)
    assert texts_of(resolve(alice, "s.k")) == [ONE]


def test_a_found_secret_without_the_key_is_the_end(alice: Person) -> None:
    """There is no fallback to a secret of the same name in the workspace, which has the key: the answer names the keys there are."""
    alice.create("s", {"k": ONE, "only_shared": ONE})
    own = alice.create("s", {"k": TWO, "l": TWO}, Scope.USER)
    for item in (*check(alice, "s.only_shared"), *resolve(alice, "s.only_shared")):
        assert (item.status, item.secret_id, item.keys) == (NO_KEY, own.id, ["k", "l"])
    assert texts_of(resolve(alice, "s.only_shared")) == [None]


def test_secrets_of_others_do_not_exist(alice: Person, bob: Person, service: Service) -> None:
    """Another one's user-scoped secret, or one of another workspace, answers like none at all; its name is not suggested."""
    alice.create("plan_x", {"k": ONE}, Scope.USER)
    for person in (bob, bob.as_role(Role.ADMIN), add_person(service, "zoe", workspace="elsewhere")):
        for ask in (check, resolve):
            (hidden,), (absent,) = ask(person, "plan_x.k"), ask(person, "plan_q.k")
            assert hidden.status is NO_SECRET
            assert repr(hidden).replace("plan_x", "plan_q") == repr(absent)
        assert check(person, "plan_y.k")[0].near == []
    assert check(alice, "plan_y.k")[0].near == ["plan_x"]


def test_roles(alice: Person) -> None:
    """Who may see metadata may check, and learns whether they may read; resolving needs the right to read values."""
    alice.create("s", {"k": ONE})
    for role, may_read in ((Role.VIEWER, False), (Role.READER, True), (Role.EDITOR, True), (Role.ADMIN, True)):
        reply = alice.as_role(role).ask(operations.CHECK, CheckReferences(references=references("s.k", "s.l")))
        assert ([item.status for item in reply.items], reply.may_read) == ([OK, NO_KEY], may_read)
    with pytest.raises(Forbidden, match="secret:read-values"):
        resolve(alice.as_role(Role.VIEWER), "s.k")


def test_too_many_references(alice: Person) -> None:
    """A request has a limit, named in the error; up to there it is answered."""
    many = [Reference(f"s{number}", "k") for number in range(MAX_REFERENCES + 1)]
    alice.create("s9999", {"k": ONE})
    answered = alice.ask(operations.CHECK, CheckReferences(references=many[:-1])).items
    assert [item.status for item in answered] == [NO_SECRET] * (MAX_REFERENCES - 1) + [OK]
    assert texts_of(alice.ask(operations.RESOLVE, ResolveReferences(references=many[:-1])).items)[-1] == ONE
    with pytest.raises(InvalidInput, match="at most 10000 references"):
        alice.ask(operations.CHECK, CheckReferences(references=many))
    with pytest.raises(InvalidInput, match="at most 10000 references"):
        alice.ask(operations.RESOLVE, ResolveReferences(references=many))


def test_odd_names_lead_nowhere(alice: Person) -> None:
    """What a program may send instead of a reference, and no secret may be called, is a name that nobody has."""
    alice.create("s", {"k": ONE})
    odd = ["", "\0", "s\0", "\u00e4", "\U0001f600", "\ud800", "s ", "%", "s.k", "x" * 300, "x" * 70_000, "name"]
    asked = [Reference(name, "k") for name in odd] + [Reference("s", key) for key in odd] + references("s.k")
    wanted = [NO_SECRET] * len(odd) + [NO_KEY] * len(odd) + [OK]
    assert [item.status for item in alice.ask(operations.CHECK, CheckReferences(references=asked)).items] == wanted
    assert [item.status for item in alice.ask(operations.RESOLVE, ResolveReferences(references=asked)).items] == wanted


def test_a_check_is_one_query(alice: Person, service: Service) -> None:
    """Two hundred references cost one query on secrets, which touches no sealed value; a read of them all costs one, too."""
    for number in range(100):
        alice.create(f"s{number}", {"a": ONE, "b": TWO})
    asked = [f"s{number}.{key}" for number in range(100) for key in "ab"]
    for person in (alice, alice.as_role(Role.VIEWER)):
        with statements(service.deployment.database) as seen:
            assert all(item.status is OK for item in check(person, *asked))
        queries = [statement for statement in seen if "secrets" in statement]
        assert len(queries) == 1
        assert not any("sql_values" in statement or "sealed" in statement for statement in seen)
    with statements(service.deployment.database) as seen:
        assert texts_of(resolve(alice, *asked)) == [ONE, TWO] * 100
    assert len([statement for statement in seen if "secrets" in statement]) == 1


def test_missing_names_cost_a_bounded_search(alice: Person, service: Service) -> None:
    """However many names are missing, names like them are looked for only for some."""
    with statements(service.deployment.database) as few:
        check(alice, *[f"s{number}.k" for number in range(20)])
    with statements(service.deployment.database) as many:
        check(alice, *[f"s{number}.k" for number in range(500)])
    assert len(many) == len(few)


class ClosedStore(SqlSecretsStore):
    """A store that gives nothing back."""

    def unseal(self, place: Place, row: Sequence[Any]) -> dict[str, str]:
        raise AssertionError("the store was asked for values")


def test_checking_asks_no_store(alice: Person, service: Service) -> None:
    """Validation works while the store refuses every read."""
    made = alice.create("s", {"k": ONE})

    def record(*_: Any) -> None:
        raise AssertionError("a check was recorded as a read")

    closed_store = ClosedStore(service.deployment.keys)
    configured = service.placements.stores
    placements = Placements(
        service.deployment.database, closed_store, service.deployment.digest_key, service.deployment.id, configured
    )
    closed = ReferenceService(service.deployment, closed_store, placements, record, Revisions(service.deployment, closed_store))
    reply: CheckedReferences = closed.check(alice.actor, CheckReferences(references=references("s.k", "s.l", "t.k")))
    assert [item.status for item in reply.items] == [OK, NO_KEY, NO_SECRET]
    assert reply.items[0].secret_id == made.id


def test_unreadable_values_spoil_nothing_else(alice: Person, service: Service) -> None:
    """What does not decrypt, is lost, or is under a key that is not at hand, says so in its own items; the others are given."""
    corrupt, lost, fine, locked = (alice.create(name, {"k": ONE, "l": TWO}) for name in ("corrupt", "lost", "fine", "locked"))
    with service.deployment.database.write() as connection:
        connection.execute(insert(encryption_keys).values(id="0123456789abcdef", active=False, created=1))
        connection.execute(update(sql_values).where(sql_values.c.secret_id == locked.id).values(key_id="0123456789abcdef"))
        connection.execute(update(sql_values).where(sql_values.c.secret_id == corrupt.id).values(sealed=b"x" * 80))
        connection.execute(delete(sql_values).where(sql_values.c.secret_id == lost.id))
    items = resolve(alice, "corrupt.k", "lost.k", "fine.k", "corrupt.l", "lost.absent", "absent.k", "locked.k")
    assert [item.status for item in items] == [UNREADABLE, UNREADABLE, OK, UNREADABLE, NO_KEY, NO_SECRET, UNREADABLE]
    assert texts_of(items) == [None, None, ONE, None, None, None, None]
    assert "the key 0123456789abcdef, which is not at hand" in (items.pop().message or "")
    assert "does not decrypt" in (items[0].message or "")
    assert "missing" in (items[1].message or "")
    assert [item.message for item in items[2:]] == [None, items[0].message, None, None]
    assert items[2].secret_id == fine.id


def test_a_resolving_run_has_it_on_record(alice: Person, bob: Person) -> None:
    """With a run, what is given is on its record first, by version; what is not given is not. Only one's own run takes it."""
    made = alice.create("s", {"k": ONE, "l": TWO})
    run_id = begin(alice)
    assert texts_of(resolve(alice, "s.k", "s.k", "s.absent", "absent.k", run_id=run_id)) == [ONE, ONE, None, None]
    run = alice.ask(run_operations.GET, GetRun(name=run_id))
    assert isinstance(run.reads, list)
    assert [(read.secret_id, read.secret, read.version, read.key, read.step) for read in run.reads] == [(made.id, "s", 1, "k", None)]
    for person, error in ((bob, Forbidden), (alice, NotFound)):
        with pytest.raises(error):
            resolve(person, "s.k", run_id=run_id if person is bob else "00000000-0000-7000-8000-000000000000")
    resolve(alice, "s.l")
    again = alice.ask(run_operations.GET, GetRun(name=run_id))
    assert again.reads == run.reads


def test_reads_of_hidden_secrets_stay_hidden(alice: Person, bob: Person) -> None:
    """A run's record shows others only what it read of secrets that they may see; its owner sees everything."""
    alice.create("shared", {"k": ONE})
    alice.create("plan_x", {"k": TWO}, Scope.USER)
    run_id = begin(alice)
    resolve(alice, "shared.k", "plan_x.k", run_id=run_id)
    for person, names in ((alice, {"shared", "plan_x"}), (bob, {"shared"}), (bob.as_role(Role.ADMIN), {"shared"})):
        reads = person.ask(run_operations.GET, GetRun(name=run_id)).reads
        assert isinstance(reads, list)
        assert {read.secret for read in reads} == names


class Model:
    """What there should be: (owner or '', name) to keys and values."""

    def __init__(self, service: Service, people: Sequence[Person]) -> None:
        self.service, self.people = service, people
        self.known: dict[tuple[str, str], tuple[str, dict[str, str]]] = {}

    def expected(self, person: Person, reference: Reference) -> tuple[ReferenceStatus, list[str], str | None]:
        found = self.known.get((person.actor.name, reference.name)) or self.known.get(("", reference.name))
        if found is None:
            return NO_SECRET, [], None
        value = found[1].get(reference.key)
        return (NO_KEY if value is None else OK), list(found[1]), value

    def change(self, source: random.Random, names: Sequence[str], keys: Sequence[str], number: int) -> None:
        """Creates, changes, renames, moves or deletes something, in the store and here."""
        person = source.choice(self.people)
        owner = source.choice([person.actor.name, ""])
        name, other = source.choice(names), source.choice(names)
        place, value = (owner, name), f"{CANARY}-{number}"
        if place not in self.known:
            values = {key: f"{value}-{key}" for key in source.sample(keys, source.randint(1, len(keys)))}
            made = person.create(name, values, Scope.USER if owner else Scope.WORKSPACE)
            self.known[place] = made.id, values
            return
        secret_id, values = self.known[place]
        match source.choice(["set", "remove", "rename", "move", "delete"]):
            case "set":
                key = source.choice(keys)
                person.update(secret_id, {key: value})
                values[key] = value
            case "remove" if len(values) > 1:
                key = source.choice(list(values))
                person.update(secret_id, {key: None})
                del values[key]
            case "rename" if (owner, other) not in self.known:
                person.update(secret_id, name=other)
                self.known[owner, other] = self.known.pop(place)
            case "move" if owner and ("", name) not in self.known:
                person.update(secret_id, scope=Scope.WORKSPACE)
                self.known["", name] = self.known.pop(place)
            case _:
                person.delete(secret_id)
                del self.known[place]


@pytest.mark.parametrize("seed", [1, 2])
def test_checking_and_resolving_agree(alice: Person, bob: Person, service: Service, seed: int) -> None:
    """Right after any change, both say the same of every reference, for everybody, and it is what should be."""
    source = random.Random(seed)
    names, keys = ["a", "b", "a-b", "A"], ["k", "k.l", "K"]
    asked = [Reference(name, key) for name in names for key in keys]
    model = Model(service, [alice, bob])
    for number in range(120):
        model.change(source, names, keys, number)
        for person in (alice, bob):
            source.shuffle(asked)
            checked = person.ask(operations.CHECK, CheckReferences(references=asked))
            resolved = person.ask(operations.RESOLVE, ResolveReferences(references=asked))
            for reference, one, two in zip(asked, checked.items, resolved.items, strict=True):
                status, wanted_keys, value = model.expected(person, reference)
                assert (one.name, one.key, one.status, one.keys) == (reference.name, reference.key, status, wanted_keys)
                assert (two.name, two.key, two.status, two.keys) == (reference.name, reference.key, status, wanted_keys)
                assert (one.secret_id, one.version) == (two.secret_id, two.version)
                right = (None if two.value is UNSET else two.value.reveal()) == value
                assert right, "a reference gave another value than it should"


def test_all_values_are_of_one_moment(alice: Person, service: Service) -> None:
    """Two secrets that change in one transaction are never seen half-way, not even where it takes several queries to find them."""
    made = [alice.create(name, {"k": ONE}) for name in ("first", "last")]
    for secret in made:
        alice.update(secret.id, {"k": TWO})
    database = service.deployment.database
    between = [f"filler{number}.k" for number in range(1_100)]
    done = threading.Event()

    def write() -> None:
        try:
            for number in range(150):
                with database.write() as connection:
                    for secret in made:
                        statement = update(secrets).where(secrets.c.id == secret.id).values(current_version=1 + number % 2)
                        connection.execute(statement)
        finally:
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        items = resolve(alice, "first.k", *between, "last.k")
        assert items[0].version == items[-1].version
        assert texts_of(items)[0] == texts_of(items)[-1]
        seen.add(items[0].version)
    writer.join()
    assert seen <= {1, 2}


@pytest.mark.parametrize("name", ["\0", "s ", " s", "s\0", "é", "S", "s\n", ""])
def test_a_name_that_no_secret_can_have_leads_nowhere(alice: Person, name: str) -> None:
    """On every database, whatever it makes of blanks, case and control characters."""
    alice.create("s", {"k": f"{CANARY}-k"})
    references = [Reference(name, "k"), Reference("s", "k")]
    for operation, request in (
        (operations.CHECK, CheckReferences(references=references)),
        (operations.RESOLVE, ResolveReferences(references=references)),
    ):
        items = alice.ask(operation, request).items
        assert [item.status for item in items] == [ReferenceStatus.NO_SECRET, ReferenceStatus.OK]
