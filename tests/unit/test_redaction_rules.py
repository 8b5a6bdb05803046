"""The rules of `docs/concepts/redaction.md`: each row of its tables."""

from __future__ import annotations

import base64
import configparser
import html
import io
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.redaction import MASK, RedactingStream, Redactor

VALUE = "S3cr&t/päss w0rd"
PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "redaction.md"


def redactor_of(*values: str) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.add(value)
    return redactor


def rows(title: str) -> list[tuple[str, str]]:
    """The first two cells of each row of the table below a heading of the page."""
    section = PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    cells = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return [(first.strip(), second.strip()) for first, second in cells[2:]]


def every_character(escape: Callable[[str], str]) -> Callable[[str], str]:
    return lambda value: "".join(map(escape, value))


FORMS: dict[str, list[Callable[[str], str]]] = {
    "itself, also written in pieces": [str],
    "with colours or other sequences of a terminal in it": [
        lambda value: f"\x1b[1m{value[:3]}\x1b[0m{value[3:7]}\x1b[38;5;196m{value[7:]}\x1b[0m",
        every_character(lambda character: f"{character}\x1b[K"),
        lambda value: f"\x1b]8;;https://example.com\x1b\\{value}\x1b]8;;\x1b\\",
    ],
    "JSON, with any of its spellings: `\\u0026`, `\\/`, `\\u00E4`": [
        json.dumps,
        lambda value: json.dumps(value, ensure_ascii=False),
        lambda value: json.dumps(value).replace("&", "\\u0026").replace("/", "\\/"),
        lambda value: json.dumps(value).replace("\\u00e4", "\\u00E4"),
        every_character(lambda character: f"\\u{ord(character):04x}"),
    ],
    "JSON within JSON": [lambda value: json.dumps({"body": json.dumps({"password": value})})],
    "Python's `repr` and `ascii`, of text and of bytes": [
        repr,
        ascii,
        lambda value: repr(value.encode()),
        lambda value: repr([value]),
    ],
    "URLs, with any choice of characters that are escaped, and `+` for a space": [
        quote,
        quote_plus,
        lambda value: quote(value, safe=""),
        lambda value: quote(value, safe="~()*!.'"),  # encodeURIComponent
        lambda value: quote(value, safe="!$'()*+,;=:@/?&"),  # yarl, httpx
        lambda value: urlencode({"password": value, "user": "a"}),
        lambda value: re.sub("%..", lambda escape: escape[0].lower(), quote(value, safe="")),
        every_character(lambda character: "".join(f"%{byte:02X}" for byte in character.encode())),
    ],
    "HTML and XML": [
        html.escape,
        lambda value: value.replace("&", "&#38;").replace("ä", "&auml;"),
        every_character(lambda character: f"&#x{ord(character):x};"),
    ],
    "base64 of both alphabets, also in the middle of something longer": [
        lambda value: base64.b64encode(value.encode()).decode(),
        lambda value: base64.urlsafe_b64encode(b"user:" + value.encode() + b"@host").decode(),
        lambda value: quote(base64.b64encode(b"x" + value.encode()).decode(), safe=""),
    ],
    "base64 broken into lines of at least 8 characters": [
        lambda value: base64.encodebytes((value * 9).encode()).decode(),
        *[
            lambda value, width=width: "\n  ".join(textwrap.wrap(base64.b64encode(value.encode()).decode(), width))
            for width in (8, 10, 16, 20)
        ],
        lambda value: json.dumps("\n".join(textwrap.wrap(base64.b64encode(value.encode()).decode(), 12))),
        lambda value: "\r\n".join(textwrap.wrap(base64.b64encode(value.encode()).decode(), 12)),
    ],
    "hexadecimal": [lambda value: value.encode().hex(), lambda value: value.encode().hex().upper()],
    "one of these within one of the first six, such as an URL in JSON": [
        lambda value: json.dumps({"url": f"https://u:{quote(value, safe='')}@h"}),
        lambda value: json.dumps(html.escape(value)),
        lambda value: f"\x1b[1m{json.dumps(value)[:6]}\x1b[0m{json.dumps(value)[6:]}",
    ],
}
FORMS_SHOWN = [
    ("one of these within base64 or hexadecimal", "only if the value stands in it as it is"),
    ("broken into lines by a program that wraps text, but for base64", "no"),
    ("in upper case, reversed, hashed, encrypted, compressed", "no"),
    ("a part of it", "no, but for the parts named below"),
]


