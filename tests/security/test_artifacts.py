"""What a record of a run says never decides what code another user runs: hostile records, by each way to record and to load."""

from __future__ import annotations

import hashlib
import itertools
import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from strongroom.auth.policy import Role
from strongroom.client import Client
from strongroom.config import PREFIX, Settings
from strongroom.db.clock import now
from strongroom.db.identifiers import new_id
from strongroom.db.tables import run_steps, runs
from strongroom.errors import Forbidden, InvalidInput, NotFound, NothingToChange, StaleVersion, StepFailed, StrongroomError
from strongroom.metadata.identity import put_member
from strongroom.models.artifact_path import artifact_path, check_path, path_below, path_of
from strongroom.models.run import (
    ArtifactRecord,
    CachedStep,
    CreateRun,
    FindCachedStep,
    GetRun,
    PlannedStep,
    Run,
    RunStatus,
    UpdateRunStep,
)
from strongroom.models.workspace import UpdateWorkspace
from strongroom.operations import run as of_run
from strongroom.operations import workspace as of_workspace
from strongroom.pipelines import artifact
from strongroom.pipelines.execution import _load
from strongroom.pipelines.pipeline import Pipeline
from strongroom.pipelines.result import PipelineRun
from strongroom.redaction import SecretText
from strongroom.service.wiring import Service
from strongroom.stacks.artifact_store import ArtifactStore
from strongroom.steps import step
from tests.example_requests import Door, Somebody, begin_run
from tests.people import Person, add_person

KEY = "k" * 64
RAN: list[str] = []
"""What code of artifacts has run: none may."""


class Evil:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return RAN.append, ("code of an artifact",)


EVIL = pickle.dumps(Evil())


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    """No test lets code of an artifact run."""
    RAN.clear()
    yield
    assert RAN == []


def record_of(run_id: str, step_name: str = "load", data: bytes = b"[1]", kind: str = "json", **fields: Any) -> ArtifactRecord:
    """A good record of an output."""
    uri = f"file:///artifacts/{artifact_path(run_id, step_name, 'output', kind)}"
    good = ArtifactRecord(
        name="output", uri=uri, format=kind, type="builtins.list", size=len(data), digest=hashlib.sha256(data).hexdigest()
    )
    return msgspec.structs.replace(good, **fields)


# Recording


OTHER = "0198c0de-0000-7000-8000-000000000000"
ROOTS = (
    *("file:///a/../b", "file:///a/./b", "file:///a//b", "file:///a/%2e%2e/b", "file:///a/%252e%252e/b", "file:///a/%2E./b"),
    *("file:///a\\b", "file:///a b", "file:///a\tb", "file:///a\x1bb", "file:///a\u202eb", "file:///a?b", "file:///a#b"),
    *("file:///a%5c..%5cb", "file:///a%00b", "..", "../..", "/..", "s3://b/..", "s3://../b", "."),
)
URIS: dict[str, Callable[[str], str]] = {
    **{f"root {root!a}": lambda run_id, root=root: f"{root}/{run_id}/load/output.json" for root in ROOTS},
    "another run": lambda run_id: f"file:///a/{OTHER}/load/output.json",
    "another step": lambda run_id: f"file:///a/{run_id}/train/output.json",
    "another name": lambda run_id: f"file:///a/{run_id}/load/other.json",
    "another suffix": lambda run_id: f"file:///a/{run_id}/load/output.pkl",
    "beyond the path": lambda run_id: f"file:///a/{run_id}/load/output.json/x",
    "dots after the run": lambda run_id: f"file:///a/{run_id}/../x/{run_id}/load/../load/output.json",
    "dots in the path": lambda run_id: f"file:///a/{run_id}/./load/output.json",
    "encoded path": lambda run_id: f"file:///a/{run_id}/%6coad/output.json",
    "fragment": lambda run_id: f"file:///a/{run_id}/load/output.json#x",
    "line end": lambda run_id: f"file:///a/{run_id}/load/output.json\n",
    "long": lambda run_id: f"file:///{'a/' * 4000}{run_id}/load/output.json",
    "nothing": lambda run_id: "",
    "query": lambda run_id: f"file:///a/{run_id}/load/output.json?versionId=1",
    "two slashes": lambda run_id: f"file:///a/{run_id}//load/output.json",
    "upper case": lambda run_id: f"file:///a/{run_id.upper()}/load/output.json",
}
FIELDS: dict[str, list[Any]] = {
    "format": ["pickle", "PICKLE", "", "json\n", "../json", "cloudpickle"],
    "name": ["", "..", "a/b", "a.b", "output\n", "\x1b[2J", "o" * 300, "\u00e4", "1a"],
    "type": ["\x1b]0;x\x07", "\u202e", "a\nb", "t" * 5000],
    "size": [-1, 1 << 63],
    "digest": ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64, "0" * 63 + "\n"],
}
HOSTILE = [
    *((f"uri: {name}", lambda run_id, make=make: {"uri": make(run_id)}) for name, make in URIS.items()),
    *(
        (f"{name}: {number}", lambda run_id, name=name, value=value: {name: value})
        for name, values in FIELDS.items()
        for number, value in enumerate(values)
    ),
]


