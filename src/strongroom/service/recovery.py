"""A lost database, made anew from a secrets store that describes what it holds.

The store tells of each locator whose it is, by the names of its put. The newest version of each secret is current. What the index
alone knew is lost: owners, descriptions, labels, expiry, users, roles, stacks, and which version was current after a roll-back.

Versions are in the order of their numbers, as far as the store tells these, and keep them. So a copy that was made late is where it
belongs, and a write that was never acknowledged is not the newest version if another one has followed. What has no number (put by a
former release, or in `aws`) is in the order of the attempts among the others: after those that were written before it for certain.

What cannot be told: of two values with one number, which are those that were acknowledged. Two writers hoped for it, and one of them
lost; the loser's are deleted as soon as a store lets us. Both come back, in the order of their attempts, so later versions may get
greater numbers than they had. Nor can be told that values with the greatest number were not acknowledged.

A secret is restored as a whole, in one transaction. So it can be cut off anywhere and run again: what is there is skipped.
"""

from __future__ import annotations

import re
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field

import msgspec

from strongroom.auth.policy import Role
from strongroom.db.clock import now
from strongroom.db.engine import ConstraintViolated
from strongroom.db.identifiers import new_id
from strongroom.errors import ConfigurationError, InvalidInput, UnderWay, ValuesCorrupt, ValuesMissing, printable
from strongroom.metadata import deployment as deployments
from strongroom.metadata import lease
from strongroom.metadata.identity import find_workspace, insert_workspace, put_member
from strongroom.metadata.placement import Pair, mark_behind, named_locators, to_delete
from strongroom.metadata.secret import SecretIndex
from strongroom.metadata.stack import create_defaults
from strongroom.metadata.version import count_versions, existing
from strongroom.models.filter import to_microseconds
from strongroom.models.job import JobFailure, JobReport
from strongroom.models.secret import MAX_VERSION, Scope, check_name, check_values
from strongroom.redaction import SecretText
from strongroom.secrets_stores.base import About, Found, is_own
from strongroom.secrets_stores.sql import SqlSecretsStore
from strongroom.service.deployment import Deployment
from strongroom.service.encryption_keys import reseal_digest_key
from strongroom.service.placements import ConfiguredStore, Placements
from strongroom.service.transfers import MOST_FAILURES

OPERATION = "deployment.recover"
"""As the audit trail calls it."""

LEASE = "recovery"
"""Its row stays, and names the deployment that was recovered: so whoever runs it again may."""

_BATCH = 64
_SECONDS = 30.0
"""How long a page of a scan may take, at least."""

_ATTEMPT = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?7[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}\Z")  # `azure` has no room for dashes
_SUFFIX = 12


@dataclass
class _Version:
    """Values as they were found, in one store or in several: store id to locator."""

    at: int
    """When it was written at the latest."""

    number: int | None
    values: dict[str, str] = field(repr=False)
    digest: bytes
    placed: dict[str, str]


@dataclass
class _Lost:
    """A secret as the stores tell of it, its oldest version first, and what was found to be wrong with it.

    `about` is of the last attempt, which knew the secret's latest name: also a copy of an older version does. `spare` is where the
    same values of the same version lie once more.
    """

    id: str
    about: About | None
    versions: list[_Version]
    spare: list[Pair]
    troubles: list[str]

    @property
    def name(self) -> str:
        return "" if self.about is None else self.about.name


