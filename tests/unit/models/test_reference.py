"""What is a reference, what is none, and what was meant to be one."""

from __future__ import annotations

import random
import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import InvalidInput
from strongroom.models.reference import (
    Reference,
    ReferenceStatus,
    ResolvedReference,
    find_references,
    is_near_miss,
    parse_reference,
    walk_texts,
)
from strongroom.models.secret import check_key, check_name
from strongroom.redaction import SecretText
from tests.canary import CANARY, holds_canary

NAMES = string.ascii_letters + string.digits + "_-"
KEYS = NAMES + "."
LONG = "n" * 255
JSON = ('{"a":1.5}', '{"a.b":"c.d"}', '{"host":"example.com"}')


@pytest.mark.parametrize(
    ("text", "name", "key"),
    [
        ("{{a.b}}", "a", "b"),
        ("{{mlflow_secret.username}}", "mlflow_secret", "username"),
        ("{{ a.b }}", "a", "b"),
        ("{{\ta.b\t}}", "a", "b"),
        ("{{ \t a.b \t\t}}", "a", "b"),
        ("{{a.b.c}}", "a", "b.c"),
        ("{{a..}}", "a", "."),
        ("{{a...b.}}", "a", "..b."),
        ("{{a-_0.-_.9}}", "a-_0", "-_.9"),
        ("{{-.-}}", "-", "-"),
        ("{{0.0}}", "0", "0"),
        (f"{{{{{LONG}.{LONG}}}}}", LONG, LONG),
        (f"{{{{{LONG}.{'.' * 255}}}}}", LONG, "." * 255),
    ],
    ids=range(13),
)
def test_references(text: str, name: str, key: str) -> None:
    """A name, a dot and a key in double braces, with blanks or tabs beside these; the first dot splits."""
    assert parse_reference(text) == Reference(name, key)
    assert not is_near_miss(text)


@pytest.mark.parametrize(
    "text",
    [
        "{{a}}",
        "x{{a.b}}",
        "{{a.b}}x",
        " {{a.b}}",
        "{{a.b}} ",
        "{{a.b}}\n",
        "\n{{a.b}}",
        "{{a.}}",
        "{{.b}}",
        "{{.}}",
        "{{}}",
        "{{ }}",
        "{{a.b}}{{c.d}}",
        "{{{a.b}}}",
        "{{{{a.b}}}}",
        "{{a.b}}}",
        "{{{a.b}}",
        "{a.b}",
        "{{a.b}",
        "{a.b}}",
        "{{a b.c}}",
        "{{a .b}}",
        "{{a. b}}",
        "{{a.b c}}",
        "{{a/b.c}}",
        "{{a.b/c}}",
        "{{a:b.c}}",
        "{{\na.b}}",
        "{{a.b\n}}",
        "{{a.\nb}}",
        "{{\ra.b}}",
        "{{\va.b}}",
        "{{\fa.b}}",
        "{{a.b}}{{",
        "see {{a.b}} there",
        "{{'a.b'}}",
        "{{a,b}}",
        "{{$a.b}}",
        f"{{{{{LONG}n.b}}}}",
        f"{{{{a.{LONG}n}}}}",
    ],
    ids=range(40),
)
def test_near_misses(text: str) -> None:
    """Braces that are no reference as a whole are plain text; whoever wrote them may have meant one, and is warned."""
    assert parse_reference(text) is None
    assert is_near_miss(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.b",
        "{",
        "}",
        "{}",
        "{{",
        "}}",
        "}}{{",
        "{a}",
        "a{b}c.d",
        "$(a.b)",
        "[[a.b]]",
        "((a.b))",
        "<<a.b>>",
        "%a.b%",
        "{ a.b }",
        *JSON,
    ],
    ids=range(19),
)
def test_plain_text(text: str) -> None:
    """Text without the double braces of a reference, and without one in single braces, is nobody's mistake."""
    assert parse_reference(text) is None
    assert not is_near_miss(text)


@pytest.mark.parametrize(
    "text",
    [
        "\uff5b\uff5ba.b\uff5d\uff5d",  # full-width braces
        "{{\u0430.b}}",  # a Cyrillic a
        "{{a.\u0431}}",
        "{{a\uff0eb}}",  # a full-width dot
        "{{a\u2024b}}",  # a one dot leader
        "{{\u00a0a.b}}",  # a no-break space
        "{{\u2003a.b}}",
        "{{\u200ba.b}}",  # a zero width space
        "{{a.b\ufeff}}",
        "{{a\u00e4.b}}",
        "{{\uff41.b}}",
        "{{\u0661.b}}",  # an Arabic digit
        "{{a.\u00b2}}",
        "{{a\u0301.b}}",
        "{{K\u212a.b}}",  # the sign of Kelvin
        "{{a.b\0}}",
        "{{a.\ud800}}",
    ],
    ids=range(17),
)
def test_look_alikes_are_no_references(text: str) -> None:
    """Only ASCII letters, digits, braces, dots and blanks count, whatever else looks like them."""
    assert parse_reference(text) is None


