"""Times at both ends of the calendar, in every zone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo, available_timezones

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.cli.output import local_time
from strongroom.client.transports.remote import _encode
from strongroom.errors import InvalidInput
from strongroom.models.filter import from_microseconds, parse_time, parse_time_filter, to_microseconds
from strongroom.models.secret import CreateSecret, ListSecrets
from strongroom.operations import secret as of_secret
from strongroom.server.ui import secret_form
from strongroom.server.ui.rendering import moment as shown

FIRST, LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ENDS = [datetime.min, datetime(1, 1, 1, 23, 59), datetime(1, 1, 2), datetime(9999, 12, 30), datetime(9999, 12, 31), datetime.max]
OFFSETS = [timezone(sign * timedelta(hours=hours, minutes=minutes)) for sign in (-1, 1) for hours in range(24) for minutes in (0, 59)]
ZONES = sorted(available_timezones())


@pytest.fixture(autouse=True)
def zone_restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tests change the zone of this process."""
    yield
    monkeypatch.undo()
    time.tzset()


def is_within(moment: datetime) -> bool:
    """Whether the documents say that it is taken."""
    return FIRST <= moment <= LAST


@pytest.mark.parametrize("end", ENDS, ids=str)
def test_times_are_taken_or_refused_in_words(end: datetime) -> None:
    """Each time at an end of the calendar, in each zone: exactly those that the documents name are taken, all others refused."""
    for zone in OFFSETS:
        moment = end.replace(tzinfo=zone)
        for text in (moment.isoformat(), f" {moment.isoformat()} "):
            if is_within(moment):
                assert parse_time("x", text) == moment
                assert parse_time_filter("x", f"gt:{text}").moment == to_microseconds(moment)
                continue
            for parse in (lambda text: parse_time("x", text), lambda text: parse_time_filter("x", f"gt:{text}")):
                with pytest.raises(InvalidInput, match="the years 1 to 9999"):
                    parse(text)
        form = secret_form._moment(moment.isoformat())
        assert form == moment, "the form's time is checked where all are"
    for name in ZONES:
        moment = end.replace(tzinfo=ZoneInfo(name))
        if is_within(moment):
            assert from_microseconds(to_microseconds(moment)) == moment
        else:
            with pytest.raises(InvalidInput, match="the years 1 to 9999"):
                to_microseconds(moment)


def test_what_is_taken_can_be_shown_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line shows the first and the last time in the zone of its user, whatever that is; the page shows them in UTC."""
    for name in ZONES:
        monkeypatch.setenv("TZ", name)
        time.tzset()
        for moment in (FIRST, LAST):
            assert len(local_time(moment)) >= len("1-01-01 00:00:00")
    assert shown(LAST) == "9999-12-30 23:59"


@given(st.datetimes(timezones=st.timezones()) | st.datetimes(timezones=st.sampled_from(OFFSETS)))
def test_a_time_reaches_the_server_as_it_is(moment: datetime) -> None:
    """Also one in a zone of former centuries, which differs from UTC by hours, minutes and seconds."""
    _, body = _encode("", of_secret.CREATE, CreateSecret(name="x", values={}, expires_at=moment), "")
    assert body is not None
    arrived = msgspec.convert(msgspec.json.decode(body)["expires_at"], datetime)
    assert arrived - EPOCH == moment - EPOCH or not is_within(moment)
    target, _ = _encode("", of_secret.LIST, ListSecrets(created=f"gt:{moment.isoformat()}"), "")
    assert parse_qs(urlsplit(target).query)["created"] == [f"gt:{moment.isoformat()}"]
