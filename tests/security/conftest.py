"""The doors through which every operation is asked for."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from strongroom.auth import passwords
from tests.example_requests import Dispatching, Door, OverHttp

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture(params=["dispatcher", "http"])
def door(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Door:
    """The ways to ask. In this process passwords are hashed faster than is safe: they are not what is tested here."""
    if request.param == "dispatcher":
        monkeypatch.setattr(passwords, "_hasher", lambda: CHEAP)
        monkeypatch.setattr(passwords, "_decoy", lambda: "")
        return Dispatching(request.getfixturevalue("local_service"))
    return OverHttp(request.getfixturevalue("admin"))