def test_each_form_has_a_test() -> None:
    """The table and the tests name the same."""
    assert [*((form, "yes") for form in FORMS), *FORMS_SHOWN] == rows("How it is written")


@pytest.mark.parametrize(("form", "number"), [(form, number) for form, every in FORMS.items() for number in range(len(every))])
def test_a_form_is_masked(form: str, number: int) -> None:
    """Nothing of the value remains, but for bits of it at the ends of base64; the text around it stays."""
    shown = FORMS[form][number](VALUE)
    masked = redactor_of(VALUE).redact(f"before {shown} after")
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    assert MASK in masked
    left = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", masked)
    secret = [VALUE, VALUE.encode().hex(), base64.b64encode(VALUE.encode()).decode()]
    assert not [each for text in secret for place in range(len(text) - 5) if (each := text[place : place + 6]) in left]


@pytest.mark.parametrize(
    ("form", "number"), [(form, number) for form, every in FORMS.items() if "lines" not in form for number in range(len(every))]
)
def test_a_form_is_masked_in_pieces(form: str, number: int) -> None:
    """Wherever it is cut into two writes, and character by character, the stream shows what the whole would show."""
    shown = f"before {FORMS[form][number](VALUE)} after"
    redactor = redactor_of(VALUE)
    whole = redactor.redact(shown)
    begin = whole.index(MASK)
    # These are found when four characters are written at once: else the end of every other line would wait.
    coded = form.startswith(("base64", "hex", "URLs"))
    cuts = [place for place in range(len(shown)) if not (coded and begin < place < begin + 4)]
    for cut in cuts if coded else [*cuts, None]:
        below = io.StringIO()
        stream = RedactingStream(below, redactor)
        for piece in [*shown] if cut is None else [shown[:cut], shown[cut:]]:
            stream.write(piece)
        stream.finish()
        assert below.getvalue() == whole


def test_lines_of_base64_are_masked_when_written_one_by_one() -> None:
    """Each line in a write of its own, as `print` does."""
    redactor = redactor_of(VALUE * 9)
    for width in (16, 64, 76):
        below = io.StringIO()
        stream = RedactingStream(below, redactor)
        lines = textwrap.wrap(base64.b64encode(b"some text before" + (VALUE * 9).encode() + b"and after").decode(), width)
        for line in lines:
            stream.write(line + "\n")
        stream.finish()
        assert MASK in below.getvalue()
        assert len(below.getvalue()) < 60


def test_other_forms_stay() -> None:
    """What the page says is not masked."""
    redactor = redactor_of(VALUE)
    for shown in (VALUE.upper(), VALUE[::-1], VALUE[:8], VALUE[3:]):
        assert redactor.redact(shown) == shown


INI = "[default]\naws_secret_access_key = Abc/Def+Ghi1\nregion = eu-central-1\n"
ENV = "# settings\nexport DB_PASSWORD='hunter2-hunter2'\nDB_HOST=db.example.com\nDEBUG=true\n"
KEY_DATA = base64.b64encode(b"-----BEGIN KEY-----\nMIIabcdefgh2\n-----END KEY-----\n").decode()
KUBECONFIG = f"""\
apiVersion: v1
kind: Config
users:
- name: someone
  user:
    client-key-data: {KEY_DATA}
    token: abc.def.ghi-1
"""
ACCOUNT = json.dumps(
    {
        "type": "service_account",
        "project_id": "my-project",
        "private_key": "-----BEGIN KEY-----\nMIIabcdefgh1\n-----END KEY-----\n",
        "token_uri": "https://oauth2.googleapis.com/token",
        "nested": [{"pin": 86753091234, "password": "s3cret-pw"}],
    }
)

