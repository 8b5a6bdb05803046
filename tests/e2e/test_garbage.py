"""Garbage on the command line: no traceback, no success without a deed, no value repeated."""

from __future__ import annotations

import random
import string

import pytest

from .conftest import CommandLine

CANARY = "c4nary7f3e"
ROUNDS, WORKERS = 250, 4

COMMANDS = ["create", "list", "get", "describe", "update", "rename", "delete", "export", "history", "rollback", "nonsense"]
OPTIONS = [
    "--scope", "--private", "-i", "-v", "--values", "--from-env-file", "--description", "--label", "--expires-at", "-o", "--output",
    "--name", "--user", "--created", "--updated", "--sort-by", "--page", "--size", "--all", "--key", "--version", "--new-scope", "-r",
    "--remove-keys", "--if-version", "-n", "--new-name", "-y", "-f", "--format", "--force", "--to-version", "--help", "--", "-", "---",

]  # fmt: skip
PIECES = [
    "user", "workspace", "json", "1", "0", "-1", "99999999999999999999", "{", "}", "{}", "[]", "null", '"', "'", "@", "@@", "-", "=", "a=b",
    "\x00", "\n", "\x1b[31m", "é", "😀", "\udcff", "%s", "{0}", "{{a.b}}", "../..", "~nobody/x", "/etc/passwd", "*", "$HOME", "existing",
    "name", "a.b", "A" * 300, "startswith:", "oneof:[", "gt:", "desc:", "2026-01-01T00:00:00Z", "!!python/object:x", "&a [*a]", "\ufeff",
]  # fmt: skip


def garbage(random_: random.Random) -> tuple[list[str], bytes]:
    """A command line of nonsense with the canary in the places of values, and something on standard input."""
    words: list[str] = []
    for _ in range(random_.randint(0, 6)):
        kind = random_.random()
        piece = "".join(random_.choice([*PIECES, random_.choice(string.printable)]) for _ in range(random_.randint(1, 3)))
        if kind < 0.3:
            words.append(random_.choice(OPTIONS))
        elif kind < 0.5:
            words.append(f"{random_.choice(['--k', '--', '--a b', '--name', random_.choice(OPTIONS)])}={piece}{CANARY}")
        elif kind < 0.6:
            words += ["-v", piece + CANARY]
        elif kind < 0.7:
            words.append(f"--k=@{piece}{CANARY}")
        else:
            words.append(piece)
    stdin = "".join(random_.choice([*PIECES, "\n", "y\n", CANARY]) for _ in range(random_.randint(0, 5)))
    return ["secret", random_.choice(COMMANDS), *words], stdin.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("worker", range(WORKERS))
def test_garbage(strongroom: CommandLine, worker: int) -> None:
    """A thousand random command lines; each seed can be replayed."""
    strongroom("secret", "create", "existing", "--k=v")
    for seed in range(worker * ROUNDS, (worker + 1) * ROUNDS):
        arguments, stdin = garbage(random.Random(seed))
        outcome = strongroom(*arguments, stdin=stdin)
        assert outcome.code in (0, 1, 2), seed
        assert "Traceback" not in outcome.err, seed
        assert "should not have happened" not in outcome.err, seed
        assert CANARY not in outcome.err, seed
        if outcome.code == 0:
            assert outcome.out_bytes or outcome.err.strip(), seed
        else:
            errors = [line for line in outcome.err.splitlines() if line.startswith(("Error: ", "Nothing was deleted", "Usage: "))]
            assert len(errors) == 1, seed
