"""The main process: when it takes a worker for hung, when it starts the next one, when it gives up, and what it needs of Granian."""

from __future__ import annotations

import hashlib
import inspect
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from granian.server.common import AbstractServer, AbstractWorker
from granian.server.mp import MPServer, WorkerProcess
from hypothesis import given
from hypothesis import strategies as st

from strongroom.server import METRICS_FOLDER
from strongroom.server.heartbeat import open_heartbeats
from strongroom.server.supervisor import (
    FAILED_STARTS,
    FIRST_PAUSE_SECONDS,
    HUNG_SECONDS,
    LONGEST_PAUSE_SECONDS,
    MISCONFIGURED,
    TICK_SECONDS,
    WELL_SECONDS,
    Place,
    Wake,
    forget_measurements,
)

RELIED_ON = (
    AbstractWorker.__init__,
    AbstractWorker._watcher,
    AbstractWorker._watch,
    AbstractWorker.start,
    AbstractWorker.is_alive,
    AbstractWorker.join,
    AbstractServer._spawn_workers,
    AbstractServer._respawn_workers,
    AbstractServer._reload,
    AbstractServer._serve,
    AbstractServer.signal_handler_interrupt,
    AbstractServer.signal_handler_reload,
    AbstractServer.startup,
    AbstractServer.shutdown,
    WorkerProcess,
    MPServer._spawn_worker,
)
AS_READ = "b2d54200ffb1a3b3"
"""The digest of their source when `server/supervisor.py` was last compared with it."""


def test_granian_is_the_one_that_was_read() -> None:
    """What the supervisor overrides, calls and sets in Granian is unchanged; otherwise read it again, then renew `AS_READ`."""
    source = "".join(inspect.getsource(each) for each in RELIED_ON)
    assert hashlib.sha256(source.encode()).hexdigest()[:16] == AS_READ


@pytest.fixture
def place() -> Place:
    place = Place(*open_heartbeats(1))
    place.begin(0.0)
    return place


def test_a_worker_hangs_when_it_was_silent_for_long(place: Place) -> None:
    """It is taken for hung after `HUNG_SECONDS` without a beat, and not before; one beat in between starts the time again."""
    ticks = int(HUNG_SECONDS / TICK_SECONDS)
    assert not any(place.listen(TICK_SECONDS) for _ in range(ticks - 1))
    place.heartbeat.beat()
    assert not any(place.listen(TICK_SECONDS) for _ in range(ticks))
    assert place.listen(TICK_SECONDS)


@given(beats=st.lists(st.booleans(), min_size=1, max_size=100))
def test_only_consecutive_silence_counts(beats: Sequence[bool]) -> None:
    """Whatever the order of beats and silence, a worker is taken for hung exactly when the last silence was long enough."""
    place, silence = Place(*open_heartbeats(1)), 0.0
    for beat in beats:
        if beat:
            place.heartbeat.beat()
        silence = 0.0 if beat else silence + TICK_SECONDS
        assert place.listen(TICK_SECONDS) is (silence >= HUNG_SECONDS)


def test_the_next_worker_waits_longer_each_time(place: Place) -> None:
    """Pauses double from 0.1 to 10 seconds, are never longer, and are short again after a worker that ran for a while."""
    moment, pauses = 0.0, []
    for _ in range(100):
        pauses.append(place.end(moment, -signal.SIGKILL, has_served_before=True))
        moment += pauses[-1] + 1
        place.begin(moment)
        moment += 0.1
    assert pauses[:4] == [FIRST_PAUSE_SECONDS * factor for factor in (1, 2, 4, 8)]
    assert pauses[7:] == [LONGEST_PAUSE_SECONDS] * 93
    assert place.end(moment + WELL_SECONDS, -signal.SIGKILL, has_served_before=True) == FIRST_PAUSE_SECONDS


@pytest.mark.parametrize(
    ("status", "has_served_before", "gives_up"),
    [
        (MISCONFIGURED, False, True),
        (MISCONFIGURED, True, True),
        (1, False, True),
        (1, True, False),
        (-9, False, False),
        (0, False, False),
    ],
)
def test_what_cannot_heal(place: Place, status: int, has_served_before: bool, gives_up: bool) -> None:
    """Failed starts count when the configuration is wrong, or when no worker ever served; a signal may be anybody's."""
    for _ in range(FAILED_STARTS):
        place.begin(0.0)
        place.end(1.0, status, has_served_before=has_served_before)
    assert (place.failed_starts >= FAILED_STARTS) is gives_up


def test_waking_from_a_signal_handler() -> None:
    """A handler that interrupts the wait, or comes before it, ends it; cleared, it waits again."""
    wake = Wake()
    wake.set()
    assert wake.wait(60)
    former = signal.signal(signal.SIGALRM, lambda *_: wake.set())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        assert wake.wait(60)
    finally:
        signal.signal(signal.SIGALRM, former)
    threading.Thread(target=wake.set).start()
    assert wake.wait(60)
    wake.set()
    wake.clear()
    assert not wake.wait(0)


def test_measurements_of_the_dead_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only a worker that lives may tell goes with it; what it counted stays, and so does what others tell."""
    monkeypatch.setenv(METRICS_FOLDER, str(tmp_path))
    names = {"gauge_livemin_17.db", "gauge_livemostrecent_17.db", "counter_17.db", "histogram_17.db", "gauge_livemin_170.db"}
    for name in names:
        (tmp_path / name).touch()
    forget_measurements(17)
    assert names - {path.name for path in tmp_path.iterdir()} == {"gauge_livemin_17.db", "gauge_livemostrecent_17.db"}
