"""`strongroom secret create`: every way to hand over values, and every way to get it wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.canary import CANARY

from .conftest import CommandLine

pytestmark = pytest.mark.transports("embedded", "server")


def values(strongroom: CommandLine, name: str, *options: str) -> dict[str, str]:
    outcome = strongroom("secret", "get", name, "-o", "json", *options)
    assert outcome.code == 0
    return outcome.data["values"]


def refused(strongroom: CommandLine, *arguments: str, code: int = 1, stdin: bytes = b"") -> str:
    """The error of a command that is refused with one line (and perhaps a hint) and stores nothing. Returns all it said."""
    outcome = strongroom(*arguments, stdin=stdin)
    assert outcome.code == code
    assert outcome.out == ""
    lines = outcome.err.splitlines()
    assert lines[0].startswith("Error: ")
    assert all(line.startswith("hint: ") for line in lines[1:])
    assert len(lines) <= 2
    assert strongroom("secret", "list", "-o", "json").data["total"] == 0
    return outcome.err


def test_pairs_in_any_order(strongroom: CommandLine) -> None:
    """Options and pairs may stand in any order; a value may contain anything, also `=` and line breaks."""
    outcome = strongroom("secret", "create", "--a=1=2", "--scope", "user", "db", "--b=x\ny", "--c=")
    assert (outcome.code, outcome.out) == (0, "")
    assert "a, b, c" in outcome.err
    assert values(strongroom, "db") == {"a": "1=2", "b": "x\ny", "c": ""}
    assert strongroom("secret", "list", "-o", "json").data["items"][0]["scope"] == "user"


@pytest.mark.parametrize("options", [["--private"], ["--scope=user"], ["--scope", "user"]])
def test_user_scope(strongroom: CommandLine, options: list[str]) -> None:
    """`--private` and both spellings of `--scope user` make a private secret."""
    assert strongroom("secret", "create", "s", *options, "--k=v").code == 0
    assert values(strongroom, "s", "--scope", "user") == {"k": "v"}
    assert strongroom("secret", "get", "s", "--scope", "workspace").code == 1


def test_files(strongroom: CommandLine, tmp_path: Path) -> None:
    """`@path` stores a file to the last byte, `~` is the home folder, `@@` is a literal `@`."""
    content = "line\r\n\tend\n\n\ufeffé\x00"
    (tmp_path / "value").write_bytes(content.encode())
    assert strongroom("secret", "create", "s", "--file=@~/value", "--handle=@@me", f"--again=@{tmp_path}/value").code == 0
    assert values(strongroom, "s") == {"file": content, "handle": "@me", "again": content}


def test_standard_input(strongroom: CommandLine) -> None:
    """`--key=-` is standard input to the last byte, once."""
    outcome = strongroom("secret", "create", "s", "--k=-", stdin=b"from a pipe\n")
    assert outcome.code == 0
    assert "ends with a line break" in outcome.err
    assert values(strongroom, "s") == {"k": "from a pipe\n"}


def test_standard_input_serves_one_value(strongroom: CommandLine) -> None:
    """A second `-` is an error."""
    refused(strongroom, "secret", "create", "s", "--k=-", "--l=-", stdin=b"x")


@pytest.mark.parametrize(
    ("document", "stored"),
    [
        ('{"a": "x", "b": 1.10, "c": true, "d": 12345678901234567890123, "e": "\\ud83d\\ude00"}',
         {"a": "x", "b": "1.10", "c": "true", "d": "12345678901234567890123", "e": "😀"}),
        ("a: x\nb: 1.10\nc: False\nd: 0123\ne: NO\nf: 2020-01-01\ng: 'null'\nh: |\n  two\n  lines\n",
         {"a": "x", "b": "1.10", "c": "false", "d": "0123", "e": "NO", "f": "2020-01-01", "g": "null", "h": "two\nlines\n"}),
        ("{a: x, 'b': y}", {"a": "x", "b": "y"}),
    ],
)  # fmt: skip
def test_documents(strongroom: CommandLine, document: str, stored: dict[str, str], tmp_path: Path) -> None:
    """`-v` takes JSON and YAML, directly, from a file, and from standard input; scalars keep their text."""
    (tmp_path / "document").write_text(document)
    assert strongroom("secret", "create", "direct", "-v", document).code == 0
    assert strongroom("secret", "create", "file", f"--values=@{tmp_path}/document").code == 0
    assert strongroom("secret", "create", "pipe", "-v", "-", stdin=document.encode()).code == 0
    for name in ("direct", "file", "pipe"):
        assert values(strongroom, name) == stored


@pytest.mark.parametrize(
    "document",
    ["hunter22", '"hunter22"', "[hunter22]", '{"k": ["hunter22"]}', '{"k": {"x": "hunter22"}}', '{"k": null, "l": "hunter22"}', "{",
     '{"k": "hunter22"', "k: [hunter22", '{"k": "hunter22", "k": "hunter22"}', "k: hunter22\nk: hunter22", "",
     '{"name": "hunter22"}', '{"a b": "hunter22"}', '{"": "hunter22"}', "? [hunter22]\n: x", "!!python/name:os.system hunter22",
     "k: !!binary hunter22", '{"k": "\\ud800hunter22"}', "[" * 5000, "k: &a [*a, hunter22]", "k: NaN\n\thunter22"],
)  # fmt: skip
def test_bad_documents(strongroom: CommandLine, document: str) -> None:
    """What is no mapping of keys to texts is refused in one line that does not repeat it."""
    outcome = strongroom("secret", "create", "s", "-v", document)
    assert outcome.code in (1, 2)
    assert len(outcome.err.splitlines()) <= 2
    assert strongroom("secret", "list", "-o", "json").data["total"] == 0


def test_env_files(strongroom: CommandLine, tmp_path: Path) -> None:
    """A `.env` file with comments, quotes, `export` and a `$` that stays one."""
    text = "# comment\nA=1\nexport B='x $A y'\nC=\"line\\nbreak\"\nD=\nE=$A # comment\n"
    (tmp_path / ".env").write_text(text)
    assert strongroom("secret", "create", "s", "--from-env-file", str(tmp_path / ".env"), "--F=6").code == 0
    assert values(strongroom, "s") == {"A": "1", "B": "x $A y", "C": "line\nbreak", "D": "", "E": "$A", "F": "6"}


@pytest.mark.parametrize("text", ["A", "A=1\nA=2", "A='hunter22", "a b=hunter22", "=hunter22"])
def test_bad_env_files(strongroom: CommandLine, text: str) -> None:
    """A line that cannot be read stops it all, by its number."""
    refused(strongroom, "secret", "create", "s", "--from-env-file", "-", stdin=text.encode())


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["s"], 2),
        (["s", "--a", "hunter22"], 2),
        (["s", "--a=1", "hunter22"], 2),
        (["s", "--scope", "hunter22", "--a=1"], 2),
        (["s", "--scope=hunter22", "--a=1"], 2),
        (["s", "--scope=user", "--private", "--a=1"], 2),
        (["s", "-x", "--a=hunter22"], 2),
        (["--a=hunter22"], 2),
        (["s", "--a=1", "--output=hunter22"], 2),
        (["s", "--a=1", "--label", "hunter22"], 2),
        (["s", "--a=hunter22", "--a=hunter22"], 1),
        (["s", "--name=hunter22"], 1),
        (["s", "--a b=hunter22"], 1),
        (["s", "--=hunter22"], 1),
        (["s", "--a=@/nowhere/hunter22"], 1),
        (["s", "--a=@hunter22"], 1),
        (["s", "--a=@"], 1),
        (["s", "--a=@."], 1),
        (["s", "--a=@hunter22\0"], 1),
        (["s", "--a=\udcffhunter22"], 1),
        (["name", "--a=hunter22"], 1),
        (["s.t", "--a=hunter22"], 1),
        (["s t", "--a=hunter22"], 1),
        (["", "--a=hunter22"], 1),
        (["s" * 256, "--a=hunter22"], 1),
        (["s", "--a=1", "--expires-at=hunter22"], 1),
        (["s", "--a=1", "--expires-at=2027-01-01T00:00:00"], 1),
        (["s", "--a=1", "--label", "a b=hunter22"], 1),
    ],
)  # fmt: skip
def test_wrong_usage(strongroom: CommandLine, arguments: list[str], code: int) -> None:
    """One line, the right exit status, nothing stored, and no value repeated."""
    refused(strongroom, "secret", "create", *arguments, code=code)


def test_binary_file(strongroom: CommandLine, tmp_path: Path) -> None:
    """A file that is not UTF-8 is refused with a hint to encode it."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert "base64" in refused(strongroom, "secret", "create", "s", f"--a=@{tmp_path}/binary")


