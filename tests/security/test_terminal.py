"""Nothing that comes from a database or a server reaches a terminal as anything but text."""

from __future__ import annotations

import ast
import io
import json
from pathlib import Path

import pytest
import yaml

from strongroom.cli import output

SOURCE = Path(__file__).parents[2] / "src" / "strongroom" / "cli"
HOSTILE = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *"\u061c\u200e\u200f\u202a\u202e\u2066\u2069\u2028\u2029\ufeff"]
HOSTILE.remove("\n")


class Terminal(io.TextIOWrapper):
    """Standard output that says that it is a terminal, or not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__(io.BytesIO(), "utf-8", write_through=True)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    @property
    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode()  # type: ignore[attr-defined]


def harmless(text: str) -> bool:
    return not any(each in text for each in HOSTILE)


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "file"])
@pytest.mark.parametrize("character", HOSTILE, ids=lambda each: f"{ord(each):04x}")
def test_each_way_of_showing(monkeypatch: pytest.MonkeyPatch, character: str, terminal: bool) -> None:
    """Tables, fields, lines and messages for people; JSON and YAML on a terminal. The data in JSON and YAML is what it was."""
    evil, errors = f"a{character}[31mb", Terminal(terminal)
    for show in (
        lambda: output.show_table(["name"], [[evil]]),
        lambda: output.show_fields({"name": evil, "list": [evil], "map": {evil: evil}}, None),
        lambda: output.show_line(evil),
    ):
        stdout = Terminal(terminal)
        monkeypatch.setattr("sys.stdout", stdout)
        monkeypatch.setenv("TERM", "dumb")
        show()
        shown = stdout.text
        assert harmless(shown)
    monkeypatch.setattr("sys.stderr", errors)
    output.say(evil)
    assert harmless(errors.text)
    for kind, load in (("json", json.loads), ("yaml", yaml.safe_load)):
        stdout = Terminal(terminal)
        monkeypatch.setattr("sys.stdout", stdout)
        output.show_data({"name": evil}, kind)
        assert harmless(stdout.text) or not terminal
        assert load(stdout.text) == {"name": evil}


def test_nothing_is_shown_in_another_way() -> None:
    """Commands print through those functions; what they print by themselves is made of constants and their own words."""
    allowed = {"prompts.py", "completion.py", "version.py", "output.py", "main.py"}
    for file in SOURCE.glob("*.py"):
        if file.name in allowed:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("click.echo", "click.secho", "print", "sys.stdout.write"):
                assert not node.args, f"{file.name}:{node.lineno}"
