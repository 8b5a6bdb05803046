"""An exception that holds a value gets a stand-in without it."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable

import pytest

from strongroom.redaction import MASK, Redacted, Redactor, redact_exception
from tests.canary import CANARY, holds_canary

VALUE = f'{CANARY}-"exception\'s"\nvalue'


@pytest.fixture
def redactor() -> Redactor:
    """Knows the value."""
    redactor = Redactor()
    redactor.add(VALUE)
    return redactor


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """The exception with a traceback."""
    if cause is not None:
        error.__cause__ = cause
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


class Ours(Exception):
    """With an own text and slots."""

    __slots__ = ("slot",)

    def __init__(self, slot: object = None, text: str = "ours") -> None:
        super().__init__()
        self.slot = slot
        self.text = text

    def __str__(self) -> str:
        return self.text


class Unprintable(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise LookupError(VALUE)


def with_attribute() -> BaseException:
    error = ValueError("clean")
    error.detail = {"deep": [(VALUE,)]}  # type: ignore[attr-defined]
    return error


def with_note() -> BaseException:
    error = ValueError("clean")
    error.add_note(f"note {VALUE}")
    return error


HOLDING: dict[str, Callable[[], BaseException]] = {
    "message": lambda: ValueError(f"<{VALUE}>"),
    "key": lambda: KeyError(VALUE),
    "argument": lambda: ValueError("clean", {"a": [VALUE]}),
    "bytes": lambda: ValueError(VALUE.encode()),
    "attribute": with_attribute,
    "slot": lambda: Ours([VALUE]),
    "own text": lambda: Ours(text=VALUE),
    "note": with_note,
    "file name": lambda: FileNotFoundError(2, "No such file", VALUE),
    "decoding": lambda: UnicodeDecodeError("utf-8", VALUE.encode(), 0, 1, "reason"),
    "syntax": lambda: SyntaxError("wrong", ("file.py", 1, 1, VALUE)),
    "object": lambda: AttributeError("clean", name="a", obj=VALUE),
    "cause": lambda: raised(ValueError("clean"), KeyError(VALUE)),
    "deep cause": lambda: raised(ValueError("clean"), raised(ValueError("clean"), KeyError(VALUE))),
    "group": lambda: ExceptionGroup("clean", [ValueError("clean"), ExceptionGroup("inner", [KeyError(VALUE)])]),
    "group's text": lambda: ExceptionGroup(VALUE, [ValueError("clean")]),
    "base group": lambda: BaseExceptionGroup("clean", [KeyboardInterrupt(VALUE), GeneratorExit()]),
}


@pytest.mark.parametrize("make", HOLDING.values(), ids=list(HOLDING))
def test_nothing_of_a_value_remains(make: Callable[[], BaseException], redactor: Redactor) -> None:
    """Wherever it was, the formatted stand-in and its attributes are without it; name, module and traceback are the original's."""
    error = raised(make())
    made = redact_exception(error, redactor)
    assert isinstance(made, Redacted)
    assert made is not error
    assert type(made).__name__ == type(error).__name__
    assert (type(made).__module__, type(made).__qualname__) == (type(error).__module__, type(error).__qualname__)
    assert made.__traceback__ is error.__traceback__
    assert str(made) == redactor.redact(str(error))
    shown = "".join(traceback.format_exception(made)) + repr(made) + repr(made.args) + repr(vars(made))
    assert not holds_canary(shown)
    assert redact_exception(made, redactor) is made


def test_a_clean_exception_stays_the_same(redactor: Redactor) -> None:
    """With notes, causes and members."""
    error = raised(ExceptionGroup("clean", [ValueError("a"), Ours(1)]), raised(KeyError("b"), OSError(2, "c", "d")))
    error.add_note("note")
    assert redact_exception(error, redactor) is error


