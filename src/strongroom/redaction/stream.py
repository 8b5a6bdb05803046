"""Masking what is written to a stream, piece by piece."""

from __future__ import annotations

import codecs
import io
import threading
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any

from strongroom.redaction.held_text import Held, Piece, after, cut
from strongroom.redaction.redactor import Finder, merged
from strongroom.redaction.sensitive import SHORTEST

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class RedactingStream(io.TextIOBase):
    """A text stream that masks values on their way to another one. Thread-safe.

    What comes out in the end is the redaction of all that was written, however it was cut into writes. To that end the last
    characters are held back while they could be the beginning of a value, over `flush()` too, until more is written or `finish()` is
    called. Bytes written to `.buffer` are masked in the same way (as UTF-8; others pass unharmed) and keep their place among texts.

    Errors are those of the original. A write that fails counts as not made; what was held before it is held still.
    The original is never closed, and everything not concerned with writing is asked of it.
    """

    def __init__(self, original: Any, finder: Finder) -> None:
        self._original = original
        self._write, self._flush = original.write, original.flush
        self._buffer_write = getattr(getattr(original, "buffer", None), "write", None)
        self._emitting: int | None = None
        """The thread that is passing something on."""
        self._finder = finder
        self._lock = threading.RLock()
        self._held = Held()
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text_first = True
        """Whether the original may hold text that has to go before the next bytes."""

    @property
    def original(self) -> Any:
        """Where the masked text goes."""
        return self._original

    @property
    def finder(self) -> Finder:
        """What finds the values."""
        return self._finder

    def write(self, text: str, /) -> int:
        """Masks the text and passes it on, but for the end of it that could be the beginning of a value. Its length."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._lock:
            self._check(text)
            if self._decoder.getstate()[0]:
                self._pass_bytes(b"", final=True)
            self._pass(text, binary=False)
        return len(text)

    def write_bytes(self, data: ReadableBuffer) -> int:
        """The same for bytes, on behalf of `.buffer`."""
        view = memoryview(data)
        with self._lock:
            self._pass_bytes(bytes(view))
        return view.nbytes

    def write_original_bytes(self, data: ReadableBuffer) -> int:
        """The `write` of the original's buffer while that is guarded: passes on what this stream masked, and masks all else."""
        if self._emitting == threading.get_ident():
            assert self._buffer_write is not None
            written: int = self._buffer_write(data)
            return written
        return self.write_bytes(data)

    def writelines(self, lines: Iterable[str], /) -> None:  # type: ignore[override]
        """Writes each; other threads' writes may come between them."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flushes the original. What is held back stays."""
        with self._lock:
            self._flush()
            self._text_first = False

    def finish(self) -> None:
        """Passes on, masked, what was held back, and flushes. Further writes are possible."""
        with self._lock:
            self._pass_bytes(b"", final=True)
            self._pass("", binary=False, last=True)
            self.flush()

    def close(self) -> None:
        """The same: the original is for its owner to close."""
        if not self.closed:
            self.finish()

    def forget(self) -> None:
        """For a child process after a fork: what is held back is the parent's to write, and the lock may belong to nobody."""
        self._lock = threading.RLock()
        self._held = Held()
        self._decoder.reset()

    def _check(self, text: str) -> None:
        """Fails as the original would for a text that it cannot encode. Held back, that would make all later writes fail."""
        encoding = getattr(self._original, "encoding", None)
        if isinstance(encoding, str) and not text.isascii():
            text.encode(encoding, getattr(self._original, "errors", None) or "strict")

    def _pass_bytes(self, data: bytes, *, final: bool = False) -> None:
        state = self._decoder.getstate()
        text = self._decoder.decode(data, final)
        try:
            self._pass(text, binary=True)
        except BaseException:
            self._decoder.setstate(state)
            raise

    def _pass(self, text: str, *, binary: bool, last: bool = False) -> None:
        before = self._held
        if not text and not (last and before.text):
            return
        pending = before.text + text
        if before.runs and before.runs[-1][1] == binary:
            runs = (*before.runs[:-1], (before.runs[-1][0] + len(text), binary))
        else:
            runs = (*before.runs, (len(text), binary))
        version = self._finder.version
        if version == before.version:
            since = max(0, len(before.text) - SHORTEST + 1)
            found, open_ends = self._finder.places(pending, since, before.open_ends, before=before.before, last=last)
        else:
            found, open_ends = self._finder.places(pending, before=before.before, last=last)
        safe = len(pending) if last else min(open_ends, default=len(pending))
        open_ends = [place for place in open_ends if place <= len(pending) - SHORTEST]
        spans = merged((*before.spans, *found))
        # Nothing to pass on: an empty write lets a closed original say so.
        pieces = cut(pending, spans, runs, safe) or [Piece("", binary, 0)]
        # Before it is passed on, so that whoever writes on the way (a signal handler) finds things in order.
        self._held = after(Held(pending, tuple(spans), runs, tuple(open_ends), version, before.before), safe)
        done = 0
        try:
            for piece in pieces:
                self._emit(piece)
                done = piece.upto
        except BaseException:
            self._held = after(before, done)
            raise

    def _emit(self, piece: Piece) -> None:
        before, self._emitting = self._emitting, threading.get_ident()
        try:
            self._pass_on(piece)
        finally:
            self._emitting = before

    def _pass_on(self, piece: Piece) -> None:
        if not piece.binary:
            self._text_first = True
            self._write(piece.text)
            return
        if self._text_first:
            self._flush()
            self._text_first = False
        assert self._buffer_write is not None
        data = piece.text.encode(errors="surrogateescape")
        while (written := self._buffer_write(data)) != len(data):  # an unbuffered one may take a part only
            if written is None:
                raise BlockingIOError("the stream takes no more at present")
            data = data[written:]

    @property
    def buffer(self) -> RedactingBuffer:
        """Takes bytes; only there if the original has one."""
        return RedactingBuffer(self, self._original.buffer)

    @property
    def encoding(self) -> Any:  # type: ignore[override]
        """The original's."""
        return self._original.encoding

    @property
    def errors(self) -> Any:  # type: ignore[override]
        """The original's."""
        return self._original.errors

    @property
    def newlines(self) -> Any:  # type: ignore[override]
        """The original's."""
        return self._original.newlines

    @property
    def closed(self) -> bool:
        """Whether the original is."""
        return bool(getattr(self._original, "closed", False))

    def isatty(self) -> bool:
        """Whether the original is a terminal."""
        return bool(self._original.isatty())

    def fileno(self) -> int:
        """The original's. What is written to it directly is not masked."""
        number: int = self._original.fileno()
        return number

    def readable(self) -> bool:
        """No."""
        return False

    def writable(self) -> bool:
        """Yes."""
        return True

    def __getattr__(self, name: str) -> Any:
        if name == "_original":  # not made yet
            raise AttributeError(name)
        return getattr(self._original, name)

    def __repr__(self) -> str:
        return f"<RedactingStream to {self._original!r}>"


class RedactingBuffer(io.BufferedIOBase):
    """The binary side of a `RedactingStream`."""

    def __init__(self, stream: RedactingStream, original: IO[bytes]) -> None:
        self._stream = stream
        self._original = original

    def write(self, data: ReadableBuffer, /) -> int:
        """Masks the bytes and passes them on, as `RedactingStream.write` does. Their number."""
        if isinstance(data, str):
            raise TypeError("a bytes-like object is required, not 'str'")
        return self._stream.write_bytes(data)

    def flush(self) -> None:
        """Flushes text and bytes. What is held back stays."""
        self._stream.flush()

    def close(self) -> None:
        """Nothing: the stream is for its owner to close."""

    @property
    def raw(self) -> Any:
        """Itself: there is no way around it."""
        return self

    @property
    def closed(self) -> bool:
        """Whether the original is."""
        return self._stream.closed

    def isatty(self) -> bool:
        """Whether the original is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The original's. What is written to it directly is not masked."""
        return self._stream.fileno()

    def readable(self) -> bool:
        """No."""
        return False

    def writable(self) -> bool:
        """Yes."""
        return True

    def __getattr__(self, name: str) -> Any:
        if name == "_original":
            raise AttributeError(name)
        return getattr(self._original, name)