def test_near_misses_are_found_fast() -> None:
    """No text of the size of a whole configuration keeps the search for near misses busy."""
    for piece in ("{", "{{", "{a.", "{{a.b} ", "}}", ".", "{{\n"):
        text = piece * (65_536 // len(piece))
        is_near_miss(text)
        is_near_miss(text + "}}")
        assert parse_reference(text) is None


def test_texts_are_found_with_their_paths() -> None:
    """Lists and mappings are searched at any depth; keys are not; the path says where a text stands."""
    tree = {
        "token": "{{a.b}}",
        "options": {"auth": {"user": "{{ a.c }}", "{{no.key}}": 1}, "hosts": ["{{d.e}}", "plain", ["{{d.f.g}}"], ("{{h.i}}",)]},
        "number": 5,
        "none": None,
        "flag": True,
    }
    assert list(find_references(tree)) == [
        ("token", Reference("a", "b")),
        ("options.auth.user", Reference("a", "c")),
        ("options.hosts[0]", Reference("d", "e")),
        ("options.hosts[2][0]", Reference("d", "f.g")),
        ("options.hosts[3][0]", Reference("h", "i")),
    ]
    assert ("options.hosts[1]", "plain") in list(walk_texts(tree))
    assert list(find_references("{{a.b}}")) == [("", Reference("a", "b"))]
    assert list(find_references(["{{a.b}}"])) == [("[0]", Reference("a", "b"))]
    assert list(find_references({1: "{{a.b}}"})) == [("1", Reference("a", "b"))]
    for nothing in (None, 5, True, 1.5, {}, [], b"{{a.b}}"):
        assert list(walk_texts(nothing)) == []


@given(
    st.text(NAMES, min_size=1, max_size=255),
    st.text(KEYS, min_size=1, max_size=255),
    st.text(" \t", max_size=3),
    st.text(" \t", max_size=3),
)
def test_every_key_of_every_secret_can_be_referred_to(name: str, key: str, before: str, after: str) -> None:
    """What secrets may be called and have as keys comes back from between the braces, and `str` writes it."""
    written = f"{{{{{before}{name}.{key}{after}}}}}"
    assert parse_reference(written) == Reference(name, key)
    assert str(Reference(name, key)) == f"{{{{{name}.{key}}}}}"
    assert parse_reference(str(Reference(name, key))) == Reference(name, key)


def check_parts(reference: Reference) -> None:
    """A name and a key as secrets have them. ('name' is reserved there, so a reference to it leads nowhere.)"""
    for text, check in ((reference.name, check_name), (reference.key, check_key)):
        if text != "name":
            assert check(text) == text


@given(st.one_of(st.text("{}. \tab\n", max_size=20), st.from_regex(r"\{\{[ -~\t\n]{0,9}\.[ -~\u0400]{0,9}\}\}", fullmatch=True)))
def test_what_parses_has_a_name_and_a_key(text: str) -> None:
    """Whatever parses consists of what a secret may be called and a key that it may have."""
    reference = parse_reference(text)
    if reference is not None:
        check_parts(reference)
        assert not is_near_miss(text)


def test_reserved_words_are_references_that_lead_nowhere() -> None:
    """`{{name.key}}`, copied from a document, is no plain text: validation tells that there is no such secret."""
    assert parse_reference("{{name.key}}") == Reference("name", "key")
    with pytest.raises(InvalidInput):
        check_name("name")


def by_hand(text: str) -> tuple[str, str] | None:
    """The grammar once more, one character after the other."""
    position = 0

    def take(wanted: str, least: int, most: int) -> str | None:
        nonlocal position
        start = position
        while position < len(text) and position - start < most and text[position] in wanted:
            position += 1
        return text[start:position] if position - start >= least else None

    if take("{", 2, 2) is None or take(" \t", 0, len(text)) is None:
        return None
    name = take(NAMES, 1, 255)
    if name is None or take(".", 1, 1) is None:
        return None
    key = take(KEYS, 1, 255)
    if key is None or take(" \t", 0, len(text)) is None or take("}", 2, 2) is None or position != len(text):
        return None
    return name, key


def test_a_parser_by_hand_agrees() -> None:
    """Over many mutated references, the grammar is the one that a character by character reading finds."""
    source = random.Random(20_260_201)
    seeds = ["{{a.b}}", "{{ name_1.key-2.x }}", "{{\ta.b.c}}", "x{{a.b}}", "{{a.b}}{{c.d}}", "{{{a.b}}}", f"{{{{{LONG}.{LONG}}}}}"]
    pieces = [
        "{",
        "}",
        "{{",
        "}}",
        ".",
        "..",
        " ",
        "\t",
        "\n",
        "\r",
        "\0",
        "a",
        "Z",
        "0",
        "_",
        "-",
        "/",
        "\u00e4",
        "\u0661",
        "\ud800",
        "",
    ]
    found = 0
    for _ in range(20_000):
        text = source.choice(seeds)
        for _ in range(source.randrange(4)):
            start = source.randrange(len(text) + 1)
            text = text[:start] + source.choice(pieces) + text[start + source.randrange(3) :]
        parsed = parse_reference(text)
        assert (None if parsed is None else (parsed.name, parsed.key)) == by_hand(text), ascii(text)
        if parsed is not None:
            found += 1
            check_parts(parsed)
    assert 2_000 < found < 18_000, "the mutations make too few references, or too few other texts"


def test_what_was_resolved_does_not_show() -> None:
    """The reply to `resolve` masks its value in `repr` and when it is encoded without asking for it."""
    item = ResolvedReference(name="a", key="b", status=ReferenceStatus.OK, value=SecretText(CANARY))
    assert not holds_canary(repr(item))
    assert not holds_canary(msgspec.json.encode(item, enc_hook=str))
