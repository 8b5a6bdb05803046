"""Pipelines on a real Dask cluster and a real server: what workers get, what they do not get, and how runs end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest

from strongroom.client import Client
from strongroom.config import PREFIX, Settings
from strongroom.errors import ConfigurationError, StepFailed, StrongroomError, Unavailable
from strongroom.models.run import Run, RunStatus
from strongroom.pipelines.pipeline import Pipeline
from strongroom.stacks.custom import describe_class
from strongroom.steps import StepContext, step
from tests.callers import Caller
from tests.canary import CANARY, holds_canary
from tests.servers.dask import DaskCluster, certificates
from tests.servers.s3 import S3Server
from tests.servers.strongroom import free_port

pytest.importorskip("distributed", reason="the extra 'dask' is not installed")

DEADLINE_SECONDS = 60


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A cluster of two workers for all tests that leave it whole. No value and no token turns up in what it writes."""
    cluster = DaskCluster(tmp_path_factory.mktemp("dask"), workers=2)
    yield cluster
    cluster.stop()
    assert not holds_canary(cluster.log), "a value leaked: the canary is in the cluster's log"
    assert "srr_" not in cluster.log


@pytest.fixture
def client(remote_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of a server, logged in, with two secrets."""
    monkeypatch.setenv(f"{PREFIX}CONFIG_PATH", str(remote_settings.folder))
    with Client() as client:
        client.create_secret("api", {"user": f"{CANARY}-user", "password": f"{CANARY}-password"})
        client.create_secret("other", {"k": f"{CANARY}-other"})
        yield client


@pytest.fixture
def on_cluster(client: Client, cluster: DaskCluster) -> Client:
    """The active stack has the cluster as its orchestrator."""
    return use_stack(client, address=cluster.address)


def use_stack(client: Client, **attributes: Any) -> Client:
    client.create_component("dask", type="orchestrator", flavor="dask", configuration={"timeout": 20, **attributes})
    client.create_stack("dask", {"orchestrator": "dask", "artifact_store": "default"}, activate=True)
    return client


def run_of(work: Any, *arguments: Any) -> Any:
    """A run of a pipeline that calls this one step."""
    return Pipeline(lambda: work(*arguments), name="one")()


def last_run(client: Client) -> Run:
    return client.get_run(client.list_runs(size=1).items[0].id)


def statuses(run: Run) -> dict[str, str]:
    return {one.name: one.status.value for one in run.steps or ()}


def test_a_run_is_as_it_would_be_on_this_machine(on_cluster: Client) -> None:
    """Inputs, outputs, parameters, settings, context, metadata and caching; steps are executed in other processes."""

    @step
    def number(start: int = 1) -> int:
        return start

    @step(settings={"token": "{{api.user}}", "rate": 3})
    def describe(context: StepContext, values: list[int]) -> tuple[Annotated[int, "total"], Annotated[int, "pid"]]:
        assert context.settings == {"token": f"{CANARY}-user", "rate": 3}
        assert (context.step_name, context.pipeline_name) == ("describe", "several")
        assert context.stack.artifact_store.name == "default"
        assert Client().active_stack is context.stack
        context.log_metadata({"length": len(values), "token": context.settings["token"]})
        return sum(values), os.getpid()

    several = Pipeline(lambda: describe([number(2), number(3)]), name="several")
    run = several()
    assert run.output("describe", "total") == 5
    assert run.output("describe", "pid") != os.getpid()
    assert statuses(run.record) == {"number": "completed", "number_2": "completed", "describe": "completed"}
    assert run.steps["describe"].metadata == {"length": 2, "token": "********"}
    assert run.steps["describe"].inputs == {"values": "number.output, number_2.output"}
    for one in run.steps.values():
        assert run.record.started <= one.started <= one.finished <= run.record.finished
    assert {(each.secret, each.key, each.step) for each in run.record.reads} == {("api", "user", "describe")}
    again = several()
    assert statuses(again.record) == {"number": "cached", "number_2": "cached", "describe": "completed"}
    assert again.output("number") == 2


def test_steps_run_side_by_side(on_cluster: Client, tmp_path: Path) -> None:
    """Two steps that each wait for the other one's file both end."""
    folder = str(tmp_path)

    @step(enable_cache=False)
    def meet(own: str, other: str) -> bool:
        (Path(folder) / own).touch()
        deadline = time.monotonic() + 30
        while not (Path(folder) / other).exists():
            assert time.monotonic() < deadline, "the other one does not come"
            os.sched_yield()
        return True

    def meeting() -> None:
        meet("a", "b")
        meet("b", "a")

    run = Pipeline(meeting, name="meeting")()
    assert statuses(run.record) == {"meet": "completed", "meet_2": "completed"}


def test_a_step_waits_for_what_it_needs(on_cluster: Client, tmp_path: Path) -> None:
    """Order without data holds as well: a step begins when those named in `after` are done."""
    log = str(tmp_path / "order")

    @step(enable_cache=False)
    def mark(name: str) -> None:
        with Path(log).open("a") as file:
            file.write(name)

    def ordered() -> None:
        first = mark("1")
        second = mark("2", after=first)
        mark("3", after=[first, second])

    Pipeline(ordered, name="ordered")()
    assert Path(log).read_text() == "123"


def test_a_worker_reads_what_is_declared(on_cluster: Client) -> None:
    """The declared keys and nothing else, whatever the step declares or not; refusals say how to declare."""

    @step(enable_cache=False, secrets=["api.user"])
    def reading(name: str) -> list[str]:
        return list(Client().get_secret(name).secret_values)

    @step(enable_cache=False)
    def undeclared(name: str) -> list[str]:
        return list(Client().get_secret(name).secret_values)

    assert run_of(reading, "api").output("reading") == ["user"]
    for work, name in ((reading, "other"), (undeclared, "api")):
        with pytest.raises(StepFailed, match="was not granted") as caught:
            run_of(work, name)
        assert "@step(secrets=" in str(caught.value.hint)


def test_a_worker_has_nothing_of_the_submitter(on_cluster: Client, admin: Caller, cluster: DaskCluster) -> None:
    """Neither its environment nor any file of its home has the submitter's token; its clients, in any thread, have the run's."""
    own = [cluster.workers[0].pid, cluster.workers[1].pid]

    @step(enable_cache=False, secrets=["api"])
    def look() -> dict[str, Any]:
        seen: list[str] = []

        def in_a_thread() -> None:
            seen.append(type(error_of(lambda: Client().list_secrets())).__name__)
            seen.append(",".join(Client().get_secret("api").secret_values))

        def error_of(call: Callable[[], Any]) -> BaseException:
            try:
                call()
            except StrongroomError as error:
                return error
            raise AssertionError("it was allowed")

        thread = threading.Thread(target=in_a_thread)
        thread.start()
        thread.join()
        return {
            "pid": os.getpid(),
            "environment": sorted(os.environ),
            "initial": [text.partition("=")[0] for text in Path("/proc/self/environ").read_text().split("\0")],
            "seen": seen,
            "name": type(error_of(lambda: Client().create_secret("new", {"k": "v"}))).__name__,
        }

    found = run_of(look).output("look")
    assert found["pid"] in own
    assert [name for name in (*found["environment"], *found["initial"]) if name.startswith(PREFIX)] == []
    assert found["seen"] == ["Forbidden", "user,password"]
    assert found["name"] == "Forbidden"
    assert admin.token is not None
    secrets_of_submitter = (admin.token, "srr_")
    for path in cluster.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(text.encode() in content for text in secrets_of_submitter), path
    assert list((cluster.folder / "home").iterdir()) == []


def test_the_token_is_dead_when_the_run_has_ended(on_cluster: Client, tmp_path: Path) -> None:
    """A thread that a step leaves behind on its worker reads while the run goes on, and nothing afterwards."""
    folder, secret_id = str(tmp_path), on_cluster.get_secret_metadata("api").id

    @step(enable_cache=False, secrets=["api"])
    def leave() -> None:
        client = Client()
        client.get_secret(secret_id)
        import contextvars

        def go_on() -> None:
            deadline = time.monotonic() + 30
            while not (Path(folder) / "ended").exists() and time.monotonic() < deadline:
                os.sched_yield()
            said = []
            for each in (client, Client()):
                try:
                    each.get_secret(secret_id)
                    said.append("it reads")
                except StrongroomError as error:
                    said.append(type(error).__name__)
            (Path(folder) / "writing").write_text(" ".join(said))
            (Path(folder) / "writing").rename(Path(folder) / "said")

        threading.Thread(target=contextvars.copy_context().run, args=(go_on,), daemon=True).start()

    run_of(leave)
    (tmp_path / "ended").touch()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (tmp_path / "said").exists():
        assert time.monotonic() < deadline
        os.sched_yield()
    assert (tmp_path / "said").read_text() == "Unauthenticated Unauthenticated"


def test_a_step_that_fails(on_cluster: Client) -> None:
    """Its error is told with what raised it, masked; those that need it never start; those beside it end; the record says so."""

    @step(enable_cache=False, secrets=["api"])
    def fail() -> int:
        raise ValueError(f"it had {Client().get_secret('api').secret_values['password']}")

    @step(enable_cache=False)
    def after(value: int) -> None:
        """Never called."""

    @step(enable_cache=False)
    def beside() -> int:
        return 1

    def failing() -> None:
        after(fail())
        beside()

    with pytest.raises(StepFailed, match=r"step 'fail' failed: ValueError: it had \*\*\*\*\*\*\*\*") as caught:
        Pipeline(failing, name="failing")()
    assert "Traceback" in str(caught.value.__cause__)
    assert not holds_canary(f"{caught.value!r}{caught.value.__cause__!r}{caught.value.__cause__}")
    run = last_run(on_cluster)
    assert run.status is RunStatus.FAILED
    found = statuses(run)
    assert (found["fail"], found["after"]) == ("failed", "pending")
    assert found["beside"] in ("completed", "pending")
    assert "ValueError: it had ********" in str(next(one.error for one in run.steps or () if one.name == "fail"))
    assert caught.value.hint == f"strongroom run describe {run.name}"


def test_values_are_masked_in_what_workers_write(on_cluster: Client, cluster: DaskCluster) -> None:
    """Printed, logged, and handed over as a parameter: the worker's output has masks where values and its token stood."""
    mark = f"mark-{os.urandom(4).hex()}"
    handed = on_cluster.get_secret("other").secret_values["k"]

    @step(enable_cache=False, secrets=["api"])
    def careless(given: str) -> None:
        import logging
        import sys

        value = Client().get_secret("api").secret_values["password"]
        print(f"{mark} printed {value}, given {given}", flush=True)
        print(f"{mark} token {Client().transport._inner}", file=sys.stderr, flush=True)
        logging.getLogger("distributed.worker").error("%s logged %s", mark, value)

    run_of(careless, handed)
    assert f"{mark} printed ********, given ********" in cluster.log
    assert f"{mark} logged ********" in cluster.log


def test_a_worker_that_is_killed(client: Client) -> None:
    """On a cluster of the run's own, the step whose worker was killed has failed, with a clear reason."""
    use_stack(client, workers=1)

    @step(enable_cache=False)
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(StepFailed, match="step 'die' failed: the worker that was executing it was lost") as caught:
        run_of(die)
    assert "not executed twice" in str(caught.value.hint)
    run = last_run(client)
    assert (run.status, statuses(run)) == (RunStatus.FAILED, {"die": "failed"})


def test_a_step_is_never_executed_twice(client: Client, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """A scheduler that hands a lost worker's step to the next worker does not make that one execute it again."""
    cluster = DaskCluster(tmp_path_factory.mktemp("dying"), workers=2)
    count = str(tmp_path / "count")
    try:
        use_stack(client, address=cluster.address)

        @step(enable_cache=False)
        def die() -> None:
            with Path(count).open("a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)

        with pytest.raises(StepFailed, match="the worker that was executing it was lost"):
            run_of(die)
        assert Path(count).read_text() == "x"
        assert sorted(worker.poll() is None for worker in cluster.workers) == [False, True]
        assert statuses(last_run(client)) == {"die": "failed"}
    finally:
        cluster.stop()


def test_a_cluster_of_its_own_has_no_credentials(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes that the run starts inherit neither variables nor login of strongroom; no process of it is left."""
    monkeypatch.setenv(f"{PREFIX}KEEP_VERSIONS", "7")
    use_stack(client, workers=2)

    @step(enable_cache=False, secrets=["api.user"])
    def look() -> list[Any]:
        initial = [text for text in Path("/proc/self/environ").read_text().split("\0") if text.startswith(PREFIX)]
        now = [name for name in os.environ if name.startswith(PREFIX)]
        return [os.getpid(), initial, now, list(Client().get_secret("api").secret_values)]

    pid, initial, now, keys = run_of(look).output("look")
    assert (initial, now, keys) == ([], [], ["user"])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_worker_uses_no_login_of_its_own(
    client: Client, tmp_path_factory: pytest.TempPathFactory, remote_settings: Settings
) -> None:
    """Where somebody is logged in, steps have their run's token alone: in threads of theirs, also in those left behind."""
    folder = tmp_path_factory.mktemp("logged-in")
    cluster = DaskCluster(folder, workers=1, environment={f"{PREFIX}CONFIG_PATH": str(remote_settings.folder)})
    said = str(folder / "said")
    try:
        use_stack(client, address=cluster.address)

        @step(enable_cache=False, secrets=["api.user"])
        def threads() -> list[str]:
            seen = []

            def read(name: str) -> None:
                try:
                    seen.append(",".join(Client().get_secret(name).secret_values))
                except StrongroomError as error:
                    seen.append(error.code)

            for name in ("api", "other"):
                thread = threading.Thread(target=read, args=(name,))
                thread.start()
                thread.join()
            return seen

        @step(enable_cache=False)
        def leave() -> None:
            begun = threading.Event()

            def go_on() -> None:
                begun.set()
                deadline = time.monotonic() + 30
                while time.monotonic() < deadline:
                    try:
                        Client().get_secret("other")
                    except StrongroomError as error:
                        if error.code != "forbidden":  # the run has ended
                            Path(said).write_text(error.code)
                            return

            threading.Thread(target=go_on, daemon=True).start()
            begun.wait(30)

        assert run_of(threads).output("threads") == ["user", "forbidden"]
        run_of(leave)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not Path(said).exists() or not Path(said).read_text():
            assert time.monotonic() < deadline
            os.sched_yield()
        assert Path(said).read_text() == "unauthenticated"
    finally:
        cluster.stop()


def test_two_runs_on_one_worker(client: Client, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Steps that a process executes side by side, of two runs, each read what their own run declares; so do the records."""
    cluster = DaskCluster(tmp_path_factory.mktemp("threads"), workers=1, threads=2)
    folder = tmp_path_factory.mktemp("meeting")
    try:
        use_stack(client, address=cluster.address)

        def meeting(own: str, other: str) -> Pipeline:
            @step(enable_cache=False, secrets=[own])
            def meet() -> list[str]:
                (folder / own).touch()
                deadline = time.monotonic() + 30
                while not (folder / other).exists():
                    assert time.monotonic() < deadline, "the other one does not come"
                    os.sched_yield()
                found = list(Client().get_secret(own).secret_values)
                try:
                    Client().get_secret(other)
                except StrongroomError as error:
                    return [*found, error.code]
                return found

            return Pipeline(meet, name=own)

        outcomes: dict[str, Any] = {}
        names = (("api", "other"), ("other", "api"))
        threads = [threading.Thread(target=lambda pair: outcomes.update({pair[0]: meeting(*pair)()}), args=(pair,)) for pair in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes["api"].output("meet") == ["user", "password", "forbidden"]
        assert outcomes["other"].output("meet") == ["k", "forbidden"]
        reads = {name: {(read.secret, read.key) for read in run.record.reads or ()} for name, run in outcomes.items()}
        assert reads == {"api": {("api", "user"), ("api", "password")}, "other": {("other", "k")}}
    finally:
        cluster.stop()


def test_a_cluster_with_tls(client: Client, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With the certificates, and a key out of a secret, a run works; without the right ones nothing begins."""
    cluster = DaskCluster(tmp_path_factory.mktemp("tls"), workers=1, tls=True)

    @step(enable_cache=False)
    def work() -> None:
        """Nothing."""

    try:
        client.create_secret("dask", {"key": Path(cluster.tls["key"]).read_text()})
        use_stack(client, address=cluster.address, **{**cluster.tls, "key": "{{dask.key}}"})
        assert cluster.address.startswith("tls://")
        assert run_of(work).status is RunStatus.COMPLETED
        stranger = tmp_path_factory.mktemp("stranger")
        strange = certificates(stranger)
        client.update_secret("dask", add_or_update_values={"key": Path(strange.pop("key")).read_text()})
        client.update_component("orchestrator", "dask", configuration={**strange, "timeout": 3})
        with pytest.raises(Unavailable, match="no Dask scheduler answers"):
            run_of(nothing)
        assert client.list_runs().total == 1
    finally:
        cluster.stop()


def test_a_scheduler_that_is_lost(client: Client, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A run whose scheduler dies ends, as failed, with the reason."""
    folder = tmp_path_factory.mktemp("lost")
    cluster = DaskCluster(folder, workers=1)
    begun = str(folder / "begun")
    try:
        use_stack(client, address=cluster.address, timeout=2)

        @step(enable_cache=False)
        def stay() -> None:
            Path(begun).touch()
            threading.Event().wait(60)

        def kill() -> None:
            deadline = time.monotonic() + DEADLINE_SECONDS
            while not Path(begun).exists() and time.monotonic() < deadline:
                os.sched_yield()
            cluster.kill_scheduler()

        thread = threading.Thread(target=kill)
        thread.start()
        with pytest.raises((StepFailed, Unavailable)) as caught:
            run_of(stay)
        thread.join()
        assert "scheduler" in str(caught.value)
        assert last_run(client).status is RunStatus.FAILED
    finally:
        cluster.stop()


TRACKER = """
from contextlib import contextmanager
from pathlib import Path
from strongroom.models.flavor import Attribute
from strongroom.stacks.experiment_tracker import ExperimentTracker

class Tracker(ExperimentTracker):
    flavor = "{name}"
    attributes = (Attribute("folder"), Attribute("password", sensitive=True))

    @contextmanager
    def track(self, run_name, experiment):
        path = Path(self.config.folder) / "tracked"
        path.write_text(f"{{experiment}} {{len(self.config.password)}} begun")
        yield path
        path.write_text(path.read_text() + " ended")
"""


def test_components_are_used_on_the_worker(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracker of a custom flavor tracks the step where it is executed, with the password that its attribute refers to."""
    name = f"tracker_{os.urandom(4).hex()}"
    (tmp_path / f"{name}.py").write_text(TRACKER.format(name=name))
    monkeypatch.syspath_prepend(str(tmp_path))
    client.register_flavor(describe_class(f"{name}:Tracker"))
    attributes = {"folder": str(tmp_path), "password": "{{api.password}}"}
    client.create_component("tracker", type="experiment_tracker", flavor=name, configuration=attributes)
    use_stack(client, workers=1)
    client.update_stack("dask", components={"experiment_tracker": "tracker"})
    file = str(tmp_path / "tracked")

    @step(enable_cache=False, experiment_tracker=True)
    def work(context: StepContext) -> int:
        assert context.stack.experiment_tracker is not None
        with Path(file).open("a") as tracked:
            tracked.write(f" {os.getpid()}")
        return os.getpid()

    run = Pipeline(lambda: work(), name="one")()
    assert run.output("work") != os.getpid()
    assert Path(file).read_text() == f"one {len(f'{CANARY}-password')} begun {run.output('work')} ended"
    assert {(each.secret, each.key, each.step) for each in run.record.reads} == {("api", "password", "work")}
    del sys.modules[name]


def test_ctrl_c_stops_a_run(on_cluster: Client, tmp_path: Path) -> None:
    """The run and the step under way are stopped, nothing else begins, and the run's token is dead for what is left of the step."""
    folder = str(tmp_path)

    @step(enable_cache=False)
    def stay() -> int:
        (Path(folder) / "begun").touch()
        deadline = time.monotonic() + 30
        while not (Path(folder) / "go").exists() and time.monotonic() < deadline:
            os.sched_yield()
        return 1

    @step(enable_cache=False)
    def after(value: int) -> None:
        (Path(folder) / "after").touch()

    def interrupt() -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
            os.sched_yield()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            Pipeline(lambda: after(stay()), name="stopping")()
    finally:
        thread.join()
        (tmp_path / "go").touch()
    run = last_run(on_cluster)
    assert (run.status, statuses(run)) == (RunStatus.STOPPED, {"stay": "stopped", "after": "pending"})
    assert not (tmp_path / "after").exists()


@step(enable_cache=False)
def nothing() -> None:
    """What would run."""


def test_the_embedded_store_is_refused(local_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server nothing begins, and one is told how to get one."""
    monkeypatch.setenv(f"{PREFIX}CONFIG_PATH", str(local_settings.folder))
    with Client() as client:
        use_stack(client, address="tcp://127.0.0.1:1")
        with pytest.raises(ConfigurationError, match="needs a server") as caught:
            run_of(nothing)
        assert "strongroom login" in str(caught.value.hint)
        assert client.list_runs().total == 0


@pytest.mark.parametrize(
    ("attributes", "kind", "said"),
    [
        ({"address": f"tcp://127.0.0.1:{free_port()}", "timeout": 1}, Unavailable, "no Dask scheduler answers"),
        ({"address": "tcp://dask.example.com:8786"}, ConfigurationError, "does not speak TLS"),
        ({"address": "tls://127.0.0.1:8786"}, ConfigurationError, "needs the attributes ca_cert, cert and key"),
        ({"address": "http://127.0.0.1:8786"}, ConfigurationError, "is written tls://"),
        ({"address": "tcp://127.0.0.1:1", "server_url": "http://example.com"}, ConfigurationError, "https"),
    ],
    ids=["nobody-there", "no-tls", "no-certificates", "no-address", "server-without-tls"],
)
def test_what_cannot_be_connected(client: Client, attributes: dict[str, Any], kind: type[Exception], said: str) -> None:
    """A scheduler that does not answer, or that tokens must not be sent to, is told before the run begins."""
    use_stack(client, **attributes)
    with pytest.raises(kind, match=said):
        run_of(nothing)
    assert client.list_runs().total == 0


def test_another_version_is_refused(client: Client, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A worker with another strongroom executes nothing, and says which one it has."""
    folder = tmp_path_factory.mktemp("older")
    (folder / "strongroom").mkdir()
    (folder / "strongroom" / "__init__.py").write_text('__version__ = "0.0.1"\n')
    cluster = DaskCluster(folder, workers=1, environment={"PYTHONPATH": str(folder)})
    try:
        use_stack(client, address=cluster.address)
        with pytest.raises(StepFailed, match=r"the worker has strongroom 0\.0\.1, and the run began with") as caught:
            run_of(nothing)
        assert caught.value.hint == "use one version everywhere"
    finally:
        cluster.stop()


def test_what_cannot_be_sent(on_cluster: Client) -> None:
    """A step that holds what cannot be pickled fails before it is sent, with what to do instead."""
    lock = threading.Lock()

    @step(enable_cache=False)
    def locked() -> None:
        with lock:
            """Never called."""

    with pytest.raises(StepFailed, match="cannot be sent to another process") as caught:
        run_of(locked)
    assert "within the step" in str(caught.value.hint)


def test_a_module_that_workers_do_not_have(on_cluster: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of an importable module is imported by the worker; where that has no such module, one is told."""
    name = f"module_{os.urandom(4).hex()}"
    (tmp_path / f"{name}.py").write_text(
        "from strongroom.steps import step\n\n@step(enable_cache=False)\ndef work() -> int:\n    return 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    work = __import__(name).work
    with pytest.raises(StepFailed, match=f"No module named '{name}'") as caught:
        run_of(work)
    assert "where the workers find it" in str(caught.value.hint)
    del sys.modules[name]


def test_an_error_of_the_worker_itself_ends_no_process(on_cluster: Client) -> None:
    """A step that wants to end its process has failed, and the worker works on."""

    @step(enable_cache=False)
    def leave() -> None:
        raise SystemExit(3)

    @step(enable_cache=False)
    def stay() -> int:
        return 1

    for _ in range(3):
        with pytest.raises(StepFailed, match="SystemExit: 3"):
            run_of(leave)
    assert run_of(stay).output("stay") == 1


def test_artifacts_by_a_service_connector(client: Client, cluster: DaskCluster, s3_server: S3Server) -> None:
    """Workers, who hold the run's token alone, log in to the artifact store by its connector; the record says who read its secret."""
    key = {"aws_access_key_id": s3_server.access_key_id, "aws_secret_access_key": s3_server.secret_access_key}
    place = {"region": s3_server.region, "endpoint_url": s3_server.url, "sts_endpoint_url": s3_server.url}
    client.register_service_connector("aws", type="aws", auth_method="secret-key", configuration={**key, **place})
    bucket = s3_server.bucket("test-dask")
    configuration = {"path": f"s3://{bucket}/a", "connector": "aws"}
    client.create_component("bucket", type="artifact_store", flavor="s3", configuration=configuration)
    use_stack(client, address=cluster.address)
    client.update_stack("dask", components={"artifact_store": "bucket"})

    @step
    def number() -> int:
        return 2

    @step
    def double(value: int) -> str:
        return f"{2 * value} {Client().service_connector('aws').identity().rpartition(':')[2]}"

    run = Pipeline(lambda: double(number()), name="several")()
    assert run.output("double") == "4 user/tests"
    reads = {(each.secret, each.key, each.step) for each in run.record.reads}
    assert {("aws-credentials", "aws_secret_access_key", name) for name in ("number", "double")} <= reads
