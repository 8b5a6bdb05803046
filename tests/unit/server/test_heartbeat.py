"""Signs of life of real processes: what keeps them up, and what ends them."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from strongroom.server.heartbeat import BEAT_SECONDS, Heartbeat, open_heartbeats
from tests.processes import until

LONG = BEAT_SECONDS * 4


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    end = time.perf_counter() + 0.2
    while time.perf_counter() < end:
        pass
    loop.call_soon(_turn, loop)


def _collect(loop: asyncio.AbstractEventLoop) -> None:
    kept = [[[]] for _ in range(200_000)]
    gc.collect()
    del kept
    loop.call_soon(_collect, loop)


def _lock_twice(_loop: asyncio.AbstractEventLoop) -> None:
    lock = threading.Lock()
    with lock, lock:
        pass


def _match(_loop: asyncio.AbstractEventLoop) -> None:
    re.match("(a+)+$", "a" * 200 + "b")  # for ever, in C, without letting other threads run


def _serve(heartbeat: Heartbeat, work: Callable[[asyncio.AbstractEventLoop], None]) -> None:
    def live() -> None:
        while True:
            heartbeat.beat()
            time.sleep(BEAT_SECONDS)

    async def main() -> None:
        heartbeat.follow_loop()
        loop = asyncio.get_running_loop()
        loop.call_later(BEAT_SECONDS, work, loop)
        await asyncio.Event().wait()

    threading.Thread(target=live, daemon=True).start()
    asyncio.run(main())


@contextmanager
def serving(work: Callable[[asyncio.AbstractEventLoop], None]) -> Iterator[tuple[Heartbeat, int]]:
    [heartbeat] = open_heartbeats(1)
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(heartbeat, work), daemon=True)
    process.start()
    try:
        assert process.pid is not None
        until(lambda: heartbeat.has_served)
        yield heartbeat, process.pid
    finally:
        process.kill()
        process.join()


def _silent(heartbeat: Heartbeat) -> bool:
    """Whether nothing is counted for long."""
    count = heartbeat.count
    try:
        until(lambda: heartbeat.count != count, LONG)
    except AssertionError:
        return True
    return False


def _nothing(_loop: asyncio.AbstractEventLoop) -> None:
    """Waits for requests."""


@pytest.mark.parametrize("work", [_nothing, _turn, _collect])
def test_a_loop_that_turns_lives(work: Callable[[asyncio.AbstractEventLoop], None]) -> None:
    """One that idles, is busy all the time, or collects garbage goes on counting."""
    with serving(work) as (heartbeat, _):
        for _ in range(3):
            count = heartbeat.count
            until(lambda: heartbeat.count > count + 1)  # noqa: B023 - it is called here


@pytest.mark.parametrize("work", [_lock_twice, _match])
def test_a_loop_that_hangs_is_silent(work: Callable[[asyncio.AbstractEventLoop], None]) -> None:
    """A deadlock, or an endless loop in C, counts nothing, although other threads may run."""
    with serving(work) as (heartbeat, _):
        until(lambda: _silent(heartbeat))


def test_a_stopped_process_is_silent_until_it_goes_on() -> None:
    """SIGSTOP, then SIGCONT."""
    with serving(_nothing) as (heartbeat, pid):
        os.kill(pid, signal.SIGSTOP)
        until(lambda: _silent(heartbeat))
        os.kill(pid, signal.SIGCONT)
        until(lambda: not _silent(heartbeat))


def test_a_thread_counts_before_and_after_the_loop() -> None:
    """A worker that waits for its database, or for its last requests, is well as long as its thread runs."""

    async def serve() -> None:
        heartbeat.follow_loop()
        before = heartbeat.count
        heartbeat.beat()
        assert heartbeat.count == before
        heartbeat.leave_loop()

    [heartbeat] = open_heartbeats(1)
    heartbeat.beat()
    assert (heartbeat.count, heartbeat.has_served) == (1, False)
    asyncio.run(serve())
    before = heartbeat.count
    heartbeat.beat()
    assert (heartbeat.count, heartbeat.has_served) == (before + 1, True)
    heartbeat.reset()
    assert (heartbeat.count, heartbeat.has_served) == (0, False)