@pytest.mark.parametrize("by", ["owner", "run token"])
def test_hostile_records_are_refused(door: Door, by: str) -> None:
    """Each field of an output with each hostile content is refused, whoever records it; the step goes on as it was."""
    owner = door.add(Role.EDITOR)
    run, bearer = begin_run(door, owner)
    who = owner if by == "owner" else bearer
    assert door.ask(of_run.UPDATE_STEP, {"id": run.id, "step": "load", "status": RunStatus.RUNNING}, who).status == 200
    good = record_of(run.id)
    taken = []
    for name, hostile in HOSTILE:
        outcome = complete(door, who, run.id, [msgspec.structs.replace(good, **hostile(run.id))])
        if outcome.status != 422:
            taken.append((name, outcome.status))
    for outputs in ([good, good], [good] * 1001):
        if complete(door, who, run.id, outputs).status != 422:
            taken.append(("several", len(outputs)))
    assert taken == []
    for status in (RunStatus.FAILED, RunStatus.STOPPED, RunStatus.RUNNING):
        fields = {"id": run.id, "step": "load", "status": status, "outputs": [good]}
        assert door.ask(of_run.UPDATE_STEP, fields, who).status in (412, 422)
    assert complete(door, who, run.id, [msgspec.structs.replace(good, mac="0" * 64)]).status == 200
    [told] = recorded(door, owner, run.id)["outputs"]
    assert {**told, "mac": ""} == msgspec.to_builtins(good)
    assert len(told["mac"]) == 64
    assert set(told["mac"]) != {"0"}, "the mark is the server's"


def complete(door: Door, who: Somebody, run_id: str, outputs: list[ArtifactRecord], **fields: Any) -> Any:
    return door.ask(
        of_run.UPDATE_STEP, {"id": run_id, "step": "load", "status": RunStatus.COMPLETED, "outputs": outputs, **fields}, who
    )


def recorded(door: Door, who: Somebody, run_id: str) -> Any:
    return json.loads(door.ask(of_run.GET, {"name": run_id}, who).body)["steps"][0]


def test_a_run_token_decides_nothing_about_caches(door: Door) -> None:
    """It gives a step no cache key and takes over no former result, whatever the step's state."""
    owner = door.add(Role.EDITOR)
    former, _ = begin_run(door, owner)
    for status in (RunStatus.RUNNING, RunStatus.COMPLETED):
        fields = {"id": former.id, "step": "load", "status": status, "cache_key": KEY}
        assert door.ask(of_run.UPDATE_STEP, fields, owner).status == 200
    run, bearer = begin_run(door, owner)
    for begun in (False, True):
        for status in RunStatus:
            for key, cached_from in itertools.product((None, KEY), (None, former.id)):
                if key is None and status not in (RunStatus.PENDING, RunStatus.CACHED):
                    continue
                fields = {"id": run.id, "step": "load", "status": status, "cache_key": key, "cached_from": cached_from}
                assert door.ask(of_run.UPDATE_STEP, fields, bearer).status == 403, (begun, status)
        door.ask(of_run.UPDATE_STEP, {"id": run.id, "step": "load", "status": RunStatus.RUNNING}, bearer)
    assert recorded(door, owner, run.id)["status"] == "running"


BEFORE: dict[RunStatus, set[RunStatus]] = {
    RunStatus.RUNNING: {RunStatus.PENDING},
    RunStatus.COMPLETED: {RunStatus.RUNNING},
    RunStatus.FAILED: {RunStatus.PENDING, RunStatus.RUNNING},
    RunStatus.STOPPED: {RunStatus.PENDING, RunStatus.RUNNING},
}


