"""Whatever may be stored comes back as it was."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.canary import CANARY
from tests.people import Person

KEYS = st.text(string.ascii_letters + string.digits + "_.-", min_size=1, max_size=255).filter(lambda key: key != "name")
NAMES = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=255).filter(lambda name: name != "name")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
PRINTABLE = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=255)


def test_any_secret_comes_back(alice: Person) -> None:
    """Names, keys in their order, values, descriptions, labels and expiry survive every database, to the last character."""

    @given(
        name=NAMES,
        texts=st.dictionaries(KEYS, TEXTS, min_size=1, max_size=5),
        changes=st.dictionaries(KEYS, TEXTS, max_size=3),
        description=PRINTABLE,
        labels=st.dictionaries(st.text(string.ascii_lowercase + "./", min_size=1, max_size=63), PRINTABLE, max_size=3),
        expires_at=st.none() | st.datetimes(timezones=OFFSETS, min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)),
    )
    @settings(max_examples=30)
    def explore(
        name: str,
        texts: dict[str, str],
        changes: dict[str, str],
        description: str,
        labels: dict[str, str],
        expires_at: datetime | None,
    ) -> None:
        values = {key: CANARY + text for key, text in texts.items()}
        made = alice.create(name, values, description=description, labels=labels, expires_at=expires_at)
        try:
            read = alice.get_by_name(name)
            assert list(read.secret_values.items()) == list(values.items())
            assert (read.id, read.description, read.labels, read.expires_at) == (made.id, description, labels, expires_at)
            assert expires_at is None or (read.expires_at is not None and read.expires_at.tzinfo is UTC)
            for key, value in labels.items():
                assert [secret.id for secret in alice.list(label=[f"{key}={value}"])] == [made.id]
            if changes:
                values |= {key: CANARY + text for key, text in changes.items()}
                alice.update(made.id, {key: CANARY + text for key, text in changes.items()})
                assert list(alice.get(made.id).secret_values.items()) == list(values.items())
        finally:
            alice.delete(made.id)

    explore()
