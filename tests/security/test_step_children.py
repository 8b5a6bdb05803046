"""Whatever a step starts acts for the run like the step itself: each way to start a thread or a process, on each kind of store."""

from __future__ import annotations

import _thread
import asyncio
import json
import multiprocessing
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import forkserver
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest

from strongroom.client import Client
from strongroom.config import PREFIX, Settings
from strongroom.errors import StrongroomError
from strongroom.pipelines.pipeline import Pipeline
from strongroom.steps import step
from tests.canary import CANARY

Look = Callable[[], list[str]]
SECONDS = 120

AS_THE_RUN = ["password", "not granted"]
AS_THE_OWNER = ["password,user", "k"]
AS_NOBODY = ["unauthenticated", "unauthenticated"]


def look() -> list[str]:
    """The names of the keys that a client here reads of two secrets, or why it reads none. Never a value."""
    return [_keys(name) for name in ("api", "other")]


def _keys(name: str) -> str:
    try:
        with Client() as client:
            return ",".join(sorted(client.get_secret(name).secret_values))
    except StrongroomError as error:
        return "not granted" if "not granted" in str(error) else error.code


def _in_thread(work: Look) -> list[str]:
    seen: queue.Queue[list[str]] = queue.Queue()
    thread = threading.Thread(target=lambda: seen.put(work()))
    thread.start()
    thread.join(SECONDS)
    return seen.get(timeout=SECONDS)


class _Own(threading.Thread):
    """A thread with a `run` of its own."""

    seen: list[str]

    def run(self) -> None:
        self.seen = look()


def _in_subclass() -> list[str]:
    thread = _Own(daemon=True)
    thread.start()
    thread.join(SECONDS)
    return thread.seen


def _in_timer() -> list[str]:
    seen: queue.Queue[list[str]] = queue.Queue()
    threading.Timer(0, lambda: seen.put(look())).start()
    return seen.get(timeout=SECONDS)


def _in_bare_thread() -> list[str]:
    seen: queue.Queue[list[str]] = queue.Queue()
    _thread.start_new_thread(lambda: seen.put(look()), ())
    return seen.get(timeout=SECONDS)


def _in_pool() -> list[str]:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(look).result(SECONDS)


def _in_mapped_pool() -> list[str]:
    with ThreadPoolExecutor(2) as pool:
        return next(iter(pool.map(lambda _: look(), [1])))


def _in_pool_of_before() -> list[str]:
    return BEFORE[0].submit(look).result(SECONDS)


def _in_thread_pool() -> list[str]:
    with ThreadPool(1) as pool:
        return pool.apply(look)


def _in_executor() -> list[str]:
    async def main() -> list[str]:
        return await asyncio.get_running_loop().run_in_executor(None, look)

    return asyncio.run(main())


def _to_thread() -> list[str]:
    return asyncio.run(asyncio.to_thread(look))


def _in_callback() -> list[str]:
    """In the thread that completes a future."""
    seen: queue.Queue[list[str]] = queue.Queue()
    future: Future[None] = Future()
    future.add_done_callback(lambda _: seen.put(look()))
    threading.Thread(target=lambda: future.set_result(None)).start()
    return seen.get(timeout=SECONDS)


def _report(pipe: Any, work: Look = look) -> None:
    pipe.send(work())
    pipe.close()


def _in_process(method: str, work: Look = look) -> list[str]:
    context: Any = multiprocessing.get_context(method)
    mine, theirs = context.Pipe()
    process = context.Process(target=_report, args=(theirs, work))
    process.start()
    theirs.close()
    seen: list[str] = mine.recv()
    process.join(SECONDS)
    return seen


def _in_fork_server() -> list[str]:
    """With a server of the test's own: it keeps the environment that it was started in."""
    server: Any = forkserver._forkserver  # type: ignore[attr-defined]
    server._stop()
    try:
        return _in_process("forkserver")
    finally:
        server._stop()


def _in_pool_of_processes(method: str) -> list[str]:
    with multiprocessing.get_context(method).Pool(1) as pool:
        return pool.apply(look)


def _in_process_executor(method: str) -> list[str]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        return pool.submit(look).result(SECONDS)


def _in_bare_fork() -> list[str]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, json.dumps(look()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        seen: list[str] = json.loads(file.read())
    os.waitpid(child, 0)
    return seen


PROGRAM = "import json; from tests.security.test_step_children import look; print(json.dumps(look()))"
NESTED = "import json; from tests.security.test_step_children import _program; print(json.dumps(_program()))"


def _program(program: str = PROGRAM, **options: Any) -> list[str]:
    output = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, timeout=SECONDS, **options).stdout
    seen: list[str] = json.loads(output)
    return seen


def _program_with_environment() -> list[str]:
    kept = ("PATH", "HOME", "PYTHONPATH", f"{PREFIX}CONFIG_PATH")
    return _program(env={name: os.environ[name] for name in kept if name in os.environ})


def _program_without_token() -> list[str]:
    return _program(env={**os.environ, f"{PREFIX}RUN_TOKEN": ""})


def _asynchronous_program() -> list[str]:
    async def main() -> list[str]:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        seen: list[str] = json.loads(output)
        return seen

    return asyncio.run(main())


