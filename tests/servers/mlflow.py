"""A real MLflow tracking server with basic authentication, from an environment of its own.

MLflow's server would weigh as much as everything else in the tests' environment together. So it has pinned requirements of its own,
and an environment that is built once and kept in a cache: `~/.cache/strongroom-tests`, or the folder that the variable TESTS_CACHE
names.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[1] / "requirements" / "mlflow-server.txt"
USER = "admin"


class NotBuilt(Exception):
    """The server's environment cannot be had."""


def environment_folder() -> Path:
    """Where the server's environment is to be; another place for other requirements, another Python or another machine."""
    made_for = REQUIREMENTS.read_bytes() + f"{sys.version} {platform.machine()}".encode()
    return _cache_folder() / f"mlflow-{hashlib.sha256(made_for).hexdigest()[:12]}"


def build_environment() -> Path:
    """The folder of the environment, which is built unless it is there; one process builds, and the others wait for it.

    Raises `NotBuilt`.
    """
    folder = environment_folder()
    if folder.exists():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                _build(folder)
    except OSError as error:
        raise NotBuilt(f"{folder.parent}: {error.strerror}") from error
    return folder


def _build(folder: Path) -> None:
    for abandoned in folder.parent.glob(f"{folder.name}-*"):
        shutil.rmtree(abandoned)
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}-", dir=folder.parent) as temporary:
        unfinished = Path(temporary) / "environment"
        python = ("--python", str(unfinished / "bin" / "python"))
        _run_uv("venv", "--relocatable", "--python", sys.executable, str(unfinished))
        _run_uv("pip", "install", *python, "--require-hashes", "--compile-bytecode", "-r", str(REQUIREMENTS))
        unfinished.rename(folder)


def _run_uv(*arguments: str) -> None:
    command = [str(Path(sys.executable).parent / "uv"), "--quiet", *arguments]
    environment = {**os.environ, "HOME": str(_home())}  # there are uv's settings and its cache
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
    except subprocess.TimeoutExpired:
        raise NotBuilt(f"uv {arguments[0]} takes too long") from None
    if done.returncode != 0:
        raise NotBuilt(f"uv {arguments[0]}: {done.stderr.strip()}")


def _cache_folder() -> Path:
    return Path(os.environ.get("TESTS_CACHE") or _home() / ".cache" / "strongroom-tests")


def _home() -> Path:
    """The real one: the variable HOME is taken from the tests."""
    return Path(pwd.getpwuid(os.getuid()).pw_dir)


class MLflowServer:
    """One server on a free port, with everything that it keeps in a folder of its own under /tmp.

    Its user `admin` has the password given here, which MLflow wants to be of at least twelve characters and keeps as a hash.
    """

    def __init__(self, environment: Path, password: str) -> None:
        """Starts the server from an environment of `build_environment()` and waits until it answers."""
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
        raise AssertionError(f"mlflow does not start:\n{log[-3000:]}")

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
        deadline = time.monotonic() + 80
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
        self._process.wait(30)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
