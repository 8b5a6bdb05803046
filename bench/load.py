"""Rows that put servers under load with `wrk`, all of them in one run, in turns."""

import asyncio
import json
import shutil
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from bench.contestants import CONTESTANT_ERRORS
from bench.environments import EnvironmentFailedError
from bench.measure import Measurement, MeasurementError
from bench.rows import Arena, Row
from bench.servers import SERVERS, Running, Server, Target

CONNECTIONS = 8
MANY_CONNECTIONS = 64
CLIENTS = 1_000

_SCRIPT = """
local threads = 0
function setup(thread) thread:set("mine", threads); threads = threads + 1 end
local method, path, body, pause, run = "%(method)s", "%(path)s", %(body)s, %(pause)s, "%(run)s"
local number = 0
if method == "POST" then
  function request()
    number = number + 1
    local name = string.format("n-%%s-%%d-%%d", run, mine, number)
    return wrk.format(method, (path:gsub("NAME", name)), nil, (body:gsub("NAME", name)))
  end
end
if pause > 0 then
  local rest = 0
  function delay() rest = rest + pause; local now = math.floor(rest); rest = rest - now; return now end
end
function done(summary, latency, requests)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  io.write(string.format("RESULT %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), failed))
end
"""


@dataclass(frozen=True)
class Load:
    """What one run of wrk found, in seconds."""

    per_request: float
    median: float
    slow: float


@dataclass
class _Field:
    """The servers of a row, all of them running, and what was measured of each case."""

    targets: dict[str, Target] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)
    taken: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def note(self, case: str, name: str, seconds: float) -> None:
        self.taken.setdefault((case, name), []).append(seconds)

    def measurements(self, row: str, unit: str, subject: str) -> list[Measurement]:
        return [Measurement(row, case, name, unit, tuple(seconds), subject) for (case, name), seconds in self.taken.items()]


def measure_server_load(arena: Arena) -> list[Measurement]:
    """Reads, then creates, of all servers in turns; then the memory of what has served them."""
    if shutil.which("wrk") is None:
        arena.failed("server-load", "all", MeasurementError("wrk is not installed (on Debian: apt install wrk)"))
        return []
    rounds, seconds = (arena.scale.load_rounds, arena.scale.load_seconds)
    found = _Field()
    with ExitStack() as stack:
        for name, server in _servers(arena, "server-load"):
            try:
                with server.running(server.first_workers):
                    pass
                running = stack.enter_context(server.running())
                found.targets[name], found.running[name] = server.prepare(running.url), running
            except CONTESTANT_ERRORS as error:
                arena.failed("server-load", name, error)
        _take(arena, found, rounds, seconds)
        loads = found.measurements("server-load", "s", f"wrk, {seconds} s a turn; 2 workers, durable, audit on")
        memory = [
            Measurement("server-memory", "largest process after the load", name, "B", (float(running.largest()),), "VmRSS")
            for name, running in found.running.items()
        ]
        return loads + memory


def _take(arena: Arena, found: _Field, rounds: int, seconds: float) -> None:
    for number in range(rounds + 1):
        for name, target in found.targets.items():
            arena.progress.detail("server-load", f"{name}, {'warm-up' if number == 0 else f'round {number} of {rounds}'}")
            try:
                busy = _wrk(arena.state, target, CONNECTIONS, seconds)
                searching = _wrk(arena.state, replace(target, read=target.search), CONNECTIONS, seconds) if target.search else None
                half = _wrk(arena.state, target, CONNECTIONS, seconds, pause=1000 * CONNECTIONS * busy.per_request)
                crowd = _wrk(arena.state, target, MANY_CONNECTIONS, seconds)
                made = _wrk(arena.state, target, CONNECTIONS, seconds, run=f"{number}")
                burst = asyncio.run(_burst(target))
            except (MeasurementError, OSError) as error:
                arena.failed("server-load", name, error)
                continue
            if number == 0:
                continue
            found.note(f"read, {CONNECTIONS} connections: time per answer", name, busy.per_request)
            both = busy.per_request + (searching.per_request if searching else 0)
            found.note(f"read by name alone, {CONNECTIONS} connections: time", name, both)
            found.note(f"read, {CONNECTIONS} connections: median", name, busy.median)
            found.note(f"read, {CONNECTIONS} connections: 99%", name, busy.slow)
            found.note("read, half of that load: 99%", name, half.slow)
            found.note(f"read, {MANY_CONNECTIONS} connections: time per answer", name, crowd.per_request)
            found.note(f"create, {CONNECTIONS} connections: time per answer", name, made.per_request)
            found.note(f"create, {CONNECTIONS} connections: 99%", name, made.slow)
            found.note(f"{CLIENTS:,} clients at once: until the last has read", name, burst)


def measure_server_start(arena: Arena) -> list[Measurement]:
    """From starting the process to the first answer that it is ready, on a database that is there."""
    found = _Field()
    for number in range(arena.scale.memory_rounds + 1):
        for name, server in list(_servers(arena, "server-start", number)):
            arena.progress.detail("server-start", name)
            try:
                with server.running(server.first_workers):
                    pass
                with server.running() as running:
                    if number:
                        found.note("until it is ready", name, running.seconds)
            except CONTESTANT_ERRORS as error:
                arena.failed("server-start", name, error)
    return found.measurements("server-start", "s", "2 workers; OpenBao: until it is unsealed")


def _servers(arena: Arena, row: str, number: int = 0) -> list[tuple[str, Server]]:
    made = []
    for name, make in SERVERS.items():
        try:
            made.append((name, make(arena.folder(f"{row}-{number}", name), arena.progress.say)))
        except (*CONTESTANT_ERRORS, EnvironmentFailedError) as error:
            arena.failed(row, name, error)
    return made


def _wrk(folder: Path, target: Target, connections: int, seconds: float, *, pause: float = 0, run: str = "") -> Load:
    """One run of wrk: reads of the one secret, or with `run` creates of new ones. `pause` is in milliseconds after each answer."""
    script = _SCRIPT % {
        "method": "POST" if run else "GET",
        "path": target.create if run else target.read,
        "body": json.dumps(target.body),
        "pause": pause,
        "run": f"{run}-{time.monotonic_ns()}",
    }
    folder.joinpath("load.lua").write_text(script)
    headers = [part for name, text in target.headers.items() for part in ("-H", f"{name}: {text}")]
    command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", *headers, "-s", folder / "load.lua", target.url + target.read]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise MeasurementError(f"wrk: {done.stderr.strip() or done.stdout.strip()}")
    requests, duration, median, slow, failed = map(int, line.split()[1:])
    if failed or not requests:
        raise MeasurementError(f"{failed} of {requests} requests failed")
    return Load(duration / 1e6 / requests, median / 1e6, slow / 1e6)


async def _burst(target: Target) -> float:
    """Opens a connection for each of many clients at once and reads the secret over each; seconds until the last has it."""
    where = urlsplit(target.url)
    lines = [f"GET {target.read} HTTP/1.1", f"Host: {where.netloc}", "Connection: close"]
    lines += [f"{name}: {text}" for name, text in target.headers.items()]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def read() -> bool:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer.startswith(b"HTTP/1.1 200") and b"password" in answer

    begun = time.perf_counter()
    answered = await asyncio.gather(*(read() for _ in range(CLIENTS)))
    if not all(answered):
        raise MeasurementError(f"{answered.count(False)} of {CLIENTS} clients did not get their answer")
    return time.perf_counter() - begun


ROWS = (
    Row("server-load", "servers under load: reads, creates, many clients, memory", measure_server_load),
    Row("server-start", "start-up of servers", measure_server_start),
)
