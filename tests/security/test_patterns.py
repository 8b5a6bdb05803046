"""No input makes a regular expression slow: each pattern that sees input takes time in proportion to the input's length."""

from __future__ import annotations

import ast
import itertools
import re
import time
from collections.abc import Callable, Iterator
from http import cookies
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from urllib import parse

import pytest
from starlette import datastructures, requests, responses, routing

from strongroom.models.component import check_plain_name
from strongroom.models.plain_yaml import PlainLoader
from strongroom.models.reference import is_near_miss, parse_reference

SOURCE = Path(__file__).parents[2] / "src" / "strongroom"
USES = ("compile", "finditer", "findall", "fullmatch", "match", "search", "split", "sub")
LIBRARIES = (cookies, datastructures, parse, requests, responses, routing)
LENGTH = 1_024
GROWTH = 4


class Found(NamedTuple):
    """A pattern, how it is used ("" where that is not known), and where it stands."""

    place: str
    text: str
    flags: int
    use: str


def of_ours() -> Iterator[Found]:
    """Every pattern that is written out in our code."""
    for file in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(file.read_text())
        methods = {node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "re" and node.func.attr in USES):
                continue
            pattern = node.args[0]
            if isinstance(pattern, ast.Constant):
                text = pattern.value.decode() if isinstance(pattern.value, bytes) else str(pattern.value)
                flags = re.ASCII if any("ASCII" in ast.dump(each) for each in (*node.args, *node.keywords)) else 0
                use = (
                    node.func.attr if node.func.attr != "compile" else "" if methods & {"search", "sub", "finditer"} else "fullmatch"
                )
                yield Found(f"{file.relative_to(SOURCE)}:{node.lineno}", text, flags, use)


def of_libraries() -> Iterator[Found]:
    """The patterns of modules that see what comes over the network, and those by which YAML is read."""

    def compiled(module: ModuleType) -> Iterator[re.Pattern[Any]]:
        yield from (each for each in vars(module).values() if isinstance(each, re.Pattern))

    for module in LIBRARIES:
        for pattern in compiled(module):
            text = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
            yield Found(module.__name__, text, 0, "")
    for resolvers in PlainLoader.yaml_implicit_resolvers.values():
        yield from (Found("yaml", pattern.pattern, 0, "match") for _, pattern in resolvers)


def alphabet(text: str) -> list[str]:
    """A few characters that the pattern tells apart."""
    literals = re.findall(r"[A-Za-z0-9{}.:/@=\"$%\-_ ]", re.sub(r"\\.|\[[^\]]*\]", lambda each: each[0][-2:-1], text))
    return list(dict.fromkeys(["a", "0", "-", *literals]))[:9]


def hostile(text: str, length: int) -> Iterator[str]:
    """Inputs that repeat a short piece after a beginning and end in something that does not fit."""
    letters = alphabet(text)
    beginnings = ["", "{", "{{", "{{a.", *(each for each in re.split(r"[\[\](){}*+?|^$\\]", text)[:1] if each)]
    pieces = ["".join(each) for size in (1, 2) for each in itertools.product(letters, repeat=size)]
    for beginning in dict.fromkeys(beginnings):
        for piece in pieces:
            yield beginning + piece * (length // len(piece)) + "\n!"


def seconds(function: Callable[[str], object], text: str) -> float:
    """What a call costs of this thread's time, at best."""
    best = float("inf")
    for _ in range(3):
        begun = time.thread_time()
        function(text)
        best = min(best, time.thread_time() - begun)
    return best


def assert_linear(function: Callable[[str], object], make: Callable[[int], Iterator[str]]) -> None:
    """Of the inputs of one length, those that cost most cost in proportion when they are several times as long."""
    for short, long in zip(make(LENGTH), make(GROWTH * LENGTH), strict=True):
        begun = time.thread_time()
        function(short)
        if time.thread_time() - begun < LENGTH * 1e-6:  # a microsecond for each character: not suspicious
            continue
        assert seconds(function, long) < 2.5 * GROWTH * seconds(function, short), repr(short[:20])


@pytest.mark.parametrize("found", sorted({*of_ours(), *of_libraries()}), ids=lambda found: found.place)
def test_every_pattern_is_linear(found: Found) -> None:
    """Each pattern in our code, and of the libraries that read requests and documents."""
    pattern = re.compile(found.text, found.flags)
    for use in [found.use] if found.use in ("fullmatch", "match", "search") else ["fullmatch", "search"]:
        assert_linear(getattr(pattern, use), lambda length: hostile(found.text, length))


@pytest.mark.parametrize("function", [is_near_miss, parse_reference], ids=["near miss", "reference"])
def test_reading_references_is_linear(function: Callable[[str], object]) -> None:
    """The functions around the patterns, too."""
    assert_linear(function, lambda length: hostile("{{a.b}}", length))


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("{a.b}", True),
        ("{{a.b}", True),
        ("{a.b}}", True),
        ("{a.b.c}", True),
        ("{{a b}}", True),
        ("x{{a.b}}", True),
        ("{{a.b}}", False),
        ("{a}", False),
        ("{.a}", False),
        ("{a.}", False),
        ('{"a":1.5}', False),
        ("a.b", False),
        ("{ a.b }", False),
    ],
)
def test_near_misses(text: str, near: bool) -> None:
    """What looks like a reference and is none."""
    assert is_near_miss(text) is near


def test_long_names_are_refused_by_their_length() -> None:
    """Before anything is looked for in them."""
    from strongroom.errors import InvalidInput

    with pytest.raises(InvalidInput, match="1 to 255 characters"):
        check_plain_name("{{" + "a." * 50_000 + "}}", "the run")