@pytest.mark.parametrize("by", ["owner", "run token"])
def test_steps_are_recorded_once_and_in_order(local_service: Service, by: str) -> None:
    """Whatever comes in whatever order: a step begins once, after the steps whose outputs it takes, and what has ended stays."""
    person = member(local_service, "alice")
    plan = [PlannedStep(name="load"), PlannedStep(name="train", inputs={"data": "load.output"})]
    for moves in itertools.product(("load", "train"), BEFORE, repeat=2):
        run = begin(person, steps=plan)
        who = person if by == "owner" else bearing(person, run)
        model = {"load": RunStatus.PENDING, "train": RunStatus.PENDING}
        for name, status in [*zip(moves[::2], moves[1::2], strict=True), ("load", RunStatus.COMPLETED), ("train", RunStatus.RUNNING)]:
            waits = name == "train" and status is RunStatus.RUNNING and model["load"] is not RunStatus.COMPLETED
            if model[name] in BEFORE[status] and not waits:
                change(who, run, name, status)
                model[name] = status
            else:
                with pytest.raises(StaleVersion):
                    change(who, run, name, status)
            assert {each.name: each.status for each in steps_of(person, run)} == model


# Whose results are taken over


def begin(person: Person, **fields: Any) -> Run:
    return person.ask(of_run.CREATE, CreateRun(pipeline="p", stack="default", **{"steps": [PlannedStep(name="load")], **fields}))


def bearing(person: Person, run: Run) -> Person:
    assert isinstance(run.token, SecretText)
    return Person(person.service, person.service.identities.authenticate(run.token.reveal()))


def change(person: Person, run: Run, name: str, status: RunStatus, **fields: Any) -> list[ArtifactRecord]:
    return person.ask(of_run.UPDATE_STEP, UpdateRunStep(id=run.id, step=name, status=status, **fields)).outputs


def steps_of(person: Person, run: Run) -> Any:
    return person.ask(of_run.GET, GetRun(name=run.id)).steps


def find(person: Person, key: str = KEY) -> CachedStep:
    return person.ask(of_run.FIND_CACHED_STEP, FindCachedStep(cache_key=key))


def completed(person: Person, kind: str = "pickle", data: bytes = EVIL) -> Run:
    """A run whose step has completed under the cache key with a hostile output."""
    run = begin(person)
    change(person, run, "load", RunStatus.RUNNING, cache_key=KEY)
    change(person, run, "load", RunStatus.COMPLETED, outputs=[record_of(run.id, data=data, kind=kind)])
    return run


def member(service: Service, name: str, role: Role = Role.EDITOR) -> Person:
    """Somebody whose role is on record, so that tokens of their runs have it."""
    person = add_person(service, name, role=role)
    with service.deployment.database.write() as connection:
        put_member(connection, person.actor.workspace_id, person.actor.user_id, role)
    return person


def share(service: Service, shared: bool) -> None:
    admin = Person(service, service.deployment.local_actor)
    assert admin.ask(of_workspace.UPDATE, UpdateWorkspace(name="default", shared_cache=shared)).shared_cache is shared


def takes_over(person: Person, run: Run) -> bool:
    """Whether a step of the person's takes over the result of the run."""
    own = begin(person)
    change(person, own, "load", RunStatus.RUNNING)
    try:
        outputs = change(person, own, "load", RunStatus.CACHED, cached_from=run.id, cache_key=KEY)
    except InvalidInput:
        assert steps_of(person, own)[0].outputs == []
        return False
    assert all(output.mac for output in outputs)
    return True


def test_results_of_others_count_where_the_workspace_says_so(service: Service, alice: Person, bob: Person) -> None:
    """A result is its owner's alone, whoever asks for it and however; with a shared cache it is also the other members'."""
    run = completed(bob)
    for shared in (False, True, False):
        share(service, shared)
        for person in (bob, alice, alice.as_role(Role.ADMIN)):
            allowed = shared or person is bob
            assert find(person).run_id == (run.id if allowed else None)
            assert bool(steps_of(person, run)[0].outputs[0].mac) is allowed
            assert takes_over(person, run) is allowed
    own = completed(alice)
    share(service, True)
    assert find(alice).run_id == own.id, "one's own come first"
    stranger = add_person(service, "zoe", workspace="elsewhere")
    assert find(stranger).run_id is None
    assert takes_over(stranger, run) is False