class Recovery:
    """Goes through the stores of a lost deployment. One at a time in a database, and no server at work there."""

    def __init__(self, deployment: Deployment, lost_id: str, placements: Placements, sql: SqlSecretsStore) -> None:
        """`placements` has the stores as opened for the deployment `lost_id`, and the digest key of this database."""
        self._deployment, self._database = deployment, deployment.database
        self._lost_id, self._placements, self._index = check_id(lost_id), placements, SecretIndex(sql, deployment.binding)
        self._stores = [each for each in placements.stores if each.external is not None]
        self._workspaces: dict[str, str] = {}
        self.has_begun = False
        """Whether it may have changed anything."""
        self._done = self._failed = self._skipped = 0
        self._failures: list[JobFailure] = []
        self._taken: set[tuple[str, str]] = set()
        self._own: list[Pair] = []

    def run(self, progress: Callable[[int, int], object], *, dry_run: bool = False) -> JobReport:
        """Restores what can be restored. `progress` hears how many secrets were looked at, and how many there are.

        A secret counts as failed if anything of it could not be restored; the rest of it is. With `dry_run` nothing changes.
        `InvalidInput` if the stores cannot tell or hold nothing of that deployment, or if the database is in use. Raises what stops a
        store from being read through: what was restored stays, and it can be run again.
        """
        _check_stores(self._stores)
        self._check_database()
        with closing(sqlite3.connect("")) as notes:  # in a file without a name, which goes by itself; it holds no values
            notes.execute("CREATE TABLE found (secret TEXT, at INTEGER, store INTEGER, locator TEXT, about TEXT, known INTEGER)")
            for number, store in enumerate(self._stores):
                self._scan(notes, number, store)
            if notes.execute("SELECT 1 FROM found GROUP BY locator HAVING count(DISTINCT store) > 1 LIMIT 1").fetchone():
                raise ConfigurationError(  # a locator is made for one put into one store
                    "primary and backup secrets store are the same place", hint="recover from one of them alone"
                )
            (total,) = notes.execute("SELECT count(DISTINCT secret) FROM found").fetchone()
            if not total:
                raise nothing_found(self._stores, self._lost_id)
            if not dry_run:
                self.has_begun = True
                self._adopt()
            looked_at = 0
            for secret_ids in _batches(notes):
                with self._database.read() as connection:
                    known = existing(connection, secret_ids)
                self._skipped += len(known)
                wanted = [(each, _found_of(notes, each)) for each in secret_ids if each not in known]
                for lost in self._placements.workers().map(lambda each: self._look_at(*each), wanted):
                    self._restore(lost, dry_run=dry_run)
                looked_at += len(secret_ids)
                progress(looked_at, total)
        return self.report

    @property
    def report(self) -> JobReport:
        """What it did so far."""
        return JobReport(done=self._done, failed=self._failed, skipped=self._skipped, failures=self._failures)

    def _check_database(self) -> None:
        with self._database.read() as connection:
            row = deployments.find_deployment(connection)
            recovered = lease.find_note(connection, LEASE)
            secrets = count_versions(connection, current=True)
        assert row is not None, "opened databases have a deployment"
        if secrets and recovered != self._lost_id:
            many = "1 secret" if secrets == 1 else f"{secrets} secrets"
            raise InvalidInput(
                f"this database has {many} of its own; a deployment is recovered into an empty one",
                hint="name a new one in STRONGROOM_DATABASE_URL or STRONGROOM_CONFIG_PATH",
            )

    def _adopt(self) -> None:
        """Gives this database the id of the lost deployment, under which its values lie. The digest key stays."""
        with self._database.write() as connection:
            row = deployments.lock_deployment(connection)
            if row.id != self._lost_id:
                if count_versions(connection, current=True):
                    raise _in_use()
                sealed = reseal_digest_key(self._deployment.keys.keyring, row, self._lost_id)
                deployments.adopt_deployment(connection, self._lost_id, *sealed)
            lease.note(connection, LEASE, self._lost_id)
        self._placements.prepare()
        with self._database.write() as connection:
            to_delete(connection, self._own, now())  # so that the lost database does not count as one that is still used

    def _scan(self, notes: sqlite3.Connection, number: int, store: ConfiguredStore) -> None:
        """Notes what a store holds, and whether the index knows it. What says nothing of itself is a failure, unless it does."""
        assert store.external is not None
        for page in store.external.scan(seconds=max(store.timeout, _SECONDS), markers=True):
            with self._database.read() as connection:
                known = named_locators(connection, [found.locator for found in page])
            for found in page:
                about = found.about
                if about is None or about.deployment_id != self._lost_id:
                    if found.locator not in known:
                        self._fail("", "", f"{found.locator} in {store.store_id} does not say whose it is")
                    continue
                if is_own(about):  # what a trial of the store has left, or a marker of the lost database
                    if found.locator not in known:
                        self._own.append((store.store_id, found.locator))
                    continue
                row = about.secret_id, _moment(found), number, found.locator, msgspec.json.encode(asdict(about)).decode()
                notes.execute("INSERT INTO found VALUES (?, ?, ?, ?, ?, ?)", (*row, found.locator in known))

    def _look_at(self, secret_id: str, found: Sequence[tuple[int, int, str, About]]) -> _Lost:
        """Reads all that was found of a secret. Copies are told from versions by their digests, and by numbers if they have any.

        Those without a number come first, in the order of their attempts; then the others, the newest first. So of several that have
        the values of a copy, the latest one is taken.
        """
        latest = max(found, key=lambda each: (each[0], each[2]), default=None)
        lost = _Lost(secret_id, latest[3] if latest else None, [], [], [])
        for at, place, locator, about in sorted(found, key=_numberless_first):
            store = self._stores[place]
            assert store.external is not None
            try:
                values = store.external.get(locator, seconds=store.timeout)
                check_values({key: SecretText(value) for key, value in values.items()})
            except ValuesMissing:
                continue  # deleted since the scan
            except (ValuesCorrupt, InvalidInput):
                lost.troubles.append(f"{locator} in {store.store_id} is damaged")
                continue
            digest, number = self._placements.digest(values), _number(about)
            same = [each for each in lost.versions if each.digest == digest and (number is None or each.number in (number, None))]
            elsewhere = [each for each in same if store.store_id not in each.placed]
            if elsewhere:
                version = max(elsewhere, key=lambda each: (each.number == number, each.at))
                version.placed[store.store_id], version.number, version.at = locator, number, min(version.at, at)
            elif number is not None and any(each.number == number for each in same):
                lost.spare.append((store.store_id, locator))
            else:
                lost.versions.append(_Version(at, number, values, digest, {store.store_id: locator}))
        lost.versions = _in_order(lost.versions)
        return lost

    def _restore(self, lost: _Lost, *, dry_run: bool) -> None:
        if not lost.versions:
            for trouble in lost.troubles:
                self._fail(lost.name, lost.id, trouble)
            self._failed += bool(lost.troubles)
            return
        about, actor = lost.about, self._deployment.local_actor
        assert about is not None, "where there are versions, something was read"
        is_private = about.scope == Scope.USER
        suffix = f"-{lost.id.replace('-', '')[-_SUFFIX:]}"
        name = _name(about.name)
        if name is None:
            name = f"recovered{suffix}"
            lost.troubles.append(f"its name cannot be used; it is called '{name}' now")
        elif is_private:
            name = f"{name[: 255 - len(suffix)]}{suffix}"
            lost.troubles.append(f"it was private to somebody; it is private to '{actor.name}' now, and called '{name}'")
        elif not self._is_free(about.workspace, name):
            name = f"{name[: 255 - len(suffix)]}{suffix}"
            lost.troubles.append(f"another secret of its workspace is called so; this one is called '{name}' now")
        workspace = _name(about.workspace) or "default"
        if workspace != about.workspace:
            lost.troubles.append("its workspace has no name; it is in 'default' now")
        if not dry_run:
            try:
                self._insert(lost, name, workspace, actor.user_id if is_private else "")
            except ConstraintViolated:
                raise _in_use() from None
        self._taken.add((workspace, name))
        for trouble in lost.troubles:
            self._fail(lost.name, lost.id, trouble)
        self._done += not lost.troubles
        self._failed += bool(lost.troubles)

    def _is_free(self, workspace: str, name: str) -> bool:
        if (workspace, name) in self._taken:
            return False
        with self._database.read() as connection:
            row = find_workspace(connection, self._deployment.local_actor.user_id, workspace)
            return row is None or self._index.find_by_name(connection, row.id, [""], name) is None

    def _insert(self, lost: _Lost, name: str, workspace: str, private_to: str) -> None:
        user_id, moment = self._deployment.local_actor.user_id, now()
        workspace_id = self._workspace(workspace)
        created = min(_made(lost.id) or moment, lost.versions[0].at or moment)
        with self._database.write() as connection:
            self._index.insert(
                connection,
                secret_id=lost.id,
                workspace_id=workspace_id,
                private_to=private_to,
                name=name,
                user_id=user_id,
                description="",
                labels={},
                expires_at=None,
                now=created,
                last_version=lost.versions[-1].number or 1,
                updated=max(created, lost.versions[-1].at),
            )
            for version in lost.versions:
                self._index.add_version(
                    connection,
                    secret_id=lost.id,
                    number=version.number or 1,
                    keys=list(version.values),
                    digest=self._placements.version_digest(version.digest, lost.id, version.number or 1),
                    user_id=user_id,
                    placed=version.placed,
                    now=version.at or moment,
                )
                missing = [each.store_id for each in self._placements.stores if each.store_id not in version.placed]
                mark_behind(connection, [(each, (lost.id, version.number or 1)) for each in missing], moment)
            to_delete(connection, lost.spare, moment)

    def _workspace(self, name: str) -> str:
        """The workspace of this name, made if need be; whoever recovers administers it."""
        if name not in self._workspaces:
            user_id = self._deployment.local_actor.user_id
            with self._database.write() as connection:
                row = find_workspace(connection, user_id, name)
                if row is None:
                    insert_workspace(connection, workspace_id := new_id(), name, now())
                    put_member(connection, workspace_id, user_id, Role.ADMIN)
                    create_defaults(connection, workspace_id, user_id, now())
                self._workspaces[name] = row.id if row else workspace_id
        return self._workspaces[name]

    def _fail(self, name: str, secret_id: str, error: str) -> None:
        """Notes what is wrong. Something that belongs to no secret counts by itself."""
        if not secret_id:
            self._failed += 1
        if len(self._failures) < MOST_FAILURES:
            self._failures.append(JobFailure(name=printable(name), id=secret_id, error=error))


