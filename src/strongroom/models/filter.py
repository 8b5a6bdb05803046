"""Filters of lists: `value`, or `operator:value`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec

from strongroom.errors import InvalidInput

TEXT_OPERATORS = ("equals", "notequals", "startswith", "contains", "endswith", "oneof")
TIME_OPERATORS = ("equals", "notequals", "gt", "gte", "lt", "lte")


@dataclass(frozen=True)
class TextFilter:
    """`values` has one text, or several for `oneof`. `%` and `_` mean themselves."""

    operator: str
    values: list[str]


@dataclass(frozen=True)
class TimeFilter:
    """A comparison with a moment, in microseconds since 1970."""

    operator: str
    moment: int


def parse_text_filter(text: str) -> TextFilter:
    """Reads a filter on text. A word before the first colon that is no operator belongs to the value."""
    operator, colon, value = text.partition(":")
    if not colon or operator not in TEXT_OPERATORS:
        return TextFilter("equals", [text])
    if operator != "oneof":
        return TextFilter(operator, [value])
    if value.startswith("["):
        try:
            return TextFilter(operator, msgspec.json.decode(value, type=list[str]))
        except msgspec.DecodeError:
            raise InvalidInput("'oneof:' takes a JSON list of texts, or texts separated by commas") from None
    return TextFilter(operator, [part.strip() for part in value.split(",")])


def parse_time_filter(field: str, text: str) -> TimeFilter:
    """Reads a filter on a moment in ISO 8601, which has to name its zone."""
    operator, colon, value = text.partition(":")
    if not colon or operator not in TIME_OPERATORS:
        operator, value = "equals", text
    return TimeFilter(operator, to_microseconds(parse_time(field, value)))


def parse_time(field: str, text: str) -> datetime:
    """A moment in ISO 8601 with its zone, in UTC. `InvalidInput`, as from `to_microseconds`."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidInput(f"'{field}' takes a time in ISO 8601 with its zone", hint="for example 2026-01-31T09:00:00Z")
    return from_microseconds(to_microseconds(moment))


def to_microseconds(moment: datetime) -> int:
    """Microseconds since 1970; exact. `InvalidInput` for a moment that has no year from 1 to 9999 in UTC, or names no zone."""
    if moment.tzinfo is None:
        raise InvalidInput("a time names its zone", hint="for example 2026-01-31T09:00:00Z")
    delta = moment - _EPOCH
    if not _FIRST <= delta <= _LAST:
        raise InvalidInput("a time lies in the years 1 to 9999, also in UTC, but for their first and last day")
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


@lru_cache(512)
def from_microseconds(microseconds: int) -> datetime:
    """The moment, in UTC. What is read often has the same ones each time."""
    return _EPOCH + timedelta(microseconds=microseconds)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = datetime(1, 1, 2, tzinfo=UTC) - _EPOCH  # with room for every zone in which it may be shown
_LAST = datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=UTC) - _EPOCH