def test_the_chain_keeps_its_shape(redactor: Redactor) -> None:
    """Causes and contexts are replaced where they lead to a value and stay where they do not."""
    clean = raised(OSError("clean"))

    def fail() -> None:
        raise KeyError(VALUE)

    def fail_from(cause: BaseException | None) -> None:
        try:
            fail()
        except KeyError:
            if cause is not None:
                raise ValueError("middle") from cause
            raise ValueError("second")  # noqa: B904

    with pytest.raises(ValueError) as caught:
        fail_from(clean)
    made = redact_exception(caught.value, redactor)
    assert made is not caught.value
    assert str(made) == "middle"
    assert made.__cause__ is clean
    assert made.__suppress_context__
    assert str(made.__context__) == f"'{MASK}'"
    with pytest.raises(ValueError) as caught:
        fail_from(None)
    made = redact_exception(caught.value, redactor)
    assert made.__cause__ is None
    assert not made.__suppress_context__
    assert f"KeyError: '{MASK}'" in "".join(traceback.format_exception(made))


def test_notes_are_kept(redactor: Redactor) -> None:
    """Each one, masked; odd ones as their text."""
    error = ValueError(VALUE)
    error.add_note("clean")
    error.add_note(f"a {VALUE} b")
    assert redact_exception(error, redactor).__notes__ == ["clean", f"a {MASK} b"]
    error.__notes__ = ["clean", Unprintable()]  # type: ignore[list-item]
    assert redact_exception(error, redactor).__notes__ == ["clean", "<exception str() failed>"]
    error.__notes__ = VALUE  # type: ignore[assignment]
    assert redact_exception(error, redactor).__notes__ == [MASK]


def test_groups_stay_groups(redactor: Redactor) -> None:
    """`except*` still looks into a stand-in; members without a value are the same objects."""
    clean = ValueError("clean")
    error = raised(ExceptionGroup("group", [clean, KeyError(VALUE)]))
    made = redact_exception(error, redactor)
    assert isinstance(made, ExceptionGroup)
    assert made.exceptions[0] is clean
    assert str(made.exceptions[1]) == f"'{MASK}'"
    assert made.message == "group"


def test_cycles_come_to_an_end(redactor: Redactor) -> None:
    """Exceptions that are each other's context."""
    first, second = ValueError("first"), KeyError(VALUE)
    first.__context__, second.__context__ = second, first
    made = redact_exception(first, redactor)
    assert made.__context__ is not None
    assert made.__context__.__context__ is made
    assert not holds_canary("".join(traceback.format_exception(made)))
    second.args = ("clean",)
    assert redact_exception(first, redactor) is first


def test_an_exception_without_a_text(redactor: Redactor) -> None:
    """One whose `__str__` fails is no obstacle."""
    error = raised(Unprintable())
    assert redact_exception(error, redactor) is error
    error.add_note(VALUE)
    assert str(redact_exception(error, redactor)) == "<exception str() failed>"


def test_long_chains_are_no_obstacle(redactor: Redactor) -> None:
    """Longer than Python's stack is deep."""
    error: BaseException = KeyError(VALUE)
    for _ in range(sys.getrecursionlimit() + 100):
        outer = ValueError("outer")
        outer.__context__ = error
        error = outer
    made: BaseException | None = redact_exception(error, redactor)
    while made is not None and made.__context__ is not None:
        made = made.__context__
    assert str(made) == f"'{MASK}'"


def test_a_redacted_exception_can_be_caught() -> None:
    """As `Redacted` and as Exception."""
    with pytest.raises(Redacted, match="text"):
        raise Redacted("text")


def test_common_words_in_source_lines_count_for_nothing() -> None:
    """An exception is not replaced because a word of the program, such as `raise`, happens to be a value; its text still counts."""
    redactor = Redactor()
    redactor.add("raise")
    redactor.add("redactor")
    for text, replaced in (("a text", False), ("do not raise", True)):
        with pytest.raises(LookupError) as caught:
            raise LookupError(text)
        assert (redact_exception(caught.value, redactor) is not caught.value) == replaced
