"""What has to hold when everything is back: the stores follow the index, and nothing is left over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from sqlalchemy import func, select

from strongroom.db.engine import Database
from strongroom.db.tables import copies, deletions, intents, placements, sql_values, versions
from strongroom.metadata.placement import EMPTIED, PRESENT
from strongroom.metadata.version import VersionIndex
from strongroom.models.audit_event import AuditEvent, ListAuditEvents, VerifyAudit
from strongroom.models.job import BackUpSecrets, JobFailure, VerifySecrets
from strongroom.operations import audit as of_audit
from strongroom.secrets_stores.base import is_own
from strongroom.secrets_stores.sql import STORE_ID
from strongroom.service.copies import Copies
from strongroom.service.placements import ConfiguredStore
from strongroom.service.transfers import State, Transfers
from strongroom.service.wiring import Service
from tests.faults.schedules.history import History, Outcome

PASSES = 20
_PAGE = 1000
Emptied = set[tuple[str, int, str]]
"""Versions, by secret and number, with the store that they were moved away from."""


class Moves:
    """What was moved away from where, and may not come back by itself. For whoever runs one job at a time."""

    def __init__(self, database: Database) -> None:
        self._database, self._moved = database, Emptied()
        self._before: set[tuple[str, int]] = set()

    def use(self, database: Database) -> None:
        """Looks at the index by this from now on."""
        self._database = database

    def begin(self, target: str) -> None:
        """A backup or a restore into this store begins: whatever was moved away from there may come back."""
        self._moved = {each for each in self._moved if each[2] != target}
        self._before = all_versions(self._database)

    def done(self, source: str, failures: Iterable[JobFailure]) -> None:
        """It has emptied the source of all that was there when it began, but for what failed."""
        failed = {each.id for each in failures}
        self._moved |= {(secret, version, source) for secret, version in self._before if secret not in failed}

    def note(self) -> None:
        """However it ended: what the index says is emptied stays so."""
        self._moved |= emptied(self._database)

    def came_back(self) -> list[str]:
        """Which of those that were moved away are in their former store again, in words."""
        with self._database.snapshot() as connection:
            rows = connection.execute(
                select(placements.c.secret_id, placements.c.number, placements.c.store_id).where(placements.c.state == PRESENT)
            ).all()
        back = self._moved & {(row.secret_id, row.number, row.store_id) for row in rows}
        return [f"version {number} of {secret} was moved away from {store}, and came back" for secret, number, store in sorted(back)]


def transfers_of(service: Service) -> Transfers:
    """What jobs do, to be done in the caller's thread."""
    database, versions_of = service.deployment.database, VersionIndex(service.store)
    return Transfers(
        database,
        service.placements,
        Copies(database, service.placements, service.store, service.deployment.id),
        versions_of,
        service.store,
    )


def converge(service: Service, later: Callable[[], None]) -> list[str]:
    """Lets the reconciler work, each time some time `later`, until nothing is left to do. What is left nevertheless, in words."""
    for _ in range(PASSES):
        later()
        progress = service.reconciler.run(30)
        service.reconciler.give_lease_back()
        left = {table.name: _count(service.deployment.database, table) for table in (intents, deletions, copies)}
        if not any(left.values()):
            return []
    told = f" ({progress.trouble.message})" if progress is not None and progress.trouble is not None else ""
    return [f"work is left in the index after {PASSES} passes: {left}{told}"]


def compare(service: Service) -> list[str]:
    """A deep verification finds nothing, and each store holds exactly what the index names. What is not so, in words."""
    wrong = []
    state = State()
    transfers_of(service).run(VerifySecrets(deep=True), state, lambda _: None)
    wrong += [f"verify: {each.name} {each.error}" for each in state.failures]
    database = service.deployment.database
    for store in service.placements.stores:
        with database.snapshot() as connection:
            present = (placements.c.store_id == store.store_id, placements.c.state == PRESENT)
            named = set(connection.execute(select(placements.c.locator).where(*present)).scalars())
        there = set(_locators(service, store))
        wrong += [f"{store.store_id} holds {len(there - named)} versions that nothing names"] if there - named else []
        wrong += [f"{store.store_id} lacks {len(named - there)} versions"] if named - there else []
    with database.snapshot() as connection:
        pairs = connection.execute(
            select(versions.c.secret_id, versions.c.number, func.count(placements.c.store_id))
            .outerjoin(placements, (placements.c.secret_id == versions.c.secret_id) & (placements.c.number == versions.c.number))
            .group_by(versions.c.secret_id, versions.c.number)
        ).all()
    wanted = len(service.placements.stores)
    return wrong + [f"version {number} of {secret} is known to {count} stores" for secret, number, count in pairs if count != wanted]


