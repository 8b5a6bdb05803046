"""The records of runs, on every database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from strongroom.auth.policy import Role
from strongroom.errors import AlreadyExists, Forbidden, InvalidInput, NotFound, StaleVersion, StrongroomError, TooLarge
from strongroom.models.page import Page
from strongroom.models.run import (
    ArtifactRecord,
    CachedStep,
    CreateRun,
    FindCachedStep,
    FinishRun,
    GetRun,
    ListRuns,
    ListSecretUsage,
    PlannedStep,
    RecordedStep,
    RecordReads,
    Run,
    RunStatus,
    RunStep,
    SecretRead,
    SecretUse,
    UpdateRunStep,
)
from strongroom.models.secret import Scope
from strongroom.operations import run as operations
from strongroom.operations import secret as secret_operations
from strongroom.service.run import MAX_RECORD_BYTES, MAX_RUN_CHARACTERS
from strongroom.service.wiring import Service
from tests.canary import CANARY
from tests.people import Person, add_person, together

VALUE = f"{CANARY}-value"
ABSENT = "00000000-0000-7000-8000-000000000000"
STEPS = [
    PlannedStep(name="load", parameters={"rows": 5, "note": "\u00e4 \U0001f600"}, settings={"env": {"TOKEN": "{{ml.token}}"}}),
    PlannedStep(name="train", inputs={"data": "load.output"}),
]


def model(run: Run, step: str, root: str = "file:///artifacts") -> ArtifactRecord:
    """An output as a step of the run records it."""
    uri = f"{root}/{run.id}/{step}/output.json"
    return ArtifactRecord(name="output", uri=uri, format="json", type="builtins.dict", size=12, digest="0" * 64)


def unmarked(records: list[ArtifactRecord]) -> list[ArtifactRecord]:
    """The records without the server's marks, which all have one."""
    assert all(record.mac for record in records)
    return [msgspec.structs.replace(record, mac="") for record in records]


def create(person: Person, pipeline: str = "training", **fields: Any) -> Run:
    """A new run, as it is shown from then on: without its token."""
    run = person.ask(operations.CREATE, CreateRun(pipeline=pipeline, stack="default", **{"steps": STEPS, **fields}))
    return msgspec.structs.replace(run, token=UNSET)


def get(person: Person, name: str) -> Run:
    return person.ask(operations.GET, GetRun(name=name))


def listed(person: Person, **filters: Any) -> Page[Run]:
    return person.ask(operations.LIST, ListRuns(**filters))


def update_step(person: Person, run_id: str, step: str, status: RunStatus, **fields: Any) -> RecordedStep:
    return person.ask(operations.UPDATE_STEP, UpdateRunStep(id=run_id, step=step, status=status, **fields))


def complete(person: Person, run_id: str, step: str, **fields: Any) -> RecordedStep:
    update_step(person, run_id, step, RunStatus.RUNNING)
    return update_step(person, run_id, step, RunStatus.COMPLETED, **fields)


def finish(person: Person, run_id: str, status: RunStatus = RunStatus.COMPLETED, error: str | None = None) -> None:
    person.ask(operations.FINISH, FinishRun(id=run_id, status=status, error=error))


def record(person: Person, run_id: str, *reads: SecretRead) -> None:
    person.ask(operations.RECORD_READS, RecordReads(id=run_id, reads=list(reads)))


def read(secret_id: str, key: str = "k", version: int = 1, step: str | None = None, name: str = "s") -> SecretRead:
    return SecretRead(secret_id=secret_id, secret=name, version=version, key=key, step=step)


def usage(person: Person, secret_id: str, **filters: Any) -> Page[SecretUse]:
    return person.ask(secret_operations.LIST_USAGE, ListSecretUsage(id=secret_id, **filters))


def cached(person: Person, cache_key: str) -> CachedStep:
    return person.ask(operations.FIND_CACHED_STEP, FindCachedStep(cache_key=cache_key))


def step_of(run: Run, name: str) -> RunStep:
    assert isinstance(run.steps, list)
    return next(step for step in run.steps if step.name == name)


def reads_of(run: Run) -> list[tuple[str | None, str, int]]:
    assert isinstance(run.reads, list)
    return [(item.step, item.key, item.version) for item in run.reads]


