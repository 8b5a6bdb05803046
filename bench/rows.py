"""The rows of the comparison: what is measured, for whom, in which order."""

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import environments
from bench.contestants import COMMAND, GROUP, PASSWORD, TOP, Contestant
from bench.measure import Measurement, MeasurementError, command_turn, interleave, run_checked, shown
from bench.progress import Progress
from bench.worker import PROGRAMS, Worker

FEW = 100
"""Secrets in a small store; reads and updates go round through all of them."""

PAGE_SIZE = 20

READ_ONLY = "read-only"
"""The stores that rows share which change nothing."""


@dataclass(frozen=True)
class Scale:
    """How much is measured. The quick scale shows that everything works; its numbers are rough."""

    command_rounds: int
    client_rounds: int
    memory_rounds: int
    many: int
    load_rounds: int
    load_seconds: int


FULL = Scale(command_rounds=7, client_rounds=15, memory_rounds=3, many=100_000, load_rounds=5, load_seconds=3)
QUICK = Scale(command_rounds=2, client_rounds=3, memory_rounds=1, many=2_000, load_rounds=1, load_seconds=1)


@dataclass
class Arena:
    """One run: who takes part, where state is kept, and what went wrong so far."""

    contestants: Mapping[str, Contestant]
    state: Path
    scale: Scale
    progress: Progress
    failures: list[str] = field(default_factory=list)
    filled: set[Path] = field(default_factory=set)

    def failed(self, row: str, contestant: str, error: Exception) -> None:
        """Note why a cell stays empty; each reason once."""
        text = f"{row}: {contestant}: {error}"
        if text not in self.failures:
            self.failures.append(text)

    def folder(self, row: str, contestant: str) -> Path:
        """The folder where a contestant keeps its state in one row; empty when the row begins."""
        folder = self.state / f"{row}-{contestant}"
        folder.mkdir(exist_ok=True)
        return folder


@dataclass(frozen=True)
class Row:
    """A group of cases that are measured together, in turns."""

    name: str
    about: str
    measure: Callable[[Arena], list[Measurement]]


@dataclass(frozen=True)
class Turn:
    """What one contestant does for one case when it is its turn."""

    case: str
    contestant: str
    subject: str
    take: Callable[[], float]


def _take_turns(arena: Arena, row: str, unit: str, rounds: int, turns: Sequence[Turn]) -> list[Measurement]:
    taken = interleave(
        {turn: turn.take for turn in turns},
        rounds,
        lambda number, of: arena.progress.detail(row, "warm-up" if number == 0 else f"round {number} of {of}"),
        lambda turn, error: arena.failed(row, turn.contestant, error),
    )
    return [Measurement(row, turn.case, turn.contestant, unit, results, turn.subject) for turn, results in taken.items()]


def _help(arena: Arena) -> list[Measurement]:
    turns = []
    for level in (TOP, GROUP, COMMAND):
        for contestant in arena.contestants.values():
            command = contestant.help[level]
            variables = contestant.variables(arena.state)
            try:
                run_checked(command, variables)
            except MeasurementError as error:
                arena.failed("help", contestant.name, error)
            else:
                turns.append(Turn(level, contestant.name, shown(command), command_turn(command, variables)))
    return _take_turns(arena, "help", "s", arena.scale.command_rounds, turns)


def _stored(arena: Arena, row: str) -> Iterator[tuple[Contestant, dict[str, str]]]:
    """The contestants whose command line stored one secret and printed it back, with their environment variables."""
    for contestant in arena.contestants.values():
        if not contestant.get:
            continue
        arena.progress.detail(row, f"storing a secret with {contestant.name}")
        variables = dict(contestant.variables(arena.folder(row, contestant.name)))
        try:
            run_checked(contestant.create, variables)
            run_checked(contestant.get, variables, expect=PASSWORD)
        except MeasurementError as error:
            arena.failed(row, contestant.name, error)
        else:
            yield contestant, variables


def _pipeline(row: str, *, runs: bool) -> Callable[[Arena], list[Measurement]]:
    """The script of a pipeline: run, or imported as a module."""

    def measure(arena: Arena) -> list[Measurement]:
        turns = []
        for contestant in arena.contestants.values():
            if not contestant.pipeline:
                continue
            name = contestant.pipeline.removesuffix(".py")
            imports = f"import sys; sys.path.insert(0, {str(PROGRAMS)!r}); import {name}"
            command = [contestant.python, PROGRAMS / contestant.pipeline] if runs else [contestant.python, "-c", imports]
            variables = contestant.variables(arena.folder(row, contestant.name))
            arena.progress.detail(row, f"trying {contestant.name}")
            try:
                run_checked(command, variables, expect="45" if runs else "")
            except MeasurementError as error:
                arena.failed(row, contestant.name, error)
            else:
                turns.append(Turn("two steps", contestant.name, name, command_turn(command, variables)))
        return _take_turns(arena, row, "s", arena.scale.command_rounds, turns)

    return measure


def _secret_get(arena: Arena) -> list[Measurement]:
    turns = []
    ready = list(_stored(arena, "secret-get"))
    for terminal in (False, True):
        case = "on a terminal" if terminal else "in a script"
        for contestant, variables in ready:
            take = command_turn(contestant.get, variables, terminal)
            turns.append(Turn(case, contestant.name, shown(contestant.get), take))
    return _take_turns(arena, "secret-get", "s", arena.scale.command_rounds, turns)


