"""The canary: every value in the tests starts with it, and it must not turn up where values have no business.

A pytest plugin. After each phase of a test it looks for the canary in the test's id, its captured output and its failure report;
when the test ends, also in every byte of every file under its `tmp_path`, except those that the test allowed. A find fails the test.
The canary is masked in what pytest prints.
"""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
from collections.abc import Callable, Generator, Iterable
from pathlib import Path

import pytest

CANARY = os.environ.setdefault("TESTS_CANARY", f"canary-{secrets.token_hex(6)}")
"""Random, the same in all processes of one test run."""

_ALLOWED = pytest.StashKey[set[Path]]()


def _disguises(text: str) -> list[bytes]:
    """The text as UTF-8, UTF-16, hexadecimal and base64, at each of base64's three alignments."""
    plain = text.encode()
    found = [plain, text.encode("utf-16-le"), plain.hex().encode(), plain.hex().upper().encode()]
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + plain)
        inner = coded[(shift * 8 + 5) // 6 : (shift + len(plain)) * 8 // 6]
        found += [inner, inner.replace(b"+", b"-").replace(b"/", b"_")]
    return list(dict.fromkeys(found))


_DISGUISES = _disguises(CANARY)


def holds_canary(data: bytes | str) -> bool:
    """Whether the canary is in there, plain or thinly disguised."""
    data = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    return any(disguise in data for disguise in _DISGUISES)


def files_with_canary(folder: Path, allowed: Iterable[Path] = ()) -> list[Path]:
    """The files under the folder that hold the canary, but for the allowed ones (or those below an allowed folder)."""
    spared = [path.resolve() for path in allowed]
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(path.resolve().is_relative_to(place) for place in spared):
            try:
                data = read_elsewhere(path)
            except FileNotFoundError:  # SQLite's side files come and go
                continue
            if holds_canary(data):
                found.append(path)
    return found


def read_elsewhere(path: Path) -> bytes:
    """What is in a file. Another process reads a database that may be open here: to close it in this one drops SQLite's locks."""
    if path.name.endswith((".db", ".db-wal", ".db-shm")) and os.name == "posix":
        return subprocess.run(["/bin/cat", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
    return path.read_bytes()


@pytest.fixture
def canary() -> str:
    """The beginning of every value."""
    return CANARY


@pytest.fixture
def allow_values_in(request: pytest.FixtureRequest) -> Callable[[Path], Path]:
    """Declares a file (or folder) that may hold values in clear, such as an export or an input file; gives it back."""
    allowed = request.node.stash.setdefault(_ALLOWED, set())

    def allow(path: Path) -> Path:
        allowed.add(path)
        return path

    return allow


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    places = [title for title, content in report.sections if CANARY in content]
    places += ["the test's id"] if CANARY in report.nodeid else []
    places += ["the failure report"] if CANARY in report.longreprtext else []
    if places:
        report.longrepr = f"{_masked(report.longreprtext)}\n\nA value leaked: the canary is in {', '.join(places)}".lstrip()
        report.outcome = "failed"
        report.sections = [(title, _masked(content)) for title, content in report.sections]
        item._report_sections[:] = [(when, title, _masked(content)) for when, title, content in item._report_sections]
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    found = files_with_canary(folder, item.stash.get(_ALLOWED, ())) if folder else []
    yield
    if found:
        names = ", ".join(str(path.relative_to(folder)) for path in found)
        pytest.fail(f"A value leaked: the canary is in {names}", pytrace=False)


def _masked(text: str) -> str:
    return text.replace(CANARY, "<canary>")
