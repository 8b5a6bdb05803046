"""Exported `.env` files, in the programs that read them.

Docker Compose's reader is a program in Go that is not run here. What its documentation says of the files is written down in
`compose_values`: an independent reading of these rules, and no proof of what Compose does.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from strongroom.cli.dotenv_format import format_dotenv
from strongroom.errors import InvalidInput
from strongroom.models.document import parse_env
from tests.canary import CANARY
from tests.e2e.conftest import VALUE, CommandLine

Reader = Callable[[Path, list[str]], Mapping[str, str | None]]
PRINT = "import json, os, sys; print(json.dumps({name: os.environ.get(name) for name in sys.argv[1:]}))"


def shell_values(shell: str) -> Reader:
    """What a shell has after it has sourced the file, in a folder where it can write."""

    def read(path: Path, names: list[str]) -> Mapping[str, str | None]:
        folder = path.parent / "sourced"
        folder.mkdir(exist_ok=True)
        script = f'set -a; . "{path}"; set +a; exec "{sys.executable}" -c "$0" "$@"'
        done = subprocess.run(
            [shell, "-c", script, PRINT, *names],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert list(folder.iterdir()) == [], "the file ran something"
        found: dict[str, str | None] = json.loads(done.stdout)
        return found

    return read


def python_values(path: Path, names: list[str]) -> Mapping[str, str | None]:
    """What python-dotenv makes of the file, with its replacement of variables."""
    found = dotenv_values(path, encoding="utf-8")
    return {name: found.get(name) for name in names}


def node_values(path: Path, names: list[str]) -> Mapping[str, str | None]:
    """What Node has in its environment with `--env-file`."""
    code = "console.log(JSON.stringify(Object.fromEntries(process.argv.slice(1).map(n => [n, process.env[n] ?? null]))))"
    done = subprocess.run(
        ["node", f"--env-file={path}", "-e", code, *names],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
        timeout=60,
    )
    found: dict[str, str | None] = json.loads(done.stdout)
    return found


def compose_values(path: Path, names: list[str]) -> Mapping[str, str | None]:
    """What Docker Compose documents: single quotes are literal, in double quotes escapes and `$` are replaced, both may span lines.

    https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/#env-file-syntax
    """
    text, found = path.read_text(encoding="utf-8"), {}
    while text:
        head = re.match(r"([A-Za-z_][A-Za-z0-9_]*)=(['\"])", text)
        assert head is not None, "a line that is no assignment in quotes"
        body = re.match(rf"((?:\\{head[2]}|(?!{head[2]}).)*){head[2]}\n", text[head.end() :], re.DOTALL)
        assert body is not None
        assert head[2] == "'" or not re.search(r"[\\$]", body[1]), "something that would be replaced"
        found[head[1]] = body[1].replace("\\'", "'") if head[2] == "'" else body[1]
        text = text[head.end() + body.end() :]
    return {name: found.get(name) for name in names}


READERS: dict[str, Reader] = {
    **{shell: shell_values(shell) for shell in ("bash", "dash", "sh")},
    "python-dotenv": python_values,
    "node": node_values,
    "compose": compose_values,
    "strongroom": lambda path, names: {name: parse_env(path.read_text())[name] for name in names},
}


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> Reader:
    """Each of them; one that is not installed is skipped."""
    if request.param in ("bash", "dash", "sh", "node") and shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed: its reading of .env files is not tested")
    return READERS[request.param]


def agree(reader: Reader, folder: Path, values: Mapping[str, str]) -> None:
    """Checks that a reader reads what was exported."""
    path = folder / "x.env"
    path.write_bytes(format_dotenv(values).encode())
    assert reader(path, list(values)) == values


WRITTEN = {
    "INJECTION": 'x"; touch injected; #',
    "WINDOWS": r"CORP\svc",
    "ESCAPES": r"\n \t \x41 \u0041 \' no".replace("\\'", "-"),
    "DOLLAR": "$HOME $(touch injected) `touch injected` $$ $1",
    "APOSTROPHE": "it's; touch injected",
    "COMMENT": "a #b # c",
    "EMPTY": "",
    "BLANKS": "  a\tb  ",
    "LINES": "-----BEGIN KEY-----\nabc\nFOO=bar\n\n# no\n-----END KEY-----\n",
    "EQUALS": "a=b==",
    "QUOTES": '"quoted"',
    "QUOTE": '"',
    "BACKTICKS": "`x`",
    "BANG": "a!b !! !$",
    "TILDE": "~ ~root a:~",
    "GLOB": "* ? [a-z] {a,b}",
    "UNICODE": "größe 東京 🔑 \u2028 \x85 \xa0 \ufeff",
    "CONTROLS": "\x01\x02\x07\x1b[2J\x7f\x0b\x0c",
    "EXPORT": "export A=b",
    "AMPERSAND": "a & b && c || d; e > f < g | h",
    "BRACES": "{{a.b}} {a}",
    "JSON": '{"a": "b\\n"}',
    "export": "x",
    "if": "y",
    "lower_9": "z",
}


def test_values_that_people_have(reader: Reader, tmp_path: Path) -> None:
    """All programs read them as they are, and none runs anything."""
    agree(reader, tmp_path, WRITTEN)


@pytest.mark.parametrize(
    "value",
    [
        "'\"",
        "'; touch injected; #\"",
        "it's $5",
        "it's `x`",
        r"it's a\b",
        "${HOME}",
        "a${b:-c}",
        r"C:\\x",
        "C:\\",
        "a\rb",
        "a\r\nb",
        "\0",
    ],
)
def test_what_has_no_spelling_is_refused(value: str) -> None:
    """The key and the format that can write it are named; the value is not shown."""
    with pytest.raises(InvalidInput, match="the value of 'KEY' cannot be written") as caught:
        format_dotenv({"GOOD": "x", "KEY": f"{CANARY}{value}"})
    assert caught.value.hint == "use --format json"
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        *("a.b", "a-b", "1a", "a b", "é", "a;touch injected", "a=b", "$(x)", ""),
        *(
            "PATH",
            "IFS",
            "ENV",
            "BASH_ENV",
            "PS1",
            "PS4",
            "PROMPT_COMMAND",
            "SECONDS",
            "RANDOM",
            "SRANDOM",
            "OPTIND",
            "HISTCMD",
            "UID",
        ),
        *(
            "EUID",
            "PPID",
            "SHELLOPTS",
            "BASHOPTS",
            "LINENO",
            "_",
            "LD_PRELOAD",
            "NODE_OPTIONS",
            "BASH_XTRACEFD",
            "DIRSTACK",
            "GROUPS",
        ),
    ],
)
def test_keys_that_are_no_variables_are_refused(key: str) -> None:
    """So are variables that shells evaluate or run: `SECONDS`, `PS1` and their kind."""
    with pytest.raises(InvalidInput, match="the key ") as caught:
        format_dotenv({key: "x"})
    assert caught.value.hint == "use --format json"


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_no_variable_that_a_shell_knows_is_run(shell: str, tmp_path: Path) -> None:
    """Of all variables that a shell has of its own, those that are written keep their text, and nothing is run."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    listed = subprocess.run([shell, "-c", "compgen -v 2>/dev/null || set"], capture_output=True, text=True, check=False).stdout
    names = sorted(set(re.findall(r"^([A-Za-z_][A-Za-z0-9_]*)(?:=.*)?$", listed, re.MULTILINE)) - {"LC_ALL", "LC_CTYPE", "LANG"})
    assert len(names) > 5
    written = {}
    for name in names:
        try:
            format_dotenv({name: "x"})
        except InvalidInput:
            continue
        written[name] = "a[$(touch injected)]"
    agree(shell_values(shell), tmp_path, written)


