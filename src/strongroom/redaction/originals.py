"""Masking what is written past `sys.stdout`: to the stream objects that were there before a run, and by `os.write`.

Code that kept such an object, as loguru, tqdm and default arguments do, goes on writing to it. So it gets its own `write`, which
masks; and `os.write` masks what goes to its file descriptor.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from strongroom.redaction.stream import RedactingStream

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Guard:
    """Makes the original of a stream write through it, between `begin` and `end`. Not thread-safe.

    Does nothing for an object that takes no attributes, and to what it has no write of its own for.
    """

    def __init__(self, stream: RedactingStream) -> None:
        self._stream, self._original = stream, stream.original
        self._replaced: list[tuple[Any, str]] = []
        self._write_through: bool | None = None

    def begin(self) -> None:
        """Replaces `write` and `writelines` of the object, and `write` of its buffer."""
        stream, original = self._stream, self._original
        buffer = getattr(original, "buffer", None)
        if isinstance(original, io.TextIOWrapper) and isinstance(buffer, io.BufferedIOBase | io.RawIOBase):
            # Nothing may wait in the text layer: its way to the buffer goes through the buffer's `write`, too.
            with suppress(OSError, ValueError):
                self._write_through = original.write_through
                original.reconfigure(write_through=True)
                self._replace(buffer, "write", stream.write_original_bytes)
        self._replace(original, "write", stream.write)
        self._replace(original, "writelines", stream.writelines)

    def end(self) -> None:
        """Puts back what was there, unless it was replaced meanwhile."""
        for owner, name in self._replaced:
            if getattr(vars(owner).get(name), "__self__", None) is self._stream:
                delattr(owner, name)
        self._replaced.clear()
        if self._write_through is not None:
            with suppress(OSError, ValueError):
                self._original.reconfigure(write_through=self._write_through)
            self._write_through = None

    def _replace(self, owner: Any, name: str, method: Callable[..., Any]) -> None:
        if name in getattr(owner, "__dict__", {}):
            return  # the program's own; what it does is not known
        with suppress(AttributeError, TypeError):
            setattr(owner, name, method)
            self._replaced.append((owner, name))


class Descriptors:
    """Masks what `os.write` and `os.writev` send to the descriptors of streams, between `begin` and `end`. Not thread-safe."""

    def __init__(self) -> None:
        self._streams: dict[int, RedactingStream] = {}
        self._write, self._writev = os.write, getattr(os, "writev", None)

    def begin(self, streams: list[RedactingStream]) -> None:
        """For these; a later call adds more."""
        for stream in streams:
            with suppress(OSError, ValueError, AttributeError):
                self._streams.setdefault(stream.fileno(), stream)
        if os.write != self.write:
            self._write, os.write = os.write, self.write
            if self._writev is not None:
                self._writev, os.writev = os.writev, self.writev

    def end(self) -> None:
        """Puts back what was there, unless it was replaced meanwhile."""
        self._streams = {}
        if os.write == self.write:
            os.write = self._write
        if self._writev is not None and os.writev == self.writev:
            os.writev = self._writev

    def write(self, fd: int, data: ReadableBuffer, /) -> int:
        """As `os.write`, which writes at once; what may be the beginning of a value waits for the rest."""
        stream = self._streams.get(fd)
        if stream is None:
            return self._write(fd, data)
        written = stream.write_bytes(data)
        stream.flush()
        return written

    def writev(self, fd: int, buffers: Any, /) -> int:
        """As `os.writev`."""
        if fd not in self._streams:
            assert self._writev is not None
            written: int = self._writev(fd, buffers)
            return written
        return self.write(fd, b"".join(bytes(memoryview(each)) for each in buffers))
