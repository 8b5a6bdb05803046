"""Whether a back end answers: what calls have shown, and what a thread finds out while it does not."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from strongroom import forking

FAILURES = 5
"""After so many calls in a row without an answer, the store counts as down."""

DOUBT_SECONDS = 1.0
"""A call that takes longer than this, while no other one is answered, puts the store in doubt."""

PROBE_SECONDS = (0.5, 0.5, 0.5, 0.5, 0.5, 3.0)
"""How long probes may take, in turn: at least twice as long as calls took lately.

Most are short, so that the end of an outage is noticed soon; a slow login needs a long one.
"""

PAUSE_SECONDS = 0.25
"""The time between two probes."""

FIRST_HOLD_SECONDS, LONGEST_HOLD_SECONDS = 1.0, 30.0
"""How long a store that answers probes, but not writes, gets none that another store can take; each time twice as long."""

_TOGETHER_SECONDS = 3.0
"""Writes that fail within this time count as one failure: they were under way together."""


class Breaker:
    """Knows whether a back end is up, in doubt, or down. Thread-safe.

    In doubt, it gets no calls that another store can answer; down, it gets none. Both end when a probe or a call is answered. Probes
    are made by one thread, one at a time, from the first doubt to the first answer; no caller waits for them.
    """

    def __init__(
        self,
        probe: Callable[[float], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
        failures: float = FAILURES,
    ) -> None:
        """`probe` asks the back end something, within so many seconds, and returns whether it answered.

        Without it only calls tell, and a store that is down stays down.
        """
        self._probe, self._clock, self._most = probe, clock, failures
        self._lock = forking.renewed(self, "_lock", threading.Lock)
        self._failures: float = 0
        self._is_in_doubt = False
        self._is_probing: bool = forking.renewed(self, "_is_probing", bool)
        self._calls: dict[int, float] = forking.renewed(self, "_calls", dict)
        self._numbers = itertools.count()
        self._last_answer, self._latency = clock(), 0.0
        self._held_until = self._hold = 0.0
        self._held_since = -math.inf
        self._thread: threading.Thread | None = forking.renewed(self, "_thread", lambda: None)
        self._ended = forking.renewed(self, "_ended", threading.Event)
        self._listeners: list[Callable[[bool], object]] = []
        self._doubt_listeners: list[Callable[[bool], object]] = []

    def listen(self, listener: Callable[[bool], object]) -> None:
        """Tells the listener whether the back end is up: now, and each time that this changes."""
        self._listeners.append(listener)
        listener(self.is_closed)

    def listen_for_doubt(self, listener: Callable[[bool], object]) -> None:
        """Tells the listener, in the thread that probes: True before each probe, False when one was answered."""
        self._doubt_listeners.append(listener)

    @property
    def is_closed(self) -> bool:
        """Whether calls may pass: as far as one knows, the back end is up."""
        return self._failures < self._most

    @property
    def is_in_doubt(self) -> bool:
        """Whether it has left a call without an answer for long, or is down."""
        if not self._is_in_doubt and self._calls and self._is_late():
            self.doubt()
        return self._is_in_doubt or not self.is_closed

    def admit(self, *, spare: bool = False, write: bool = False) -> bool:
        """Whether this call may pass. `spare`: another store can answer it. `write`: it is a put."""
        if not self.is_closed:
            return False
        if not spare:
            return True
        return not self.is_in_doubt and not (write and self._clock() < self._held_until)

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around a call that was admitted."""
        number = next(self._numbers)
        self._calls[number] = self._clock()
        try:
            yield
        finally:
            self._calls.pop(number, None)

    def answered(self, *, seconds: float = 0.0, write: bool = False) -> None:
        """The back end gave an answer, be it a refusal, after so many seconds."""
        self._last_answer = self._clock()
        self._latency = max(seconds, 0.9 * self._latency)
        if write:
            self._hold = 0.0
        if self._failures or self._is_in_doubt:
            with self._lock:
                was_closed, self._failures, self._is_in_doubt = self.is_closed, 0, False
            if not was_closed:
                self._tell(True)

    def silent(self, *, seconds: float = 0.0, write: bool = False) -> None:
        """It gave none within so many seconds."""
        with self._lock:
            self._failures += 1
            is_down = self._failures == self._most
            if write and self._clock() - self._held_since > _TOGETHER_SECONDS:
                self._held_since = self._clock()
                self._held_until = self._held_since + self._hold
                self._hold = min(LONGEST_HOLD_SECONDS, 2 * self._hold or FIRST_HOLD_SECONDS)
        if is_down:
            self._tell(False)
        if is_down or seconds >= DOUBT_SECONDS:
            self.doubt()

    def doubt(self) -> None:
        """Leaves the back end alone where another store can answer, until it has answered a probe."""
        with self._lock:
            if self._probe is None and self.is_closed:
                return  # nobody would end it
            self._is_in_doubt = True
            if self._is_probing or self._probe is None or self._ended.is_set():
                return
            self._is_probing = True
        self._thread = threading.Thread(target=self._find_out, args=(self._probe,), name="probe", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the probes, and waits for the one that is under way."""
        self._ended.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2 * PROBE_SECONDS[-1])

    def _is_late(self) -> bool:
        oldest = min(list(self._calls.values()), default=None)
        return oldest is not None and self._clock() - max(oldest, self._last_answer) > DOUBT_SECONDS

    def _find_out(self, probe: Callable[[float], bool]) -> None:
        for seconds in itertools.cycle(PROBE_SECONDS):
            if self._ended.is_set():
                return
            for listener in self._doubt_listeners:
                listener(True)
            if probe(max(seconds, min(PROBE_SECONDS[-1], 2 * self._latency))):
                with self._lock:
                    self._is_probing = False
                self.answered()
                for listener in self._doubt_listeners:
                    listener(False)
                return
            with self._lock:
                if not self._is_in_doubt:  # a call was answered meanwhile
                    self._is_probing = False
                    return
                was_closed, self._failures = self.is_closed, self._most
            if was_closed:
                self._tell(False)
            if self._ended.wait(PAUSE_SECONDS):
                return

    def _tell(self, up: bool) -> None:
        for listener in self._listeners:
            listener(up)
