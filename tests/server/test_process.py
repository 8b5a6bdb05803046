"""The server as a process: how it starts, serves TLS, and ends."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import trustme

from strongroom.client import Client
from strongroom.client.login import log_in
from strongroom.config import Settings, read_settings
from strongroom.errors import ServerUnknown
from strongroom.redaction import SecretText
from tests.callers import Caller
from tests.canary import CANARY
from tests.fakes.folder_store import folder_variables, python_path
from tests.servers.strongroom import PASSWORD, StrongroomServer, free_port

ADMIN = {"ADMIN_USERNAME": "root", "ADMIN_PASSWORD": PASSWORD}


def test_what_is_being_answered_is_finished(tmp_path: Path) -> None:
    """After SIGTERM nothing new is accepted; a request that was under way is carried out and answered, then the server ends well."""
    server = StrongroomServer({"CONFIG_PATH": str(tmp_path / "server"), **ADMIN}, "--workers", "2")
    try:
        with server.connections() as pool:
            token = Caller(server, pool).log_in("root").token
        body = json.dumps({"name": "s", "values": {"k": CANARY}}).encode()
        head = (
            f"POST /api/v1/secrets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(head.encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 100")  # the handler is reading the body
            server.process.send_signal(signal.SIGTERM)
            _wait_until_refused(server.port)
            connection.sendall(body)
            assert connection.recv(10_000).startswith(b"HTTP/1.1 201")
        assert server.process.wait(30) == 0
    finally:
        server.stop()
    settings = read_settings({"STRONGROOM_CONFIG_PATH": str(tmp_path / "server")})
    with Client(settings) as client:
        assert client.get_secret("s").secret_values == {"k": CANARY}


def test_the_lease_of_the_reconciler_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After SIGTERM the next server makes the stores follow at once; it need not wait until a minute is over."""
    monkeypatch.setenv("PYTHONPATH", python_path())
    variables = {"CONFIG_PATH": str(tmp_path / "server"), **ADMIN, **folder_variables(tmp_path / "values")}
    server = StrongroomServer(variables)
    leases = "SELECT count(*) FROM leases WHERE name = 'reconciler'"
    with closing(sqlite3.connect(tmp_path / "server" / "strongroom.db", timeout=30)) as database:
        try:
            while database.execute(leases).fetchone() == (0,):
                assert server.process.poll() is None
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(30) == 0
            assert database.execute(leases).fetchone() == (0,)
        finally:
            server.stop()


def _wait_until_refused(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=30).close()
        except ConnectionError:
            return


