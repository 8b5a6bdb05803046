"""Real runs, commands and servers: what an editor wrote sends nothing of its user's anywhere, before the user approves it."""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.callers import Caller
from tests.canary import CANARY

BIN = Path(sys.executable).parent
PRIVATE, FILE = f"{CANARY}-private", "what is in the file"  # which stays on disk, so no canary


class Listener:
    """A server of the editor's, on loopback, that writes down what it hears."""

    def __init__(self, server: socketserver.TCPServer, heard: list[str]) -> None:
        self.port, self.heard, self._server = server.server_address[1], heard, server
        self._thread = threading.Thread(target=server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def ftp() -> Iterator[Listener]:
    """One that speaks FTP as far as the password."""
    heard: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 ready\r\n")
            for line in self.rfile:
                heard.append(line.decode().strip())
                self.wfile.write(b"331 go on\r\n" if line.startswith(b"USER") else b"530 no\r\n")

    listener = Listener(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler), heard)
    yield listener
    listener.close()


@pytest.fixture
def vault() -> Iterator[Listener]:
    """One that takes logins as Vault does."""
    heard: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            body = json.dumps({"auth": {"client_token": "t", "lease_duration": 3600, "renewable": False}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.send_response(403)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *arguments: object) -> None: ...

    listener = Listener(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler), heard)
    yield listener
    listener.close()


class Programs:
    """What a user starts, with nothing but the server's address and the user's token."""

    def __init__(self, caller: Caller, folder: Path) -> None:
        self._folder = folder
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "STRONGROOM_CONFIG_PATH": str(folder),
            "STRONGROOM_SERVER_URL": caller.server.url,
            "STRONGROOM_API_KEY": caller.token or "",
            "STRONGROOM_ACTIVE_WORKSPACE": caller.workspace,
        }

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=120, check=False
        )

    def strongroom(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(BIN / "strongroom"), *words)


def done(answer: Any) -> Any:
    assert answer.status < 300, answer.status
    return answer.data


@pytest.fixture
def alice(admin: Caller) -> Caller:
    return admin.add(f"alice-{admin.workspace}", "editor")


@pytest.fixture
def mallory(admin: Caller) -> Caller:
    return admin.add(f"mallory-{admin.workspace}", "editor")


SCRIPT = textwrap.dedent(
    """
    from strongroom.pipelines import pipeline
    from strongroom.steps import step

    @step
    def one() -> int:
        print("a step began")
        return 1

    @pipeline
    def p() -> None:
        one()

    if __name__ == "__main__":
        p()
    """
)


def test_a_run_on_an_exchanged_component(tmp_path: Path, alice: Caller, mallory: Caller, ftp: Listener) -> None:
    """A run stops before any step and names component, author and secret; once it is approved, it does what it says."""
    alice.create("ftp", {"password": PRIVATE}, scope="user")
    mallory.create("ftp", {"password": "the team's"})
    options = {"host": "127.0.0.1", "port": ftp.port, "username": "team", "password": "{{ftp.password}}"}
    store = {"type": "artifact_store", "name": "team-store", "flavor": "fsspec"}
    done(mallory.call("POST", "/components", {**store, "configuration": {"path": "ftp://127.0.0.1/a", "options": options}}))
    default = done(mallory.call("GET", "/stacks/by-name/default"))
    done(mallory.call("PATCH", f"/stacks/{default['id']}", {"components": {"artifact_store": "team-store"}}))
    (tmp_path / "go.py").write_text(SCRIPT)
    programs, author = Programs(alice, tmp_path), f"mallory-{mallory.workspace}"

    stopped = programs.run(sys.executable, "go.py")
    assert stopped.returncode != 0
    assert f"artifact store 'team-store' (revision 1 by '{author}')" in stopped.stderr
    assert "{{ftp.password}}" in stopped.stderr
    assert "strongroom stack approve default" in stopped.stderr
    assert "a step began" not in stopped.stdout
    assert done(alice.call("GET", "/runs"))["total"] == 0

    invalid = programs.strongroom("stack", "validate", "-o", "json")
    assert invalid.returncode == 1
    assert {each["name"] for each in json.loads(invalid.stdout)["waiting"]} == {"default", "team-store"}
    python = programs.run(
        sys.executable, "-c", "from strongroom.client import Client; print(Client().active_stack.artifact_store.config.options)"
    )
    assert "ApprovalNeeded" in python.stderr
    assert ftp.heard == []

    asked = programs.strongroom("stack", "approve", "default")
    assert asked.returncode != 0
    assert "{{ftp.password}}" in f"{asked.stdout}{asked.stderr}"
    assert "nothing of it was approved before" in asked.stdout
    assert ftp.heard == []
    approved = programs.strongroom("stack", "approve", "default", "-y")
    assert approved.returncode == 0, approved.stderr
    assert programs.strongroom("stack", "validate").returncode == 0
    assert "Nothing of stack 'default' waits" in programs.strongroom("stack", "approve").stderr
    went_on = programs.run(sys.executable, "go.py")
    assert "a step began" in went_on.stdout
    assert any(line.startswith("PASS") for line in ftp.heard)
    ftp.heard.clear()


