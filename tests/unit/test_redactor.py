"""A Redactor finds values in the forms in which programs show them."""

from __future__ import annotations

import base64
import copy
import html
import json
import pickle
import threading
import urllib.parse
from collections.abc import Callable
from xml.sax import saxutils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom import redaction
from strongroom.redaction import MASK, SHORTEST, Redactor, SecretText
from strongroom.redaction.sensitive import is_common
from tests.canary import CANARY, holds_canary

VALUES = {
    "plain": f"{CANARY}-token",
    "quotes": f'{CANARY}\'s "quoted" \\ back`tick',
    "apostrophe": f"{CANARY}'s",
    "unicode": f"{CANARY} grüße 🔑 \u2028 end",
    "percent": f"{CANARY}%s%(name)s%41 100%",
    "braces": f"{CANARY}{{{{0}}{{ }}name",
    "markup": f"{CANARY}<a href='x'>&amp;\"</a>",
    "address": f"{CANARY}:pass/word@host?a=b&c=d+e#f",
    "lines": f'{CANARY}-first line\n  second {CANARY}\r\nthird\'s "line" {CANARY}',
    "control": f"{CANARY}\x00\x1b[31m\ttab\x7f\x85",
}

SHOW: dict[str, Callable[[str], str]] = {
    "itself": str,
    "json": lambda value: json.dumps({"a": [value]}),
    "json of unicode": lambda value: json.dumps({"a": value}, ensure_ascii=False),
    "repr": repr,
    "repr with a single quote": lambda value: repr(value + "'"),
    "repr with both quotes": lambda value: repr(value + "'\""),
    "ascii": ascii,
    "key error": lambda value: str(KeyError(value)),
    "repr of bytes": lambda value: repr(value.encode()),
    "quote": urllib.parse.quote,
    "quote all": lambda value: urllib.parse.quote(value, safe=""),
    "quote plus": urllib.parse.quote_plus,
    "query": lambda value: urllib.parse.urlencode({"a": value, "b": 1}),
    "hex": lambda value: value.encode().hex(),
    "HEX": lambda value: value.encode().hex().upper(),
    "html": html.escape,
    "html text": lambda value: html.escape(value, quote=False),
    "xml": saxutils.escape,
    "markup": lambda value: html.escape(value).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    "unix line ends": lambda value: value.replace("\r\n", "\n"),
    "windows line ends": lambda value: value.replace("\r\n", "\n").replace("\n", "\r\n"),
}


@pytest.mark.parametrize("show", SHOW.values(), ids=list(SHOW))
@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_found_in_every_form(name: str, show: Callable[[str], str]) -> None:
    """Whatever way a value is shown, one mask takes its place and the text around it stays."""
    redactor = Redactor()
    redactor.add(VALUES[name])
    shown = show(VALUES[name])
    redacted = redactor.redact(f"before {shown} after")
    assert not holds_canary(redacted)
    assert redacted.count(MASK) == 1
    assert redacted.startswith("before ")
    assert redacted.endswith(" after")


