"""A real MLflow tracking server with basic authentication, from an environment of its own.

MLflow's server would weigh as much as everything else in the tests' environment together.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.servers import PATIENCE_SECONDS, DidNotStartError

USER = "admin"


class MLflowServer:
    """One server on a free port, with everything that it keeps in a folder of its own under /tmp.

    Its user `admin` has the password given here, which MLflow wants to be of at least twelve characters and keeps as a hash.
    """

    def __init__(self, environment: Path, password: str) -> None:
        """Starts the server from the environment `mlflow-server` and waits until it answers."""
        self.user = USER
        self.password = password
        self._python = environment / "bin" / "python"
        self.folder = Path(tempfile.mkdtemp(prefix="strongroom-mlflow-", dir="/tmp"))
        for _ in range(3):  # another program may take the port before the server does
            port = _free_port()
            self.url = f"http://127.0.0.1:{port}"
            self._process = self._start(port)
            if self._wait():
                return
        log = (self.folder / "log").read_text(errors="replace")
        self.stop()
        raise DidNotStartError(f"mlflow does not start:\n{log[-3000:]}")

    def stop(self) -> None:
        """Ends the server with its workers and removes its folder."""
        self._kill()
        shutil.rmtree(self.folder)

    def _start(self, port: int) -> subprocess.Popen[bytes]:
        stores = [
            "--backend-store-uri",
            f"sqlite:///{self.folder / 'mlflow.db'}",
            "--artifacts-destination",
            str(self.folder / "artifacts"),
        ]
        address = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "MLFLOW_AUTH_ADMIN_USERNAME": self.user,
            "MLFLOW_AUTH_ADMIN_PASSWORD": self.password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven more processes
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
        }
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self._python, "-m", "mlflow", "server", "--app-name", "basic-auth", *address, *stores],
                cwd=self.folder,  # there it makes its database of users
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait(self) -> bool:
        """Whether the server answers; False when it has ended or takes too long."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(urllib.error.URLError, ConnectionError), direct.open(f"{self.url}/health", timeout=10) as answer:
                if answer.status == 200 and self._process.poll() is None:
                    return True
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
                break
        self._kill()
        return False

    def _kill(self) -> None:
        """The server's process leads a group, in which its workers are."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE_SECONDS)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