@contextmanager
def _workers(arena: Arena, row: str, counts: Sequence[int], store: str = "") -> Iterator[dict[tuple[str, int], Worker]]:
    """A process per in-process contestant and number of secrets in its store, opened and filled.

    Rows that only read name the same `store` and share it; others leave it out and get one of their own.
    """
    with ExitStack() as stack:
        workers: dict[tuple[str, int], Worker] = {}
        for contestant in arena.contestants.values():
            for count in counts if contestant.worker else ():
                folder = arena.folder(f"{store or row}-{count}", contestant.name)
                worker = Worker(contestant.python, contestant.worker, contestant.variables(folder), folder / "log")
                stack.enter_context(worker)
                try:
                    worker.order("open")
                    if folder not in arena.filled:
                        _fill(arena, row, contestant.name, worker, count)
                        arena.filled.add(folder)
                except MeasurementError as error:
                    arena.failed(row, contestant.name, error)
                else:
                    workers[contestant.name, count] = worker
        yield workers


def _fill(arena: Arena, row: str, name: str, worker: Worker, count: int) -> None:
    step = max(FEW, count // 50)
    for first in range(0, count, step):
        arena.progress.detail(row, f"{name}: {first:,} of {count:,} secrets stored")
        worker.order("fill", first=first, last=min(count, first + step))


def _client_get(arena: Arena) -> list[Measurement]:
    calls = 50
    cases = {FEW: "one of few secrets", arena.scale.many: "one of many secrets"}
    with _workers(arena, "client-get", list(cases), READ_ONLY) as workers:
        turns = [
            Turn(cases[count], name, f"get, {calls} calls a turn", worker.turn("get", calls=calls, known=count))
            for (name, count), worker in workers.items()
        ]
        turns.sort(key=lambda turn: list(cases.values()).index(turn.case))
        return _take_turns(arena, "client-get", "s", arena.scale.client_rounds, turns)


def _client_write(row: str, order: str) -> Callable[[Arena], list[Measurement]]:
    calls = 20

    def measure(arena: Arena) -> list[Measurement]:
        arguments = {"calls": calls} if order == "create" else {"calls": calls, "known": FEW}
        with _workers(arena, row, [FEW]) as workers:
            turns = [
                Turn("durable", name, f"{order}, {calls} calls a turn", worker.turn(order, **arguments))
                for (name, _), worker in workers.items()
            ]
            return _take_turns(arena, row, "s", arena.scale.client_rounds, turns)

    return measure


def _list(arena: Arena) -> list[Measurement]:
    many = arena.scale.many
    pages = {"first page": 1, "middle page": many // PAGE_SIZE // 2, "last page": many // PAGE_SIZE}
    cases = [("first page, few secrets", FEW, 1)]
    cases += [(f"{which}, many secrets", many, number) for which, number in pages.items()]
    with _workers(arena, "list", [FEW, many], READ_ONLY) as workers:
        turns = [
            Turn(
                case,
                name,
                f"page {number:,} of {count:,} secrets, {PAGE_SIZE} on a page",
                worker.turn("page", calls=10, number=number, expected_total=count),
            )
            for case, wanted, number in cases
            for (name, count), worker in workers.items()
            if count == wanted
        ]
        return _take_turns(arena, "list", "s", arena.scale.client_rounds, turns)


def _memory(arena: Arena) -> list[Measurement]:
    turns = []
    for contestant, variables in list(_stored(arena, "memory")):
        take = _peak_of_command(arena.contestants["bare"].python, contestant.get, variables)
        turns.append(Turn("secret get", contestant.name, shown(contestant.get), take))
    with _workers(arena, "memory", [1]) as workers:
        ready = [name for name, _ in workers]
    for name in ready:
        contestant = arena.contestants[name]
        folder = arena.folder("memory-1", name)
        take = _peak_of_client(contestant, contestant.variables(folder), folder / "log")
        turns.append(Turn("process after one client read", name, "open the client, read one secret", take))
    return _take_turns(arena, "memory", "B", arena.scale.memory_rounds, turns)


def _peak_of_command(python: Path, command: Sequence[str | Path], variables: Mapping[str, str]) -> Callable[[], float]:
    def take() -> float:
        launcher = [python, "-I", "-S", PROGRAMS / "peak_memory.py", *command]
        done = subprocess.run(launcher, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
        code, peak = map(int, done.stdout.split())
        if code != 0:
            raise MeasurementError(f"{shown(command)}: exit code {code}")
        return peak

    return take


def _peak_of_client(contestant: Contestant, variables: Mapping[str, str], log: Path) -> Callable[[], float]:
    def take() -> float:
        with Worker(contestant.python, contestant.worker, variables, log) as worker:
            worker.order("open")
            worker.order("get", calls=1, known=1)
            peak = worker.order("peak_bytes")
        assert isinstance(peak, int)
        return peak

    return take


def _size(arena: Arena) -> list[Measurement]:
    arena.progress.detail("size", "counting")
    empty = environments.installed_bytes(environments.ROOT / "bare")
    measurements = []
    for contestant in arena.contestants.values():
        if contestant.own_size:
            added = environments.installed_bytes(contestant.folder) - empty
            measurements.append(
                Measurement("size", "beyond an empty environment", contestant.name, "B", (float(added),), "disk blocks")
            )
    return measurements


ROWS = (
    Row("help", "start-up of --help, by depth", _help),
    Row("secret-get", "`secret get` by command line", _secret_get),
    Row("client-get", "Python client, read by name", _client_get),
    Row("client-create", "Python client, create", _client_write("client-create", "create")),
    Row("client-update", "Python client, update", _client_write("client-update", "update")),
    Row("import-steps", "importing a module that defines steps", _pipeline("import-steps", runs=False)),
    Row("pipeline-run", "a script that runs a pipeline", _pipeline("pipeline-run", runs=True)),
    Row("list", "Python client, pages of few and of many secrets", _list),
    Row("memory", "peak resident memory", _memory),
    Row("size", "installed size", _size),
)
