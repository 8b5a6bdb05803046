"""Runs: what is executed, what is recorded, and how they end."""

from __future__ import annotations

import io
import math
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.client import Client
from strongroom.errors import AlreadyExists, InvalidInput, NotFound, StepFailed
from strongroom.models.run import Run, RunStatus
from strongroom.pipelines import pipeline
from strongroom.pipelines.artifact import encode, load
from strongroom.pipelines.pipeline import Pipeline
from strongroom.redaction import MASK
from strongroom.stacks.artifact_store import ArtifactStore
from strongroom.steps import StepContext, step
from tests.canary import CANARY, holds_canary

VALUE = f"{CANARY}-run"


class Pickled:
    """What is no plain data, of a class that can be imported."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pickled) and other.number == self.number

    __hash__ = None


@step
def number(start: int = 1) -> int:
    return start


@step
def double(value: int) -> int:
    return 2 * value


@step
def total(values: list[int], bonus: int = 0) -> int:
    return sum(values) + bonus


@step
def statistics(value: int) -> tuple[Annotated[int, "square"], Annotated[str, "text"]]:
    return value**2, str(value)


@pipeline
def arithmetic(start: int, bonus: int = 10) -> None:
    """Fans out and in."""
    first = number(start)
    statistics(double(first))
    total([first, double(number(start + 1))], bonus=bonus)


ARITHMETIC = ["number", "double", "statistics", "number_2", "double_2", "total"]


def run_of(work: Any, *arguments: Any) -> Any:
    """A run of a pipeline that calls this one step."""
    return Pipeline(lambda: work(*arguments), name="one")()


def last_run(client: Client) -> Run:
    return client.get_run(client.list_runs(size=1).items[0].id)


def statuses(run: Run) -> dict[str, str]:
    return {one.name: one.status.value for one in run.steps}


def test_a_run_is_recorded(client: Client) -> None:
    """The record has statuses, times, parameters, inputs and outputs of the run and of each of its steps, in order."""
    run = arithmetic(3)
    assert client.get_run(run.name) == client.get_run(run.id) == run.record
    record = run.record
    assert (record.pipeline, record.stack, record.status, record.error) == ("arithmetic", "default", RunStatus.COMPLETED, None)
    assert (record.workspace, record.owner) == ("default", "default")
    assert record.parameters == {"start": 3, "bonus": 10}
    assert statuses(record) == dict.fromkeys(ARITHMETIC, "completed")
    steps = run.steps
    assert steps["number"].parameters == {"start": 3}
    assert steps["statistics"].inputs == {"value": "double.output"}
    assert steps["total"].inputs == {"values": "number.output, double_2.output"}
    assert steps["total"].parameters == {"bonus": 10}
    assert [(output.name, output.format, output.type) for output in steps["statistics"].outputs] == [
        ("square", "json", "builtins.int"),
        ("text", "json", "builtins.str"),
    ]
    for one in steps.values():
        assert record.started <= one.started <= one.finished <= record.finished
        for output in one.outputs:
            path = Path(urlsplit(output.uri).path)
            assert path.stat().st_size == output.size
            assert path.stat().st_mode & 0o077 == 0
    assert (run.output("total"), run.output("statistics", "text")) == (21, "6")


def test_outputs_are_asked_for_by_name(client: Client) -> None:
    """A step or an output that is not there is `NotFound`, with what is there."""
    run = arithmetic(3)
    for name, output, hint in (
        ("nothing", None, ", ".join(ARITHMETIC)),
        ("statistics", None, "square, text"),
        ("number", "other", "output"),
    ):
        with pytest.raises(NotFound) as caught:
            run.output(name, output)
        assert hint in str(caught.value.hint)


def test_steps_run_in_the_order_of_the_calls(client: Client) -> None:
    """One step after another, each once, in the order in which the pipeline called them."""
    order: list[str] = []

    @step
    def mark(context: StepContext) -> None:
        order.append(context.step_name)

    @pipeline
    def marking() -> None:
        first = mark()
        mark(after=first)
        mark()

    marking()
    assert order == ["mark", "mark_2", "mark_3"]


def failing(error: Callable[[str], BaseException]) -> Pipeline:
    """A pipeline whose second step raises an error made of a fetched value."""

    @step
    def fail(value: int) -> int:
        raise error(Client().get_secret("failing").secret_values["password"])

    @pipeline
    def fails() -> None:
        fail(number())
        number(7)

    return fails


def test_a_failing_step(client: Client) -> None:
    """The run fails with its step, later steps stay pending, and `StepFailed` has the error as its cause; both masked."""
    client.create_secret("failing", {"password": VALUE})
    with pytest.raises(StepFailed) as caught:
        failing(lambda value: ValueError(f"cannot use {value}"))()
    error = caught.value
    assert str(error) == f"step 'fail' failed: ValueError: cannot use {MASK}"
    assert (type(error.__cause__).__name__, str(error.__cause__)) == ("ValueError", f"cannot use {MASK}")
    assert not holds_canary("".join(traceback.format_exception(error)))
    record = last_run(client)
    assert error.hint == f"strongroom run describe {record.name}"
    assert statuses(record) == {"number": "completed", "fail": "failed", "number_2": "pending"}
    assert (record.status, record.error) == (RunStatus.FAILED, str(error))
    assert record.steps[1].error == f"ValueError: cannot use {MASK}"
    assert record.steps[1].finished is not None
    assert record.steps[2].started is None


def test_an_error_without_values_stays_the_error(client: Client) -> None:
    """The cause of `StepFailed` is the very exception of the step when it holds no value, with its attributes."""
    error = OSError(5, "no luck", "file")

    @step
    def fail() -> None:
        raise error

    with pytest.raises(StepFailed, match=r"OSError: \[Errno 5\] no luck: 'file'") as caught:
        run_of(fail)
    assert caught.value.__cause__ is error


def test_our_errors_keep_their_hint(client: Client) -> None:
    """A step that asks for a secret that is not there fails with the message and the hint of that error."""

    @step
    def fail() -> None:
        Client().get_secret("nothing")

    with pytest.raises(StepFailed, match="step 'fail' failed: there is no secret 'nothing'") as caught:
        run_of(fail)
    assert isinstance(caught.value.__cause__, NotFound)
    assert caught.value.hint == caught.value.__cause__.hint


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "recorded"),
    [
        (Unspeakable(), "Unspeakable: <exception str() failed>"),
        (ValueError("\udcff\0"), "ValueError: \\udcff\\x00"),
        (ValueError("x" * 20_000), "ValueError: " + "x" * (16_384 - 12)),
        (RuntimeError(), "RuntimeError"),
    ],
    ids=["without text", "with what no database takes", "long", "empty"],
)
def test_any_error_is_recorded(client: Client, error: Exception, recorded: str) -> None:
    """Whatever an error's text is like, the step's record says that it failed, and how."""

    @step
    def fail() -> None:
        raise error

    with pytest.raises(StepFailed):
        run_of(fail)
    record = last_run(client)
    assert (record.status, record.steps[0].status) == (RunStatus.FAILED, RunStatus.FAILED)
    assert record.steps[0].error == recorded


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit], ids=["Ctrl-C", "exit"])
def test_a_run_that_is_stopped(client: Client, kind: type[BaseException]) -> None:
    """Ctrl-C or an exit within a step ends the run as stopped, and goes on to whoever called; nothing is shown of values."""
    client.create_secret("failing", {"password": VALUE})

    def stop(value: str) -> BaseException:
        try:
            raise ValueError(value)  # noqa: TRY301
        except ValueError:
            raise kind(f"stopped at {value}")  # noqa: B904 - with what it came from

    with pytest.raises(kind) as caught:
        failing(stop)()
    assert type(caught.value) is kind
    assert str(caught.value) == f"stopped at {MASK}"
    shown = "".join(traceback.format_exception(caught.value))
    assert not holds_canary(shown)
    assert f"ValueError: {MASK}" in shown
    assert not holds_canary(repr(getattr(caught.value, "code", None)))
    record = last_run(client)
    assert record.status is RunStatus.STOPPED
    assert statuses(record) == {"number": "completed", "fail": "stopped", "number_2": "pending"}


def test_an_exit_keeps_its_code(client: Client) -> None:
    """`sys.exit(3)` within a step leaves the process with 3."""

    @step
    def leave() -> None:
        sys.exit(3)

    with pytest.raises(SystemExit) as caught:
        run_of(leave)
    assert caught.value.code == 3


def test_the_pipeline_function_may_fail(client: Client) -> None:
    """An error in the pipeline's own function is raised as it is, masked; nothing is recorded, for nothing has begun."""
    client.create_secret("failing", {"password": VALUE})

    @pipeline
    def wrong() -> None:
        number()
        raise LookupError(Client().get_secret("failing").secret_values["password"])

    with pytest.raises(Exception, match=r"\*") as caught:
        wrong()
    assert type(caught.value).__name__ == "LookupError"
    assert not holds_canary("".join(traceback.format_exception(caught.value)))
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        arithmetic(nothing=1)
    assert client.list_runs().total == 0


