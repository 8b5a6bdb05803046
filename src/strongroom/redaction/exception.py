"""Masking an exception with its causes."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import MemberDescriptorType
from typing import Any

from strongroom.redaction.redactor import Masking


class Redacted(Exception):
    """Stands in for an exception that held a value. Its class has the name and the module of the original's; `str()` is masked.

    Arguments and attributes of the original are left out. It is raised where the original was: `except` clauses for the original's
    class do not catch it.
    """

    def __init__(self, text: str, *_: object) -> None:
        super().__init__(text)
        self._text = text

    def __str__(self) -> str:
        return self._text


def redact_exception(error: BaseException, redactor: Masking) -> BaseException:
    """The same exception if neither it nor one that it came from (or holds, as a group) shows or holds a value; else a stand-in.

    A stand-in is a `Redacted` with the original's traceback and with its notes, cause, context and members, masked in the same way.
    The frames of the traceback still hold their variables, and the source lines that they point to are read from the source.
    """
    every = _related(error)
    masked = {id(one) for one in every if _holds(one, redactor)}
    # Whoever leads to an exception that has to be replaced has to be replaced too.
    while more := {id(one) for one in every if id(one) not in masked and any(id(next_) in masked for next_ in _next(one))}:
        masked |= more
    if id(error) not in masked:
        return error
    stand_ins: dict[int, BaseException] = {}
    _stand_in(error, redactor, masked, stand_ins)
    for one in every:
        if (made := stand_ins.get(id(one))) is not None:
            made.__cause__ = _replaced(one.__cause__, redactor, masked, stand_ins)
            made.__context__ = _replaced(one.__context__, redactor, masked, stand_ins)
            made.__suppress_context__ = one.__suppress_context__
    return stand_ins[id(error)]


def holds_values(error: BaseException, redactor: Masking) -> bool:
    """Whether this exception, or one that it came from or holds, shows or holds a value."""
    return any(_holds(one, redactor) for one in _related(error))


def _next(error: BaseException) -> Iterator[BaseException]:
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    yield from (one for one in (error.__cause__, error.__context__, *members) if one is not None)


def _related(error: BaseException) -> list[BaseException]:
    found = {id(error): error}
    waiting = [error]
    while waiting:
        for one in _next(waiting.pop()):
            if id(one) not in found:
                found[id(one)] = one
                waiting.append(one)
    return list(found.values())


def _holds(error: BaseException, redactor: Masking) -> bool:
    if redactor.holds_value(traceback.format_tb(error.__traceback__)):  # source lines have all sorts of common words in them
        return True
    held: list[Any] = [type(error).__qualname__, _text(error), *_notes(error)]
    held += (error.args, error.__dict__)
    for kind in type(error).__mro__:
        for member in vars(kind).values():
            if isinstance(member, MemberDescriptorType):  # an attribute outside of __dict__, such as OSError.filename
                held.append(getattr(error, member.__name__, None))
    return redactor.redact_nested(held) is not held


def _text(error: object) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - any exception may come out of somebody's __str__; the text says so, as in tracebacks
        return "<exception str() failed>"


def _notes(error: BaseException) -> list[str]:
    notes = getattr(error, "__notes__", ())
    return [_text(note) for note in (notes if isinstance(notes, list | tuple) else (notes,))]


def _replaced(
    error: BaseException | None, redactor: Masking, masked: set[int], stand_ins: dict[int, BaseException]
) -> BaseException | None:
    return _stand_in(error, redactor, masked, stand_ins) if error is not None and id(error) in masked else error


def _stand_in(error: BaseException, redactor: Masking, masked: set[int], stand_ins: dict[int, BaseException]) -> BaseException:
    """Makes it, without its cause and context; once for each exception."""
    if id(error) in stand_ins:
        return stand_ins[id(error)]
    kind = type(error)
    names = {"__module__": kind.__module__, "__qualname__": redactor.redact(kind.__qualname__)}
    name = redactor.redact(kind.__name__)
    text = redactor.redact(_text(error))
    made: Redacted
    if isinstance(error, BaseExceptionGroup):
        # A group cannot hold itself, so this comes to an end. Members that an ExceptionGroup may not hold get a stand-in in any case.
        members = [
            _stand_in(one, redactor, masked, stand_ins) if id(one) in masked or not isinstance(one, Exception) else one
            for one in error.exceptions
        ]
        made = type(name, (Redacted, ExceptionGroup), names)(redactor.redact(error.message), members)
        made._text = text
    else:
        made = type(name, (Redacted,), names)(text)
    stand_ins[id(error)] = made
    made.__traceback__ = error.__traceback__
    for note in _notes(error):
        made.add_note(redactor.redact(note))
    return made