def test_a_connector_that_names_a_file(tmp_path: Path, alice: Caller, mallory: Caller, vault: Listener) -> None:
    """`verify` sends no file of the machine before its user approves that, and again not after a change."""
    (tmp_path / "id_rsa").write_text(FILE)
    attributes = {
        "auth_method": "jwt",
        "vault_addr": f"http://127.0.0.1:{vault.port}",
        "role": "r",
        "jwt_path": str(tmp_path / "id_rsa"),
        "insecure": True,
    }
    connector = {"type": "service_connector", "name": "vault", "flavor": "vault", "configuration": attributes}
    made, programs = done(mallory.call("POST", "/components", connector)), Programs(alice, tmp_path)
    refused = programs.strongroom("service-connector", "verify", "vault")
    assert refused.returncode == 1
    assert f"(revision 1 by 'mallory-{mallory.workspace}') would take the file {tmp_path / 'id_rsa'} (jwt_path)" in refused.stderr
    assert "strongroom service-connector approve vault" in refused.stderr
    assert vault.heard == []
    assert programs.strongroom("service-connector", "approve", "vault", "-y").returncode == 0
    programs.strongroom("service-connector", "verify", "vault")
    assert any(FILE in line for line in vault.heard)
    vault.heard.clear()
    (tmp_path / "other").write_text(FILE)
    changed = {"configuration": {"jwt_path": str(tmp_path / "other")}}
    done(mallory.call("PATCH", f"/components/{made['id']}", changed))
    assert programs.strongroom("service-connector", "verify", "vault").returncode == 1
    assert vault.heard == []
    asked = programs.strongroom("service-connector", "approve", "vault")
    assert f"jwt_path: {tmp_path / 'id_rsa'} → {tmp_path / 'other'}" in asked.stdout
    assert "changed: " in asked.stdout


def test_a_service_account(tmp_path: Path, admin: Caller, mallory: Caller) -> None:
    """An administrator approves for it by the command line; the account itself cannot."""
    name = f"ci-{admin.workspace}"
    done(admin.call("POST", "/service-accounts", {"name": name, "role": "reader"}))
    key = done(admin.call("POST", f"/service-accounts/{name}/api-keys", {"name": "k"}))["key"]
    store = {"type": "artifact_store", "name": "bucket", "flavor": "s3", "configuration": {"path": "s3://b/p"}}
    done(mallory.call("POST", "/components", store))
    parts = {"orchestrator": "default", "artifact_store": "bucket"}
    done(mallory.call("POST", "/stacks", {"name": "team", "components": parts}))
    account = Caller(admin.server, admin.pool, key, admin.workspace)
    (tmp_path / "ci").mkdir()
    machine, person = Programs(account, tmp_path / "ci"), Programs(admin, tmp_path)
    assert account.call("GET", "/stacks/by-name/team/use").error["code"] == "approval_needed"
    assert f"--for {name}" in machine.strongroom("stack", "approve", "team", "-y").stderr
    assert person.strongroom("stack", "approve", "team", "--for", name, "-y").returncode == 0
    assert account.call("GET", "/stacks/by-name/team/use").status == 200
    assert admin.call("GET", "/stacks/by-name/team/use").status == 403


def test_trusted_administrators(tmp_path: Path, admin: Caller, alice: Caller) -> None:
    """`workspace update --trust-administrators` is off at first, and goes for what administrators of the workspace wrote."""
    store = {"type": "artifact_store", "name": "bucket", "flavor": "s3", "configuration": {"path": "s3://b/p"}}
    done(admin.call("POST", "/components", store))
    parts = {"orchestrator": "default", "artifact_store": "bucket"}
    done(admin.call("POST", "/stacks", {"name": "team", "components": parts}))
    person = Programs(admin, tmp_path)
    assert alice.call("GET", "/stacks/by-name/team/use").error["code"] == "approval_needed"
    for option, status in (("--trust-administrators", 200), ("--no-trust-administrators", 403)):
        changed = person.strongroom("workspace", "update", admin.workspace, option)
        assert changed.returncode == 0, changed.stderr
        assert alice.call("GET", "/stacks/by-name/team/use").status == status


def test_approvals_are_asked_for_once(alice: Caller, mallory: Caller) -> None:
    """A request that arrives twice has one answer, and one that knows another review is refused."""
    store = {"type": "artifact_store", "name": "bucket", "flavor": "s3", "configuration": {"path": "s3://b/p"}}
    done(mallory.call("POST", "/components", store))
    parts = {"orchestrator": "default", "artifact_store": "bucket"}
    done(mallory.call("POST", "/stacks", {"name": "team", "components": parts}))
    seen = done(alice.call("GET", "/approvals?stack=team"))["seen"]
    assert alice.call("POST", "/approvals", {"stack": "team", "seen": "0" * 64}).status == 412
    answers = [alice.call("POST", "/approvals", {"stack": "team", "seen": seen}, Idempotency_Key="k1") for _ in range(2)]
    assert [each.status for each in answers] == [200, 200]
    assert answers[0].data == answers[1].data
    assert alice.call("POST", "/approvals", {"stack": "team", "seen": seen}).status == 412  # it has been approved since
