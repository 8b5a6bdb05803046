"""What a terminal does to a hidden answer: on real pseudo-terminals, typed and pasted."""

from __future__ import annotations

import json
import os
import signal
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.conftest import BIN, CommandLine

PROGRAM = """
import json, sys, termios
from strongroom.cli.hidden_input import read_hidden
before = termios.tcgetattr(0)
for number in range(int(sys.argv[3])):
    try:
        found = read_hidden("answer: ", int(sys.argv[1]))
    except BaseException as error:
        found = {"error": type(error).__name__, "text": str(error)}
    same = termios.tcgetattr(0) == before if sys.argv[4] == "stays" else True
    with open(f"{sys.argv[2]}.{number}.new", "w") as file:
        json.dump([found, same], file)
    import os
    os.rename(f"{sys.argv[2]}.{number}.new", f"{sys.argv[2]}.{number}")
"""
LIMIT = 65_536
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvAIBADANBgkq+hkiG9w0BAQ/EFAASC\necho INJECTED > injected\n-----END PRIVATE KEY-----"
BEGIN, END = "\x1b[200~", "\x1b[201~"


class Terminal:
    """A program that asks hidden questions on a pseudo-terminal."""

    def __init__(self, folder: Path, *, limit: int = LIMIT, times: int = 1, stays: bool = True, term: str = "xterm") -> None:
        self._results = folder / "result"
        self._asked = 0
        arguments = ["-c", PROGRAM, str(limit), str(self._results), str(times), "stays" if stays else "goes"]
        self.child = pexpect.spawn(sys.executable, arguments, env={**os.environ, "TERM": term}, encoding=None, timeout=30)
        self.child.delaybeforesend = None

    def ask(self) -> None:
        """Waits for the question."""
        self.child.expect(b"answer: ")

    def send(self, text: str | bytes) -> None:
        """Sends it at once."""
        self.child.send(text.encode(errors="surrogateescape") if isinstance(text, str) else text)

    def result(self) -> Any:
        """What the program read, when it has ended the question; the terminal is as it was."""
        path = self._results.with_name(f"result.{self._asked}")
        self._asked += 1
        while not path.exists():
            if self.child.expect([pexpect.TIMEOUT, pexpect.EOF, b"\n"], timeout=0.05) == 1:
                assert path.exists(), "the program has ended"
        found, same = json.loads(path.read_text())
        assert same, "the terminal's settings are not restored"
        return found

    def answer(self, text: str | bytes) -> Any:
        """What the program reads when this is sent."""
        self.ask()
        self.send(text)
        return self.result()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where results are put."""
    return tmp_path


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """Those that a test opens; they are closed at its end."""
    opened: list[Terminal] = []
    yield opened
    for each in opened:
        each.child.close(force=True)


@pytest.mark.parametrize("end", ["\r", "\n"])
@pytest.mark.parametrize("marked", [True, False], ids=["marked", "unmarked"])
def test_answers_arrive_whole(end: str, marked: bool, folder: Path, terminals: list[Terminal]) -> None:
    """Lines longer than the terminal's own limit, and answers of many lines, with all line ends but the last."""
    values = [
        *("x" * length for length in (1, 4094, 4095, 4096, 4097, 5000, 9000, LIMIT)),
        *(PEM, f"{PEM}\n{PEM}", "a\n\n\nb", "\na", "\t a \t", "größe 東京 🔑", "é" * 9000),
        *(
            f"{'y' * 4095}\n{'z' * 4095}\n{'w' * 100}",
            "k: |\n  " + "line\n  " * 900 + "end",
            "\\n'\"$HOME`",
            "a\x7fb" if marked else "ab",
        ),
    ]
    terminal = Terminal(folder, times=2 * len(values))
    terminals.append(terminal)
    for value in values:
        for last in ("", end):
            pasted = value.replace("\n", end) + last
            if marked:
                found = terminal.answer(f"{BEGIN}{pasted}{END}{end}")
            elif last and "\n" not in value:
                found = terminal.answer(value + last)
            else:
                found = terminal.answer(pasted + (last or end))
            expected = value if marked or last == "" or "\n" not in value else f"{value}\n"
            assert found == expected.rstrip("\n") if not marked and not expected.endswith("\n") else found == expected, len(value)


