"""A primary secrets store that hangs: what do reads cost that a backup store can answer?

    make .venv/test && .venv/bin/python -m bench.hung_store [--connections 4] [--seconds 30]

A real OpenBao is the primary store, the database the backup, and `strongroom server start` with one worker is asked for secrets over
HTTP on connections that are kept, all the time: while all is well, while OpenBao's process is stopped (it takes connections and
requests, and answers nothing), and when it goes on. Tells how many reads waited for it, and what the others cost beside those of a
healthy primary; then how long it takes until the primary is read again.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection

from bench.large_lists import PASSWORD, Server
from bench.stores import VALUES, openbao_process
from strongroom.client import Client
from strongroom.config import PREFIX, read_settings

SECRETS = 100
WAITED = 0.5
"""A read that takes so many seconds has waited for the store."""

WANTED = 1.2


@dataclass(frozen=True)
class Read:
    """When it began, and how long it took, in seconds."""

    began: float
    seconds: float


class Readers:
    """Threads that read all the time, each on a connection of its own."""

    def __init__(self, server: Server, connections: int) -> None:
        self._server, self._ended = server, threading.Event()
        self.reads: list[Read] = []
        self.failed = 0
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(connections)]
        for each in self._threads:
            each.start()

    def since(self, began: float) -> list[Read]:
        """Those that began after this moment, and have ended."""
        return [each for each in list(self.reads) if each.began >= began]

    def end(self) -> None:
        """Ends them."""
        self._ended.set()
        for each in self._threads:
            each.join()

    def _run(self, number: int) -> None:
        connection = HTTPConnection("127.0.0.1", self._server.port, timeout=120)
        headers = {"Authorization": f"Bearer {self._server.token}"}
        while not self._ended.is_set():
            number = (number + 7) % SECRETS
            began = time.perf_counter()
            connection.request("GET", f"/api/v1/secrets/by-name/s{number}", headers=headers)
            answer = connection.getresponse()
            answer.read()
            self.reads.append(Read(began, time.perf_counter() - began))
            self.failed += answer.status != 200
        connection.close()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=4, help="how many clients read at once")
    parser.add_argument("--seconds", type=float, default=30, help="how long the primary hangs")
    wanted = parser.parse_args()
    with openbao_process() as (url, token, primary), serving(url, token) as server:
        readers = Readers(server, wanted.connections)
        try:
            measure(server, readers, primary.pid, wanted.seconds)
        finally:
            os.kill(primary.pid, signal.SIGCONT)
            readers.end()
        print(f"failed reads: {readers.failed} of {len(readers.reads):,}")


@contextmanager
def serving(url: str, token: str) -> Iterator[Server]:
    """A server whose primary store is OpenBao and whose backup store is its database, with some secrets in both."""
    with tempfile.TemporaryDirectory(prefix="strongroom-hung-") as folder:
        named = {
            "CONFIG_PATH": folder,
            "SECRETS_STORE_TYPE": "vault",
            "SECRETS_STORE_VAULT_ADDR": url,
            "SECRETS_STORE_VAULT_TOKEN": token,
            "BACKUP_SECRETS_STORE_TYPE": "sql",
            "ADMIN_USERNAME": "default",
            "ADMIN_PASSWORD": PASSWORD,
        }
        variables = {f"{PREFIX}{name}": text for name, text in named.items()}
        with Client(read_settings(variables)) as client:
            for number in range(SECRETS):
                client.create_secret(f"s{number}", VALUES)
        server = Server(variables)
        try:
            yield server
        finally:
            server.end()


def measure(server: Server, readers: Readers, primary: int, seconds: float) -> None:
    """Healthy, hung, healthy again."""
    time.sleep(2)  # to warm up
    began = time.perf_counter()
    time.sleep(5)
    healthy = readers.since(began)
    show("healthy", healthy)
    stopped = time.perf_counter()
    os.kill(primary, signal.SIGSTOP)
    time.sleep(seconds)
    hung = [each for each in readers.reads if each.began + each.seconds >= stopped]
    waited = [each for each in hung if each.seconds >= WAITED]
    last = max((each.began + each.seconds for each in waited), default=stopped)
    rest = [each for each in hung if each.began >= last]
    show("hung, those that waited", waited)
    print(f"{'':28}the last one ended {last - stopped:.1f} s after the primary stopped")
    show("hung, all later ones", rest)
    ratio = p50(rest) / p50(healthy)
    print(f"{'':28}p50 hung / healthy: {ratio:.2f} (wanted: < {WANTED}); later reads that waited: {count_waited(rest)}")
    os.kill(primary, signal.SIGCONT)
    went_on = time.perf_counter()
    while not is_up(server):
        time.sleep(0.02)
    back = time.perf_counter()
    time.sleep(3)
    show("healthy again", readers.since(back))
    print(f"{'':28}the primary was read again {back - went_on:.1f} s after it went on")


def is_up(server: Server) -> bool:
    """Whether the server counts its primary store as up."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=120)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return 'strongroom_store_up{role="primary",type="vault"} 1.0' in text


def p50(reads: Sequence[Read]) -> float:
    """The median, in seconds."""
    return statistics.median(each.seconds for each in reads)


def count_waited(reads: Sequence[Read]) -> int:
    """Those that waited for the store."""
    return sum(each.seconds >= WAITED for each in reads)


def show(what: str, reads: Sequence[Read]) -> None:
    """A line: how many, and what they cost."""
    if not reads:
        print(f"{what:28}{0:>8} reads")
        return
    ordered = sorted(each.seconds * 1000 for each in reads)
    p99, most = ordered[int(len(ordered) * 0.99)], ordered[-1]
    print(f"{what:28}{len(reads):>8,} reads   p50 {statistics.median(ordered):8.2f} ms   p99 {p99:8.2f} ms   most {most:8.1f} ms")


if __name__ == "__main__":
    main()