def test_only_administrators_share_the_cache(service: Service) -> None:
    """Editors do not, and for others there is no such workspace; an administrator of the workspace does."""
    share_it = UpdateWorkspace(name="default", shared_cache=True)
    for role in (Role.VIEWER, Role.READER, Role.EDITOR):
        with pytest.raises(Forbidden, match="administration"):
            member(service, f"person-{role}", role).ask(of_workspace.UPDATE, share_it)
    with pytest.raises(NotFound):
        add_person(service, "zoe", workspace="elsewhere").ask(of_workspace.UPDATE, share_it)
    with pytest.raises(NothingToChange):
        member(service, "nobody", Role.ADMIN).ask(of_workspace.UPDATE, UpdateWorkspace(name="default"))
    assert member(service, "admin", Role.ADMIN).ask(of_workspace.UPDATE, share_it).shared_cache


TAMPERED: dict[str, Any] = {
    "digest": "0" * 64,
    "format": "pickle",
    "mac": "0" * 64,
    "name": "other",
    "size": 4,
    "type": "builtins.dict",
    "uri": "file:///elsewhere",
}


def test_every_field_is_under_the_mark() -> None:
    """The list of what is changed in the database below is complete."""
    assert set(TAMPERED) == set(ArtifactRecord.__struct_fields__)


@pytest.mark.parametrize("field", [*TAMPERED, "cache key", "run", "owner", "step"])
def test_records_changed_in_the_database_are_not_vouched_for(service: Service, alice: Person, bob: Person, field: str) -> None:
    """Each field of a record, and the step, run, owner and cache key that it belongs to: changed in the database, it has no mark."""
    run = completed(alice, "json", b"[1]")
    [good], other = steps_of(alice, run)[0].outputs, begin(alice)
    with service.deployment.database.write() as connection:
        mine = run_steps.c.run_id == run.id
        if field in TAMPERED:
            outputs = msgspec.json.encode([msgspec.structs.replace(good, **{field: TAMPERED[field]})]).decode()
            connection.execute(update(run_steps).where(mine).values(outputs=outputs))
        elif field == "cache key":
            connection.execute(update(run_steps).where(mine).values(cache_key="l" * 64))
        elif field == "step":
            connection.execute(update(run_steps).where(mine).values(name="train"))
        elif field == "owner":
            connection.execute(update(runs).where(runs.c.id == run.id).values(owner_id=bob.actor.user_id))
        else:
            outputs = msgspec.json.encode([good]).decode()
            values = {"outputs": outputs, "status": "completed", "cache_key": KEY, "finished": now() + 1_000_000}
            connection.execute(update(run_steps).where(mine).values(outputs="[]", cache_key=None))
            connection.execute(update(run_steps).where(run_steps.c.run_id == other.id).values(**values))
            run = other
    owner, key = (bob if field == "owner" else alice), ("l" * 64 if field == "cache key" else KEY)
    assert [output.mac for output in steps_of(owner, run)[0].outputs] == [""]
    assert find(owner, key).run_id is None
    assert takes_over(owner, run) is False


# Loading


