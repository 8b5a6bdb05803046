"""Masking what child processes and compiled code write: a pipe, or a second terminal, below the process's file descriptors."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator

from strongroom.redaction.redactor import Finder
from strongroom.redaction.stream import RedactingStream

_PATIENCE_SECONDS = 2.0
"""How long the end of a run waits for children that still hold a descriptor; what they write later is masked as well."""


@contextlib.contextmanager
def masked_descriptors(finder: Finder) -> Iterator[None]:
    """Masks whatever reaches standard output and standard error of this process and its children, until the end of the block.

    A terminal stays one for them, of the size that it has now; a file becomes a pipe. Both streams keep their order if they go to one
    file. A process that is killed loses what it wrote last. Once at a time; POSIX only.
    """
    before = [stream for stream in (sys.stdout, sys.stderr) if stream is not None]
    for stream in before:
        stream.flush()
    masks = [_Mask(fds, finder) for fds in _open_files()]
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
        for mask in masks:
            mask.end()


def _open_files() -> list[list[int]]:
    """The descriptors 1 and 2, together if they are one file."""
    files: dict[tuple[int, int], list[int]] = {}
    for fd in (1, 2):
        with contextlib.suppress(OSError):  # it is closed
            found = os.fstat(fd)
            files.setdefault((found.st_dev, found.st_ino), []).append(fd)
    return list(files.values())


class _Mask:
    """One file below some descriptors."""

    def __init__(self, fds: list[int], finder: Finder) -> None:
        self._saved = [(fd, os.dup(fd)) for fd in fds]
        raw = io.FileIO(os.dup(fds[0]), "wb")
        reader, writer = _second_terminal(fds[0]) if os.isatty(fds[0]) else os.pipe()
        for fd in fds:
            os.dup2(writer, fd)
        os.close(writer)
        self._stream = RedactingStream(io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="surrogateescape"), finder)
        self._thread = threading.Thread(target=self._pass_on, args=(reader,), name="redaction", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Puts the descriptors back. Returns when all that was written is passed on, unless a child still writes."""
        for fd, saved in self._saved:
            os.dup2(saved, fd)
            os.close(saved)
        self._thread.join(_PATIENCE_SECONDS)

    def _pass_on(self, reader: int) -> None:
        try:
            while data := _read(reader):
                self._stream.write_bytes(data)
                self._stream.flush()
            self._stream.finish()
        except OSError:  # nobody reads the output any more; writers learn it from the pipe
            pass
        finally:
            os.close(reader)
            with contextlib.suppress(OSError):
                self._stream.original.close()


def _read(reader: int) -> bytes:
    try:
        return os.read(reader, 65536)
    except OSError:  # a terminal ends so
        return b""


def _second_terminal(fd: int) -> tuple[int, int]:
    """Where to read, and what is written to: a terminal of the same size and modes, which changes nothing on the way."""
    import pty
    import termios

    reader, writer = pty.openpty()
    with contextlib.suppress(OSError, termios.error):
        modes = termios.tcgetattr(fd)
        modes[1] &= ~termios.OPOST  # the first terminal does that
        termios.tcsetattr(writer, termios.TCSANOW, modes)
        termios.tcsetwinsize(writer, termios.tcgetwinsize(fd))
    return reader, writer
