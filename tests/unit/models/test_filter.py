"""Reading filters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import InvalidInput
from strongroom.models.filter import (
    TEXT_OPERATORS,
    TextFilter,
    TimeFilter,
    from_microseconds,
    parse_text_filter,
    parse_time,
    parse_time_filter,
    to_microseconds,
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain", TextFilter("equals", ["plain"])),
        ("", TextFilter("equals", [""])),
        ("equals:a:b", TextFilter("equals", ["a:b"])),
        ("notequals:a", TextFilter("notequals", ["a"])),
        ("startswith:ml_", TextFilter("startswith", ["ml_"])),
        ("contains:%", TextFilter("contains", ["%"])),
        ("endswith:", TextFilter("endswith", [""])),
        ("unknown:a", TextFilter("equals", ["unknown:a"])),
        ("Equals:a", TextFilter("equals", ["Equals:a"])),
        ("oneof:a, b,c", TextFilter("oneof", ["a", "b", "c"])),
        ('oneof:["a","b,c"]', TextFilter("oneof", ["a", "b,c"])),
        ("oneof:[]", TextFilter("oneof", [])),
    ],
)
def test_text_filters(text: str, wanted: TextFilter) -> None:
    """A filter is a value, or an operator, a colon and a value; other colons belong to the value."""
    assert parse_text_filter(text) == wanted


@pytest.mark.parametrize("text", ["oneof:[", "oneof:[1]", 'oneof:["a"', 'oneof:[["a"]]'])
def test_lists_that_cannot_be_read_are_refused(text: str) -> None:
    """A broken JSON list is refused."""
    with pytest.raises(InvalidInput, match="oneof"):
        parse_text_filter(text)


@given(st.text())
def test_any_text_is_a_filter(text: str) -> None:
    """Whatever is behind `equals:` is taken as it is."""
    assert parse_text_filter(f"equals:{text}") == TextFilter("equals", [text])
    assert set(TEXT_OPERATORS) >= {parse_text_filter(text).operator} if not text.startswith("oneof:") else True


@pytest.mark.parametrize(
    ("text", "operator", "moment"),
    [
        ("2026-01-31T09:00:00Z", "equals", datetime(2026, 1, 31, 9, tzinfo=UTC)),
        ("gte:2026-01-31T10:00:00+01:00", "gte", datetime(2026, 1, 31, 9, tzinfo=UTC)),
        ("lt:2026-01-31T09:00:00.000001Z", "lt", datetime(2026, 1, 31, 9, 0, 0, 1, tzinfo=UTC)),
        ("gt: 2026-01-31T09:00Z ", "gt", datetime(2026, 1, 31, 9, tzinfo=UTC)),
        ("notequals:20260131T090000Z", "notequals", datetime(2026, 1, 31, 9, tzinfo=UTC)),
    ],
)
def test_time_filters(text: str, operator: str, moment: datetime) -> None:
    """Times are ISO 8601 with a zone, and compare as moments."""
    assert parse_time_filter("created", text) == TimeFilter(operator, to_microseconds(moment))


@pytest.mark.parametrize(
    "text", ["2026-01-31T09:00:00", "2026-01-31", "yesterday", "", "gte:", "about:2026-01-31T09:00:00Z", "contains:2026", "gte:1e9"]
)
def test_times_without_zone_or_sense_are_refused(text: str) -> None:
    """A time without its zone, or no time at all, is refused by field, with an example."""
    with pytest.raises(InvalidInput, match="'created' takes a time in ISO 8601 with its zone") as caught:
        parse_time_filter("created", text)
    assert caught.value.hint is not None


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_times_beyond_the_calendar_are_refused(text: str) -> None:
    """A time whose UTC is outside of the years 1 to 9999 is refused like any other bad one."""
    with pytest.raises(InvalidInput):
        parse_time("created", text)


@given(st.datetimes(timezones=st.just(UTC)))
def test_microseconds_are_exact(moment: datetime) -> None:
    """Times come back from the database exactly, over the whole calendar."""
    assert from_microseconds(to_microseconds(moment)) == moment


def test_zones_do_not_matter() -> None:
    """Equal moments are equal numbers."""
    moment = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert to_microseconds(moment) == to_microseconds(moment.astimezone(timezone(timedelta(hours=-7))))
