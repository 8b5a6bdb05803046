"""Events of many requests go into a journal together, and from there into the chain."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from strongroom.audit.journal import Journal, journals
from strongroom.errors import Unavailable
from strongroom.models.audit_event import ListAuditEvents, VerifyAudit
from strongroom.operations import audit as operations
from strongroom.operations import secret as of_secret
from strongroom.server.group_commit import GroupCommit
from strongroom.server.journal import MAX_WAITING, JournalTrail, open_journal
from strongroom.service.audit_log import COLLECTED, AuditLog
from strongroom.service.facts import Facts, facts_of
from strongroom.service.wiring import Service
from tests.unit.server.conftest import Run


class Watched(Journal):
    """Counts the entries, and breaks when it is told to."""

    def __init__(self, folder: Path, key: bytes, spare: Path | None) -> None:
        super().__init__(folder, key, spare)
        self.entries: list[int] = []
        self.broken = False
        self.pretends = ""

    @property
    def is_half_full(self) -> bool:
        return self.pretends != ""

    @property
    def is_full(self) -> bool:
        return self.pretends == "full"

    def write(self, facts: Sequence[bytes]) -> None:
        if self.broken:
            raise OSError(28, "No space left on device")
        super().write(facts)
        self.entries.append(len(facts))


class Watching(AuditLog):
    """Makes journals that are watched."""

    def __init__(self, service: Service) -> None:
        super().__init__(service.deployment)
        self.made: list[Watched] = []

    def new_journal(self, spare: Path | None = None) -> Journal:
        assert self._folder is not None
        self.made.append(Watched(self._folder, self._key, spare))
        self.register(self.made[-1])
        return self.made[-1]


@asynccontextmanager
async def open_trail(log: Watching) -> AsyncIterator[tuple[JournalTrail, list[Exception]]]:
    """A trail, and what it warns of. At its end no journal is left."""
    warnings: list[Exception] = []
    trail = JournalTrail(log, log.new_journal(), warnings.append)
    yield trail, warnings
    await trail.close()
    assert list(log.made[0].path.parent.iterdir()) == []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


def count(service: Service) -> int:
    """How many events are in the chain, which is whole."""
    report = service.dispatcher.call(operations.VERIFY, VerifyAudit(), service.local_actor)
    assert report.valid
    return report.events


def in_chain(service: Service) -> int:
    """The same without collecting."""
    with service.deployment.database.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM audit_events").scalar_one())


@pytest.fixture
def log(local_service: Service) -> Watching:
    return Watching(local_service)


@pytest.fixture
def facts(local_service: Service) -> list[Facts]:
    return facts_of(of_secret.LIST, local_service.local_actor, None, None)


def test_events_of_many_go_into_few_entries(run: Run, local_service: Service, log: Watching, facts: list[Facts]) -> None:
    """What arrives during a sync goes into the next one, and each gets into the chain once."""

    async def main() -> None:
        async with open_trail(log) as (trail, warnings):
            for _ in range(3):
                await asyncio.gather(*(trail.record(facts) for _ in range(200)))
        assert warnings == []

    run(main())
    assert sum(log.made[0].entries) == 600
    assert len(log.made[0].entries) <= 12
    assert in_chain(local_service) == count(local_service) == 600


def test_it_ends_in_the_middle_of_moving_events_on(run: Run, local_service: Service, log: Watching, facts: list[Facts]) -> None:
    """Whatever is under way or due then is done or called off, without a warning; what is left is moved at the end."""

    async def main() -> None:
        for turns in range(0, 40, 4):
            trail = JournalTrail(log, log.new_journal(), warned.append)
            await asyncio.gather(*(trail.record(facts) for _ in range(2 * COLLECTED + 1)))
            for _ in range(turns):
                await asyncio.sleep(0)
            await trail.close()
            await asyncio.sleep(0)

    warned: list[Exception] = []
    run(main())
    assert warned == []
    assert in_chain(local_service) == count(local_service) == 10 * (2 * COLLECTED + 1)


def test_one_alone_does_not_wait(run: Run, log: Watching, facts: list[Facts]) -> None:
    """Whoever asks one by one gets an entry for each; that half of those who came together is missing delays only once."""

    async def main() -> None:
        async with open_trail(log) as (trail, _):
            await asyncio.gather(*(trail.record(facts) for _ in range(50)))
            for _ in range(20):
                await trail.record(facts)
                assert trail._gathering.expected == 1

    run(main())
    assert log.made[0].entries[-20:] == [1] * 20


def test_events_get_into_the_chain_by_themselves(run: Run, local_service: Service, log: Watching, facts: list[Facts]) -> None:
    """Nobody has to look for it, and nothing else has to happen."""

    async def main() -> None:
        async with open_trail(log) as (trail, _):
            await trail.record(facts)
            await until(lambda: in_chain(local_service) == 1)
            await asyncio.gather(*(trail.record(facts) for _ in range(1_000)))
            await until(lambda: in_chain(local_service) == 1_001)
            await until(lambda: trail._behind == 0)

    run(main())


def test_somebody_else_may_collect_in_between(run: Run, local_service: Service, log: Watching, facts: list[Facts]) -> None:
    """Whoever looks at the trail moves events on; the process goes on with the rest."""

    async def main() -> None:
        async with open_trail(log) as (trail, _):
            for number in range(1, 40):
                await trail.record(facts)
                assert count(local_service) == number
            await until(lambda: trail._behind == 0)

    run(main())
    assert count(local_service) == 39


def test_the_loop_goes_on_while_others_write(run: Run, local_service: Service, log: Watching, facts: list[Facts]) -> None:
    """Answers leave while somebody has the database's write lock; the events get into the chain afterwards."""
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with local_service.deployment.database.write():
            held.set()
            assert let_go.wait(60)

    async def main() -> None:
        async with open_trail(log) as (trail, warnings):
            holding = other.submit(hold)
            assert held.wait(60)
            for _ in range(300):
                await trail.record(facts)
            await until(lambda: isinstance(trail._collection, asyncio.Future))  # a thread waits for the lock
            await trail.record(facts)
            let_go.set()
            await until(lambda: in_chain(local_service) == 301)
            assert warnings == []
            holding.result()

    with ThreadPoolExecutor(1) as other:
        run(main())