def _thread_in_spawned() -> list[str]:
    return _in_process("spawn", _thread_here)


def _thread_here() -> list[str]:
    return _in_thread(look)


def _program_in_spawned() -> list[str]:
    return _in_process("spawn", _program)


def _spawned_in_thread() -> list[str]:
    return _in_thread(lambda: _in_process("spawn"))


BEFORE: list[ThreadPoolExecutor] = []
"""A pool whose thread was started outside of any step."""

WAYS: dict[str, Look] = {
    "asynchronous program": _asynchronous_program,
    "bare fork": _in_bare_fork,
    "bare thread": _in_bare_thread,
    "callback": _in_callback,
    "executor of a loop": _in_executor,
    "fork": lambda: _in_process("fork"),
    "fork in a pool": lambda: _in_pool_of_processes("fork"),
    "fork server": _in_fork_server,
    "mapped pool": _in_mapped_pool,
    "pool": _in_pool,
    "pool of before": _in_pool_of_before,
    "pool of processes": lambda: _in_pool_of_processes("spawn"),
    "process executor": lambda: _in_process_executor("spawn"),
    "program": _program,
    "program in a spawned process": _program_in_spawned,
    "program of a program": lambda: _program(NESTED),
    "program with an environment of its own": _program_with_environment,
    "program without the token": _program_without_token,
    "spawn": lambda: _in_process("spawn"),
    "spawn in a thread": _spawned_in_thread,
    "subclass of a thread": _in_subclass,
    "thread": lambda: _in_thread(look),
    "thread in a spawned process": _thread_in_spawned,
    "thread in a thread": lambda: _in_thread(lambda: _in_thread(look)),
    "thread pool": _in_thread_pool,
    "timer": _in_timer,
    "to thread": _to_thread,
}


@pytest.fixture(params=["embedded", "server"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of what pipelines use here, with two secrets."""
    settings: Settings = request.getfixturevalue("local_settings" if request.param == "embedded" else "remote_settings")
    monkeypatch.setenv(f"{PREFIX}CONFIG_PATH", str(settings.folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    with Client() as client, ThreadPoolExecutor(1) as pool:
        client.create_secret("api", {"user": f"{CANARY}-user", "password": f"{CANARY}-password"})
        client.create_secret("other", {"k": f"{CANARY}-other"})
        pool.submit(int).result(SECONDS)
        BEFORE[:] = [pool]
        yield client


def in_step(work: Callable[[], Any]) -> Any:
    """What a step sees that declares one key of one secret."""
    seen: list[Any] = []

    @step(secrets=["api.password"], enable_cache=False)
    def one() -> None:
        seen.append(work())

    Pipeline(one, name="one")()
    return seen[0]


@pytest.mark.parametrize("way", WAYS)
def test_what_a_step_starts_acts_for_its_run(client: Client, way: str) -> None:
    """It reads what the step declared, and is refused everything else; code outside of the step stays its owner's."""
    assert in_step(WAYS[way]) == AS_THE_RUN
    assert look() == AS_THE_OWNER
    assert BEFORE[0].submit(look).result(SECONDS) == AS_THE_OWNER
    assert _in_thread(look) == AS_THE_OWNER


def test_what_outlives_its_run_reads_nothing(client: Client) -> None:
    """A thread that a step left behind has the token of the run, which ends with the run, and no other login."""
    go, seen = threading.Event(), queue.Queue[list[str]]()

    def later() -> None:
        go.wait(SECONDS)
        seen.put(look())

    in_step(lambda: threading.Thread(target=later).start())
    go.set()
    assert seen.get(timeout=SECONDS) == AS_NOBODY


def test_a_pool_of_a_step_serves_its_caller(client: Client) -> None:
    """A call that is submitted after the run acts for the caller, also in a thread that a step started."""
    pool = in_step(lambda: ThreadPoolExecutor(1))
    assert in_step(lambda: pool.submit(look).result(SECONDS)) == AS_THE_RUN
    assert pool.submit(look).result(SECONDS) == AS_THE_OWNER
    pool.shutdown()


def test_threads_of_others_are_left_alone(client: Client) -> None:
    """A thread that no step started stays its owner's while a step acts for its run."""
    assert in_step(lambda: (_in_thread(look), OUTSIDE.ask()))[1] == AS_THE_OWNER


class _Outside:
    """A thread that was there before, and answers when asked."""

    def __init__(self) -> None:
        self._asked, self._seen = threading.Event(), queue.Queue[list[str]]()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def _answer(self) -> None:
        self._asked.wait(SECONDS)
        self._seen.put(look())

    def ask(self) -> list[str]:
        self._asked.set()
        return self._seen.get(timeout=SECONDS)


OUTSIDE = _Outside()


@pytest.fixture(autouse=True)
def outside() -> Iterator[None]:
    """A thread from before each test."""
    OUTSIDE.__init__()  # type: ignore[misc]
    OUTSIDE.begin()
    yield
    OUTSIDE._asked.set()
    assert OUTSIDE._thread is not None
    OUTSIDE._thread.join(SECONDS)