class Broken(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_run_ends_where_nobody_listens(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether its progress can be shown decides nothing: with a broken standard error, or none, a run runs and is recorded."""
    for stream in (Broken(), None):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", stream)
            run = arithmetic(1)
        assert run.status is RunStatus.COMPLETED


def test_progress_goes_to_standard_error(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """What a step prints is all that is on standard output; standard error tells how run and steps ended."""

    @step
    def talk() -> None:
        print("said")

    run = run_of(talk)
    out, err = capsys.readouterr()
    assert out == "said\n"
    lines = err.splitlines()
    assert lines[0] == f"Run '{run.name}' on stack 'default' begins."
    assert lines[1].startswith("  talk: completed after ")
    assert lines[2].startswith(f"Run '{run.name}' completed after ")


def test_names_of_runs(client: Client) -> None:
    """A run has a name of its own: one that is made of the pipeline's, or the given one, which is good for one run."""
    first, second = arithmetic(1), arithmetic(1)
    assert first.name != second.name
    assert first.name.startswith("arithmetic-")
    named = arithmetic.with_options(run_name="nightly")
    assert named(1).name == "nightly"
    with pytest.raises(AlreadyExists, match="a run 'nightly' already exists"):
        named(1)
    with pytest.raises(InvalidInput, match="the name of the run"):
        arithmetic.with_options(run_name="not a name")(1)
    assert client.list_runs().total == 3


def test_options_are_for_a_copy(client: Client) -> None:
    """`with_options` changes no pipeline, keeps what was chosen before, and is for runs."""
    client.create_stack("other", {"orchestrator": "default", "artifact_store": "default"})
    chosen = (
        arithmetic.with_options(stack="other").with_options(enable_cache=False, settings={"a": 1}).with_options(settings={"b": 2})
    )
    run = chosen(1)
    assert (run.record.stack, run.record.pipeline) == ("other", "arithmetic")
    assert run.steps["total"].settings == {"a": 1, "b": 2}
    assert statuses(chosen(1).record)["total"] == "completed"
    again = arithmetic(1)
    assert (again.record.stack, again.steps["total"].settings) == ("default", {})
    with pytest.raises(NotFound, match="no stack 'nothing'"):
        arithmetic.with_options(stack="nothing")(1)


def test_a_pipeline_within_a_pipeline(client: Client) -> None:
    """Steps of a pipeline that is called within another one are steps of that one, and what it returns can be passed on."""

    @pipeline
    def inner(start: int) -> Any:
        return double(number(start))

    @pipeline
    def outer() -> None:
        total([inner(1), inner(2)])

    run = outer()
    assert list(run.steps) == ["number", "double", "number_2", "double_2", "total"]
    assert run.output("total") == 6
    assert client.list_runs().total == 1


def test_a_pipeline_within_a_pipeline_keeps_its_own_ways(client: Client) -> None:
    """Caching and settings of an inner pipeline hold for its steps, over the outer one's; stack and run name are the outer one's."""

    @step
    def settings_here(context: StepContext) -> dict[str, Any]:
        return context.settings

    @step
    def plain() -> int:
        return 1

    @pipeline(enable_cache=False, settings={"a": "inner", "b": "inner"})
    def inner() -> None:
        settings_here()
        plain()

    @pipeline(settings={"a": "outer", "c": "outer"})
    def outer() -> None:
        inner.with_options(settings={"b": "option"})()
        plain()

    outer()
    run = outer()
    assert run.output("settings_here") == {"a": "inner", "b": "option", "c": "outer"}
    assert (run.steps["plain"].status, run.steps["plain_2"].status) == (RunStatus.COMPLETED, RunStatus.CACHED)

    @pipeline
    def wrong() -> None:
        inner.with_options(run_name="x")()

    with pytest.raises(InvalidInput, match="called by another one"):
        wrong()


def test_a_pipeline_within_a_step(client: Client) -> None:
    """A pipeline that a step calls is a run of its own, and what it reads is on its own record."""
    client.create_secret("inner", {"k": VALUE})

    @step
    def fetch() -> bool:
        return Client().get_secret("inner").secret_values["k"] == VALUE

    @pipeline
    def inner() -> None:
        fetch()

    @step
    def call() -> bool:
        return inner().output("fetch")

    run = run_of(call)
    assert run.output("call") is True
    assert client.list_runs().total == 2
    assert [(read.secret, read.step) for read in client.get_run(client.list_runs(pipeline="inner").items[0].id).reads] == [
        ("inner", "fetch")
    ]
    assert run.record.reads == []


def test_two_runs_at_once(client: Client) -> None:
    """Pipelines in two threads run side by side; each record has what its own steps read, and nothing of the other's."""
    barrier = threading.Barrier(2, timeout=60)
    for name in ("left", "right"):
        client.create_secret(name, {"k": f"{VALUE}-{name}"})

    @step(enable_cache=False)
    def fetch(name: str) -> bool:
        barrier.wait()  # both are within their steps
        found = Client().get_secret(name).secret_values["k"]
        barrier.wait()
        return found == f"{VALUE}-{name}"

    @pipeline
    def fetching(name: str) -> None:
        fetch.with_options(name=f"fetch_{name}")(name)

    runs: dict[str, Any] = {}
    threads = [threading.Thread(target=lambda name=name: runs.update({name: fetching(name)})) for name in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, run in runs.items():
        assert run.output(f"fetch_{name}") is True
        assert [(read.secret, read.step) for read in run.record.reads] == [(name, f"fetch_{name}")]


def test_reads_of_threads_belong_to_the_step(client: Client) -> None:
    """What a thread that a step has started fetches is on record as read by that step."""
    client.create_secret("threaded", {"a": f"{VALUE}-a", "b": f"{VALUE}-b"})

    @step
    def fetch() -> None:
        thread = threading.Thread(target=lambda: Client().get_secret("threaded"))
        thread.start()
        thread.join()

    @pipeline
    def fetching() -> None:
        number()
        fetch()

    run = fetching()
    reads = {(read.secret, read.version, read.key, read.step) for read in run.record.reads}
    assert reads == {("threaded", 1, "a", "fetch"), ("threaded", 1, "b", "fetch")}


def test_reads_are_recorded_by_step_and_version(client: Client) -> None:
    """The record says which step read which key of which version, once; the secret's usage says it the other way round."""
    secret = client.create_secret("versioned", {"k": f"{VALUE}-1"})

    @step(enable_cache=False)
    def fetch() -> None:
        for _ in range(3):
            Client().get_secret("versioned")

    @step
    def update() -> None:
        Client().update_secret("versioned", add_or_update_values={"k": f"{VALUE}-2"})

    @pipeline
    def fetching() -> None:
        Client().get_secret("versioned")  # for the run as a whole
        fetch()
        update()
        fetch()

    run = fetching()
    reads = [(read.version, read.key, read.step) for read in run.record.reads]
    assert sorted(reads, key=str) == [(1, "k", "fetch"), (2, "k", "fetch_2")]
    usage = client.list_secret_usage(secret.id).items
    assert {(use.run, use.pipeline, use.step, use.version) for use in usage} == {
        (run.name, "fetching", "fetch", 1),
        (run.name, "fetching", "fetch_2", 2),
    }


def test_what_the_pipeline_reads_is_on_record(client: Client) -> None:
    """What the pipeline's own function fetches before the first step is read by the run as a whole."""
    client.create_secret("early", {"k": VALUE})

    @pipeline
    def fetching() -> None:
        number(len(Client().get_secret("early").secret_values["k"]))

    assert [(read.secret, read.step) for read in fetching().record.reads] == [("early", None)]


@step
def untyped(value):
    return value


@step
def wrong_output() -> int:
    return "1"


@step
def wrong_item() -> list[int]:
    return [1, "2"]


@step
def too_few() -> tuple[int, str]:
    return (1,)


@step
def not_nothing() -> None:
    return 1


@step
def local_class() -> object:
    class Local: ...

    return Local()


@pytest.mark.parametrize(
    ("compose", "message"),
    [
        (lambda: wrong_output(), "the output 'output' of step 'wrong_output' is of the type str; its annotation says int"),
        (lambda: wrong_item(), "the output 'output' of step 'wrong_item' is of the type list; its annotation says list"),
        (lambda: too_few(), "step 'too_few' has to give a tuple of 2: output_0, output_1"),
        (lambda: not_nothing(), "step 'not_nothing' gives something, and its annotation says None"),
        (lambda: double(untyped("1")), "the input 'value' of step 'double' is of the type str; its annotation says int"),
        (lambda: total([number(), untyped("1")]), "the input 'values' of step 'total' is of the type list; its annotation says list"),
        (lambda: local_class(), "the output 'output' cannot be stored: it cannot be pickled"),
    ],
    ids=["output", "item of an output", "too few", "not nothing", "input", "item of an input", "unpicklable"],
)
def test_types_are_held_to(client: Client, compose: Callable[[], object], message: str) -> None:
    """What a step takes and gives has the annotated types; else the step fails, with the names and without the value."""
    with pytest.raises(StepFailed) as caught:
        Pipeline(compose, name="mismatch")()
    assert message in str(caught.value)
    assert isinstance(caught.value.__cause__, InvalidInput)
    assert last_run(client).status is RunStatus.FAILED


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"a": [1, 2.5, None, True, "ü\0"]}, "json"),
        (b"\0\xff", "bytes"),
        ((1, 2), "pickle"),
        ({1: "a"}, "pickle"),
        ("\udcff", "pickle"),
        (math.inf, "pickle"),
        (2**20_000, "pickle"),
        (Pickled(3), "pickle"),
        (None, "json"),
    ],
    ids=["plain", "bytes", "tuple", "number as key", "no utf-8", "infinity", "large number", "object", "none"],
)
def test_formats(client: Client, value: object, kind: str) -> None:
    """Plain data is stored as JSON and bytes as they are; what JSON would change is pickled. It comes back equal, of its own type."""

    @step
    def give() -> Any:
        return value

    @step
    def take(value: Any) -> Any:
        return value

    run = Pipeline(lambda: take(give()), name="passing")()
    assert run.steps["give"].outputs[0].format == kind
    assert run.output("take") == value
    assert type(run.output("take")) is type(value)


