"""Another user's user-scoped secret does not exist for anyone else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from strongroom.auth.policy import Role
from strongroom.errors import NotFound, StrongroomError
from strongroom.models.secret import Scope, Secret
from strongroom.service.wiring import Service
from tests.canary import CANARY
from tests.people import Person, add_person

VALUE = f"{CANARY}-of-alice"
ABSENT = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(params=["editor", "admin", "elsewhere"])
def other(request: pytest.FixtureRequest, service: Service) -> Person:
    """Anybody but alice: a colleague, an administrator, somebody in another workspace."""
    if request.param == "elsewhere":
        return add_person(service, "other", workspace="elsewhere")
    return add_person(service, "other", role=Role(request.param))


def said(attempt: Callable[[], object]) -> tuple[type, str, str | None]:
    """The error of an attempt, as its caller sees it."""
    with pytest.raises(StrongroomError) as caught:
        attempt()
    return type(caught.value), str(caught.value), caught.value.hint


def test_no_operation_tells_a_hidden_secret_from_an_absent_one(alice: Person, other: Person) -> None:
    """By id or by name, with every operation, a hidden secret gives the very same error as none at all."""
    hidden = alice.create("plan_x", {"k": VALUE}, Scope.USER, labels={"team": "ml"}, description="hidden")
    alice.update(hidden.id, {"k": f"{VALUE}-2"})
    by_id: list[Callable[[str], object]] = [
        other.get,
        lambda text: other.get(text, 1),
        other.get_metadata,
        other.versions,
        other.delete,
        lambda text: other.update(text, {"k": "x"}),
        lambda text: other.update(text, {"k": None}),
        lambda text: other.update(text, {"k": "x"}, if_version=2),
        lambda text: other.update(text, {"k": "x"}, if_version=99),
        lambda text: other.update(text, name="plan_y"),
        lambda text: other.update(text, scope=Scope.WORKSPACE),
        lambda text: other.rollback(text, 1),
        lambda text: other.rollback(text, 99),
    ]
    for attempt in by_id:
        kind, text, hint = said(lambda attempt=attempt: attempt(hidden.id))
        assert kind is NotFound
        assert (kind, text.replace(hidden.id, ABSENT), hint) == said(lambda attempt=attempt: attempt(ABSENT))
    for attempt in (
        other.get_by_name,
        other.get_metadata_by_name,
        lambda name: other.get_by_name(name, Scope.USER),
        lambda name: other.get_by_name(name, Scope.WORKSPACE),
        lambda name: other.get_by_name(name, version=1),
    ):
        kind, text, hint = said(lambda attempt=attempt: attempt("plan_x"))
        assert kind is NotFound
        assert (kind, text.replace("plan_x", "plan_q"), hint) == said(lambda attempt=attempt: attempt("plan_q"))
    assert alice.get(hidden.id).secret_values == {"k": f"{VALUE}-2"}


def test_no_list_counts_a_hidden_secret(alice: Person, other: Person) -> None:
    """Neither pages nor totals change with hidden secrets, whatever the filter."""
    mine = other.create("mine", {"k": "x"}, Scope.USER)
    hidden = alice.create("plan_x", {"k": VALUE}, Scope.USER, labels={"team": "ml"})
    for query in (
        {},
        {"scope": Scope.USER},
        {"name": "plan_x"},
        {"name": "contains:a"},
        {"id": hidden.id},
        {"id": f"startswith:{hidden.id[:8]}"},
        {"owner": "alice"},
        {"owner": "notequals:zoe"},
        {"label": ["team=ml"]},
        {"created": ["gt:2000-01-01T00:00:00Z"]},
        {"sort_by": "name"},
        {"sort_by": "desc:updated"},
    ):
        page = other.list(**query)
        assert {secret.id for secret in page} <= {mine.id}
        assert page.total == len(page)


def test_names_of_hidden_secrets_are_free(alice: Person, other: Person) -> None:
    """A hidden name collides with nobody's: not on create, not on rename, not on a change of scope."""
    alice.create("plan_x", {"k": VALUE}, Scope.USER)
    own = other.create("plan_x", {"k": "x"}, Scope.USER)
    assert other.get_by_name("plan_x").id == own.id
    other.update(own.id, name="plan_z")
    other.update(own.id, name="plan_x")
    other.update(own.id, scope=Scope.WORKSPACE)
    other.delete(own.id)
    with pytest.raises(NotFound):
        other.get_by_name("plan_x")
    assert alice.get_by_name("plan_x").secret_values == {"k": VALUE}


def test_hidden_names_are_not_suggested(alice: Person, other: Person) -> None:
    """Did-you-mean speaks of visible secrets alone."""
    alice.create("plan_x", {"k": VALUE}, Scope.USER)
    assert "plan" not in (said(lambda: other.get_by_name("plan_y"))[2] or "")
    assert "plan_x" in (said(lambda: alice.get_by_name("plan_y"))[2] or "")


def test_what_becomes_private_disappears_for_others(alice: Person, bob: Person) -> None:
    """A shared secret that its owner makes private is gone for everybody else from then on, and back when it is shared again."""
    shared: Secret = alice.create("plan_x", {"k": VALUE})
    assert bob.get(shared.id).secret_values == {"k": VALUE}
    alice.update(shared.id, scope=Scope.USER)
    for attempt in (lambda: bob.get(shared.id), lambda: bob.get_by_name("plan_x"), lambda: bob.update(shared.id, {"k": "x"})):
        with pytest.raises(NotFound):
            attempt()
    assert bob.list().total == 0
    alice.update(shared.id, scope=Scope.WORKSPACE)
    assert bob.list().total == 1
