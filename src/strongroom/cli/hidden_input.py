"""Hidden answers on a terminal: typed, or pasted with all their lines.

A terminal in its canonical mode drops what a line has beyond 4,095 bytes and ends an answer at the first line end, so the rest of a
paste would go to the next question, or to the shell. Here the terminal passes on each byte as it comes.

- A terminal that knows bracketed paste marks what is pasted: all between the marks belongs to the answer.
- Without marks, characters that already wait when Enter arrives are the rest of a paste: reading goes on until none came for 0.3 s.

Line ends within an answer belong to it and are `\\n`; the last one does not.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
import termios
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import click

from strongroom.errors import TooLarge

QUIET_SECONDS = 0.3
"""A paste has ended when nothing came for so long."""

_GRACE_SECONDS = 0.05
_LARGE_READ = 1024
"""Nobody types so many bytes at once: the rest of them may be on its way still."""

_BEGIN, _END = b"\x1b[200~", b"\x1b[201~"
_KEY = re.compile(rb"\x1b(\[[0-9;]*[A-Za-z~]|O[A-Za-z])")
_INTERRUPT, _END_OF_INPUT, _QUIT, _ERASE_LINE, _ERASE_WORD = b"\x03", b"\x04", b"\x1c", b"\x15", b"\x17"
_ERASE = (b"\x7f", b"\x08")
_SEQUENCE_SECONDS = 0.05


def read_hidden(prompt: str, limit: int) -> str:
    """An answer of at most `limit` bytes in UTF-8, from the terminal that is standard input; bytes that are none are surrogates.

    `TooLarge` says how many characters arrived. `KeyboardInterrupt` on Ctrl-C; `click.Abort` on Ctrl-D, and when the terminal goes
    away. The terminal's settings are restored in any case. Whatever is left of a paste that is refused or interrupted is dropped.
    """
    descriptor = sys.stdin.fileno()
    with _woken_by_signals() as signals, _unbuffered(descriptor):
        sys.stderr.write(prompt)
        sys.stderr.flush()
        answer = _Answer(descriptor, limit, signals)
        try:
            answer.read()
        finally:
            sys.stderr.write("\n")
            sys.stderr.flush()
    if answer.is_cut or len(answer.data) > limit:
        raise TooLarge(f"{answer.count} characters arrived, which do not fit: there is room for {limit} bytes")
    return bytes(answer.data).decode(errors="surrogateescape")


class _Answer:
    """What has arrived so far."""

    def __init__(self, descriptor: int, limit: int, signals: int | None) -> None:
        """`signals` is a descriptor that can be read when a signal has come; see `_woken_by_signals`."""
        self.data = bytearray()
        self.count = 0
        """Characters that arrived, also those beyond the limit, and without those that were erased."""
        self.is_cut = False
        """Whether more arrived than is kept, which is twice what fits: line ends of two characters become one."""
        self._descriptor, self._limit = descriptor, limit
        self._watched = [descriptor] if signals is None else [descriptor, signals]
        self._waiting = b""
        self._ends_a_line = False
        self._last_read = 0

    def read(self) -> None:
        """Reads until the end of the answer."""
        is_burst = False
        while True:
            if not self._waiting and not self._fetch(QUIET_SECONDS if is_burst else None):
                break  # a paste without marks has ended
            if self._waiting.startswith(b"\x1b"):
                self._escape()
                continue
            byte, self._waiting = self._waiting[:1], self._waiting[1:]
            if byte in (b"\r", b"\n"):
                if not is_burst and not self._has_more():
                    return
                is_burst = True
                self._add(byte)
            elif byte in (_INTERRUPT, _QUIT):
                raise KeyboardInterrupt
            elif byte == _END_OF_INPUT and not is_burst:
                if not self.data:
                    raise click.Abort
                return
            elif byte in _ERASE:
                self._erase(1)
            elif byte == _ERASE_LINE:
                self.data.clear()
                self.count, self.is_cut = 0, False
            elif byte == _ERASE_WORD:
                text = self._text()
                self._erase(len(text) - (text.rstrip().rfind(" ") + 1))
            else:
                rest = re.match(rb"[^\x00-\x1f\x7f]*", self._waiting)
                assert rest is not None
                self._add(byte + rest[0])
                self._waiting = self._waiting[rest.end() :]
        self._drop_line_end(0)

    def _escape(self) -> None:
        """A mark, a key that means nothing here, or the character itself."""
        while len(self._waiting) < len(_BEGIN) and not _KEY.match(self._waiting) and self._fetch(_SEQUENCE_SECONDS):
            pass  # it may come in pieces
        if self._waiting.startswith(_BEGIN):
            self._waiting = self._waiting[len(_BEGIN) :]
            self._paste()
        elif (key := _KEY.match(self._waiting)) is not None:
            self._waiting = self._waiting[key.end() :]
        else:
            self._add(self._waiting[:1])
            self._waiting = self._waiting[1:]

    def _paste(self) -> None:
        """All up to the end mark, with the line ends in it but the last. Ctrl-C by itself interrupts: the mark may be lost."""
        begin = len(self.data)
        while (end := self._waiting.find(_END)) < 0:
            kept = next((n for n in range(len(_END) - 1, 0, -1) if self._waiting.endswith(_END[:n])), 0)
            self._add(self._waiting[: len(self._waiting) - kept])
            self._waiting = self._waiting[len(self._waiting) - kept :]
            before = len(self._waiting)
            self._fetch(None)
            if self._waiting[before:] == _INTERRUPT:
                raise KeyboardInterrupt
        self._add(self._waiting[:end])
        self._waiting = self._waiting[end + len(_END) :]
        self._drop_line_end(begin)

    def _drop_line_end(self, begin: int) -> None:
        """Makes line ends `\\n`, and drops one at the end of what has come since `begin`."""
        if self.is_cut:  # it is refused
            self.count -= self._ends_a_line
            return
        former = bytes(self.data[begin:])
        text = former.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n")
        self.data[begin:] = text
        self.count -= len(former) - len(text)

    def _add(self, data: bytes) -> None:
        self.count += sum(byte & 0xC0 != 0x80 for byte in data)  # bytes that begin a character
        self._ends_a_line = data.endswith((b"\r", b"\n")) if data else self._ends_a_line
        room = max(0, 2 * self._limit - len(self.data))
        self.is_cut = self.is_cut or len(data) > room
        self.data += data[:room]

    def _erase(self, characters: int) -> None:
        text = self._text()
        kept = text[: max(0, len(text) - characters)]
        self.count -= len(text) - len(kept)
        self.data[:] = kept.encode(errors="surrogateescape")

    def _text(self) -> str:
        return self.data.decode(errors="surrogateescape")

    def _has_more(self) -> bool:
        """Whether more characters wait: then a paste goes on."""
        return bool(self._waiting) or self._fetch(QUIET_SECONDS if self._last_read >= _LARGE_READ else _GRACE_SECONDS)

    def _fetch(self, seconds: float | None) -> bool:
        """Waits for more. False if nothing came in time; `click.Abort` when the terminal has gone away."""
        while self._descriptor not in (ready := select.select(self._watched, [], [], seconds)[0]):
            if not ready:
                return False
            os.read(ready[0], 100)  # a signal came; its handler runs before the next wait
        try:
            data = os.read(self._descriptor, 65_536)
        except OSError:
            data = b""
        if not data:
            raise click.Abort
        self._last_read = len(data)
        self._waiting += data
        return True


@contextlib.contextmanager
def _woken_by_signals() -> Iterator[int | None]:
    """Gives a descriptor that can be read when a signal has come, also one that comes just before a wait; None in other threads."""
    if threading.current_thread() is not threading.main_thread():
        yield None
        return
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    former = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(former)
        os.close(reading)
        os.close(writing)


@contextlib.contextmanager
def _unbuffered(descriptor: int) -> Iterator[None]:
    """Within the block the terminal shows nothing and passes on each byte as it comes. Signals that end the process restore it."""
    former = termios.tcgetattr(descriptor)
    changed = [*former[:6], list(former[6])]
    changed[0] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR | termios.ISTRIP | termios.IXON | termios.IXOFF)
    changed[3] &= ~(termios.ICANON | termios.ECHO | termios.ECHONL | termios.ISIG | termios.IEXTEN)
    changed[6][termios.VMIN], changed[6][termios.VTIME] = 1, 0

    def restore(when: int) -> None:
        _send(descriptor, "\x1b[?2004l")
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, when, former)

    with _restored_by_signals(lambda: restore(termios.TCSANOW)):
        try:
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, changed)
            _send(descriptor, "\x1b[?2004h")
            yield
        except BaseException:
            _drop(descriptor)
            restore(termios.TCSAFLUSH)
            raise
        restore(termios.TCSADRAIN)


@contextlib.contextmanager
def _restored_by_signals(restore: Any) -> Iterator[None]:
    """Within the block, signals that would end the process restore the terminal first, then end it."""

    def end(number: int, _: FrameType | None) -> None:
        restore()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    ours = []
    if threading.current_thread() is threading.main_thread():
        ours = [each for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT) if signal.getsignal(each) is signal.SIG_DFL]
    for each in ours:
        signal.signal(each, end)
    try:
        yield
    finally:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)


def _send(descriptor: int, sequence: str) -> None:
    """Tells the terminal whether to mark pastes. Terminals that do not know the sequence ignore it."""
    if os.environ.get("TERM", "dumb") == "dumb":
        return
    with contextlib.suppress(OSError):
        os.write(2 if os.isatty(2) else descriptor, sequence.encode())


def _drop(descriptor: int) -> None:
    """Drops what still comes of a paste, so that no shell takes it for commands; for two seconds at most."""
    with contextlib.suppress(OSError):
        for _ in range(20):
            if not select.select([descriptor], [], [], 0.1)[0] or not os.read(descriptor, 65_536):
                return