def test_data_that_holds_itself(client: Client) -> None:
    """A list within itself is no plain data, and comes back as one."""

    @step
    def give() -> Any:
        items: list[Any] = []
        items.append(items)
        return items

    found = run_of(give).output("give")
    assert found[0] is found


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()) | st.binary(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner) | st.dictionaries(st.integers(), inner)
    ),
    max_leaves=8,
)


class OneArtifact(ArtifactStore):
    """Keeps what was written last."""

    flavor = "one"

    def __init__(self) -> None:
        self.data = b""

    def write(self, path: str, data: bytes) -> str:
        self.data = data
        return path

    def read(self, uri: str) -> bytes:
        return self.data

    def exists(self, uri: str) -> bool:
        return True


@given(PLAIN)
def test_outputs_come_back_as_they_were(value: object) -> None:
    """Whatever a step gives, the next one gets just that: same types, all the way down."""
    from strongroom.pipelines.artifact import store

    place = OneArtifact()
    record = store(place, "run", "step", "output", value)
    found = load(place, msgspec.structs.replace(record, mac="0" * 64))  # as the server gives it back
    assert repr(found) == repr(value)
    assert encode(found, "it") == encode(value, "it")


def test_an_artifact_that_is_broken(client: Client) -> None:
    """An artifact that is gone is `NotFound`, and one that is damaged says so; neither is a driver's error."""
    run = arithmetic(1)
    path = Path(urlsplit(run.steps["total"].outputs[0].uri).path)
    path.write_bytes(b"{")
    with pytest.raises(InvalidInput, match="cannot be read back"):
        run.output("total")
    path.unlink()
    with pytest.raises(NotFound, match="has no artifact file:///"):
        run.output("total")