def test_windows_line_ends_are_one(folder: Path, terminals: list[Terminal]) -> None:
    """`\\r\\n` inside of a paste is one line end."""
    terminal = Terminal(folder, times=2)
    terminals.append(terminal)
    assert terminal.answer(f"{BEGIN}a\r\nb\r\n\r\nc\r\n{END}\r") == "a\nb\n\nc"
    assert terminal.answer("a\r\nb\r\n\r\nc\r\n") == "a\nb\n\nc"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("abc\x7fd\r", "abd"),
        ("abc\x08\x08d\r", "ad"),
        ("\x7f\x7fa\r", "a"),
        ("é東🔑\x7f\x7fx\r", "éx"),
        ("wrong\x15right\r", "right"),
        ("one two\x17three\r", "one three"),
        ("\x15\r", ""),
        ("\r", ""),
        ("a\x04", "a"),
        ("a\x1b[Db\x1b[3~\x1bOHc\r", "abc"),
        (f"typed {BEGIN}pasted\r{END} typed\r", "typed pasted typed"),
        (f"{BEGIN}one{END}{BEGIN}two\n{END}\r", "onetwo"),
        (f"{BEGIN}one{END}\x15two\r", "two"),
        (f"{BEGIN}on\x7fe\x15\x04\x03{END}\r", "on\x7fe\x15\x04\x03"),
        (f"{BEGIN}a\x1b[Ab{END}\r", "a\x1b[Ab"),
        (f"{BEGIN}{END}\r", ""),
        (b"\xff\xfe\r", "\udcff\udcfe"),
    ],
)
def test_editing(sent: str | bytes, expected: str, folder: Path, terminals: list[Terminal]) -> None:
    """Backspace takes a whole character, Ctrl-U all, Ctrl-W a word; in a paste they are text. Keys that mean nothing do nothing."""
    terminal = Terminal(folder)
    terminals.append(terminal)
    assert terminal.answer(sent) == expected


@pytest.mark.parametrize(("sent", "error"), [("a\x03", "KeyboardInterrupt"), ("\x1c", "KeyboardInterrupt"), ("\x04", "Abort")])
def test_giving_up(sent: str, error: str, folder: Path, terminals: list[Terminal]) -> None:
    """Ctrl-C and Ctrl-D end the question; the terminal is as it was before."""
    terminal = Terminal(folder)
    terminals.append(terminal)
    assert terminal.answer(sent)["error"] == error


def test_ctrl_c_in_a_paste_without_an_end(folder: Path, terminals: list[Terminal]) -> None:
    """A user who waits for a mark that was lost gets out; what still comes is dropped and reaches no other question."""
    terminal = Terminal(folder, times=2)
    terminals.append(terminal)
    terminal.ask()
    terminal.send(f"{BEGIN}abc")
    terminal.child.expect(pexpect.TIMEOUT, timeout=0.3)
    terminal.send("\x03")
    assert terminal.result()["error"] == "KeyboardInterrupt"
    assert terminal.answer("next\r") == "next"


@pytest.mark.parametrize("marked", [True, False], ids=["marked", "unmarked"])
def test_what_does_not_fit_is_refused_with_its_length(marked: bool, folder: Path, terminals: list[Terminal]) -> None:
    """It is read to its end, so that nothing of it is the answer to the next question, and counted in characters."""
    terminal = Terminal(folder, limit=1000, times=6)
    terminals.append(terminal)
    for value, characters in (("x" * 1001, 1001), ("é" * 501, 501), ("y\n" * 4000 + "end", 8003)):
        found = terminal.answer(f"{BEGIN}{value}{END}\n" if marked else f"{value}\n")
        assert found["error"] == "TooLarge"
        assert f"{characters} characters arrived" in found["text"]
        assert terminal.answer("fits\r") == "fits"


