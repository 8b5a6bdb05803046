"""What strongroom promises, checked against the numbers of the same run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from bench.contestants import COMMAND, GROUP, TOP
from bench.measure import Measurement

BARE_READ = 5e-6
"""Seconds of a bare read on the machine that the promise for a client read was made on."""

BARE_INSERT = 140e-6
"""Seconds of a bare durable insert on that machine."""

ABOUT_EQUAL = 1.25
"""How much dearer than another page a list page may be and still cost about the same."""


Medians = Mapping[tuple[str, str, str], float]
"""The median by row, case and contestant."""


@dataclass(frozen=True)
class Target:
    """One promise: `measured` may be at most `limit`, both of them in `unit` ("x" is a ratio, "s" seconds, "B" bytes)."""

    promise: str
    measured: float
    limit: float
    unit: str

    @property
    def met(self) -> bool:
        return self.measured <= self.limit


def targets(measurements: Sequence[Measurement]) -> list[Target]:
    """The promises for which this run measured all that is needed."""
    medians = {(m.row, m.case, m.contestant): m.median for m in measurements}
    checked = []
    for promise in PROMISES:
        try:
            checked.append(promise(medians))
        except KeyError:
            continue
    return checked


def _help(of: Medians, level: str) -> Target:
    ratio = of["help", level, "strongroom"] / of["help", TOP, "openbao"]
    return Target(f"--help, {level}: at most 1.0x `bao --help`", ratio, 1.0, "x")


def _secret_get(of: Medians) -> Target:
    ratio = of["secret-get", "in a script", "strongroom"] / of["secret-get", "in a script", "zenml"]
    return Target("`secret get`: at most 0.15x zenml", ratio, 0.15, "x")


def _client_read(of: Medians, which: str) -> Target:
    strongroom, bare = (of["client-get", which, name] for name in ("strongroom", "bare"))
    promise = f"client read, {which}: at most 150 µs where a bare read takes 5 µs"
    return Target(promise, strongroom, 150e-6 * bare / BARE_READ, "s")


def _durable_create(of: Medians) -> Target:
    strongroom, bare = (of["client-create", "durable", name] for name in ("strongroom", "bare"))
    promise = "durable create: at most 1.5 ms where a bare durable insert takes 140 µs"
    return Target(promise, strongroom, 1.5e-3 * bare / BARE_INSERT, "s")


def _import_steps(of: Medians) -> Target:
    strongroom, bare = (of["import-steps", "two steps", name] for name in ("strongroom", "bare"))
    return Target("importing steps: at most 100 ms more than bare Python", strongroom - bare, 0.1, "s")


def _list(of: Medians, which: str) -> Target:
    many, few = of["list", f"{which}, many secrets", "strongroom"], of["list", "first page, few secrets", "strongroom"]
    return Target(f"list, {which} of many secrets: about equal to the first page of few", many / few, ABOUT_EQUAL, "x")


def _server(of: Medians, case: str, peer: str, limit: float, promise: str) -> Target:
    return Target(promise, of["server-load", case, "strongroom"] / of["server-load", case, peer], limit, "x")


def _server_tail(of: Medians) -> Target:
    return Target("99% of reads at half load: under 5 ms", of["server-load", "read, half of that load: 99%", "strongroom"], 5e-3, "s")


def _server_memory(of: Medians) -> Target:
    measured = of["server-memory", "largest process after the load", "strongroom"]
    return Target("memory of a worker: at most 120 MB", measured, 120e6, "B")


def _server_start(of: Medians) -> Target:
    return Target("server ready in under 1 s", of["server-start", "until it is ready", "strongroom"], 1.0, "s")


_READ, _CREATE = (f"{what}, 8 connections: time per answer" for what in ("read", "create"))
_NAMED = "read by name alone, 8 connections: time"

PROMISES: tuple[Callable[[Medians], Target], ...] = (
    *(partial(_help, level=level) for level in (TOP, GROUP, COMMAND)),
    _secret_get,
    *(partial(_client_read, which=which) for which in ("one of few secrets", "one of many secrets")),
    _durable_create,
    _import_steps,
    *(partial(_list, which=which) for which in ("first page", "middle page", "last page")),
    partial(
        _server, case=_READ, peer="openbao", limit=1 / 1.5, promise="server reads: at least 1.5x OpenBao's (time: at most 0.67x)"
    ),
    partial(
        _server, case=_NAMED, peer="zenml", limit=1 / 40, promise="server reads by name: at least 40x zenml's (time: at most 0.025x)"
    ),
    partial(
        _server, case=_READ, peer="zenml", limit=1 / 40, promise="server reads: at least 40x zenml's by id (time: at most 0.025x)"
    ),
    partial(_server, case=_CREATE, peer="openbao", limit=1.0, promise="server creates: at least as many as OpenBao"),
    _server_tail,
    _server_memory,
    _server_start,
)