def test_a_new_run_is_as_it_was_given(alice: Person, bob: Person) -> None:
    """A run begins with all its steps pending, in order; it is found by name and by id, by everybody in the workspace."""
    before = datetime.now(UTC).replace(microsecond=0)
    made = create(alice, name="first", parameters={"alpha": 0.1, "nested": {"a": [None, True]}})
    assert (made.name, made.pipeline, made.stack, made.status) == ("first", "training", "default", RunStatus.RUNNING)
    assert (made.owner, made.workspace, made.finished, made.error, made.reads) == ("alice", "default", None, None, [])
    assert made.parameters == {"alpha": 0.1, "nested": {"a": [None, True]}}
    assert before <= made.started <= datetime.now(UTC)
    assert isinstance(made.steps, list)
    assert [(step.name, step.status, step.started) for step in made.steps] == [(name, "pending", None) for name in ("load", "train")]
    assert made.steps[0].parameters == STEPS[0].parameters
    assert made.steps[0].settings == {"env": {"TOKEN": "{{ml.token}}"}}, "references are recorded as they are written"
    assert made.steps[1].inputs == {"data": "load.output"}
    assert made == get(alice, "first") == get(alice, made.id) == get(bob.as_role(Role.VIEWER), "first")


def test_runs_get_names(alice: Person) -> None:
    """Without a name a run gets one of its own, which fits whatever the pipeline is called."""
    names = {create(alice).name for _ in range(3)} | {create(alice, pipeline="p" * 255).name}
    assert len(names) == 4
    assert sum(name.startswith("training-") for name in names) == 3
    assert all(len(name) <= 255 for name in names)


def test_names_are_taken_once(alice: Person, bob: Person) -> None:
    """A given name that is taken is refused, whoever has it; of several at once one wins."""
    create(alice, name="first")
    for person in (alice, bob):
        with pytest.raises(AlreadyExists, match="a run 'first' already exists"):
            create(person, name="first")
    outcomes = together(6, lambda _: create(alice, name="second"))
    assert outcomes.count(AlreadyExists) == 5
    assert listed(alice).total == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a b"},
        {"name": ""},
        {"name": "{{a.b}}"},
        {"name": "x" * 256},
        {"pipeline": "a/b"},
        {"pipeline": "\0"},
        {"stack": "a b"},
        {"steps": [PlannedStep(name="a b")]},
        {"steps": [PlannedStep(name="")]},
        {"steps": [PlannedStep(name="same"), PlannedStep(name="same")]},
        {"parameters": {"x": "y" * MAX_RECORD_BYTES}},
        {"parameters": {"x": "\ud800"}},
        {"steps": [PlannedStep(name="a", parameters={"x": "y" * MAX_RECORD_BYTES})]},
    ],
    ids=range(13),
)
def test_refused_runs(alice: Person, fields: dict[str, Any]) -> None:
    """Names that are none, steps of one name, and parameters beyond the limit or beyond Unicode record nothing."""
    with pytest.raises(InvalidInput):
        alice.ask(operations.CREATE, CreateRun(**{"pipeline": "p", "stack": "default", **fields}))
    assert listed(alice).total == 0


def test_the_life_of_a_step(alice: Person) -> None:
    """A step starts and ends; what it made and said is on record, and what is left out stays."""
    run = create(alice)
    update_step(alice, run.id, "load", RunStatus.RUNNING, cache_key="key-1")
    running = step_of(get(alice, run.id), "load")
    assert (running.status, running.finished, running.outputs) == (RunStatus.RUNNING, None, [])
    assert running.started is not None
    output = model(run, "load")
    told = update_step(alice, run.id, "load", RunStatus.COMPLETED, outputs=[output], metadata={"rows": 5, "text": "\u00e4\0"})
    done = step_of(get(alice, run.id), "load")
    assert done.outputs == told.outputs
    assert (done.status, unmarked(done.outputs), done.metadata, done.started) == (
        RunStatus.COMPLETED,
        [output],
        {"rows": 5, "text": "\u00e4\0"},
        running.started,
    )
    assert done.finished is not None
    assert done.finished >= running.started
    assert done.parameters == STEPS[0].parameters
    told = update_step(alice, run.id, "train", RunStatus.CACHED, cached_from=run.id, cache_key="key-1")
    cached_step = step_of(get(alice, run.id), "train")
    assert (cached_step.cached_from, cached_step.outputs) == (run.id, told.outputs)
    assert unmarked(told.outputs) == [output]