def test_size_limit(strongroom: CommandLine, tmp_path: Path) -> None:
    """65,536 bytes of keys and values pass, 65,537 are refused with both numbers, and nothing is stored."""
    (tmp_path / "large").write_text("é" * 32_767 + "x")  # with the key 'k' 65,536 bytes
    (tmp_path / "larger").write_text("é" * 32_767 + "xx")
    message = refused(strongroom, "secret", "create", "s", f"--k=@{tmp_path}/larger")
    assert "65537" in message
    assert "65536" in message
    assert strongroom("secret", "create", "s", f"--k=@{tmp_path}/large").code == 0
    assert len(values(strongroom, "s")["k"].encode()) == 65_535


def test_byte_order_marks(strongroom: CommandLine, tmp_path: Path) -> None:
    """Files that an editor has put a byte order mark before are read as they are meant."""
    (tmp_path / "document").write_bytes(b'\xef\xbb\xbf{"a": "1"}')
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfB=2\r\n")
    assert strongroom("secret", "create", "s", "-v", f"@{tmp_path}/document", "--from-env-file", f"{tmp_path}/.env").code == 0
    assert values(strongroom, "s") == {"a": "1", "B": "2"}


def test_endless_file(strongroom: CommandLine) -> None:
    """A file without end is refused, not read to its end."""
    refused(strongroom, "secret", "create", "s", "--k=@/dev/zero")


