"""Which step reads which secret: told to the run's record before a step gets to see a value."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from strongroom import forking
from strongroom.client import Client
from strongroom.client.observers import ValuesRead, recently_read
from strongroom.models.reference import ResolvedReference, parse_reference, walk_texts
from strongroom.models.run import SecretRead
from strongroom.redaction import SHORTEST, Redactor

_current: ContextVar[tuple[Reads, str] | None] = ContextVar("current_step", default=None)


class Reads:
    """The reads of one run. Thread-safe. Values pass through on their way to the redactor only."""

    def __init__(self, client: Client, redactor: Redactor) -> None:
        self._client, self._redactor = client, redactor
        self._lock = forking.renewed(self, "_lock", threading.Lock)
        self.recognised: list[str] = []
        self._run_id: str | None = None
        self._known: set[SecretRead] = set()
        self._waiting: list[SecretRead] = []
        self._running: list[str] = []

    def recognise(self, data: Any) -> None:
        """Masks values that this process read or wrote before the run, as a module does when it is imported.

        `recognised` are those that stand in the data, as parameters that a pipeline was given: other processes need them, too. In
        references there is none: what they are made of is recorded as it is written.
        """
        texts = [text for _, text in walk_texts(data) if parse_reference(text) is None]
        for read in recently_read():
            for value in read.values.values():
                self._redactor.add(value)
                if len(value.reveal()) >= SHORTEST and any(value.reveal() in text for text in texts):
                    self.recognised.append(value.reveal())

    def begin(self, run_id: str) -> None:
        """From now on there is a record to write to; what was read before belongs to the run as a whole."""
        with self._lock:
            self._run_id = run_id
            waiting, self._waiting = self._waiting, []
        if waiting:
            self._client.record_reads(run_id, waiting)

    @contextmanager
    def of_step(self, step: str) -> Iterator[None]:
        """Within the block, in this thread, what is read is read by this step."""
        token = _current.set((self, step))
        with self._lock:
            self._running.append(step)
        try:
            yield
        finally:
            with self._lock:
                self._running.remove(step)
            _current.reset(token)

    def observe(self, read: ValuesRead) -> None:
        """Hears of values that this process read: keeps them out of the output, and on record."""
        for value in read.values.values():
            self._redactor.add(value)
        if not read.recorded:
            mine, step = self._step()
            if mine:
                self._add(
                    [
                        SecretRead(secret_id=read.secret_id, secret=read.secret, version=read.version, key=key, step=step)
                        for key in read.values
                    ]
                )

    def use(self, item: ResolvedReference) -> None:
        """Hears of a reference whose value is handed to the code of a step. (That the run resolved it is on record already.)"""
        _, step = self._step()
        if step is not None and item.secret_id is not None and item.version is not None:
            self._add([SecretRead(secret_id=item.secret_id, secret=item.name, version=item.version, key=item.key, step=step)])

    def _step(self) -> tuple[bool, str | None]:
        """Whether this thread works for this run, and the step it works for: its own, else the only one that runs."""
        current = _current.get()
        if current is not None:
            return current[0] is self, current[1]
        with self._lock:  # a thread that a step has started, or one that has nothing to do with it: better told than kept quiet
            return True, self._running[0] if len(self._running) == 1 else None

    def _add(self, reads: list[SecretRead]) -> None:
        with self._lock:
            new = [read for read in reads if read not in self._known]
            self._known.update(new)
            if self._run_id is None:
                self._waiting += new
                return
        if new:
            self._client.record_reads(self._run_id, new)