def test_the_end_of_a_run(alice: Person) -> None:
    """Steps under way end with their run; those that never began stay pending."""
    run = create(alice)
    update_step(alice, run.id, "load", RunStatus.RUNNING)
    finish(alice, run.id, RunStatus.FAILED, "step 'load' failed")
    ended = get(alice, run.id)
    assert (ended.status, ended.error) == (RunStatus.FAILED, "step 'load' failed")
    assert ended.finished is not None
    assert ended.finished >= ended.started
    assert [step.status for step in (step_of(ended, "load"), step_of(ended, "train"))] == [RunStatus.STOPPED, RunStatus.PENDING]


@pytest.mark.parametrize("status", [RunStatus.RUNNING, RunStatus.PENDING, RunStatus.CACHED])
def test_a_run_ends_in_a_state_of_the_end(alice: Person, status: RunStatus) -> None:
    """A run cannot end as one that runs, waits or is cached."""
    run = create(alice)
    with pytest.raises(InvalidInput, match="completed, failed or stopped"):
        finish(alice, run.id, status)
    assert get(alice, run.id) == run


def test_an_ended_run_takes_nothing_more(alice: Person) -> None:
    """Neither steps nor the end of an ended run change, whatever its end was."""
    for status in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.STOPPED):
        run = create(alice)
        finish(alice, run.id, status)
        before = get(alice, run.id)
        for attempt in (
            lambda run=run: update_step(alice, run.id, "load", RunStatus.COMPLETED),
            lambda run=run: finish(alice, run.id, RunStatus.COMPLETED),
            lambda run=run: finish(alice, run.id, RunStatus.FAILED, "x"),
        ):
            with pytest.raises(InvalidInput, match=f"this run has ended: it is {status}"):
                attempt()
        assert get(alice, run.id) == before


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\U0001f600 \u00e4\n", "x" * 100_000], ids=range(4))
def test_errors_of_any_text(alice: Person, text: str) -> None:
    """Whatever an exception says, the run and its step end with it; what no database takes is written in another way."""
    run = create(alice)
    update_step(alice, run.id, "load", RunStatus.FAILED, error=text)
    finish(alice, run.id, RunStatus.FAILED, text)
    ended = get(alice, run.id)
    for error in (ended.error, step_of(ended, "load").error):
        assert error
        assert error[:1] == ("\\" if text == "\ud800" else text[0])
        assert len(error) <= 16_384


@pytest.mark.parametrize(
    "fields",
    [{"metadata": {"x": "\ud800"}}, {"metadata": {"x": "y" * MAX_RECORD_BYTES}}, {"cache_key": "k" * 65}, {"cache_key": "\u00e4"}],
    ids=range(4),
)
def test_refused_updates_of_steps(alice: Person, fields: dict[str, Any]) -> None:
    """What cannot be recorded is refused on every database alike, and the step stays as it was."""
    run = create(alice)
    update_step(alice, run.id, "load", RunStatus.RUNNING)
    before = get(alice, run.id)
    with pytest.raises(InvalidInput):
        update_step(alice, run.id, "load", RunStatus.COMPLETED, **fields)
    assert get(alice, run.id) == before


def test_a_step_is_begun_once(alice: Person) -> None:
    """Of several who begin a step that is still pending, one does; the others are told how it stands, and change nothing."""
    run = create(alice)
    begin = {"status": RunStatus.RUNNING, "former": RunStatus.PENDING}
    outcomes = together(6, lambda _: update_step(alice, run.id, "load", **begin))
    assert [outcomes.count(each) for each in (RecordedStep(), StaleVersion)] == [1, 5]
    with pytest.raises(StaleVersion, match="this step is running, not pending"):
        update_step(alice, run.id, "load", **begin)
    update_step(alice, run.id, "load", RunStatus.COMPLETED, former=RunStatus.RUNNING)
    with pytest.raises(StaleVersion, match="this step is completed, not running"):
        update_step(alice, run.id, "load", RunStatus.FAILED, former=RunStatus.RUNNING)
    assert get(alice, run.id).steps[0].status is RunStatus.COMPLETED


def test_what_has_ended_has_begun(alice: Person) -> None:
    """A step that nobody saw running, since a former result took its place, began when it ended."""
    former, run = create(alice), create(alice)
    complete(alice, former.id, "load", cache_key="key-1")
    update_step(alice, run.id, "load", RunStatus.CACHED, cached_from=former.id, cache_key="key-1")
    [load, train] = get(alice, run.id).steps
    assert load.started == load.finished is not None
    assert train.started is None