def test_a_terminal_that_goes_away(folder: Path) -> None:
    """Ends the question, or the process by the signal that terminals send then; it does not wait for ever."""
    terminal = Terminal(folder, stays=False)
    terminal.ask()
    terminal.send("abc")
    terminal.child.ptyproc.fileobj.close()
    terminal.child.closed = terminal.child.ptyproc.closed = True
    _, status = os.waitpid(terminal.child.pid, 0)
    assert os.WIFSIGNALED(status) or os.WIFEXITED(status)
    terminal.child.terminated = terminal.child.ptyproc.terminated = True
    assert not (folder / "result.0").exists() or json.loads((folder / "result.0").read_text())[0]["error"] == "Abort"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT])
def test_signals_restore_the_terminal(number: signal.Signals, folder: Path, terminals: list[Terminal]) -> None:
    """A process that is ended while it asks leaves no terminal without echo, nor one that marks pastes."""
    terminal = Terminal(folder)
    terminals.append(terminal)
    terminal.ask()
    during = termios.tcgetattr(terminal.child.child_fd)[3]
    assert not during & (termios.ECHO | termios.ICANON)
    os.kill(terminal.child.pid, number)
    terminal.child.expect(rb"\x1b\[\?2004l")
    while termios.tcgetattr(terminal.child.child_fd)[3] & (termios.ECHO | termios.ICANON) != termios.ECHO | termios.ICANON:
        assert terminal.child.expect([pexpect.TIMEOUT, pexpect.EOF], timeout=0.05) == 0 or number is not None


@pytest.mark.parametrize(("term", "is_marked"), [("xterm-256color", True), ("dumb", False)])
def test_marks_are_asked_for(term: str, is_marked: bool, folder: Path, terminals: list[Terminal]) -> None:
    """Where the terminal may know them, and only as long as the question lasts. What is typed is not shown."""
    terminal = Terminal(folder, term=term)
    terminals.append(terminal)
    terminal.ask()
    shown = terminal.child.before
    terminal.send("typed-in-the-dark\r")
    terminal.child.expect(pexpect.EOF)
    assert (b"\x1b[?2004h" in shown) is is_marked
    assert terminal.child.before.replace(b"\r", b"").replace(b"\x1b[?2004l", b"") == b"\n"
    assert (b"\x1b[?2004l" in terminal.child.before) is is_marked


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]) | st.sampled_from("\n\t"), max_size=300)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(TEXT, min_size=1, max_size=6))
def test_any_text_can_be_pasted(values: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """What stands between the marks arrives, character by character."""
    terminal = Terminal(tmp_path_factory.mktemp("terminal"), times=len(values))
    try:
        for value in values:
            expected = value.removesuffix("\n")
            assert terminal.answer(f"{BEGIN}{value}{END}\r") == expected
    finally:
        terminal.child.close(force=True)


def test_a_key_is_pasted_into_a_secret(strongroom: CommandLine, tmp_path: Path) -> None:
    """The command shows how many characters arrived, stores all of them, and no line of a paste reaches the shell."""
    shell = pexpect.spawn(
        "bash", ["--norc", "--noprofile"], env={**os.environ, "PS1": "SHELL$ ", "TERM": "dumb", "HISTFILE": ""}, encoding="utf-8"
    )
    shell.timeout = 60
    try:
        for name, value, shown in (("long", "x" * 5000, "5000 characters"), ("pem", PEM, f"{len(PEM)} characters in 4 lines")):
            shell.sendline(f"{BIN / 'strongroom'} secret create {name} -i")
            shell.expect("Key: ")
            shell.sendline("token")
            shell.expect(r"hidden\): ")
            shell.send(f"{value}\n")
            shell.expect(shown)
            shell.expect("Another key")
            shell.sendline("n")
            shell.expect("Created")
            assert strongroom("secret", "get", name, "-o", "json").data["values"] == {"token": value}
        shell.sendline(f"{BIN / 'strongroom'} secret create gone -i")
        shell.expect("Key: ")
        shell.sendline("token")
        shell.expect(r"hidden\): ")
        shell.send(f"\x03{PEM}\n")
        shell.expect("cancelled")
        shell.expect(r"SHELL\$ ")
        shell.sendline("echo do''ne")
        shell.expect("done")
        assert not Path("injected").exists()
    finally:
        shell.close(force=True)