@pytest.fixture
def client(local_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of the store that pipelines use here."""
    monkeypatch.setenv(f"{PREFIX}CONFIG_PATH", str(local_settings.folder))
    with Client() as client:
        client.list_secrets()
        yield client


_numbers = itertools.count()


def place(folder: Path, flavor: str) -> ArtifactStore:
    """An artifact store of this flavor; those with folders are in this one."""
    with Client() as client:
        name = f"store-{next(_numbers)}"
        path = {"local": str(folder), "file": f"file://{folder}", "memory": f"memory://{name}"}[flavor]
        kind = "local" if flavor == "local" else "fsspec"
        client.create_component(name, type="artifact-store", flavor=kind, configuration={"path": path})
        client.create_stack(name, {"orchestrator": "default", "artifact-store": name}, activate=True)
        store = client.active_stack.artifact_store
        assert isinstance(store, ArtifactStore)
        return store


FLAVORS = ("local", "file", "memory")


def changed(store: ArtifactStore, good: ArtifactRecord, tmp_path: Path) -> Iterator[tuple[str, ArtifactRecord]]:
    """Hostile variants of a good record of a pickle, by what is wrong with them."""
    evil = hashlib.sha256(EVIL).hexdigest()
    replace = msgspec.structs.replace
    own = store.write(artifact_path(new_id(), "load", "output", "pickle"), EVIL)
    outside = tmp_path / "outside" / artifact_path(new_id(), "load", "output", "pickle")
    outside.parent.mkdir(parents=True)
    outside.write_bytes(EVIL)
    root = good.uri.rsplit("/", 3)[0]
    yield "no mark", replace(good, uri=own, digest=evil, size=len(EVIL), mac="")
    yield "no mark and no digest", replace(good, uri=own, digest="", size=len(EVIL), mac="")
    yield "no digest", replace(good, uri=own, digest="", size=len(EVIL))
    yield "another content", replace(good, uri=own)
    yield "another size", replace(good, uri=own, digest=evil, size=len(EVIL) - 1)
    for odd in ("Pickle", "cloudpickle", "pickle ", "dill", ""):
        yield f"format {odd!r}", replace(good, uri=own, digest=evil, size=len(EVIL), format=odd)
    for way in (
        outside.as_uri(),
        f"{root}/../outside/{outside.relative_to(tmp_path / 'outside')}",
        f"{root}/x/{'/'.join(own.split('/')[-3:])}",
        str(outside),
    ):
        yield f"at {way!r}", replace(good, uri=way, digest=evil, size=len(EVIL))


@pytest.mark.parametrize("flavor", FLAVORS)
@pytest.mark.parametrize("way", ["artifact", "run", "input"])
def test_nothing_is_parsed_that_was_not_recorded(client: Client, tmp_path: Path, flavor: str, way: str) -> None:
    """No hostile record is loaded: by its store, as the output of a run, or as the input of a step."""
    store = place(tmp_path / "root", flavor)
    run_id = new_id()
    good = artifact.store(store, run_id, "load", "output", {1, 2})
    good = msgspec.structs.replace(good, mac="0" * 64)  # as the server gives it back
    assert artifact.load(store, good) == {1, 2}
    for name, record in changed(store, good, tmp_path):
        assert refused(way, client, store, good, record), name


def refused(way: str, client: Client, store: ArtifactStore, good: ArtifactRecord, record: ArtifactRecord) -> bool:
    try:
        load_by(way, client, store, good, record)
    except (InvalidInput, NotFound):
        return True
    return False


def load_by(way: str, client: Client, store: ArtifactStore, good: ArtifactRecord, record: ArtifactRecord) -> None:
    """Loads a record in one of the ways that there are."""
    match way:
        case "artifact":
            artifact.load(store, record)
        case "run":
            PipelineRun(finished(client, record), store).output("load")
        case _:
            _load(store, [good, record])


def finished(client: Client, record: ArtifactRecord) -> Run:
    """A run's record as a client has it, with this output."""
    made = client.create_run(CreateRun(pipeline="p", stack="default", steps=[PlannedStep(name="load")]))
    shown = client.get_run(made.id)
    assert isinstance(shown.steps, list)
    steps = [msgspec.structs.replace(shown.steps[0], outputs=[record])]
    return msgspec.structs.replace(shown, steps=steps)


@pytest.mark.parametrize("flavor", FLAVORS[:2])
def test_a_changed_artifact_fails_the_step_that_takes_it(client: Client, tmp_path: Path, flavor: str) -> None:
    """Whoever can write to the artifact store runs no code in steps: not in the next one, and not in the next run by its cache."""
    place(tmp_path / "root", flavor)

    @step
    def give() -> set[int]:
        return {1, 2}

    @step(enable_cache=False)
    def poison() -> None:
        for path in (tmp_path / "root").rglob("output.pkl"):
            path.write_bytes(EVIL)

    @step(enable_cache=False)
    def take(values: set[int]) -> int:
        return sum(values)

    def body() -> None:
        values = give()
        poison(after=[values])
        take(values)

    for _ in range(2):
        with pytest.raises(StepFailed, match="changed after it was recorded"):
            Pipeline(body, name="one")()


def test_a_pickle_of_anothers_run_is_not_loaded(alice: Person, bob: Person, client: Client, tmp_path: Path) -> None:
    """The record of another user's run, as the server shows it, loads no pickle; plain data is read as ever."""
    store = place(tmp_path / "root", "local")
    run = begin(bob)
    evil, plain = (msgspec.structs.replace(artifact.store(store, run.id, "load", name, {1}), name=name) for name in ("evil", "x"))
    data = artifact.store(store, run.id, "load", "data", [1, 2])
    change(bob, run, "load", RunStatus.RUNNING)
    change(bob, run, "load", RunStatus.COMPLETED, outputs=[evil, plain, data])
    seen = PipelineRun(alice.ask(of_run.GET, GetRun(name=run.id)), store)
    assert seen.output("load", "data") == [1, 2]
    with pytest.raises(InvalidInput, match="does not vouch"):
        seen.output("load", "evil")
    assert PipelineRun(bob.ask(of_run.GET, GetRun(name=run.id)), store).output("load", "evil") == {1}


# Paths


PIECES = st.sampled_from(
    [
        "a",
        "..",
        ".",
        "",
        "%2e%2e",
        "%2E.",
        "%252e%252e",
        "..%2f",
        "\\..",
        "a b",
        "\0",
        "\n",
        "~",
        "*",
        "[a]",
        "outside",
        "?x",
        "#x",
        "\u202e",
    ]
)
SEGMENTS = PIECES | st.text(min_size=0, max_size=8) | st.builds("".join, st.lists(PIECES, max_size=3))
PATHS = st.lists(SEGMENTS, min_size=1, max_size=6).map("/".join)


@pytest.mark.parametrize("flavor", FLAVORS)
def test_no_path_leads_out_of_a_store(client: Client, tmp_path: Path, flavor: str) -> None:
    """Whatever is asked for by path or URI: a store writes below its root or refuses, and reads nothing that is not there."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.write_bytes(EVIL)
    store = place(root, flavor)
    path = artifact_path(new_id(), "load", "output", "json")
    good = store.write(path, b"[1]")
    base = good.removesuffix(f"/{path}")
    (root / "link").symlink_to(outside) if root.exists() else None

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @example("../outside")
    @example("link")
    @example(f"x/../../{outside}")
    @given(PATHS)
    def attempt(odd: str) -> None:
        for uri in (f"{base}/{odd}", f"{good}/../{odd}", odd, f"{base}{odd}", base + "/" + path.replace("load", odd)):
            sound = path_below(base, uri)
            try:
                found = store.read(uri)
            except StrongroomError:
                assert uri != good
            else:
                assert sound is not None
                assert found in (b"[1]", b"new") or flavor == "file"
            if sound is None:
                assert store.exists(uri) is False
        with suppress(StrongroomError):
            uri = store.write(f"{odd}/x.json", b"new")
            assert check_path(f"{odd}/x.json")
            assert uri == store.uri(f"{odd}/x.json")
            assert path_below(base, uri) == f"{odd}/x.json"
        assert outside.read_bytes() == EVIL
        assert {each.name for each in tmp_path.iterdir()} <= {"root", "outside", "state"}

    attempt()


@settings(max_examples=500)
@given(st.lists(SEGMENTS, max_size=4).map("/".join), st.sampled_from(["", "file://", "s3://", "memory://", "/"]))
def test_a_uri_has_one_spelling(middle: str, scheme: str) -> None:
    """What a URI of an artifact has before its path holds no dot segment on any level of percent-encoding, and nothing invisible."""
    from urllib.parse import unquote

    path = artifact_path(new_id(), "load", "output", "pickle")
    uri = f"{scheme}{middle}/{path}"
    if path_of(uri) is None:
        return
    assert path_of(uri) == path
    assert uri.isprintable()
    for _ in range(6):
        assert not {"..", "."} & set(uri.split("/"))
        assert "\\" not in uri
        uri = unquote(uri)


def test_every_store_gives_uris_of_one_form(client: Client, tmp_path: Path) -> None:
    """The URI that a store gives is its root, a slash and the path; it reads that back, and the record of it belongs to the store."""
    for flavor in FLAVORS:
        store = place(tmp_path / flavor, flavor)
        record = artifact.store(store, new_id(), "load", "output", {3})
        assert path_of(record.uri) is not None
        assert store.uri(path_of(record.uri) or "") == record.uri
        assert artifact.belongs(store, record)
        for other in FLAVORS:
            assert not artifact.belongs(place(tmp_path / f"{flavor}-{other}", other), record)
