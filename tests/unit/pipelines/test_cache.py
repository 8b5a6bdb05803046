"""Caching: which steps are skipped because a former one has done the same."""

from __future__ import annotations

import itertools
import linecache
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from strongroom.client import Client
from strongroom.models.run import RunStatus
from strongroom.pipelines import pipeline
from strongroom.pipelines.cache import cache_key
from strongroom.pipelines.pipeline import Pipeline
from strongroom.pipelines.result import PipelineRun
from strongroom.pipelines.step import Step
from strongroom.redaction import SHORTEST
from strongroom.steps import StepContext, step
from tests.canary import CANARY

pytestmark = pytest.mark.usefixtures("client")

_numbers = itertools.count()


def make_step(source: str, **options: Any) -> Step:
    """A step called `work` of a source file of its own, as an edited script has one."""
    name = f"<test {next(_numbers)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {}
    exec(compile(source, name, "exec"), namespace)
    return Step(namespace["work"], **options)


def run_of(work: Step, *arguments: Any, options: dict[str, Any] | None = None, **of_pipeline: Any) -> PipelineRun:
    """A run of a pipeline with this one step."""

    @pipeline(**of_pipeline)
    def one() -> None:
        work(*arguments)

    return one.with_options(**(options or {}))()


def status(run: PipelineRun, name: str = "work") -> RunStatus:
    return run.steps[name].status


@step(name="work")
def plain(start: Any = 1) -> Any:
    return start


@step(name="work")
def informed(context: StepContext) -> str:
    return context.run_name


RULES = [  # takes the context, step, pipeline, run, is cached
    (False, None, None, None, True),
    (False, None, False, None, False),
    (False, None, True, None, True),
    (False, False, True, None, False),
    (False, True, False, None, True),
    (False, True, True, False, False),
    (False, False, False, True, True),
    (True, None, None, None, False),
    (True, None, True, None, False),
    (True, True, None, None, True),
    (True, True, False, None, True),
    (True, True, True, False, False),
    (True, None, False, True, True),
]


@pytest.mark.parametrize(("context", "of_step", "of_pipeline", "of_run", "cached"), RULES)
def test_who_decides(context: bool, of_step: bool | None, of_pipeline: bool | None, of_run: bool | None, cached: bool) -> None:
    """The run wins over the step, the step over the pipeline; a step that takes its context has to ask for being cached itself."""
    work = (informed if context else plain).with_options(enable_cache=of_step)
    first = run_of(work, options={"enable_cache": of_run}, enable_cache=of_pipeline)
    second = run_of(work, options={"enable_cache": of_run}, enable_cache=of_pipeline)
    assert status(first) is RunStatus.COMPLETED
    assert status(second) is (RunStatus.CACHED if cached else RunStatus.COMPLETED)


def test_a_cached_step_gives_what_the_former_gave() -> None:
    """A cached step does not run, names the run that it was taken from, and its outputs are those of that one."""
    ran: list[int] = []

    @step
    def work() -> list[int]:
        ran.append(1)
        return [len(ran)]

    first, second, third = run_of(work), run_of(work), run_of(work)
    assert ran == [1]
    assert second.output("work") == [1]
    assert [output.uri for output in second.steps["work"].outputs] == [output.uri for output in first.steps["work"].outputs]
    assert second.steps["work"].cached_from == third.steps["work"].cached_from == first.id


def test_another_name_shares_nothing_less() -> None:
    """Two steps with one code share results, whatever pipeline and name they run under: neither changes what a step gives."""
    assert status(run_of(plain, 5)) is RunStatus.COMPLETED
    assert status(run_of(plain.with_options(name="other"), 5, name="another"), "other") is RunStatus.CACHED


