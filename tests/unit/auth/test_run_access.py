"""What a run token covers: decisions without a database."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from msgspec import UNSET

from strongroom.auth.access import check_access
from strongroom.auth.actor import Actor
from strongroom.auth.policy import Role, allows
from strongroom.auth.run_access import ALL_KEYS, RunAccess
from strongroom.errors import Forbidden
from strongroom.models.secret import Scope, Secret
from strongroom.operations.all import ALL_OPERATIONS
from strongroom.redaction import SecretText
from tests.canary import CANARY

ACCESS = RunAccess("run-id", "run", "stack", frozenset({("one", "a"), ("one", "b"), ("all", ALL_KEYS)}))


def secret(secret_id: str, *, values: bool = True) -> Secret:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return Secret(
        id=secret_id,
        name="s",
        scope=Scope.WORKSPACE,
        workspace="w",
        owner="o",
        description="",
        labels={},
        keys=["c", "b", "a"],
        version=1,
        created=moment,
        updated=moment,
        created_by="o",
        expires_at=None,
        values={key: SecretText(f"{CANARY}-{key}") for key in "cba"} if values else UNSET,
    )


def test_it_covers_the_granted_keys() -> None:
    """A key is covered by itself or with all keys of its secret, and by nothing else."""
    assert ACCESS.covers("one", "a")
    assert ACCESS.covers("all", "anything")
    assert not ACCESS.covers("one", "c")
    assert not ACCESS.covers("other", "a")
    assert not ACCESS.covers("one", ALL_KEYS)
    assert [ACCESS.covers_any(each) for each in ("one", "all", "other", "")] == [True, True, False, False]


def test_a_secret_is_narrowed_in_its_own_order() -> None:
    """Keys and values that are not covered are gone; metadata stays metadata."""
    narrowed = ACCESS.narrowed(secret("one"))
    assert (narrowed.keys, list(narrowed.values)) == (["b", "a"], ["b", "a"])
    assert ACCESS.narrowed(secret("all")).keys == ["c", "b", "a"]
    assert ACCESS.narrowed(secret("one", values=False)).values is UNSET


def test_it_does_not_show_its_grants() -> None:
    """An actor in a log line tells the run and not what it reads."""
    assert "one" not in repr(ACCESS)


@pytest.mark.parametrize("operation", ALL_OPERATIONS, ids=lambda row: row.name)
def test_a_run_opens_no_more_than_the_role(operation: object) -> None:
    """For each role and operation: somebody with a run token may ask if the role allows it and the row is open to runs."""
    for role in Role:
        actor = Actor("u", "u", "w", "w", role)
        try:
            check_access(msgspec.structs.replace(actor, run=ACCESS, admin=True), operation)
            asked = True
        except Forbidden:
            asked = False
        needed = operation.permission
        assert asked is (needed is None or (operation.for_runs and allows(role, needed)))
