"""Masking `sys.stdout`, `sys.stderr` and logging while a run executes."""

from __future__ import annotations

import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from strongroom.redaction.log import redact_record
from strongroom.redaction.originals import Descriptors, Guard
from strongroom.redaction.redactor import Redactor, Redactors
from strongroom.redaction.secret_text import SecretText
from strongroom.redaction.stream import RedactingStream


@contextmanager
def redacting(redactor: Redactor) -> Iterator[None]:
    """Masks the redactor's values in this process's `sys.stdout`, `sys.stderr` and logging; those added within, from then on.

    May be nested, and entered by several threads at once, in any order: all redactors that are within apply to everything. When the
    last one leaves, what was there before is put back, unless somebody replaced it meanwhile. Streams that somebody kept work on, and
    mask again in the next run. Stream objects from before the run mask meanwhile, and so do `os.write` and `os.writev` on their
    descriptors.

    Not masked is what child processes and extension modules write, and what goes to other descriptors of the same file. Nor are
    objects in a log record's `extra` that only a formatter turns into text.
    """
    _installation.enter(redactor)
    try:
        yield
    finally:
        _installation.leave(redactor)


@contextmanager
def redacting_processes() -> Iterator[None]:
    """Within `redacting`: masks what child processes and compiled code write as well; see `masked_descriptors`.

    May be nested, and entered by several threads at once: it ends when the last one leaves.
    """
    _installation.enter_processes()
    try:
        yield
    finally:
        _installation.leave_processes()


def mask(value: SecretText) -> None:
    """Masks a value in whatever the runs show that are under way in this process, until they end; see `Redactor`.

    For what is a secret and no value of one: a login's token, which no reference resolves to.
    """
    _installation.mask(value)


def _is_open(stream: Any) -> bool:
    try:
        return stream is not None and not stream.closed
    except ValueError:  # its buffer was detached
        return False


class _Installation:
    """What is replaced in this process. There is one."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._redactors = Redactors()
        self._streams: weakref.WeakSet[RedactingStream] = weakref.WeakSet()
        self._guards: dict[int, Guard] = {}
        """By the identity of what they guard."""
        self._descriptors = Descriptors()
        self._descriptors_below, self._with_processes = ExitStack(), 0
        self._filter = _RecordFilter(self._redactors)
        self._handlers: weakref.WeakSet[logging.Handler] = weakref.WeakSet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def enter_processes(self) -> None:
        from strongroom.redaction.descriptors import masked_descriptors

        with self._lock:
            if not self._with_processes:
                self._descriptors_below.enter_context(masked_descriptors(self._redactors))
            self._with_processes += 1

    def leave_processes(self) -> None:
        with self._lock:
            self._with_processes -= 1
            if not self._with_processes:
                self._descriptors_below.close()

    def enter(self, redactor: Redactor) -> None:
        with self._lock:
            self._redactors.join(redactor)
            for name in ("stdout", "stderr"):
                current = getattr(sys, name)
                if current is not None and not self._is_ours(current):
                    setattr(sys, name, self._stream_to(current))
            self._guard()
            factory = logging.getLogRecordFactory()
            if not isinstance(factory, _RecordFactory):
                logging.setLogRecordFactory(_RecordFactory(factory, self))
            loggers = [one for one in list(logging.root.manager.loggerDict.values()) if isinstance(one, logging.Logger)]
            for logger in (logging.root, *loggers):
                self._watch(logger.handlers)
            if logging.lastResort is not None:
                self._watch([logging.lastResort])

    def leave(self, redactor: Redactor) -> None:
        with self._lock:
            if len(self._redactors) > 1:
                self._redactors.leave(redactor)  # what its values did to texts that are held back stays done
                return
            self._finish()
            self._redactors.leave(redactor)
            self._finish()  # what other threads wrote in between
            self._descriptors.end()
            for guard in self._guards.values():
                guard.end()
            self._guards.clear()
            for name in ("stdout", "stderr"):
                if self._is_ours(current := getattr(sys, name)):
                    setattr(sys, name, current.original)
            if isinstance(factory := logging.getLogRecordFactory(), _RecordFactory):
                logging.setLogRecordFactory(factory.previous)
            for handler in list(self._handlers):
                handler.removeFilter(self._filter)
            self._handlers.clear()

    def _guard(self) -> None:
        """Guards the streams of before, which a program may have kept, and the process's first ones, which own the descriptors."""
        ours = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, RedactingStream) and self._is_ours(stream)]
        firsts = [self._stream_to(first) for first in (sys.__stdout__, sys.__stderr__) if _is_open(first)]
        streams = [*ours, *firsts]
        for stream in streams:
            if id(stream.original) not in self._guards:
                guard = self._guards[id(stream.original)] = Guard(stream)
                guard.begin()
        self._descriptors.begin(streams)

    def mask(self, value: SecretText) -> None:
        self._redactors.add(value)

    def made(self, record: logging.LogRecord) -> None:
        """Masks a new record, and sees to it that the handlers that will get it mask what is added to it."""
        if not len(self._redactors):
            return
        redact_record(record, self._redactors)
        known = logging.root.manager.loggerDict.get(record.name)
        logger: logging.Logger | None = known if isinstance(known, logging.Logger) else logging.root
        while logger is not None:
            if any(self._filter not in handler.filters for handler in logger.handlers):
                with self._lock:
                    if len(self._redactors):
                        self._watch(logger.handlers)
            logger = logger.parent if logger.propagate else None

    def _watch(self, handlers: list[logging.Handler]) -> None:
        for handler in list(handlers):
            handler.addFilter(self._filter)
            self._handlers.add(handler)

    def _is_ours(self, stream: Any) -> bool:
        return isinstance(stream, RedactingStream) and stream.finder is self._redactors

    def _stream_to(self, original: Any) -> RedactingStream:
        # One that somebody kept from an earlier run is used again: two would not keep each other's order.
        for stream in list(self._streams):
            if stream.original is original:
                return stream
        stream = RedactingStream(original, self._redactors)
        self._streams.add(stream)
        return stream

    def _finish(self) -> None:
        for stream in list(self._streams):
            # Closed, or nobody reads it any more: whoever owns it learns that by himself, and a run does not fail for it.
            with suppress(OSError, ValueError):
                stream.finish()

    def _forked(self) -> None:
        self._lock = threading.RLock()
        self._redactors.renew_locks()
        for stream in list(self._streams):
            stream.forget()


class _RecordFactory:
    def __init__(self, previous: Callable[..., logging.LogRecord], installation: _Installation) -> None:
        self.previous = previous
        self._installation = installation

    def __call__(self, *arguments: Any, **named: Any) -> logging.LogRecord:
        record = self.previous(*arguments, **named)
        self._installation.made(record)
        return record


class _RecordFilter(logging.Filter):
    def __init__(self, redactors: Redactors) -> None:
        super().__init__()
        self._redactors = redactors

    def filter(self, record: logging.LogRecord) -> bool:
        if len(self._redactors):
            redact_record(record, self._redactors)
        return True


_installation = _Installation()