def test_name_taken(strongroom: CommandLine) -> None:
    """A second secret of a name is refused, and the first one stays as it was; another scope is another namespace."""
    assert strongroom("secret", "create", "s", "--a=1").code == 0
    outcome = strongroom("secret", "create", "s", "--a=2")
    assert outcome.code == 1
    assert "already exists" in outcome.err
    assert values(strongroom, "s") == {"a": "1"}
    assert strongroom("secret", "create", "s", "--private", "--a=3").code == 0
    assert values(strongroom, "s") == {"a": "3"}
    assert values(strongroom, "s", "--scope=workspace") == {"a": "1"}


def test_reply_as_data(strongroom: CommandLine) -> None:
    """`-o json` prints the metadata, in the shape of the HTTP API, and no value."""
    outcome = strongroom(
        "secret",
        "create",
        "s",
        "--pass=hunter22",
        "--label",
        "team=vision",
        "--description=for tests",
        "--expires-at=2030-01-01T00:00:00Z",
        "-o",
        "json",
    )
    assert CANARY not in outcome.out
    data = outcome.data
    fields = "id name scope workspace owner description labels keys version created updated created_by expires_at"
    assert list(data) == fields.split()
    assert (data["name"], data["scope"], data["version"], data["keys"]) == ("s", "workspace", 1, ["pass"])
    assert (data["labels"], data["description"], data["expires_at"]) == ({"team": "vision"}, "for tests", "2030-01-01T00:00:00Z")