VALUES: dict[str, tuple[str, list[str], list[str]]] = {
    "of 8 characters or more": ("s3cretpw", ["xs3cretpwx", "s3cretpw"], ["s3cretp"]),
    "a word of up to 12 letters, such as `admin`": (
        "admin",
        ["user=admin", "admin:", "'admin'", '{"user": "admin"}', "user%3Dadmin%26"],
        ["administrator", "superadmin", "my_admin", "admin2", "YWRtaW4="],
    ),
    "a number of fewer than 7 digits, such as `5432`": (
        "5432",
        ["port=5432", "db:5432/x", "(5432)", "it is 5432."],
        ["loss 0.54321", "0.5432", "5432.5", "15432", "x5432", "12:5432", "1,5432", "v5432"],
    ),
    "shorter than 8 characters": ("us-1a", ["zone us-1a", "us-1a,us-1b"], ["xus-1a", "us-1ab", base64.b64encode(b"us-1a").decode()]),
    "shorter than 4 characters": ("abc", [], ["abc", " abc "]),
    "each line of a text of several lines, such as a PEM file": (
        "-----BEGIN KEY-----\nMIIabcdefgh1\nMIIabcdefgh2\n-----END KEY-----\n",
        ["MIIabcdefgh1", "> MIIabcdefgh2", "-----BEGIN KEY-----"],
        ["MIIabcdef"],
    ),
    "the password in an address, such as `postgresql://app:s3cret-pw@db/x`": (
        "postgresql://app:s3cret%2Fpw@db.example.com:5432/orders",
        ["s3cret%2Fpw", "s3cret/pw", "login with s3cret/pw failed", "postgresql://app:s3cret%2Fpw@db.example.com:5432/orders"],
        ["db.example.com", "5432", "orders", "app"],
    ),
    "`name = text` in .env, INI and YAML, and connection strings, with a telling name": (
        ENV,
        ["hunter2-hunter2", "DB_PASSWORD=hunter2-hunter2"],
        ["db.example.com", "true", "DEBUG=true", "DB_HOST=db.example.com"],
    ),
    "the same in JSON, at any depth": (ACCOUNT, ["s3cret-pw", "86753091234", "MIIabcdefgh1"], ["my-project", "service_account"]),
    "texts of 20 characters or more in these, which are no address or path": (
        "CHANNEL=general\nHOOK=T00000000-B00000000-XXXXXXXX\nURL=https://example.com/some/long/path/to/it\n",
        ["T00000000-B00000000-XXXXXXXX"],
        ["https://example.com/some/long/path/to/it", "general"],
    ),
    "other texts in these, such as a region or the name of a project, and flags such as `true`": (
        INI + "use_auth = true\ntoken_ttl = on\n",
        ["Abc/Def+Ghi1"],
        ["eu-central-1", "region", "default", "true", "on"],
    ),
}


def test_each_value_has_a_test() -> None:
    """The table and the tests name the same."""
    assert list(VALUES) == [value for value, _ in rows("What is a value")]


@pytest.mark.parametrize("name", VALUES)
def test_what_is_a_value(name: str) -> None:
    """What is masked has a mask and nothing of the value, what is not stays as it is."""
    value, masked, shown = VALUES[name]
    redactor = redactor_of(value)
    for text in masked:
        assert MASK in redactor.redact(text), text
    for text in shown:
        assert redactor.redact(text) == text


MORE: dict[str, tuple[str, list[str], list[str]]] = {
    "ini": (INI, ["Abc/Def+Ghi1"], []),
    "kubeconfig": (KUBECONFIG, ["abc.def.ghi-1", "MIIabcdefgh2"], ["someone", "kind: Config"]),
    "libpq": ("host=db port=5432 user=app password='hunter two'", ["hunter two"], ["host=db"]),
    "odbc": ("Server=tcp:db.example.com,1433;Uid=sa;Pwd=s3cret-pw;Encrypt=yes", ["s3cret-pw"], ["Encrypt=yes"]),
    "token in an address": ("https://ghp_1234567890@github.com/a/b", ["ghp_1234567890"], ["github.com"]),
    "redis": ("redis://:s3cret-pw@cache:6379/0", ["s3cret-pw"], ["cache:6379"]),
    "yaml": ('database:\n  user: app\n  password: "s3cret-pw"\n', ["s3cret-pw"], ["user: app", "database:"]),
    "service account": (ACCOUNT, [json.loads(ACCOUNT)["private_key"]], ["https://oauth2.googleapis.com/token"]),
}