PAIRS: dict[str, tuple[object, object]] = {
    "number": (1, 2),
    "kind": (1, "1"),
    "truth": (True, 1),
    "float": (1, 1.0),
    "infinity": (math.inf, -math.inf),
    "not a number": (math.nan, None),
    "deep infinity": ({"a": [math.inf]}, {"a": [None]}),
    "bytes": (b"abc", "YWJj"),
    "tuple": ((1, 2), [1, 2]),
    "large": (2**64, 2**64 + 1),
    "keys": ({1: "a"}, {"1": "a"}),
    "date": (date(2026, 1, 1), "2026-01-01"),
    "enumeration": (RunStatus.CACHED, "cached"),
    "set": ({1, 2}, [1, 2]),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_other_parameters_are_not_reused(pair: str) -> None:
    """Parameters that a function can tell apart have results of their own; the same again is reused."""
    one, other = PAIRS[pair]
    assert [status(run_of(plain, value)) for value in (one, other, one, other)] == [
        RunStatus.COMPLETED,
        RunStatus.COMPLETED,
        RunStatus.CACHED,
        RunStatus.CACHED,
    ]


def test_the_order_of_a_mapping_does_not_count() -> None:
    """Mappings with the same entries are the same parameter."""
    run_of(plain, {"a": 1, "b": 2})
    assert status(run_of(plain, {"b": 2, "a": 1})) is RunStatus.CACHED


def test_sets_are_the_same_in_every_process() -> None:
    """A set has no order, and Python's is another one in each process: that makes no other parameter of it."""
    script = """
from strongroom.pipelines.cache import cache_key
from strongroom.steps import step
def work(given): ...
print(cache_key(step(work), parameters={"given": {"a", "bc", "d", "e"}}, inputs={}, settings={}, artifact_store="x"))
"""
    keys = {
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}
        ).stdout
        for seed in "1234"
    }
    assert len(keys) == 1


CODES = {
    "a constant": ("def work() -> int:\n    return 1\n", "def work() -> int:\n    return 2\n"),
    "a constant in a lambda": (
        "def work() -> int:\n    return (lambda: 1)()\n",
        "def work() -> int:\n    return (lambda: 2)()\n",
    ),
    "the annotation": ("def work() -> int:\n    return 1\n", "def work() -> float:\n    return 1\n"),
    "another function": ("def work() -> int:\n    return len('')\n", "def work() -> int:\n    return sum('')\n"),
}


@pytest.mark.parametrize("with_source", [True, False], ids=["source", "no source"])
@pytest.mark.parametrize("change", CODES)
def test_changed_code_is_not_reused(change: str, with_source: bool) -> None:
    """A step whose code has changed runs anew, also where Python does not find its source, as in `python -c`."""

    def status_of(source: str) -> RunStatus:
        work = make_step(source)
        if not with_source:
            linecache.cache.pop(work.function.__code__.co_filename)
        return status(run_of(work))

    one, other = CODES[change]
    assert [status_of(code) for code in (one, other, one)] == [RunStatus.COMPLETED, RunStatus.COMPLETED, RunStatus.CACHED]


def test_changed_inputs_are_not_reused() -> None:
    """A step that gets another artifact runs anew, and so does one that gets the same artifact from a step that ran anew."""

    @step
    def double(value: int) -> int:
        return 2 * value

    @pipeline
    def two(start: int) -> None:
        double(plain(start))

    def statuses(run: PipelineRun) -> list[RunStatus]:
        return [run.steps[name].status for name in ("work", "double")]

    assert statuses(two(1)) == [RunStatus.COMPLETED, RunStatus.COMPLETED]
    assert statuses(two(1)) == [RunStatus.CACHED, RunStatus.CACHED]
    other = two(2)
    assert statuses(other) == [RunStatus.COMPLETED, RunStatus.COMPLETED]
    assert other.output("double") == 4
    again = two.with_options(enable_cache=False)(2)
    assert statuses(again) == [RunStatus.COMPLETED, RunStatus.COMPLETED]
    assert statuses(two(2)) == [RunStatus.CACHED, RunStatus.CACHED]


def test_inputs_count_by_their_parameters() -> None:
    """Two inputs that swap places are other inputs, and a list of one is not the one."""

    @step
    def first() -> int:
        return 1

    @step
    def second() -> int:
        return 2

    @step
    def minus(a: Any, b: Any) -> Any:
        return a - b if isinstance(b, int) else a

    def subtract(compose: Callable[[], object]) -> PipelineRun:
        return Pipeline(lambda: compose(), name="p")()

    assert subtract(lambda: minus(first(), second())).output("minus") == -1
    assert subtract(lambda: minus(b=first(), a=second())).output("minus") == 1
    assert subtract(lambda: minus(first(), [second()])).output("minus") == 1