def check_id(deployment_id: str) -> str:
    """The id itself if it is one of a deployment. `InvalidInput`."""
    try:
        good = str(uuid.UUID(deployment_id)) == deployment_id
    except ValueError:
        good = False
    if not good:
        raise InvalidInput("the id of a deployment is a UUID", hint="see: strongroom server recover --help")
    return deployment_id


def list_deployments(stores: Sequence[ConfiguredStore]) -> dict[str, list[str] | None]:
    """By store, the ids of the deployments that have values there; None where it cannot list them. `InvalidInput`."""
    external = [each for each in stores if each.external is not None]
    _check_stores(external)
    return {each.store_id: each.external.deployments(seconds=each.timeout) for each in external if each.external is not None}


def nothing_found(stores: Sequence[ConfiguredStore], lost_id: str) -> InvalidInput:
    """The error for a deployment that has nothing there."""
    where = " and ".join(each.store_id for each in stores)
    return InvalidInput(
        f"{where} holds nothing of the deployment {lost_id}",
        hint="check the id and the options of the store; its ids are listed by: strongroom server recover",
    )


def _in_use() -> UnderWay:
    return UnderWay("somebody else works with this database", hint="end all its servers, then run it again")


def _check_stores(stores: Sequence[ConfiguredStore]) -> None:
    if not stores:
        raise InvalidInput(
            "the values are in the lost database itself: there is no secrets store to recover from",
            hint="restore the database from its backup, or configure the secrets store that has the values",
        )
    for each in stores:
        assert each.external is not None
        if not each.external.capabilities.scan_describes:
            raise InvalidInput(
                f"{each.store_id} does not tell whose values it holds, so nothing can be recovered from it",
                hint="restore the database from its backup",
            )