def test_whoever_waits_is_told_when_it_cannot_be_written(run: Run, local_service: Service, log: Watching, facts: list[Facts]) -> None:
    """An answer does not leave when its event is not on record; then another journal is made, and nothing before is lost."""

    async def main() -> None:
        async with open_trail(log) as (trail, _):
            await trail.record(facts)
            log.made[0].broken = True
            with pytest.raises(Unavailable, match="cannot be written: No space left"):
                await trail.record(facts)
            await trail.record(facts)
            assert len(log.made) == 2

    run(main())
    assert count(local_service) == 2


def test_a_sync_that_fails_is_told(run: Run, local_service: Service, log: Watching, facts: list[Facts]) -> None:
    """A disk that may have lost what was written is not asked to sync the same file again."""

    async def main() -> None:
        async with open_trail(log) as (trail, _):
            await trail.record(facts)
            assert trail._syncer is not None
            syncer, sync = trail._syncer, trail._syncer.sync
            syncer.sync = lambda file, done: done(OSError(5, "Input/output error"))  # type: ignore[method-assign]
            with pytest.raises(Unavailable, match="Input/output error"):
                await trail.record(facts)
            syncer.sync = sync  # type: ignore[method-assign]
            await trail.record(facts)
            assert len(log.made) == 2

    run(main())
    assert count(local_service) == 3  # what nobody was told of may be there


def test_a_trail_that_does_not_keep_up_is_told(run: Run, log: Watching, facts: list[Facts]) -> None:
    """Memory is bounded: who comes when too many wait is refused at once, and the others are written."""

    async def main() -> None:
        async with open_trail(log) as (trail, _):
            waiting = [trail.record(facts) for _ in range(MAX_WAITING)]
            with pytest.raises(Unavailable, match="does not keep up"):
                await trail.record(facts)
            for future in waiting[1:]:
                future.cancel()  # clients that have gone
            await waiting[0]

    run(main())


def test_a_full_journal_is_followed_by_another(run: Run, local_service: Service, log: Watching, facts: list[Facts]) -> None:
    """The next one is made ahead; the former one goes when all of it is in the chain."""

    async def main() -> None:
        async with open_trail(log) as (trail, warnings):
            for number in range(3):
                log.made[number].pretends = "half full"
                await trail.record(facts)
                assert trail._next is not None
                await asyncio.wrap_future(trail._next)
                log.made[number].pretends = "full"
                await trail.record(facts)
                following = log.made[number + 1]
                assert len(following.entries) == 1
                await until(lambda: journals(following.path.parent) == [following.path])  # noqa: B023 - it is called here
            assert len(list(following.path.parent.iterdir())) == 2  # one file is kept for the next one
            assert warnings == []

    run(main())
    page = local_service.dispatcher.call(operations.LIST, ListAuditEvents(), local_service.local_actor)
    assert "secret.list" in {event.operation for event in page}
    assert len(log.made) == 4


def test_a_database_that_fails_is_told_and_tried_again(run: Run, local_service: Service, log: Watching, facts: list[Facts]) -> None:
    """The operator hears why; answers go on leaving, and nothing is lost."""
    database = local_service.deployment.database

    def rename(old: str, new: str) -> None:
        with database.write() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")

    async def main() -> None:
        async with open_trail(log) as (trail, warnings):
            rename("audit_events", "away")
            await trail.record(facts)
            await until(lambda: bool(warnings))
            await trail.record(facts)
            rename("away", "audit_events")
            await until(lambda: in_chain(local_service) == 2)

    run(main())
    assert count(local_service) == 2


def test_a_server_has_no_journal_where_there_can_be_none(run: Run, local_service: Service, facts: list[Facts]) -> None:
    """A folder that cannot be made is told; events go to the database then."""
    folder = Path(f"{local_service.deployment.database.url.database}-audit")
    folder.write_text("no folder")
    told: list[dict[str, Any]] = []

    class Log:
        def warning(self, event: str, **fields: Any) -> None:
            told.append({"event": event, **fields})

    assert open_journal(local_service.trail, Log()) is None
    assert told[0]["event"] == "there is no journal: reads take longer"
    assert "NotADirectoryError" in " ".join(told[0]["reason"])

    async def main() -> None:
        group = GroupCommit(local_service.trail, local_service.deployment.database, None)
        await group.record(facts)
        await group.close()

    run(main())
    assert in_chain(local_service) == count(local_service) == 1