def test_only_the_owner_writes(alice: Person, bob: Person, service: Service) -> None:
    """Nobody adds to the record of another one's run, not even an administrator; elsewhere it does not exist."""
    run = create(alice)
    stranger = add_person(service, "zoe", workspace="elsewhere")
    for person, error in ((bob, Forbidden), (bob.as_role(Role.ADMIN), Forbidden), (stranger, NotFound)):
        for attempt in (
            lambda person=person: update_step(person, run.id, "load", RunStatus.COMPLETED),
            lambda person=person: finish(person, run.id),
            lambda person=person: record(person, run.id, read(ABSENT)),
        ):
            with pytest.raises(error):
                attempt()
    assert get(alice, run.id) == run
    for look in (lambda: get(stranger, run.id), lambda: get(stranger, run.name)):
        with pytest.raises(NotFound):
            look()
    assert listed(stranger).total == 0


def test_roles(alice: Person) -> None:
    """Viewers look at runs; readers make them."""
    viewer, reader = alice.as_role(Role.VIEWER), alice.as_role(Role.READER)
    run = create(reader)
    assert get(viewer, run.id) == run
    assert listed(viewer).total == 1
    assert cached(viewer, "x") == CachedStep()
    for attempt in (
        lambda: create(viewer),
        lambda: update_step(viewer, run.id, "load", RunStatus.RUNNING),
        lambda: finish(viewer, run.id),
        lambda: record(viewer, run.id),
    ):
        with pytest.raises(Forbidden, match="run:write"):
            attempt()


def test_what_is_not_there(alice: Person) -> None:
    """Runs and steps are found by exact name; another run is suggested, never taken."""
    run = create(alice, name="first")
    for name in ("First", "firs", "first ", "", "\0", "\ud800", "fir%", run.id[:8], ABSENT):
        with pytest.raises(NotFound, match="there is no run"):
            get(alice, name)
    with pytest.raises(NotFound) as caught:
        get(alice, "frist")
    assert caught.value.hint == "did you mean first?"
    attempts: list[Callable[[], object]] = [
        lambda: update_step(alice, run.id, "Load", RunStatus.RUNNING),
        lambda: update_step(alice, run.id, "\0", RunStatus.RUNNING),
        lambda: update_step(alice, "first", "load", RunStatus.RUNNING),
        lambda: finish(alice, ABSENT),
        lambda: finish(alice, "\0"),
        lambda: record(alice, ABSENT, read(ABSENT)),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound):
            attempt()
    assert get(alice, "first") == run


def test_lists(alice: Person, bob: Person) -> None:
    """Runs are listed newest first, without steps and reads, by pipeline and state."""
    runs = [create(alice, pipeline=pipeline) for pipeline in ("a", "b", "a", "a")]
    finish(alice, runs[0].id)
    finish(alice, runs[1].id, RunStatus.FAILED)
    page = listed(bob)
    assert [item.id for item in page] == [run.id for run in reversed(runs)]
    assert all(item.steps is UNSET and item.reads is UNSET for item in page)
    assert listed(alice, pipeline="a").total == 3
    assert [item.id for item in listed(alice, pipeline="a", status=RunStatus.COMPLETED)] == [runs[0].id]
    assert [item.id for item in listed(alice, page=2, size=3)] == [runs[0].id]
    assert (listed(alice, page=3, size=3).items, listed(alice, page=3, size=3).total) == ([], 4)
    for nothing in ("A", "", "\0", "\ud800", "%"):
        assert listed(alice, pipeline=nothing).total == 0
    with pytest.raises(InvalidInput):
        listed(alice, page=0)


def test_reads_are_recorded_once(alice: Person) -> None:
    """What is recorded already stays as it is; what a step read is not told once more for the run as a whole."""
    secret = alice.create("s", {"k": VALUE, "l": VALUE})
    run = create(alice)
    record(alice, run.id, read(secret.id), read(secret.id, "l"), read(secret.id))
    first = get(alice, run.id)
    assert reads_of(first) == [(None, "k", 1), (None, "l", 1)]
    record(alice, run.id, read(secret.id))
    assert get(alice, run.id) == first
    record(alice, run.id, read(secret.id, step="load"), read(secret.id, version=2, step="load"), read(secret.id, step="train"))
    assert sorted(reads_of(get(alice, run.id)), key=str) == [
        ("load", "k", 1),
        ("load", "k", 2),
        ("train", "k", 1),
        (None, "l", 1),
    ]
    outcomes = together(6, lambda number: record(alice, run.id, read(secret.id, f"key{number % 2}"), read(secret.id, "m")))
    assert outcomes == [None] * 6
    assert sum(key == "m" for _, key, _ in reads_of(get(alice, run.id))) == 1


