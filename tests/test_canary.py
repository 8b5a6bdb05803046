"""The canary's hook catches what it is there for."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.canary import CANARY, files_with_canary, holds_canary

ROOT = Path(__file__).parents[1]
INNER = "canary-of-the-inner-session"
LEAKS = {
    "stdout": "print(CANARY)",
    "stderr": "print(f'xx{CANARY}yy', file=sys.stderr)",
    "log": "logging.getLogger('any').warning('%s', CANARY)",
    "descriptor": "os.write(1, CANARY.encode())",
    "failure": "raise ValueError(CANARY)",
    "file": "(tmp_path / 'f').write_bytes(b'\\0\\1' + CANARY.encode() + b'\\2')",
    "other_file": "allow_values_in(tmp_path / 'f').write_text(CANARY); (tmp_path / 'g').write_text(CANARY)",
}
FINE = {
    "quiet": "print('hello'); (tmp_path / 'f').write_text('hello')",
    "allowed_file": "allow_values_in(tmp_path / 'f').write_text(CANARY)",
}


def test_leaks_fail_the_session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value in output, log, failure, test id or file fails its test and is masked; tests without leaks pass."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TESTS_CANARY", INNER)
    cases = [f"def test_{name}(tmp_path, allow_values_in):\n    {statement}\n" for name, statement in (LEAKS | FINE).items()]
    cases.append("@pytest.mark.parametrize('value', [CANARY])\ndef test_id(value):\n    pass\n")
    pytester.makepyfile("import logging, os, pytest, sys\nfrom tests.canary import CANARY\n" + "\n".join(cases))
    result = pytester.runpytest_subprocess("-p", "tests.canary", "-p", "no:randomly", "-p", "no:cacheprovider", "-rA")
    lines = [line.replace(INNER, "<canary>") for line in result.outlines]
    text = "\n".join(line for line in lines if not line.startswith("running:"))
    failed = {line.split("::")[1].split()[0] for line in lines if line.startswith(("FAILED ", "ERROR "))}
    passed = {line.split("::")[1].split()[0] for line in lines if line.startswith("PASSED ")}
    assert failed == {f"test_{name}" for name in LEAKS} | {"test_id[<canary>]"}
    assert passed - failed == {f"test_{name}" for name in FINE}
    for place in (
        "Captured stdout call",
        "Captured stderr call",
        "Captured log call",
        "the failure report",
        "the test's id",
        "f",
        "g",
    ):
        assert f"A value leaked: the canary is in {place}\n" in text.replace(", Captured log call", "\n") + "\n"
    assert not any(INNER in line for line in result.outlines if "test_id[" not in line)


@pytest.mark.parametrize("shift", range(4))
def test_disguises_are_seen_through(shift: int) -> None:
    """The canary is found in UTF-16, hexadecimal and base64 too, at any alignment."""
    text = "x" * shift + CANARY + "-tail"
    assert holds_canary(base64.b64encode(text.encode()))
    assert holds_canary(base64.urlsafe_b64encode(text.encode()))
    assert holds_canary(text.encode().hex())
    assert holds_canary(text.encode("utf-16"))
    assert not holds_canary(CANARY[:-1])


def test_folders_are_searched_to_the_bottom(tmp_path: Path, allow_values_in: Callable[[Path], Path]) -> None:
    """Files are searched at any depth."""
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    allow_values_in(deep / "c").write_text(f"<{CANARY}>")
    assert files_with_canary(tmp_path) == [deep / "c"]
    assert files_with_canary(tmp_path, [deep]) == []
