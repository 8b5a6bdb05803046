"""Where values are masked: the first table of `docs/concepts/redaction.md`, in a process of its own that prints as programs do."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pexpect
import pytest

from strongroom.redaction import MASK
from tests.canary import CANARY
from tests.unit.test_redaction_rules import rows

BEFORE = """
import io, logging, os, sys, threading
from strongroom.redaction import Redactor, redacting
kept_out, kept_err, kept_buffer, raw_write = sys.stdout, sys.stderr, sys.stdout.buffer, os.write
def log(text, file=sys.stderr):
    file.write(text + "\\n")
class Progress:
    def __init__(self, file=None):
        self.file = file or sys.stderr
    def show(self, text):
        print(f"\\r{text}", end="", file=self.file, flush=True)
progress, handler = Progress(), logging.StreamHandler()
value = os.environ["TESTS_VALUE"]
redactor = Redactor()
redactor.add(value)
with redacting(redactor):
"""

MASKED = {
    "print": "print(value); print(value, file=sys.stderr)",
    "buffer": "sys.stdout.buffer.write(value.encode() + b'\\n')",
    "default argument": "log(value)",
    "kept stream": "kept_out.write(value + '\\n'); kept_err.writelines([value, '\\n']); print(value, file=kept_out)",
    "kept buffer": "kept_buffer.write(value.encode() + b'\\n'); kept_buffer.flush()",
    "kept stream, in pieces": "kept_out.write(value[:5]); sys.stdout.write(value[5:9]); print(value[9:], file=kept_out)",
    "first streams": "print(value, file=sys.__stdout__); print(value, file=sys.__stderr__)",
    "progress bar": "progress.show(value); progress.show(value)",
    "kept handler": "handler.emit(logging.LogRecord('x', 20, 'f', 1, value, (), None))",
    "os.write": "os.write(1, value.encode() + b'\\n'); os.write(2, value.encode()); os.write(kept_out.fileno(), value.encode())",
    "os.writev": "os.writev(1, [value[:9].encode(), value[9:].encode(), b'\\n'])",
    "os.write, in pieces": "[os.write(1, value[place:place + 1].encode()) for place in range(len(value))]",
    "in turn": "print('a', value); os.write(1, b'b\\n'); kept_buffer.write(value.encode()); print('c', file=kept_out)",
    "rich": (
        "from rich.console import Console\n"
        "console = Console(file=kept_out, force_terminal=True, width=200)\n"
        "console.print(f'[red]{value[:4]}[/red]{value[4:]}'); console.print({'a': value})"
    ),
    "structlog": "import structlog; structlog.PrintLogger(kept_out).info(value)",
    "thread": "thread = threading.Thread(target=log, args=(value,)); thread.start(); thread.join()",
}


def run(code: str, *, terminal: bool = False, after: str = "", unbuffered: bool = False) -> str:
    """What a process shows that does this in a run, and then after it."""
    script = BEFORE + textwrap.indent(code, "    ") + f"\n{after}\n"
    environment = {**os.environ, "TESTS_VALUE": f"{CANARY}-placed", "PYTHONUNBUFFERED": "1" if unbuffered else ""}
    if terminal:
        child = pexpect.spawn(sys.executable, ["-c", script], encoding="utf-8", timeout=120, env=environment)
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0, child.before
        return str(child.before)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
@pytest.mark.parametrize("name", MASKED)
def test_it_is_masked(name: str, *, terminal: bool) -> None:
    """By whatever way it reaches the process's output; once for each time that it was written."""
    shown = run(MASKED[name], terminal=terminal)
    assert f"{CANARY}-placed" not in shown
    assert MASK in shown


@pytest.mark.parametrize("name", MASKED)
def test_it_is_masked_without_buffers(name: str) -> None:
    """As with `python -u`, and in containers that set PYTHONUNBUFFERED: below the text there is the file itself."""
    shown = run(MASKED[name], unbuffered=True)
    assert f"{CANARY}-placed" not in shown
    assert MASK in shown


def test_a_stream_may_be_detached() -> None:
    """A usual recipe for UTF-8 leaves `sys.__stdout__` without a buffer; the run goes on, and masks the new one."""
    recipe = "sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding='utf-8')\n"
    assert run("pass", after=f"{recipe}with redacting(redactor):\n    print(value)\nsys.stdout.flush()") == f"{MASK}\n"


def test_order_is_kept() -> None:
    """Whichever of the ways is taken, what was written first comes first."""
    assert run(MASKED["in turn"]) == f"a {MASK}\nb\n{MASK}c\n"