@pytest.mark.parametrize(
    "changes", [{"key": "\u00e4"}, {"key": "x" * 256}, {"step": "a\nb"}, {"secret": "\0"}, {"secret_id": "\ud800"}], ids=range(5)
)
def test_refused_reads(alice: Person, changes: dict[str, str]) -> None:
    """A read is recorded by names and ids; none of a request's reads is recorded when one is no such thing."""
    run = create(alice)
    good = read(ABSENT)
    with pytest.raises(InvalidInput):
        record(alice, run.id, good, msgspec.structs.replace(good, **changes))
    assert get(alice, run.id) == run


def test_usage_of_a_secret(alice: Person, bob: Person) -> None:
    """Who read a secret is paged, newest first, for one version when asked; the same for everybody who may see the secret."""
    secret, other = alice.create("s", {"k": VALUE, "l": VALUE}), alice.create("t", {"k": VALUE})
    runs = [create(person, name=f"r{number}") for number, person in enumerate((alice, bob, alice))]
    for number, (run, person) in enumerate(zip(runs, (alice, bob, alice), strict=True)):
        record(person, run.id, read(secret.id), read(secret.id, step="load", version=1 + number), read(other.id, name="t"))
    page = usage(bob.as_role(Role.VIEWER), secret.id)
    assert page == usage(alice, secret.id)
    # The run as a whole read version 1, which for the first run is told by its step already.
    assert [(use.run, use.step, use.version, use.key, use.owner, use.pipeline) for use in page] == [
        ("r2", None, 1, "k", "alice", "training"),
        ("r2", "load", 3, "k", "alice", "training"),
        ("r1", None, 1, "k", "bob", "training"),
        ("r1", "load", 2, "k", "bob", "training"),
        ("r0", "load", 1, "k", "alice", "training"),
    ]
    assert [use.run_id for use in usage(alice, secret.id, version=2)] == [runs[1].id]
    assert usage(alice, secret.id, version=9).items == []
    second = usage(alice, secret.id, page=2, size=2)
    assert ([use.run for use in second], second.total, second.total_pages) == (["r1", "r1"], 5, 3)
    assert usage(alice, secret.id, page=9).total == 5
    assert usage(alice, other.id).total == 3
    with pytest.raises(InvalidInput):
        usage(alice, secret.id, size=0)


def test_usage_of_hidden_secrets(alice: Person, bob: Person, service: Service) -> None:
    """Another one's user-scoped secret, or one that is gone, has no usage: the very same error as for none at all."""
    hidden = alice.create("plan_x", {"k": VALUE}, Scope.USER)
    run = create(alice)
    record(alice, run.id, read(hidden.id, name="plan_x"))
    assert usage(alice, hidden.id).total == 1

    def said(person: Person, secret_id: str) -> tuple[type, str, str | None]:
        with pytest.raises(StrongroomError) as caught:
            usage(person, secret_id)
        return type(caught.value), str(caught.value).replace(secret_id, "ID"), caught.value.hint

    for person in (bob, bob.as_role(Role.ADMIN), add_person(service, "zoe", workspace="elsewhere")):
        assert said(person, hidden.id) == said(person, ABSENT)
        assert said(person, ABSENT)[0] is NotFound
    for odd in ("", "\0", "\ud800", "plan_x"):
        assert said(alice, odd)[0] is NotFound
    assert reads_of(get(bob, run.id)) == []
    alice.delete(hidden.id)
    assert said(alice, hidden.id)[0] is NotFound
    assert reads_of(get(alice, run.id)) == [(None, "k", 1)], "the run's own record stays"


