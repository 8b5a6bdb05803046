"""Whether a user exists is not told by what a failed login costs: hashes are counted, since time varies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from argon2 import PasswordHasher

from strongroom.auth import passwords
from strongroom.errors import Unauthenticated
from strongroom.models.service_account import CreateServiceAccount
from strongroom.models.user import DeactivateUser
from strongroom.operations import service_account as of_service_account
from strongroom.operations import user as of_user
from strongroom.service.wiring import Service
from tests.accounts import OTHER, add_user, call, log_in
from tests.statements import statements

KINDS = ("known", "unknown", "deactivated", "machine")


@pytest.fixture
def costs(local_service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is hashed and asked of the database from now on. `known`, `deactivated` and `machine` are there."""
    root = local_service.local_actor
    add_user(local_service, root, "known")
    gone = add_user(local_service, root, "deactivated")
    call(local_service, of_user.DEACTIVATE, DeactivateUser(id=gone.user_id), root)
    call(local_service, of_service_account.CREATE, CreateServiceAccount(name="machine", role="viewer"), root)
    with statements(local_service.deployment.database) as seen:

        def counted(name: str) -> Any:
            original = getattr(PasswordHasher, name)

            def count(*arguments: Any, **options: Any) -> Any:
                seen.append(name)
                return original(*arguments, **options)

            return count

        for name in ("hash", "verify"):
            monkeypatch.setattr(PasswordHasher, name, counted(name))
        yield seen


def cost(service: Service, seen: list[str], name: str) -> list[str]:
    """What a login with a wrong password costs."""
    seen.clear()
    with pytest.raises(Unauthenticated, match="the user name or the password is wrong"):
        log_in(service, name, OTHER)
    return list(seen)


def test_every_failed_login_costs_the_same(local_service: Service, costs: list[str]) -> None:
    """Known, unknown and deactivated users and service accounts: as many hashes, and the same statements."""
    for name in KINDS:
        log_in_once = cost(local_service, costs, name)  # the address has failed before, for all of them
        assert log_in_once.count("verify") == 1
    assert len({tuple(cost(local_service, costs, name)) for name in KINDS}) == 1


@pytest.mark.parametrize("name", KINDS)
def test_the_first_failed_login_costs_the_same(local_service: Service, costs: list[str], name: str) -> None:
    """Also right after a start: what is prepared for unknown users is prepared by whoever comes first."""
    passwords._decoy.cache_clear()
    seen = cost(local_service, costs, name)
    assert (seen.count("hash"), seen.count("verify")) == (1, 1)
