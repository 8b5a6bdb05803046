"""Backup and verification of very many secrets: does the memory that they take grow with the number of secrets?

    PYTHONPATH=src python -m bench.large_transfers [--sizes 20000 200000]

Makes a deployment of each size in a process of its own: the database is the primary store, with real encrypted values, and the backup
is a store that makes its values up from locators, so that it takes no memory, however many there are. All else is as it is with a
real one. Secrets are written with many of them in one transaction, which takes a minute for 200,000. Then it backs up, verifies, and
verifies deeply, and tells how much the most resident memory grew during each, in MiB, and how many secrets were done in a second.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from uuid import UUID

from strongroom.config import PREFIX, read_settings
from strongroom.db.clock import now
from strongroom.db.identifiers import new_id
from strongroom.errors import ValuesMissing
from strongroom.metadata.secret import SecretIndex
from strongroom.models.job import BackUpSecrets, GetJob, JobStatus, VerifySecrets
from strongroom.secrets_stores.base import About, Capabilities, Found
from strongroom.secrets_stores.guarded import GuardedStore
from strongroom.secrets_stores.sql import STORE_ID, Place
from strongroom.service.placements import Configured
from strongroom.service.wiring import Service

SIZES = (20_000, 200_000)
AT_ONCE = 2_000
_FIRST = 0x0190_0000_0000_7000_8000 << 48
"""Ids of secrets are this and their number."""


def secret_id_of(number: int) -> str:
    """Of the secret of this number."""
    return str(UUID(int=_FIRST + number))


def values_of(secret_id: str) -> dict[str, str]:
    """What is in this secret."""
    return {"username": "somebody", "password": f"the password {UUID(secret_id).int - _FIRST}"}


class EndlessStore:
    """Has what was put, for as long as that is one version of each secret: it remembers only how many there were."""

    store_id, capabilities = "endless", Capabilities(max_bytes=65_536, scan_describes=False)

    def __init__(self) -> None:
        self.size = 0

    def new_locator(self, secret_id: str) -> str:
        """The secret's id: nobody may ask twice."""
        return f"endless/{secret_id}"

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        """Counts it."""
        assert dict(values) == values_of(about.secret_id), "not what was written"
        self.size += 1

    def get(self, locator: str, *, seconds: float) -> dict[str, str]:
        """Makes it up."""
        if not self.size:
            raise ValuesMissing("nothing was put")
        return values_of(locator.removeprefix("endless/"))

    def delete(self, locator: str, *, seconds: float) -> None:
        """Nobody does."""
        raise AssertionError(locator)

    def scan(self, *, seconds: float) -> Iterator[Sequence[Found]]:
        """All of them."""
        for start in range(0, self.size, 1_000):
            yield [Found(locator=f"endless/{secret_id_of(each)}") for each in range(start, min(start + 1_000, self.size))]

    def close(self) -> None:
        """Nothing to give back."""


def fill(service: Service, size: int) -> None:
    """Writes so many secrets, as they are after a write to the database alone."""
    index, actor = SecretIndex(service.store), service.local_actor
    for start in range(0, size, AT_ONCE):
        with service.deployment.database.write() as connection:
            for number in range(start, min(start + AT_ONCE, size)):
                secret_id, locator, moment = secret_id_of(number), new_id(), now()
                values = values_of(secret_id)
                index.insert(
                    connection,
                    secret_id=secret_id,
                    workspace_id=actor.workspace_id,
                    private_to="",
                    name=f"secret-{number:07}",
                    user_id=actor.user_id,
                    description="",
                    labels={},
                    expires_at=None,
                    now=moment,
                )
                index.add_version(
                    connection,
                    secret_id=secret_id,
                    number=1,
                    keys=list(values),
                    digest=service.placements.digest(values),
                    user_id=actor.user_id,
                    placed={STORE_ID: locator},
                    now=moment,
                )
                place = Place(secret_id, 1, locator)
                service.store.insert(connection, place, service.store.seal(place, values))


def most_memory() -> int:
    """The most resident memory since `forget_most_memory`, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def forget_most_memory() -> None:
    """From now on the most is counted anew."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(size: int) -> None:
    """One deployment: a line for each of the three."""
    with tempfile.TemporaryDirectory(prefix="strongroom-transfers-") as folder:
        stores = [Configured("primary", "sql", 10, None), Configured("backup", "custom", 10, GuardedStore(EndlessStore()))]
        service = Service(read_settings({f"{PREFIX}CONFIG_PATH": folder}), lambda settings, deployment_id: stores)
        try:
            service.placements.prepare()
            fill(service, size)
            for what, request in (
                ("backup", BackUpSecrets()),
                ("verify", VerifySecrets()),
                ("verify --deep", VerifySecrets(deep=True)),
            ):
                forget_most_memory()
                before, began = most_memory(), time.perf_counter()
                job = service.jobs.begin(service.local_actor, request)
                service.jobs.wait()
                took, grown = time.perf_counter() - began, most_memory() - before
                done = service.jobs.get(service.local_actor, GetJob(id=job.id))
                if done.status is not JobStatus.DONE or (done.report.done, done.report.failed) != (size, 0):
                    raise SystemExit(f"{what}: {done.status}, {done.report.done} done, {done.report.failed} failed, {done.error}")
                print(f"{what:16}{size:>10,} secrets{grown / 2**20:>10.1f} MiB{size / took:>10,.0f}/s", flush=True)
        finally:
            service.close()


def main() -> None:
    """Each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of secrets")
    sizes = parser.parse_args().sizes
    if len(sizes) == 1:
        measure(sizes[0])
        return
    for size in sizes:
        subprocess.run([sys.executable, "-m", "bench.large_transfers", "--sizes", str(size)], check=True)


if __name__ == "__main__":
    main()
