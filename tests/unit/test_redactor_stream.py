"""A RedactingStream gives the redaction of what was written, however it was cut into writes."""

from __future__ import annotations

import gc
import io
import sys
import threading
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strongroom.redaction import MASK, RedactingStream, Redactor
from strongroom.redaction.sensitive import is_common
from tests.canary import CANARY, holds_canary

VALUE = f"{CANARY}-stream"


def redactor_of(*values: str) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.add(value)
    return redactor


def file(**options: str) -> tuple[io.BytesIO, io.TextIOWrapper]:
    """A text stream as `sys.stdout` is one, and the bytes below."""
    below = io.BytesIO()
    return below, io.TextIOWrapper(below, **({"encoding": "utf-8", "newline": ""} | options))  # type: ignore[call-overload]


LETTERS = st.text(st.sampled_from("ab'é\n1"), min_size=8, max_size=12).filter(lambda text: not is_common(text.strip()))
VALUES = st.lists(LETTERS, min_size=1, max_size=4)
PARTS = st.lists(st.one_of(st.integers(0, 3), st.text(st.sampled_from("ab'é\n -"), max_size=4)), max_size=8)
CUTS = st.lists(st.integers(0, 80), max_size=12)


def text_of(values: list[str], parts: list[int | str]) -> str:
    return "".join(part if isinstance(part, str) else values[part % len(values)] for part in parts)


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    return [text[start:end] for start, end in pairwise(places)]


@given(VALUES, PARTS, CUTS, st.booleans())
@example(["a1a1a1a1"], ["a1a1a1a1a1a1a1a"], [2, 4, 5, 9], False)
@example(["ab1ab1ab", "ab1ab1ab1ab"], [0, 0], [1, 2, 3, 4, 5, 6, 7], True)
@example(["a1abb1bb", "bb1bba1a", "abb1bba1"], ["a1abb1bb", "bb1bba1a"], [3, 4, 5], False)
def test_the_cut_into_writes_makes_no_difference(values: list[str], parts: list[int | str], cuts: list[int], flush: bool) -> None:
    """The output is the redaction of the whole, with values cut anywhere and overlapping ones, flushed in between or not."""
    redactor = redactor_of(*values)
    text = text_of(values, parts)
    original = io.StringIO(newline="")
    stream = RedactingStream(original, redactor)
    for piece in pieces_of(text, cuts):
        assert stream.write(piece) == len(piece)
        if flush:
            stream.flush()
        assert redactor.redact(text).startswith(original.getvalue())
    stream.finish()
    assert original.getvalue() == redactor.redact(text)
    assert not any(
        value.strip() in original.getvalue() for value in values if len(value.strip()) >= 4 and not is_common(value.strip())
    )


@given(VALUES, PARTS, CUTS, st.lists(st.booleans(), min_size=14, max_size=14))
def test_bytes_and_text_may_be_mixed(values: list[str], parts: list[int | str], cuts: list[int], binary: list[bool]) -> None:
    """Writes of text and of bytes keep their order, and a value that begins in one and ends in the other is masked."""
    redactor = redactor_of(*values)
    text = text_of(values, parts)
    below, original = file()
    stream = RedactingStream(original, redactor)
    for piece, as_bytes in zip(pieces_of(text, cuts), binary, strict=False):
        if as_bytes:
            assert stream.buffer.write(piece.encode()) == len(piece.encode())
        else:
            stream.write(piece)
    stream.finish()
    assert below.getvalue() == redactor.redact(text).encode()


@given(st.lists(st.one_of(st.binary(max_size=6), st.just(VALUE.encode()), st.just("é🔑".encode())), max_size=8), CUTS)
def test_any_bytes_pass_unharmed(parts: list[bytes], cuts: list[int]) -> None:
    """Bytes that are no UTF-8 come out as they went in, cut anywhere; values among them are masked."""
    redactor = redactor_of(VALUE)
    data = b"".join(parts)
    below, original = file()
    stream = RedactingStream(original, redactor)
    for piece in pieces_of(data.decode("latin-1"), cuts):
        stream.buffer.write(piece.encode("latin-1"))
    stream.finish()
    assert below.getvalue() == redactor.redact_bytes(data)


@given(st.text(), CUTS)
def test_text_without_values_passes_unchanged(text: str, cuts: list[int]) -> None:
    """Character for character."""
    original = io.StringIO(newline="")
    stream = RedactingStream(original, redactor_of(VALUE, f"{CANARY}é"))
    stream.writelines(pieces_of(text, cuts))
    stream.finish()
    assert original.getvalue() == text


def test_only_what_could_begin_a_value_is_held_back() -> None:
    """A flush shows a prompt at once; a beginning of a value waits for what follows, and comes out if it is none."""
    original = io.StringIO()
    stream = RedactingStream(original, redactor_of(VALUE))
    print("Continue? [y/N] ", end="", file=stream, flush=True)
    assert original.getvalue() == "Continue? [y/N] "
    print(VALUE[:8], end="", file=stream, flush=True)
    assert original.getvalue() == "Continue? [y/N] "
    print("!", end="", file=stream)
    assert original.getvalue().endswith("[y/N] " + VALUE[:8] + "!")


def test_a_value_registered_late_is_masked_in_what_is_held_back() -> None:
    """A value that is added between two writes is found in the characters that were not passed on yet."""
    redactor = redactor_of("abcdef-gh")
    original = io.StringIO()
    stream = RedactingStream(original, redactor)
    stream.write("abcdef")
    redactor.add("cdef-XYZ")
    stream.write("-XYZ.")
    assert original.getvalue() == f"ab{MASK}."