PIECES = st.sampled_from(
    [*"'\"\\$`!#=;&|(){}<>~*?% \t\n", "${", "$(", "\\\\", "\\'", '\\"', "\\n", "export ", "#", "''", '""', "é", "x"]
)
VALUES = st.lists(PIECES, max_size=12).map("".join) | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the files of the fuzzer."""
    return tmp_path_factory.mktemp("fuzzed")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(VALUES, min_size=1, max_size=40))
@example(["x'; touch injected; #", "CORP\\svc"])
def test_all_readers_agree_on_whatever_is_written(reader: Reader, place: Path, values: list[str]) -> None:
    """Of random texts, those that are not refused are read by all programs as they are, and run nothing."""
    written = {}
    for number, value in enumerate(values):
        try:
            format_dotenv({f"KEY_{number}": value})
        except InvalidInput:
            continue
        written[f"KEY_{number}"] = value
    assume(written)
    agree(reader, place, written)


def test_the_command_writes_such_files(strongroom: CommandLine, tmp_path: Path) -> None:
    """And names the other format where it does not."""
    assert strongroom("secret", "create", "s", f"--a={VALUE}'; touch injected; #", r"--b=CORP\svc").code == 0
    path = tmp_path / "work" / "x.env"
    assert strongroom("secret", "export", "s", "--format", "dotenv", "-f", str(path)).code == 0
    assert dotenv_values(stream=io.StringIO(path.read_text())) == {"a": f"{CANARY}'; touch injected; #", "b": r"CORP\svc"}
    path.unlink()
    assert strongroom("secret", "update", "s", "--a=it's ${x}").code == 0
    done = strongroom("secret", "export", "s", "--format", "dotenv", "-f", str(path))
    assert (done.code, path.exists()) == (1, False)
    assert "the value of 'a' cannot be written in a .env file" in done.err
    assert "--format json" in done.err