@pytest.mark.parametrize("name", MORE)
def test_structured_values(name: str) -> None:
    """Formats in which people keep credentials."""
    value, masked, shown = MORE[name]
    redactor = redactor_of(value)
    assert redactor.redact(value) == MASK + "\n" * value.endswith("\n")
    for text in masked:
        assert redactor.redact(f"<{text.strip()}>") == f"<{MASK}>"
    for text in shown:
        assert redactor.redact(text) == text


def test_what_is_parsed_is_masked() -> None:
    """What programs get from such texts, they may print."""
    parser = configparser.ConfigParser()
    parser.read_string(INI)
    assert redactor_of(INI).redact(str(dict(parser["default"]))) == f"{{'aws_secret_access_key': '{MASK}', 'region': 'eu-central-1'}}"
    assert redactor_of(ACCOUNT).redact_nested(json.loads(ACCOUNT))["nested"] == [{"pin": MASK, "password": MASK}]


def test_longer_numbers_are_masked_wherever_they_stand() -> None:
    """A pin of eight digits that a program turned into a number, with what Python writes behind it."""
    redactor = redactor_of("73914628")
    for shown in ("73914628.0", "x73914628", "-73914628", "0.73914628"):
        assert "73914628" not in redactor.redact(shown)


def test_numbers_and_keys_are_masked() -> None:
    """In nested data: numbers that are a value, and keys that hold one. Common numbers stay."""
    redactor = redactor_of("86753091234", "5432", "3.14159265358979", "483920", VALUE)
    data = {
        VALUE: 1,
        "pin": 483920,
        "port": 5432,
        "pi": 3.14159265358979,
        "all": [True, None, -86753091234, 86753091234.0],
        86753091234: 2,
    }
    masked = redactor.redact_nested(data)
    assert masked == {MASK: 2, "pin": MASK, "port": 5432, "pi": MASK, "all": [True, None, MASK, MASK]}
    assert redactor.holds_value({"pin": 86753091234})
    assert not redactor.holds_value({"port": 5432, "text": "at 5432"})


@given(st.text(st.sampled_from("\\ux0041%&;#\x1b[m+\n \"'abAB=d8"), max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_odd_texts_pass(text: str, cuts: list[int]) -> None:
    """Escape sequences that are cut off, wrong or nested harm nothing: without a value the text comes out as it went in."""
    redactor = redactor_of("zz-not-in-there-zz", VALUE)
    assert redactor.redact(text) == text
    below = io.StringIO(newline="")
    stream = RedactingStream(below, redactor)
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    for start, end in pairwise(places):
        stream.write(text[start:end])
    stream.finish()
    assert below.getvalue() == text


def _hostile() -> Iterator[tuple[str, str]]:
    size = 1 << 16
    for unit in (
        "\\",
        "\\u00",
        "%4",
        "%C3",
        "&",
        "&#x",
        "\x1b[",
        "\x1b]",
        "\\\\u0041",
        "A\n",
        "QUJDREVG\n",
        "+%2B",
        "a.",
        "1.",
        "://a:",
        "a=b;",
    ):
        yield unit, unit * (size // len(unit))


@pytest.mark.parametrize(("unit", "text"), list(_hostile()), ids=lambda each: repr(each[:8]))
def test_the_time_is_linear(unit: str, text: str) -> None:
    """Half a text takes no less than a fifth of the steps of the whole: the work is counted, not timed."""

    def lines(part: str) -> int:
        count = 0

        def trace(frame: object, event: str, argument: object) -> object:
            nonlocal count
            count += 1
            return trace

        redactor = redactor_of(VALUE, part)
        sys.settrace(trace)  # type: ignore[arg-type]
        try:
            redactor.redact(part + " ")
        finally:
            sys.settrace(None)
        return count

    half, whole = lines(text[: len(text) // 4]), lines(text)
    assert whole < 6 * half + 1000


@pytest.mark.parametrize(
    "text", ["\r5%", "press y or n", "epoch 5", "100", "a line\n", "\x1b[2K\x1b[?25h", "\x1b[1msome\x1b[0m", "wait & "]
)
def test_nothing_waits_without_a_reason(text: str) -> None:
    """Prompts, progress and sequences of a terminal are shown at once, whatever words and numbers are among the values."""
    redactor = redactor_of(VALUE, "5432", "admin", "yes-or-no-1", "0123456789", "hunter-two")
    below = io.StringIO(newline="")
    RedactingStream(below, redactor).write(text)
    assert below.getvalue() == text