def _batches(notes: sqlite3.Connection) -> Iterator[list[str]]:
    """The ids of the secrets, those that were written last first: of two with one name, the newer one comes first."""
    cursor = notes.execute("SELECT secret FROM found GROUP BY secret ORDER BY max(at) DESC, secret DESC")
    while rows := cursor.fetchmany(_BATCH):
        yield [secret for (secret,) in rows]


def _found_of(notes: sqlite3.Connection, secret_id: str) -> list[tuple[int, int, str, About]]:
    """What is to be restored of a secret; nothing if it was deleted since an earlier recovery."""
    rows = notes.execute(
        "SELECT at, store, locator, about FROM found WHERE secret = ? AND NOT known ORDER BY at, locator", (secret_id,)
    )
    return [(at, store, locator, About(**msgspec.json.decode(about))) for at, store, locator, about in rows]


def _numberless_first(found: tuple[int, int, str, About]) -> tuple[bool, int, int, str]:
    at, _, locator, about = found
    return about.version is not None, -(about.version or 0), at, locator


def _in_order(versions: Sequence[_Version]) -> list[_Version]:
    """The oldest first, all with a number: their own, unless one before them has it.

    Whatever was written before another version was written before any of that one's attempts began, and before those of all later
    ones: by this bound those without a number are put among those that have one.
    """
    numbered = sorted((each for each in versions if each.number is not None), key=lambda each: (each.number, each.at))
    bound = 0
    for each in reversed(numbered):
        bound = each.at = min(filter(None, (bound, each.at)), default=0)
    numberless = sorted((each for each in versions if each.number is None), key=lambda each: each.at)
    merged = sorted([*numberless, *numbered], key=lambda each: each.at)
    number = 0
    for each in merged:
        number = each.number = max(number + 1, each.number or 0)
    return merged


def _number(about: About) -> int | None:
    """The number of the version, unless no secret can have so many."""
    return about.version if about.version is not None and 0 < about.version < MAX_VERSION // 2 else None


def _moment(found: Found) -> int:
    """When it was put: by its attempt, which tells the order of versions, else by what the store says. Microseconds since 1970."""
    attempt = _ATTEMPT.search(found.locator)
    if attempt:
        return _made(attempt[0]) or 0
    return 0 if found.written is None else to_microseconds(found.written)


def _made(identifier: str) -> int | None:
    """When a UUIDv7 was made, as exactly as our ids tell it."""
    try:
        found = uuid.UUID(identifier)
    except ValueError:
        return None
    if found.version != 7:
        return None
    return (found.int >> 80) * 1_000 + (((found.int >> 64) & 0xFFF) * 1_000 >> 12)


def _name(text: str) -> str | None:
    try:
        return check_name(text)
    except InvalidInput:
        return None