@pytest.mark.parametrize("level", ["step", "pipeline", "run"])
def test_changed_settings_are_not_reused(level: str, client: Client) -> None:
    """Settings count as they are written, on whatever level they stand; the values that they refer to do not."""
    client.create_secret("settings", {"a": f"{CANARY}-a", "b": f"{CANARY}-b"})

    def status_with(settings: dict[str, Any]) -> RunStatus:
        match level:
            case "step":
                return status(run_of(plain.with_options(settings=settings)))
            case "pipeline":
                return status(run_of(plain, settings=settings))
            case _:
                return status(run_of(plain, options={"settings": settings}))

    assert status_with({"token": "{{settings.a}}"}) is RunStatus.COMPLETED
    assert status_with({"token": "{{settings.b}}"}) is RunStatus.COMPLETED
    client.update_secret("settings", add_or_update_values={"a": f"{CANARY}-other"})
    assert status_with({"token": "{{settings.a}}"}) is RunStatus.CACHED


def test_outputs_that_vanished_are_made_anew() -> None:
    """A former result whose artifact is gone does not count; the step runs, and its new result counts from then on."""
    first = run_of(plain)
    Path(urlsplit(first.steps["work"].outputs[0].uri).path).unlink()
    second = run_of(plain)
    assert status(second) is RunStatus.COMPLETED
    assert second.output("work") == 1
    assert run_of(plain).steps["work"].cached_from == second.id


def test_another_artifact_store_has_other_results(client: Client, tmp_path: Path) -> None:
    """What lies in another artifact store is not taken from there."""
    client.create_component("elsewhere", type="artifact_store", flavor="local", configuration={"path": str(tmp_path / "else")})
    client.create_stack("elsewhere", {"orchestrator": "default", "artifact_store": "elsewhere"})
    assert status(run_of(plain)) is RunStatus.COMPLETED
    assert status(run_of(plain, options={"stack": "elsewhere"})) is RunStatus.COMPLETED
    assert status(run_of(plain, options={"stack": "elsewhere"})) is RunStatus.CACHED
    shutil.rmtree(tmp_path / "else")
    assert status(run_of(plain, options={"stack": "elsewhere"})) is RunStatus.COMPLETED


def test_a_failed_step_is_not_reused() -> None:
    """What failed is tried again."""
    failing = [True]

    @step
    def work() -> int:
        if failing:
            raise RuntimeError
        return 1

    with pytest.raises(Exception, match="step 'work' failed"):
        run_of(work)
    failing.clear()
    assert status(run_of(work)) is RunStatus.COMPLETED
    assert status(run_of(work)) is RunStatus.CACHED


def test_parameters_that_hold_a_value_are_never_cached(client: Client) -> None:
    """A key made of a fetched value would let whoever reads the database try out guesses; such a step runs each time."""
    client.create_secret("fetched", {"password": f"{CANARY}-password"})

    @step
    def work(given: dict[str, str]) -> bool:
        return given["password"].startswith(CANARY)

    @pipeline
    def fetching() -> None:
        work({"password": Client().get_secret("fetched").secret_values["password"]})

    for _ in range(2):
        run = fetching.with_options(enable_cache=True)()
        assert status(run) is RunStatus.COMPLETED
        assert run.output("work") is True
        assert CANARY not in repr(run.record)


def test_steps_of_one_factory_are_not_each_other() -> None:
    """Steps with one code that take another number or text from the function around them have results of their own."""

    def make(factor: object) -> Step:
        @step
        def work() -> str:
            return f"times {factor}"

        return work

    for factor, result in ((2, "completed"), (3, "completed"), ("2", "completed"), (2, "cached")):
        run = run_of(make(factor))
        assert run.output("work") == f"times {factor}"
        assert status(run) == result


def test_captured_values_are_never_cached(client: Client) -> None:
    """A fetched value that a step takes from the function around it gets into no cache key either."""
    client.create_secret("fetched", {"password": f"{CANARY}-password"})

    @pipeline
    def fetching() -> None:
        password = Client().get_secret("fetched").secret_values["password"]

        @step(name="work")
        def work() -> bool:
            return password.startswith(CANARY)

        work()

    for _ in range(2):
        assert status(fetching()) is RunStatus.COMPLETED


def test_short_values_are_no_obstacle(client: Client) -> None:
    """Values that are too short to be masked, such as port numbers, do not keep a step from being cached."""
    client.create_secret("short", {"port": "1" * (SHORTEST - 1)})

    @pipeline
    def fetching() -> None:
        plain(Client().get_secret("short").secret_values["port"])

    fetching()
    assert status(fetching()) is RunStatus.CACHED


def test_a_key_is_a_digest() -> None:
    """A cache key shows nothing of what it was made of."""
    key = cache_key(plain, parameters={"start": f"{CANARY}-start"}, inputs={}, settings={}, artifact_store="x")
    assert len(key) == 64
    assert set(key) <= set("0123456789abcdef")
