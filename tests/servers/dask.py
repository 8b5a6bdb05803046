"""A real Dask cluster: a scheduler and workers as processes that know nothing of whoever uses them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.servers import PATIENCE_SECONDS, DidNotStartError


class DaskCluster:
    """A scheduler and so many workers, in a folder that has their empty home. Ready when this is made.

    With `tls` they speak TLS alone; then `tls` gives the attributes of whoever connects.
    """

    def __init__(
        self, folder: Path, workers: int, environment: Mapping[str, str] | None = None, *, threads: int = 1, tls: bool = False
    ) -> None:
        self.folder = folder
        self.log_file = folder / "log"
        self._environment = {"HOME": str(folder / "home"), "PATH": os.defpath} | dict(environment or {})
        if "PYTHONPATH" in os.environ:  # where strongroom itself is taken from
            self._environment.setdefault("PYTHONPATH", os.environ["PYTHONPATH"])
        (folder / "home").mkdir()
        file = folder / "scheduler.json"
        here: tuple[str, ...] = ("--host", "127.0.0.1", "--no-dashboard")
        self.tls = certificates(folder) if tls else {}
        if tls:
            names = {"tls-ca-file": "ca_cert", "tls-cert": "cert", "tls-key": "key"}
            here = (
                "--host",
                "tls://127.0.0.1",
                "--no-dashboard",
                *(f"--{option}={self.tls[name]}" for option, name in names.items()),
            )
        self.processes = [
            self._start("dask_scheduler", "--port", "0", "--dashboard-address", ":0", "--scheduler-file", str(file), *here)
        ]
        self._until(lambda: file.exists() and file.read_text().rstrip().endswith("}"))  # it is not written at once
        self.address: str = json.loads(file.read_text())["address"]
        options = ("--no-nanny", "--nthreads", str(threads), "--local-directory", str(folder), *here)
        self.workers = [self._start("dask_worker", self.address, *options) for _ in range(workers)]
        self.processes += self.workers
        self._until(lambda: self.log.count("Registered to:") >= workers)

    @property
    def log(self) -> str:
        """What all of them have written so far."""
        return self.log_file.read_text(errors="replace")

    def stop(self) -> None:
        """Ends all of them."""
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
        for process in self.processes:
            process.wait(PATIENCE_SECONDS)

    def _start(self, module: str, *options: str) -> subprocess.Popen[bytes]:
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", *options],
                env=self._environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill_scheduler(self) -> None:
        """SIGKILL."""
        self.processes[0].kill()

    def _until(self, is_ready: object) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_ready():  # type: ignore[operator]
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.processes[-1].wait(0.02)
                break
            if time.monotonic() > deadline:
                break
        else:
            return
        self.stop()
        raise DidNotStartError(f"the Dask cluster does not start:\n{self.log}")


def certificates(folder: Path) -> dict[str, str]:
    """Attributes of whoever connects, with files of an authority of their own."""
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    files = {"ca_cert": authority.cert_pem, "cert": certificate.cert_chain_pems[0], "key": certificate.private_key_pem}
    for name, blob in files.items():
        blob.write_to_path(folder / f"{name}.pem")
    return {name: str(folder / f"{name}.pem") for name in files}
