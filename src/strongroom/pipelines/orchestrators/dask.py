"""The Dask orchestrator: the steps of a run side by side, on the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from strongroom.certificates import certificate_file, extract_certificates
from strongroom.client.transports.remote import check_url
from strongroom.config import PREFIX
from strongroom.errors import ConfigurationError, StepFailed, Unavailable
from strongroom.stacks.orchestrator import Orchestrator, ShippedStep, StepRunner, Task

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_PATIENCE_SECONDS = 3
"""How long workers of a cluster of our own may take to end by themselves."""


class DaskOrchestrator(Orchestrator):
    """Executes steps on the workers of a Dask cluster, as soon as those are done that they depend on.

    Without an address it starts a cluster on this machine, for the run alone. Workers get the run's token and the server's address,
    and nothing else of whoever begins the run. A step is executed once: when its worker is lost, the step has failed.
    """

    flavor = "dask"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._client: Any = None

    @contextlib.contextmanager
    def ready(self, server: str | None) -> Iterator[None]:
        """Connects to the scheduler, or starts a cluster. `ConfigurationError`, `MissingExtra`, `Unavailable`."""
        if server is None:
            raise ConfigurationError(
                f"no step was started: {self.title} needs a server, since its workers cannot reach the store of this machine",
                hint="start one with: strongroom server start; then: strongroom login URL",
            )
        if self.config.server_url:
            check_url(self.config.server_url, insecure=self.settings.insecure)
        distributed = self.needed("distributed")
        with contextlib.ExitStack() as closing:
            if self.config.address:
                address, security = self._checked_address(), self._security(distributed)
            else:
                address, security = closing.enter_context(self._own_cluster(distributed))
            self._client = self._connected(distributed, address, security)
            closing.callback(self._client.close)
            if not self.config.address:
                self._wait_for_a_worker()
            yield

    def execute(self, tasks: Sequence[Task], run_step: StepRunner) -> None:
        """See `Orchestrator`."""
        waiting = {task.name: set(task.after) for task in tasks}
        futures: dict[Any, str] = {}
        failure: StepFailed | None = None
        try:
            while futures or (waiting and failure is None):
                try:
                    if failure is None:
                        self._submit(waiting, futures, run_step)
                    for future in self._ended(futures):
                        name = futures.pop(future)
                        self._settle(future, name, run_step)
                        for needs in waiting.values():
                            needs.discard(name)
                except StepFailed as error:
                    failure = failure or error
                    self._withdraw(futures, run_step)
        except BaseException:  # Ctrl-C, or the server is gone: whoever called is told
            self._client.cancel(list(futures))
            raise
        if failure is not None:
            raise failure

    def _submit(self, waiting: dict[str, set[str]], futures: dict[Any, str], run_step: StepRunner) -> None:
        """Hands over all steps that can begin. One that a former result stands for lets others begin."""
        while ready := [name for name, needs in waiting.items() if not needs]:
            for name in ready:
                del waiting[name]
                shipped = run_step.ship(name, self.config.server_url)
                if shipped is None:
                    for needs in waiting.values():
                        needs.discard(name)
                else:
                    # `retries` and the record of the run see to it that nothing is executed twice.
                    futures[self._client.submit(_carrier(shipped), key=f"{name}-{os.urandom(8).hex()}", pure=False, retries=0)] = name

    def _ended(self, futures: dict[Any, str]) -> list[Any]:
        """Futures that are done; waits for the first. `Unavailable` when nobody works on them."""
        distributed = self.needed("distributed")
        alone_since: float | None = None
        while futures and not (done := [future for future in futures if future.done()]):
            with contextlib.suppress(TimeoutError, CancelledError), self._client.as_current():
                distributed.wait(list(futures), timeout=2, return_when="FIRST_COMPLETED")
                continue
            if self._workers():
                alone_since = None
            elif alone_since is None:
                alone_since = time.monotonic()
            elif time.monotonic() - alone_since > self.config.timeout:
                raise Unavailable(
                    f"{self.title} has had no worker for {self.config.timeout} s", hint="start workers, or look why they ended"
                )
        return done if futures else []

    def _workers(self) -> int:
        try:
            return len(self._client.scheduler_info(n_workers=-1)["workers"])
        except (OSError, TimeoutError):
            return 0

    def _settle(self, future: Any, name: str, run_step: StepRunner) -> None:
        """Takes note of how a step ended. `StepFailed`."""
        if future.status == "finished":
            run_step.settle(name, future.result())
            return
        error = None if future.cancelled() else future.exception()
        kind = type(error).__name__
        if kind == "KilledWorker":
            run_step.fail(name, "the worker that was executing it was lost: killed, out of memory, or cut off", _LOST)
        if error is None:
            run_step.fail(name, "the scheduler forgot it or does not answer any more", "look whether the scheduler was restarted")
        # Not what it says: it may quote what was sent.
        run_step.fail(name, f"the cluster could not execute it ({kind})", "look at the logs of the workers")

    def _withdraw(self, futures: dict[Any, str], run_step: StepRunner) -> None:
        """Takes back what has not begun; what has is waited for."""
        begun = run_step.begun()
        for future in [future for future, name in futures.items() if name not in begun and not future.done()]:
            future.cancel()
            del futures[future]

    # The cluster

    def _checked_address(self) -> str:
        address: str = self.config.address
        parts = urlsplit(address if "://" in address else f"tcp://{address}")
        if parts.scheme not in ("tcp", "tls") or not parts.hostname:
            raise ConfigurationError(f"the address of {self.title} is written tls://host:8786 or tcp://host:8786")
        if parts.scheme == "tcp" and parts.hostname not in _LOOPBACK and not self.config.insecure:
            raise ConfigurationError(
                f"{self.title} is on another machine and does not speak TLS: the tokens of runs would travel in clear",
                hint="set up TLS and use tls://, or set insecure=true if nobody can listen",
            )
        return address

    def _security(self, distributed: ModuleType) -> Any:
        config = self.config
        if not config.address.startswith("tls://"):
            return None
        if not (config.ca_cert and config.cert and config.key):
            raise ConfigurationError(f"{self.title} speaks TLS and needs the attributes ca_cert, cert and key")
        return distributed.Security(
            tls_ca_file=self._authorities(), tls_client_cert=config.cert, tls_client_key=config.key, require_encryption=True
        )

    def _authorities(self) -> str | None:
        """The certificates of `ca_cert`: a file, or the text itself, which Dask takes in ASCII alone."""
        given = str(self.config.ca_cert)
        if "\n" not in given:
            return certificate_file(given)
        try:
            return extract_certificates(given)
        except ValueError:
            raise ConfigurationError(f"the attribute ca_cert of {self.title} holds no certificates (PEM)") from None

    def _connected(self, distributed: ModuleType, address: str, security: Any) -> Any:
        try:
            return distributed.Client(
                address, security=security, timeout=self.config.timeout, set_as_default=False, name=f"{PREFIX.lower()}run"
            )
        except (OSError, TimeoutError, ValueError):
            pass  # its text has the address and perhaps a key's
        raise Unavailable(
            f"no step was started: no Dask scheduler answers {self.title} at {self.config.address or address}",
            hint="check the address and, with TLS, the certificates; and whether it is up",
        )

    @contextlib.contextmanager
    def _own_cluster(self, distributed: ModuleType) -> Iterator[tuple[str, Any]]:
        """A scheduler in this process, and worker processes; nobody without the keys of this run gets at them."""
        import dask

        security = distributed.Security.temporary()
        with contextlib.ExitStack() as closing:
            with dask.config.set({"distributed.scheduler.allowed-failures": 0}):  # a step whose worker was killed has failed
                cluster = distributed.LocalCluster(
                    n_workers=0,
                    security=security,
                    protocol="tls://",
                    host="127.0.0.1",
                    scheduler_port=0,
                    dashboard_address="127.0.0.1:0",
                )
            closing.callback(cluster.close)
            folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="strongroom-dask-", ignore_cleanup_errors=True)))
            count = self.config.workers or os.cpu_count() or 1
            workers = [_start_worker(cluster.scheduler_address, security, folder, number) for number in range(count)]
            closing.callback(_end, workers)
            self._own_workers = workers
            yield cluster.scheduler_address, security

    def _wait_for_a_worker(self) -> None:
        deadline = time.monotonic() + self.config.timeout
        while not self._workers():
            if time.monotonic() > deadline or all(worker.poll() is not None for worker in self._own_workers):
                raise Unavailable(f"no step was started: no worker of {self.title} comes up", hint="look at what they printed")
            with contextlib.suppress(TimeoutError):
                self._client.wait_for_workers(1, timeout=1)


_LOST = "look whether it ran out of memory, then run the pipeline again; a step is not executed twice by itself"


def _carrier(shipped: ShippedStep) -> Callable[[], bytes]:
    """What travels through the cluster. Its class travels with it, so that it can say what is wrong where strongroom is missing.

    It shows its cargo to nobody: schedulers and workers write what they execute into logs and onto dashboards.
    """

    class Carrier:
        def __init__(self, name: str, cargo: bytes, version: str, python: tuple[int, int]) -> None:
            self.name, self.cargo, self.version, self.python = name, cargo, version, python

        def __repr__(self) -> str:
            return f"step {self.name}"

        def __call__(self) -> bytes:
            import json
            import sys

            def refused(what: str, hint: str) -> bytes:
                return json.dumps({"error": what, "hint": hint}).encode()

            here = sys.version_info[:2]
            if here != self.python:
                numbers = [".".join(map(str, each)) for each in (here, self.python)]
                return refused("the worker has Python {}, and the run began with {}".format(*numbers), "use one version everywhere")
            try:
                import strongroom
            except ModuleNotFoundError:
                return refused("the worker has no strongroom", f"install strongroom {self.version} where the workers run")
            if strongroom.__version__ != self.version:
                what = f"the worker has strongroom {strongroom.__version__}, and the run began with {self.version}"
                return refused(what, "use one version everywhere")
            from strongroom.pipelines.remote import execute_shipped

            return execute_shipped(self.cargo)

    return Carrier(shipped.name, shipped.cargo, shipped.version, sys.version_info[:2])


def _start_worker(address: str, security: Any, folder: Path, number: int) -> subprocess.Popen[bytes]:
    """A worker process on this machine. It inherits the environment, but for what is strongroom's."""
    own = folder / str(number)
    own.mkdir(mode=0o700)
    files = {"ca": security.tls_ca_file, "cert": security.tls_worker_cert, "key": security.tls_worker_key}
    for name, text in files.items():
        path = own / f"{name}.pem"
        path.touch(mode=0o600)
        path.write_text(text)
    environment = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    environment |= {"DASK_LOGGING__DISTRIBUTED": "warning", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    options = {
        "--tls-ca-file": own / "ca.pem",
        "--tls-cert": own / "cert.pem",
        "--tls-key": own / "key.pem",
        "--nthreads": 1,
        "--local-directory": own,
        "--name": number,
        "--death-timeout": 60,
    }
    return subprocess.Popen(  # noqa: S603 - nothing of it comes from elsewhere
        [
            *(sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--no-dashboard"),
            *(str(part) for option in options.items() for part in option),
        ],
        env=environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us, who end them
    )


def _end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ends the workers with what they have started."""
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + _PATIENCE_SECONDS
    for worker in workers:
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(max(0.0, deadline - time.monotonic()))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
