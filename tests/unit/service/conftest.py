"""A deployment whose first administrator is at work."""

from __future__ import annotations

import pytest

from strongroom.auth.actor import Actor
from strongroom.models.user import SetUp
from strongroom.operations import user as operations
from strongroom.redaction import SecretText
from strongroom.service.wiring import Service
from tests.accounts import PASSWORD, call


@pytest.fixture
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing is slow on purpose; these tests are about everything else. (`tests/unit/auth` tests the real parameters.)"""
    from argon2 import PasswordHasher

    from strongroom.auth import passwords as hashing

    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(hashing, "_hasher", lambda: quick)


@pytest.fixture
def root(service: Service, quick_passwords: None) -> Actor:
    """The first administrator, made with the set-up token."""
    request = SetUp(token=service.identities.make_setup_token(), username="root", password=SecretText(PASSWORD))
    return service.identities.authenticate(call(service, operations.SET_UP, request).access_token.reveal())