def test_everything_is_as_before_afterwards() -> None:
    """Streams and `os.write` are those of before, and mask no more; what they wrote through before, they write through again."""
    after = (
        "assert os.write is raw_write and not kept_out.write_through and sys.stdout is kept_out\n"
        "assert 'write' not in vars(kept_out) and 'write' not in vars(kept_buffer)\n"
        "print(value[:4])"
    )
    assert run("print(value)", after=after) == f"{MASK}\n{CANARY[:4]}\n"


def test_nested_runs_and_threads_end_once() -> None:
    """Runs within runs, and side by side in threads: the last one puts back what was there."""
    code = """
def work():
    for _ in range(50):
        with redacting(redactor):
            os.write(1, value.encode() + b"\\n")
            print(value, file=kept_out)
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    shown = run(code, after="assert os.write is raw_write\nprint('end')")
    assert shown.count(MASK) == 400
    assert shown.endswith("end\n")


def test_a_stream_with_a_write_of_its_own_is_left_alone() -> None:
    """Where the program has replaced `write`, that is called: what it does is not known."""
    replaced = "written = []\nkept_out.write = written.append\nwith redacting(redactor):\n    kept_out.write('x')\n"
    assert run("pass", after=f"{replaced}assert written == ['x']\ndel kept_out.write") == ""


def test_not_masked() -> None:
    """What the page says is not masked, unless asked for: child processes, and other descriptors of the same file."""
    assert f"{CANARY}-placed" in run("import subprocess; subprocess.run([sys.executable, '-c', f'print({value!r})'])")
    assert f"{CANARY}-placed" in run("os.write(os.dup(1), value.encode())")


IN_PROCESSES = "from strongroom.redaction import redacting_processes\nwith redacting_processes():\n"
PROCESSES = {
    "child": "import subprocess; subprocess.run([sys.executable, '-c', 'import os; print(os.environ[\"TESTS_VALUE\"])'])",
    "shell": "os.system('echo $TESTS_VALUE; echo $TESTS_VALUE >&2')",
    "fork": "pid = os.fork()\nif not pid:\n    raw_write(1, value.encode()); os._exit(0)\nos.waitpid(pid, 0)",
    "other descriptor": "raw_write(os.dup(2), value.encode())",
    "in pieces": "[raw_write(1, value[place:place + 1].encode()) for place in range(len(value))]",
    "nested": "with redacting_processes():\n    os.system('echo $TESTS_VALUE')\nos.system('echo $TESTS_VALUE')",
}


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
@pytest.mark.parametrize("name", PROCESSES)
def test_processes_are_masked_on_demand(name: str, *, terminal: bool) -> None:
    """What children and compiled code write; afterwards everything goes where it went before, in its order."""
    indented = textwrap.indent(PROCESSES[name], "    ")
    code = f"{IN_PROCESSES}    print('begin')\n{indented}\n    print('last')"
    shown = run(code, terminal=terminal, after="os.system('echo after')\nprint('end')")
    assert f"{CANARY}-placed" not in shown
    assert MASK in shown
    for word in ("begin", "last", "after", "end"):
        assert word in shown
    assert shown.index("last") < shown.index("after")


def test_a_terminal_stays_one_for_processes() -> None:
    """Children find a terminal of the same size, and lines end as they did."""
    child = "import os, sys; print(sys.stdout.isatty(), os.get_terminal_size().columns)"
    code = f"import subprocess\n{IN_PROCESSES}    subprocess.run([sys.executable, '-c', {child!r}])"
    assert run(code, terminal=True) == "True 80\r\n"
    assert run(code.replace(", os.get_terminal_size().columns", "")) == "False\n"


def test_the_page_names_the_places() -> None:
    """Each row of the table is tested, here or where it says."""
    here = Path(__file__).parent
    tested = {
        "by `print`, to `sys.stdout` and `sys.stderr` and their `.buffer`": "print",
        "to a stream object from before the run, as loguru, tqdm, rich and `def log(file=sys.stderr)` keep one": "kept stream",
        "by `os.write` and `os.writev` to the descriptors of these streams": "os.write",
        "by `logging`, also by handlers that write elsewhere": "test_redactor_installation.py",
        "into the run's record: parameters, settings, metadata, with their keys, and numbers of six digits and more": (
            "pipelines/test_redaction.py"
        ),
        "in an exception that leaves the pipeline, with its notes and causes": "test_redactor_exception.py",
        "before the value was read": "pipelines/test_redaction.py",
        "by child processes and compiled code": "pipelines/test_redaction.py",
        "by a method that was kept from before the run (`write = sys.stderr.write`, `from os import write`), "
        "and as the question of `input()`": "not",
        "to a file, a socket, or another descriptor of the terminal": "not",
        "as the output of a step": "pipelines/test_redaction.py",
    }
    assert list(tested) == [place for place, _ in rows("Where")]
    for where in tested.values():
        assert where in MASKED or where == "not" or (here / where).exists()