def test_tls(tmp_path: Path) -> None:
    """The server speaks TLS itself; a client that trusts its authority works, and one that does not says what to do."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    options = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    variables = {"CONFIG_PATH": str(tmp_path / "server"), **ADMIN}
    server = StrongroomServer(variables, *options, scheme="https", ca_cert=tmp_path / "ca.pem")
    try:
        settings = read_settings({"STRONGROOM_CONFIG_PATH": str(tmp_path / "client"), "STRONGROOM_CA_CERT": str(tmp_path / "ca.pem")})
        log_in(settings, server.url, "root", SecretText(PASSWORD))
        with Client(settings) as client:
            client.create_secret("s", {"k": CANARY})
            assert client.get_secret("s").secret_values == {"k": CANARY}
        stranger = Settings(folder=settings.folder, database_url=settings.database_url)
        with pytest.raises(ServerUnknown, match="certificate") as caught:
            Client(stranger).list_secrets()
        assert "STRONGROOM_CA_CERT" in (caught.value.hint or "")
        with pytest.raises(ServerUnknown, match="certificate"):
            log_in(settings, f"https://localhost:{server.port}", "root", SecretText(PASSWORD))
        with server.connections() as pool:
            assert "max-age" in Caller(server, pool).call("GET", "/healthz", root="").headers["Strict-Transport-Security"]
    finally:
        server.stop()


def start(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A start that is to fail."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("STRONGROOM_")}
    return subprocess.run(
        [sys.executable, "-m", "strongroom", "server", "start", *options],
        env=environment | {f"STRONGROOM_{name}": text for name, text in variables.items()},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_server_needs_a_key_of_its_operator(tmp_path: Path) -> None:
    """On any database but the local one, even one that was used before with a key file, it does not start without a given key."""
    other = f"sqlite:///{tmp_path / 'other.db'}"
    with Client(read_settings({"STRONGROOM_CONFIG_PATH": str(tmp_path / "state"), "STRONGROOM_DATABASE_URL": other})):
        done = start(CONFIG_PATH=str(tmp_path / "state"), DATABASE_URL=other)
    assert done.returncode == 1
    assert "STRONGROOM_ENCRYPTION_KEY" in done.stderr
    assert "generate-key" in done.stderr
    assert not (tmp_path / "other.db").exists()


def test_a_wrong_start_is_one_clear_line(tmp_path: Path) -> None:
    """A port in use, a certificate without a key, files that are none: exit 1 and one line, and no database is made."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        outcomes = [
            start("--port", port, CONFIG_PATH=str(tmp_path / "state")),
            start("--tls-cert", "cert.pem", CONFIG_PATH=str(tmp_path / "state")),
            start("--tls-cert", "/absent", "--tls-key", "/absent", CONFIG_PATH=str(tmp_path / "state")),
            start("--host", "192.0.2.1", CONFIG_PATH=str(tmp_path / "state")),
        ]
    for done, said in zip(outcomes, ("cannot listen", "both --tls-cert and --tls-key", "no such file", "cannot listen"), strict=True):
        assert done.returncode == 1
        assert said in done.stderr
        assert done.stderr.count("\n") <= 2
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "state").exists()


def test_a_second_server_at_the_same_port_is_refused(admin: Caller, tmp_path: Path) -> None:
    """Two deployments never share a port."""
    done = start("--port", str(admin.server.port), CONFIG_PATH=str(tmp_path / "state"))
    assert done.returncode == 1
    assert "cannot listen" in done.stderr


def test_plain_http_for_others_warns(tmp_path: Path) -> None:
    """Listening beyond this machine without TLS is possible and warned about."""
    variables = {"CONFIG_PATH": str(tmp_path / "server"), "ENCRYPTION_KEY": base64.b64encode(b"k" * 32).decode(), **ADMIN}
    server = StrongroomServer(variables, "--host", "0.0.0.0")
    try:
        assert "warning: this is plain HTTP" in server.log
    finally:
        server.stop()


def test_the_server_works_on_postgresql(postgresql_settings: Settings, tmp_path: Path) -> None:
    """Two workers on a shared database, with the operator's key."""
    assert postgresql_settings.encryption_key is not None
    variables = {
        "CONFIG_PATH": str(tmp_path / "server"),
        "DATABASE_URL": postgresql_settings.database_url,
        "ENCRYPTION_KEY": postgresql_settings.encryption_key,
        **ADMIN,
    }
    server = StrongroomServer(variables, "--workers", "2")
    try:
        with server.connections() as pool:
            root = Caller(server, pool).log_in("root")
            made = root.create("s", {"k": CANARY})
            assert root.call("GET", f"/secrets/{made['id']}").data["values"] == {"k": CANARY}
            assert root.call("GET", "/info").data["database"] == "postgresql"
    finally:
        server.stop()
    assert {path.suffix for path in (tmp_path / "server").glob("*")} <= {".anchor"}  # of the audit trail


@pytest.mark.parametrize("library", ["granian", "starlette"])
def test_without_its_libraries_the_server_says_what_to_install(tmp_path: Path, library: str) -> None:
    """The extra is named."""
    script = """
import sys
sys.modules[sys.argv[2]] = None
from strongroom.cli.main import execute
sys.exit(execute(["server", "start", "--port", sys.argv[1]]))
"""
    environment = os.environ | {"STRONGROOM_CONFIG_PATH": str(tmp_path / "state")}
    command = [sys.executable, "-c", script, str(free_port()), library]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "pip install 'strongroom[server]'" in done.stderr
