"""What a secret may look like."""

from __future__ import annotations

import re
import traceback
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import InvalidInput, StrongroomError, TooLarge
from strongroom.models.secret import (
    MAX_SECRET_BYTES,
    Scope,
    Secret,
    check_key,
    check_labels,
    check_name,
    check_values,
    value_text,
)
from strongroom.redaction import SecretText
from tests.canary import CANARY, holds_canary


@pytest.mark.parametrize("name", ["a", "A-b_9", "-", "_", "0", "names", "Name", "x" * 255])
def test_names_that_are_allowed(name: str) -> None:
    """Letters, digits, `_` and `-`, 1 to 255 of them, make a name."""
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "cannot be empty"),
        ("name", "reserved"),
        ("x" * 256, "at most 255 characters, not 256"),
        ("a.b", "a dot"),
        ("a b", "a blank"),
        ("a/b", "a slash"),
        ("ä", "'ä'"),
        ("a\n", "U\\+000A"),
        ("\ud800", "U\\+D800"),
        ("a\0", "U\\+0000"),
        ("{{a", "'{'"),
        ("٣", "'٣'"),
    ],
)
def test_names_that_are_refused(name: str, reason: str) -> None:
    """Anything else is refused with the reason, in one printable line."""
    with pytest.raises(InvalidInput) as caught:
        check_name(name)
    shown = f"{caught.value} {caught.value.hint}"
    assert re.search(reason, shown)
    assert shown.isprintable()


@pytest.mark.parametrize("key", ["a", "A-b_9.c", ".", "names", "x" * 255, "tls.crt"])
def test_keys_that_are_allowed(key: str) -> None:
    """Keys may have dots too."""
    assert check_key(key) == key


@pytest.mark.parametrize("key", ["", "name", "x" * 256, "a b", "a/b", "ä", "a\n", "a\0", "\ud800", "a=b"])
def test_keys_that_are_refused(key: str) -> None:
    """Anything else is refused in one printable line."""
    with pytest.raises(InvalidInput) as caught:
        check_key(key)
    assert str(caught.value).isprintable()


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_is_refused(text: str) -> None:
    """Names and keys are decided on for every text; refusals quote at most one character of it."""
    for check in (check_name, check_key):
        try:
            assert check(text) == text
        except InvalidInput as error:
            refusal = str(error)
        else:
            continue
        assert len(refusal) < 80
        assert refusal.isprintable()


def _values(size: int) -> dict[str, SecretText]:
    return {"k": SecretText("x" * (size - 1))}


def test_the_limit_is_exact() -> None:
    """65,536 bytes of keys and values pass, 65,537 do not, and the message names the limit."""
    assert MAX_SECRET_BYTES == 65_536
    check_values(_values(65_536))
    with pytest.raises(TooLarge, match="take 65537 bytes; the limit is 65536"):
        check_values(_values(65_537))


def test_the_limit_counts_bytes_of_all_keys_and_values() -> None:
    """The limit is in bytes of UTF-8, over all keys and values together."""
    check_values({"ab": SecretText("ä" * 32_766), "cd": SecretText("")})
    with pytest.raises(TooLarge):
        check_values({"ab": SecretText("ä" * 32_766), "cd": SecretText("x")})


def test_values_may_be_any_text() -> None:
    """Empty texts, control characters and everything in Unicode are values."""
    check_values({"a": SecretText(""), "b": SecretText("\0\n\t\x7f"), "c": SecretText("\U0010ffff \u202e ä")})


def test_values_that_are_no_unicode_are_refused() -> None:
    """A lone surrogate is refused by its key, without the value."""
    with pytest.raises(InvalidInput, match="'c'") as caught:
        check_values({"c": SecretText(f"{CANARY}\ud800")})
    assert not holds_canary("".join(traceback.format_exception(caught.value)))


def test_a_secret_without_keys_is_refused() -> None:
    """There has to be a key."""
    with pytest.raises(InvalidInput, match="at least one key"):
        check_values({})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        ("", ""),
        (SecretText("y"), "y"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-12, "-12"),
        (10**30, "1" + "0" * 30),
        (1.5, "1.5"),
        (1e300, "1e300"),
        (-0.0, "-0.0"),
    ],
)
def test_numbers_and_booleans_become_json(value: Any, text: str) -> None:
    """Plain values are stored as their JSON text."""
    assert value_text("k", value).reveal() == text


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"a": CANARY}, "a mapping"),
        ([CANARY], "a list"),
        ((CANARY,), "a list"),
        (None, "null"),
        (CANARY.encode(), "bytes"),
        (object(), "no text"),
        (datetime(2026, 1, 1, tzinfo=UTC), "no text"),
        (float("nan"), "a number that JSON cannot write"),
        (float("-inf"), "a number that JSON cannot write"),
        (10**5000, "a number"),
    ],
    ids=range(10),  # pytest would write the numbers out
)
def test_other_values_are_refused_by_key(value: Any, kind: str) -> None:
    """Nested and foreign data are refused, naming the key and the kind, never the value."""
    with pytest.raises(InvalidInput) as caught:
        value_text("k", value)
    assert "'k'" in str(caught.value)
    assert kind in str(caught.value)
    assert not holds_canary(f"{caught.value} {caught.value.hint}")


def test_labels_that_are_allowed() -> None:
    """Labels take printable values up to 255 characters, also none."""
    labels = {"a.b/c-d_e": "any text, ä", "k" * 63: "x" * 255, "empty": ""}
    assert check_labels(labels) == labels


@pytest.mark.parametrize(
    "labels", [{"": "x"}, {"k" * 64: "x"}, {"a b": "x"}, {"a": "x" * 256}, {"a": "\n"}, {"a": "\ud800"}, {"a": 1}]
)
def test_labels_that_are_refused(labels: Any) -> None:
    """Other keys and values are refused."""
    with pytest.raises(InvalidInput):
        check_labels(labels)


def _secret(**fields: Any) -> Secret:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    given: dict[str, Any] = {
        "id": "i",
        "name": "n",
        "scope": Scope.USER,
        "workspace": "w",
        "owner": "o",
        "description": "",
        "labels": {},
        "keys": ["k"],
        "version": 1,
        "created": moment,
        "updated": moment,
        "created_by": "o",
        "expires_at": None,
    }
    return Secret(**(given | fields))


def test_a_secret_shows_no_values() -> None:
    """`repr` masks values; `secret_values` gives them in clear as a dict of the caller's own."""
    secret = _secret(values={"k": SecretText(CANARY)})
    assert not holds_canary(repr(secret))
    secret.secret_values["k"] = "changed"
    assert secret.secret_values == {"k": CANARY}


def test_values_that_were_not_read_are_no_empty_dict() -> None:
    """Metadata has no values, and says so instead of giving none."""
    with pytest.raises(StrongroomError, match="were not read"):
        _ = _secret().secret_values