def test_nobody_makes_up_reads_of_hidden_secrets(alice: Person, bob: Person) -> None:
    """A read that somebody claims of a secret that they cannot see is in their own record alone: its owner does not hear of it."""
    hidden, gone = alice.create("own", {"k": VALUE}, scope=Scope.USER), bob.create("gone", {"k": VALUE})
    bob.delete(gone.id)
    run = create(bob)
    reads = [SecretRead(secret_id=each.id, secret=each.name, version=1, key="k") for each in (hidden, gone)]
    bob.ask(operations.RECORD_READS, RecordReads(id=run.id, reads=reads))
    assert alice.ask(secret_operations.LIST_USAGE, ListSecretUsage(id=hidden.id)).total == 0
    assert {read.secret for read in get(bob, run.id).reads or ()} == {"own", "gone"}


def test_cached_steps(alice: Person, bob: Person, service: Service) -> None:
    """The latest completed step of one's own with a cache key is found, in the workspace alone; failed and cached ones are none."""
    stranger = add_person(service, "zoe", workspace="elsewhere")
    assert cached(alice, "key-1") == CachedStep()
    first, second, third = (create(alice) for _ in range(3))
    update_step(alice, first.id, "load", RunStatus.RUNNING, cache_key="key-1")
    assert cached(alice, "key-1") == CachedStep()
    older = update_step(alice, first.id, "load", RunStatus.COMPLETED, outputs=[model(first, "load")])
    assert cached(alice, "key-1") == CachedStep(run_id=first.id, outputs=older.outputs)
    complete(alice, second.id, "load")
    newer = complete(alice, second.id, "train", outputs=[model(second, "train")], cache_key="key-1")
    update_step(alice, third.id, "load", RunStatus.CACHED, cached_from=second.id, cache_key="key-1")
    update_step(alice, third.id, "train", RunStatus.FAILED, cache_key="key-1")
    assert cached(alice, "key-1") == CachedStep(run_id=second.id, outputs=newer.outputs)
    assert unmarked(newer.outputs) == [model(second, "train")]
    assert cached(bob, "key-1") == CachedStep()
    for person, cache_key in ((stranger, "key-1"), (alice, "KEY-1"), (alice, ""), (alice, "\0"), (alice, "key-"), (alice, "k" * 100)):
        assert cached(person, cache_key) == CachedStep()


def test_lists_are_small_whatever_runs_hold(alice: Person) -> None:
    """They have no parameters, and the beginning of an error; the run itself has all of both."""
    run = create(alice, parameters={"x": "y" * 100_000})
    finish(alice, run.id, status=RunStatus.FAILED, error="e" * 10_000)
    (shown,) = listed(alice)
    assert len(msgspec.json.encode(shown)) < 1_024
    assert (shown.parameters, shown.error) == (UNSET, "e" * 255)
    assert (get(alice, run.id).parameters, get(alice, run.id).error) == ({"x": "y" * 100_000}, "e" * 10_000)


def test_all_steps_of_a_run_share_a_limit(alice: Person) -> None:
    """Beyond it a step records little more than its end; what is on record stays, and the run can end."""
    steps = [PlannedStep(name=f"s{number}") for number in range(6)]
    run = create(alice, steps=steps)
    metadata = {"x": "y" * (MAX_RECORD_BYTES - 1_000)}
    for number in range(5):
        update_step(alice, run.id, f"s{number}", RunStatus.RUNNING)
    for number in range(4):
        update_step(alice, run.id, f"s{number}", RunStatus.COMPLETED, metadata=metadata)
    with pytest.raises(TooLarge, match=str(MAX_RUN_CHARACTERS)):
        update_step(alice, run.id, "s4", RunStatus.COMPLETED, metadata=metadata)
    update_step(alice, run.id, "s4", RunStatus.FAILED, error="too much")
    finish(alice, run.id)
    assert sum(len(step.metadata.get("x", "")) for step in get(alice, run.id).steps or []) == 4 * len(metadata["x"])


def test_reads_of_a_run_are_bounded(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit nothing is recorded, and what is on record may be recorded again."""
    from strongroom.service import run as service

    monkeypatch.setattr(service, "MAX_READS_OF_RUN", 2)
    run = create(alice)
    reads = [SecretRead(secret_id=ABSENT, secret="a", version=1, key=f"k{number}") for number in range(3)]
    alice.ask(operations.RECORD_READS, RecordReads(id=run.id, reads=reads[:2]))
    with pytest.raises(TooLarge, match="at most 2"):
        alice.ask(operations.RECORD_READS, RecordReads(id=run.id, reads=reads))
    alice.ask(operations.RECORD_READS, RecordReads(id=run.id, reads=reads[:2]))