def test_an_incomplete_character_keeps_its_place() -> None:
    """Half a character written as bytes comes before the text that is written next."""
    below, original = file()
    stream = RedactingStream(original, redactor_of(VALUE))
    stream.buffer.write("é".encode()[:1])
    stream.write("text")
    stream.buffer.write("é".encode()[1:])
    stream.finish()
    assert below.getvalue() == b"\xc3text\xa9"


def test_it_looks_like_the_original() -> None:
    """Everything but writing is asked of the original."""
    below, original = file(encoding="latin-1", errors="replace")
    stream = RedactingStream(original, redactor_of(VALUE))
    assert (stream.encoding, stream.errors, stream.newlines) == (original.encoding, "replace", original.newlines)
    assert stream.line_buffering is original.line_buffering is False
    assert stream.isatty() is False
    assert stream.writable()
    assert not stream.readable()
    stream.reconfigure(line_buffering=True)
    assert original.line_buffering
    with pytest.raises(io.UnsupportedOperation):
        stream.fileno()
    with pytest.raises(AttributeError):
        _ = stream.nothing
    assert stream.buffer.getvalue() == below.getvalue()
    assert not hasattr(RedactingStream(io.StringIO(), redactor_of(VALUE)), "buffer")
    with pytest.raises(TypeError):
        stream.write(b"bytes")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        stream.buffer.write("text")  # type: ignore[arg-type]
    stdout = RedactingStream(sys.__stdout__, redactor_of(VALUE))
    assert (stdout.name, stdout.mode, stdout.fileno()) == ("<stdout>", "w", 1)


def test_there_is_no_way_around_through_the_buffer() -> None:
    """`buffer.raw` masks too."""
    below, original = file()
    stream = RedactingStream(original, redactor_of(VALUE))
    stream.buffer.raw.write(VALUE.encode())
    stream.finish()
    assert below.getvalue() == MASK.encode()


def test_closing_does_not_close_the_original() -> None:
    """Closing, leaving a `with` block and being thrown away pass on what was held and leave the original open."""
    original = io.StringIO()
    with RedactingStream(original, redactor_of(VALUE)) as stream:
        stream.write(VALUE[:3])
    assert original.getvalue() == VALUE[:3]
    stream.write("more")
    stream.write(VALUE[:2])
    del stream
    gc.collect()
    assert original.getvalue() == f"{VALUE[:3]}more{VALUE[:2]}"
    below, wrapper = file()
    stream = RedactingStream(wrapper, redactor_of(VALUE))
    stream.buffer.close()
    stream.close()
    assert not below.closed


class Breaking(io.StringIO):
    """Fails while it is told to."""

    error: Exception | None = None

    def write(self, text: str, /) -> int:
        if self.error is not None:
            raise self.error
        return super().write(text)


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("closed"), OSError(28, "full")], ids=["pipe", "closed", "full"])
def test_a_failing_original_loses_and_repeats_nothing(error: Exception) -> None:
    """The error is the original's; the failed write counts as not made, what was held before is kept."""
    original = Breaking()
    stream = RedactingStream(original, redactor_of(VALUE))
    stream.write(f"one {VALUE[:6]}")
    original.error = error
    for attempt in (lambda: stream.write(f"{VALUE[6:]} two"), stream.finish):
        with pytest.raises(type(error)):
            attempt()
    original.error = None
    stream.write(f"{VALUE[6:]} three")
    assert original.getvalue() == f"one {MASK} three"


def test_a_closed_original_says_so_at_once() -> None:
    """Also when everything written would be held back."""
    _, original = file()
    stream = RedactingStream(original, redactor_of(VALUE))
    original.close()
    for attempt in (lambda: stream.write(VALUE[:3]), lambda: stream.buffer.write(VALUE[:3].encode()), stream.flush):
        with pytest.raises(ValueError, match="closed"):
            attempt()
    assert stream.closed
    stream.close()


def test_text_that_cannot_be_encoded_does_not_stick() -> None:
    """A write fails as it would on the original, and the next one works."""
    below, original = file(encoding="ascii")
    stream = RedactingStream(original, redactor_of(f"{CANARY}é", "éclair"))
    stream.write(CANARY)
    with pytest.raises(UnicodeEncodeError):
        stream.write("é")
    stream.write(" next")
    stream.finish()
    assert below.getvalue() == f"{CANARY} next".encode()


def test_an_unbuffered_original_may_take_bytes_in_parts() -> None:
    """Whatever a raw stream does not take at once is offered again."""

    class Slow(io.RawIOBase):
        taken = b""

        def writable(self) -> bool:
            return True

        def write(self, data: object, /) -> int:
            self.taken += bytes(data)[:3]  # type: ignore[call-overload]
            return min(3, len(bytes(data)))  # type: ignore[call-overload]

    below = Slow()
    original = io.TextIOWrapper(below, encoding="utf-8", write_through=True)  # type: ignore[type-var]
    stream = RedactingStream(original, redactor_of(VALUE))
    stream.buffer.write(f"<{VALUE}> and more".encode())
    stream.buffer.flush()
    assert below.taken == f"<{MASK}> and more".encode()


def test_threads_lose_nothing() -> None:
    """Lines of several threads all arrive, values masked, in each thread's order."""
    original = io.StringIO()
    stream = RedactingStream(original, redactor_of(VALUE))

    def work(thread: int) -> None:
        for number in range(100):
            stream.write(f"<{thread}:{number}:{VALUE}>\n")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stream.finish()
    lines = original.getvalue().splitlines()
    assert not holds_canary(original.getvalue())
    for thread in range(4):
        assert [line for line in lines if line.startswith(f"<{thread}:")] == [f"<{thread}:{n}:{MASK}>" for n in range(100)]
    assert len(lines) == 400