def redundancy(database: Database, stores: Sequence[str]) -> list[str]:
    """Each kept version is, in each store, either placed (or emptied on purpose) or behind. What is not so, in words."""
    with database.snapshot() as connection:
        kept = [tuple(row) for row in connection.execute(select(versions.c.secret_id, versions.c.number))]
        placed, owed = (
            {tuple(row) for row in connection.execute(select(table.c.secret_id, table.c.number, table.c.store_id))}
            for table in (placements, copies)
        )
    wrong = []
    for version in kept:
        for store in stores:
            here, behind = (*version, store) in placed, (*version, store) in owed
            if here is behind:
                wrong.append(
                    f"version {version[1]} of {version[0]} is {'placed and' if here else 'not placed and not'} behind in {store}"
                )
    return wrong


def move_away(service: Service, later: Callable[[], None]) -> list[str]:
    """Moves everything into the backup; the primary stays empty of it. What is not so, in words."""
    if len(service.placements.stores) < 2:
        return []
    state = State()
    transfers_of(service).run(BackUpSecrets(delete_secrets=True), state, lambda _: None)
    wrong = [f"backup: {each.name} {each.error}" for each in state.failures]
    wrong += converge(service, later)
    left = len(set(_locators(service, service.placements.stores[0])))
    return wrong + ([f"after a move {left} versions are in the primary store"] if left else [])


def emptied(database: Database) -> Emptied:
    """What stores were emptied of, as the index says."""
    with database.snapshot() as connection:
        rows = connection.execute(
            select(placements.c.secret_id, placements.c.number, placements.c.store_id).where(placements.c.state == EMPTIED)
        )
        return {(row.secret_id, row.number, row.store_id) for row in rows}


def placed_twice(database: Database) -> list[list[str]]:
    """The locators of each version that both stores hold, in the order of the stores' ids."""
    with database.snapshot() as connection:
        rows = connection.execute(
            select(placements.c.secret_id, placements.c.number, placements.c.locator)
            .where(placements.c.state == PRESENT)
            .order_by(placements.c.secret_id, placements.c.number, placements.c.store_id)
        ).all()
    found: dict[tuple[str, int], list[str]] = {}
    for secret_id, number, locator in rows:
        found.setdefault((secret_id, number), []).append(locator)
    return [locators for locators in found.values() if len(locators) == 2]


def repair(service: Service) -> None:
    """A deep verification that mends what it finds."""
    transfers_of(service).run(VerifySecrets(deep=True, repair=True), State(), lambda _: None)


def all_versions(database: Database) -> set[tuple[str, int]]:
    """All versions that there are, by secret and number."""
    with database.snapshot() as connection:
        return {(row.secret_id, row.number) for row in connection.execute(select(versions.c.secret_id, versions.c.number))}


def audit_is_whole(service: Service) -> list[str]:
    """The audit trail has no gap, whoever was killed while they wrote it."""
    report = service.dispatcher.call(of_audit.VERIFY, VerifyAudit(), service.local_actor)
    return [] if report.valid else ["the audit trail does not verify"]


def recorded(service: Service) -> Iterator[AuditEvent]:
    """All events of calls that succeeded, in their order."""
    last = 0
    while events := service.dispatcher.call(of_audit.LIST, ListAuditEvents(after=last, size=_PAGE), service.local_actor).items:
        last = events[-1].number
        yield from (each for each in events if each.outcome == "ok")


def unrecorded(service: Service, history: History) -> list[str]:
    """Each acknowledged or surely made change has its event in the audit trail. What has none, in words.

    A version that was seen was surely made, by a create or an update; so was the deletion of what is no longer listed.
    """
    events = Counter((each.operation, each.target_id) for each in recorded(service))
    made: Counter[tuple[str, str]] = Counter()
    newest: Counter[str] = Counter()
    for event in history.events:
        if event.outcome is Outcome.OK and event.changes_something:
            made[f"secret.{event.what}", event.secret or event.seen[0].secret] += 1
        for each in event.seen:
            newest[each.secret] = max(newest[each.secret], each.version)
    for secret, version in newest.items():
        made["secret.create", secret] = 1
        made["secret.update", secret] = max(made["secret.update", secret], version - 1)
        made["secret.delete", secret] = 1  # by now all are; a client that sends it again takes another's for its own
    return [
        f"{count - events[change]} of {count} changes have no event: {change[0]} of {change[1]}"
        for change, count in sorted(made.items())
        if events[change] < count
    ]


def _locators(service: Service, store: ConfiguredStore) -> Iterable[str]:
    if store.external is not None:
        found = [each for page in store.external.scan(seconds=30) for each in page]
        return [each.locator for each in found if each.about is None or not is_own(each.about)]
    assert store.store_id == STORE_ID
    with service.deployment.database.snapshot() as connection:
        return list(connection.execute(select(sql_values.c.locator)).scalars())


def _count(database: Database, table: object) -> int:
    with database.snapshot() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[arg-type]