@pytest.mark.parametrize("name", VALUES)
def test_lower_case_percent_escapes_are_found(name: str) -> None:
    """`%2f` is found as well as `%2F`."""
    redactor = Redactor()
    redactor.add(VALUES[name])
    shown = urllib.parse.quote(VALUES[name], safe="")
    for escape in {shown[place : place + 3] for place in range(len(shown)) if shown[place] == "%"}:
        shown = shown.replace(escape, escape.lower())
    assert redactor.redact(shown) == MASK


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize("name", VALUES)
def test_base64_is_found_wherever_the_value_stands_in_it(
    name: str, before: int, after: int, encode: Callable[[bytes], bytes]
) -> None:
    """Of base64 that holds the value at any place, at most one character that the value has a share in remains on each side."""
    redactor = Redactor()
    redactor.add(VALUES[name])
    data = VALUES[name].encode()
    coded = encode(b"user:"[:before] + data + b"@host"[:after]).decode()
    redacted = redactor.redact(coded)
    assert redacted.count(MASK) == 1
    left, right = redacted.split(MASK)
    assert len(left) <= (before * 8 + 5) // 6
    assert len(right.rstrip("=")) <= (1 + (after * 8 + 3) // 6 if after else 0)


def test_each_line_is_found_on_its_own() -> None:
    """A key in several lines is masked when it is indented, prefixed or shown in part, whatever ends its lines."""
    lines = ["-----BEGIN PRIVATE KEY-----", f"{CANARY}MIIEvQIBADANBg", f"{CANARY}kqhkiG9w0BAQE=", "-----END PRIVATE KEY-----"]
    for ending in ("\n", "\r\n"):
        redactor = Redactor()
        redactor.add(ending.join(lines) + ending)
        for shown in ("\n".join(f"    {line}" for line in lines), "\r\n".join(f"> {line}" for line in lines), lines[2]):
            assert not holds_canary(redactor.redact(shown))
        assert redactor.redact("\n".join(f"> {line}" for line in lines)) == "\n".join([f"> {MASK}"] * 4)
        assert redactor.redact("\n".join(lines)) == redactor.redact("\r\n".join(lines)) == MASK


def test_short_lines_and_short_values_are_left_alone() -> None:
    """Fewer than four characters are not masked, nor is white space."""
    redactor = Redactor()
    for value in ("", "abc", "  ab \n", "        ", "\n\n\n\n"):
        redactor.add(value)
    assert redactor.redact("abc ab          \n\n\n\n") == "abc ab          \n\n\n\n"
    redactor.add("abcd")
    assert redactor.redact("abcd") == MASK
    assert len("abcd") == SHORTEST


def test_overlapping_values_leave_nothing() -> None:
    """Values that share characters, or are parts of each other, are covered together by one mask."""
    redactor = Redactor()
    for value in ("1234abcd", "abcdef56", "abcdef5678", "5678wxyz", "v5678wxyz0"):
        redactor.add(value)
    assert redactor.redact("1234abcdef56") == MASK
    assert redactor.redact("-1234abcdef5678-") == f"-{MASK}-"
    assert redactor.redact("5678wxyz v5678wxyz0 v5678wxyz") == f"{MASK} {MASK} v{MASK}"
    assert redactor.redact("1234abcd5678wxyz") == MASK * 2
    redactor.add("a-a-a-a-")
    assert redactor.redact("a-" * 11) == MASK


def test_adding_again_changes_nothing() -> None:
    """A value may be added as text or as SecretText, any number of times."""
    redactor = Redactor()
    for value in (VALUES["plain"], SecretText(VALUES["plain"]), VALUES["plain"] + "\n"):
        redactor.add(value)
    assert repr(redactor) == "<Redactor of 1 values>"
    assert redactor.redact(f"{VALUES['plain']}!") == f"{MASK}!"


def test_it_does_not_show_values() -> None:
    """Neither shown nor pickled nor copied."""
    redactor = Redactor()
    redactor.add(VALUES["plain"])
    assert not holds_canary(repr(redactor) + str(redactor))
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leave(redactor)


def test_bytes_that_are_not_text_pass_unharmed() -> None:
    """Bytes around a value stay as they are, whatever they are."""
    redactor = Redactor()
    redactor.add(VALUES["unicode"])
    noise = bytes(range(256))
    assert redactor.redact_bytes(noise) == noise
    assert redactor.redact_bytes(noise + VALUES["unicode"].encode() + noise) == noise + MASK.encode() + noise


def test_nested_containers_are_rebuilt_only_if_they_hold_a_value() -> None:
    """Keys and members at any depth are masked; what holds no value stays the same object."""
    redactor = Redactor()
    value = VALUES["plain"]
    redactor.add(value)
    clean = {"a": ["b", ("c", {"d"}), b"e", 1, None]}
    assert redactor.redact_nested(clean) is clean
    held = {value: [value, (value, {f"<{value}>"}), value.encode(), 1, None], "clean": clean}
    redacted = redactor.redact_nested(held)
    assert redacted == {MASK: [MASK, (MASK, {f"<{MASK}>"}), MASK.encode(), 1, None], "clean": clean}
    assert redacted["clean"] is clean
    around: list[object] = [value]
    around.append(around)
    assert redactor.redact_nested(around) == [MASK, "..."]


def test_values_with_odd_characters_can_be_added() -> None:
    """Lone surrogates, as in undecodable file names, are no obstacle."""
    redactor = Redactor()
    for value in (f"{CANARY}\udcff", f"{CANARY}\ud800"):
        redactor.add(value)
        assert redactor.redact(f"<{value}>") == f"<{MASK}>"


WHITE = " \t\r\n\v\f"
TEXTS = st.text(st.sampled_from("ab\"'\\%&<é\n 🔑"), min_size=8, max_size=14).filter(
    lambda text: len(text.strip(WHITE)) >= 8 and not is_common(text.strip(WHITE))
)


@given(st.lists(TEXTS, min_size=1, max_size=4), st.lists(st.one_of(st.integers(0, 3), st.text(max_size=3)), max_size=8))
def test_nothing_of_any_value_remains(values: list[str], parts: list[int | str]) -> None:
    """However values are mixed with text and with each other, none is left, in no form; doing it twice changes nothing."""
    redactor = Redactor()
    for value in values:
        redactor.add(value)
    text = "".join(part if isinstance(part, str) else values[part % len(values)] for part in parts)
    redacted = redactor.redact(text)
    assert not any(value.strip(WHITE) in redacted for value in values)
    assert redactor.redact(redacted) == redacted
    assert redactor.redact_bytes(text.encode()) == redacted.encode()


@given(st.lists(st.text(max_size=8).map(lambda text: CANARY + "".join(text.splitlines())), min_size=1, max_size=30), st.text())
def test_text_without_values_stays(values: list[str], text: str) -> None:
    """Where there is no value, nothing changes, with few values and with many."""
    redactor = Redactor()
    for value in values:
        redactor.add(value)
    assert redactor.redact(text) == text


def test_few_and_many_values_are_found_alike() -> None:
    """The two ways of searching give the same."""
    few, many = Redactor(), Redactor()
    value = VALUES["plain"]
    few.add(value)
    many.add(value)
    for number in range(100):
        many.add(f"{number:04}{number * 7919:08x}-unrelated")
    for text in (value, f"a{value}b{value.encode().hex()}", base64.b64encode(f"ab{value}".encode()).decode(), value[:-1]):
        assert few.redact(text) == many.redact(text)


def test_values_may_be_added_while_others_redact() -> None:
    """Threads that add and threads that redact do not disturb each other; a value is masked as soon as `add` is back."""
    redactor = Redactor()
    missed: list[bool] = []

    def work(thread: int) -> None:
        for number in range(50):
            value = f"{CANARY}-{thread}-{number}-end"
            redactor.add(value)
            missed.append(holds_canary(redactor.redact(f"{value} {value}")))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(missed) == 200
    assert not any(missed)


def test_the_package_offers_no_more_than_it_says() -> None:
    """Every public name is there; another one is an AttributeError."""
    assert all(getattr(redaction, name) is not None for name in redaction.__all__)
    assert not hasattr(redaction, "nothing")
