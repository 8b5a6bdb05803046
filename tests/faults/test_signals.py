"""Ctrl-C anywhere: a call that is interrupted at any instruction leaves no lock behind, and the next one works."""

from __future__ import annotations

import itertools
import os
import random
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from types import FrameType
from typing import Any

import pytest

from strongroom.client import Client
from strongroom.client.transports.chosen import ChosenTransport
from strongroom.client.transports.local import LocalTransport
from strongroom.config import Settings
from strongroom.errors import NotFound
from tests.canary import CANARY

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what interrupts a generator's end

SAMPLE = int(os.environ.get("TESTS_SIGNAL_POINTS", "60"))
"""So many places of each kind are tried for each call; 0 for all of them."""

_OURS = (
    "/strongroom/db/",
    "/strongroom/client/",
    "/strongroom/service/",
    "/strongroom/metadata/",
    "/strongroom/changes",
    "/sqlalchemy/",
)
_SQL = ("/strongroom/db/", "/strongroom/client/transports/", "/strongroom/changes")


class Interruption:
    """Raises KeyboardInterrupt once, at the n-th event in this thread: `line` and `call` as a debugger sees them, or each C call."""

    def __init__(self, kind: str, at: int) -> None:
        self._kind, self._left, self.seen = kind, at, 0

    def __enter__(self) -> None:
        if self._kind == "line":
            sys.settrace(self._trace)
        else:
            sys.setprofile(self._profile)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        sys.setprofile(None)

    def _trace(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if not any(part in frame.f_code.co_filename for part in _SQL):
            return None
        if event in ("line", "call"):
            self._count()
        return self._trace

    def _profile(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event in ("c_call", "c_return") and any(part in frame.f_code.co_filename for part in _OURS):
            self._count()

    def _count(self) -> None:
        self.seen += 1
        if self.seen == self._left:
            sys.settrace(None)
            sys.setprofile(None)
            raise KeyboardInterrupt


class Calls:
    """Calls of a client, each on a secret of its own."""

    def __init__(self, client: Client) -> None:
        self.client, self._numbers = client, itertools.count()
        self.current = ""

    def prepare(self, verb: str) -> Callable[[], object]:
        """A call that can be made once."""
        name = self.current = f"{verb}{next(self._numbers)}"
        client, values = self.client, {"k": CANARY}
        if verb == "create":
            return lambda: client.create_secret(name, values)
        client.create_secret(name, values)
        return {
            "update": lambda: client.update_secret(name, add_or_update_values={"k": f"{CANARY}2"}),
            "delete": lambda: client.delete_secret(name),
            "get": lambda: client.get_secret(name),
            "list": lambda: client.list_secrets(),
        }[verb]


def check(client: Client, settings: Settings, name: str) -> None:
    """The client goes on working, its database is not locked, and a secret that is there has one of its values."""
    try:
        assert client.get_secret(name).secret_values["k"] in (CANARY, f"{CANARY}2")
    except NotFound:
        assert name.startswith(("create", "delete"))
    with closing(sqlite3.connect(str(settings.folder / "strongroom.db"), timeout=0, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
    client.update_secret("other", add_or_update_values={"k": f"{CANARY}-{name}"})
    assert client.get_secret("other").secret_values["k"] == f"{CANARY}-{name}"


@pytest.fixture
def calls(local_client: Client) -> Calls:
    local_client.create_secret("other", {"k": CANARY})
    return Calls(local_client)


def places(number: int) -> Iterator[int]:
    """Where to interrupt a call that passes so many places."""
    every = range(1, number + 1)
    return iter(every if not SAMPLE or number <= SAMPLE else sorted(random.sample(every, SAMPLE)))


@pytest.mark.parametrize("kind", ["line", "C call"])
@pytest.mark.parametrize("verb", ["create", "update", "delete", "get", "list"])
def test_a_call_is_interrupted_anywhere(calls: Calls, local_settings: Settings, verb: str, kind: str) -> None:
    """At each line and at each C call: afterwards the client works, others can write, and the secret is as before or as asked."""
    for _ in range(2):  # the first one fills caches
        whole = Interruption(kind, 0)
        call = calls.prepare(verb)
        with whole:
            call()
    assert whole.seen > 20
    for place in places(whole.seen):
        call = calls.prepare(verb)
        try:
            with Interruption(kind, place):
                call()
        except KeyboardInterrupt:
            pass
        check(calls.client, local_settings, calls.current)


@pytest.mark.parametrize("kind", ["line", "C call"])
@pytest.mark.parametrize("verb", ["create", "update", "get"])
def test_a_call_to_a_database_server_is_interrupted(postgresql_settings: Settings, verb: str, kind: str) -> None:
    """On PostgreSQL, too, nothing stays locked, the client goes on working, and no connection stays with a call that has ended."""
    with Client(postgresql_settings) as client:
        client.create_secret("other", {"k": CANARY})
        calls = Calls(client)
        for _ in range(2):
            whole = Interruption(kind, 0)
            call = calls.prepare(verb)
            with whole:
                call()
        for place in places(whole.seen):
            call = calls.prepare(verb)
            try:
                with Interruption(kind, place):
                    call()
            except KeyboardInterrupt:
                pass
            client.update_secret("other", add_or_update_values={"k": CANARY})
            with suppress(NotFound):
                assert client.get_secret(calls.current).secret_values["k"] in (CANARY, f"{CANARY}2")
                client.update_secret(calls.current, add_or_update_values={"k": f"{CANARY}3"})
        transport = client.transport
        assert isinstance(transport, ChosenTransport)
        local = transport.opened()
        assert isinstance(local, LocalTransport)
        for engine in local.service().deployment.database.engines:
            assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")
def test_ctrl_c_at_any_moment(calls: Calls, local_settings: Settings) -> None:
    """A signal that comes at any moment of a loop of writes: afterwards the client works, and others can write."""
    calls.client.create_secret("created", {"k": CANARY})
    former = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for _ in range(SAMPLE or 1000):
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.02))
                while signal.getitimer(signal.ITIMER_REAL)[0]:
                    calls.prepare("update")()
            except KeyboardInterrupt:
                pass
            signal.setitimer(signal.ITIMER_REAL, 0)
            check(calls.client, local_settings, "created")
    finally:
        signal.signal(signal.SIGALRM, former)
