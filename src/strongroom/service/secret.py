"""The rules of secrets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET

from strongroom.auth.actor import Actor
from strongroom.db.clock import now
from strongroom.db.engine import ConstraintViolated, Deadlocked
from strongroom.db.identifiers import new_id
from strongroom.errors import (
    AlreadyExists,
    InvalidInput,
    NothingToChange,
    StaleVersion,
    StrongroomError,
    Unavailable,
    printable,
)
from strongroom.metadata.secret import SecretIndex, SecretRow, decode_labels
from strongroom.metadata.secret_list import SORTABLE, SecretQuery, list_secrets
from strongroom.models.filter import from_microseconds, parse_text_filter, parse_time_filter, to_microseconds
from strongroom.models.page import Page, check_page, check_page_bytes
from strongroom.models.secret import (
    MAX_VERSION,
    CreateSecret,
    DeleteSecret,
    GetSecret,
    GetSecretByName,
    ListSecrets,
    ListSecretVersions,
    Placement,
    ReplaceSecret,
    RollbackSecret,
    Scope,
    Secret,
    SecretVersion,
    UpdateSecret,
    check_labels,
    check_name,
    check_values,
)
from strongroom.redaction import SecretText
from strongroom.secrets_stores.base import About
from strongroom.secrets_stores.sql import SqlSecretsStore
from strongroom.service.deployment import Deployment
from strongroom.service.placements import ConfiguredStore, Placements, PutResult, pointer_changed
from strongroom.service.secret_lookup import SecretLookup, namespace_of, namespaces_of, no_such_id

PATIENCE_SECONDS = 30
"""How long a write goes on trying while others keep changing the same secret."""

BEHIND = "behind"
"""The state of a store that a version is still to be copied to."""

_MAX_SMALL_PAGE = 50
"""So many secrets always fit into a page: each is small."""

_MAX_DESCRIPTION = 4_096


class _MovedOn(Exception):
    """Somebody else was faster: look at the secret again."""


class SecretService:
    """Creates, reads, changes and deletes secrets on behalf of actors. Thread-safe; any number of processes may share a database.

    Whoever asks sees the secrets of their workspace and their own user-scoped ones; all others do not exist for them. Each write
    becomes visible in one transaction: it happens as a whole, durably, or not at all.
    """

    def __init__(self, deployment: Deployment, store: SqlSecretsStore, placements: Placements) -> None:
        self._database, self._keys, self._placements = deployment.database, deployment.keys, placements
        self._deployment_id, self._keep = deployment.id, placements.keep(deployment.settings.keep_versions)
        self._index = SecretIndex(store, deployment.binding)
        self._lookup = SecretLookup(self._database, self._index)

    def create(self, actor: Actor, request: CreateSecret) -> Secret:
        """Stores a new secret as version 1. `AlreadyExists` when its scope has one of that name."""
        name, labels = check_name(request.name), check_labels(request.labels)
        description = _check_description(request.description)
        check_values(request.values)
        values = {key: value.reveal() for key, value in request.values.items()}
        moment, secret_id = now(), new_id()
        private_to = namespace_of(actor, request.scope)
        expires_at = None if request.expires_at is None else _moment(request.expires_at)
        if not self._placements.are_local:  # before anything is put
            self._check_free(actor, private_to, name)
        landed = self._placements.put(values, self._about(secret_id, name, request.scope, actor.workspace, 1))

        def write() -> None:
            sealed = self._placements.seal(landed, secret_id, 1)
            with self._database.write() as connection:
                self._index.insert(
                    connection,
                    secret_id=secret_id,
                    workspace_id=actor.workspace_id,
                    private_to=private_to,
                    name=name,
                    user_id=actor.user_id,
                    description=description,
                    labels=labels,
                    expires_at=expires_at,
                    now=moment,
                )
                self._index.add_version(
                    connection,
                    secret_id=secret_id,
                    number=1,
                    keys=list(values),
                    digest=self._placements.version_digest(landed.digest, secret_id, 1),
                    user_id=actor.user_id,
                    placed=landed.locators,
                    now=moment,
                )
                self._placements.place(connection, landed, secret_id, 1, sealed)

        with self._abandoned_unless_placed(landed):
            self._attempt(write, actor, private_to, name)
        return Secret(
            id=secret_id,
            name=name,
            scope=request.scope,
            workspace=actor.workspace,
            owner=actor.name,
            description=description,
            labels=labels,
            keys=list(values),
            version=1,
            created=from_microseconds(moment),
            updated=from_microseconds(moment),
            created_by=actor.name,
            expires_at=_time(expires_at),
        )

    def get(self, actor: Actor, request: GetSecret) -> Secret:
        """The secret with the values of its current version, or of the one asked for. `NotFound`."""
        return self._read(actor, self._lookup.by_id(actor, request.id, request.version), request.version)

    def get_by_name(self, actor: Actor, request: GetSecretByName) -> Secret:
        """The same by exact name: the actor's own one first, then the workspace's."""
        return self._read(actor, self._lookup.by_name(actor, request), request.version)

    def get_metadata(self, actor: Actor, request: GetSecret) -> Secret:
        """The secret without values. `NotFound`."""
        return _secret(self._lookup.by_id(actor, request.id, request.version))

    def get_metadata_by_name(self, actor: Actor, request: GetSecretByName) -> Secret:
        """The same by exact name."""
        return _secret(self._lookup.by_name(actor, request))

    def list(self, actor: Actor, request: ListSecrets) -> Page[Secret]:
        """A page of metadata in one consistent state; a page past the end is empty."""
        check_page(request.page, request.size)
        direction, colon, sort_field = request.sort_by.partition(":")
        if not colon:
            direction, sort_field = "asc", request.sort_by
        if direction not in ("asc", "desc") or sort_field not in SORTABLE:
            raise InvalidInput(f"secrets are sorted by {', '.join(sorted(SORTABLE))}", hint="for example: desc:created")
        texts = {"id": request.id, "name": request.name, "owner": request.owner}
        query = SecretQuery(
            workspace_id=actor.workspace_id,
            namespaces=namespaces_of(actor, request.scope),
            text={name: parse_text_filter(text) for name, text in texts.items() if text is not None},
            labels=dict(_label_filter(text) for text in request.label),
            created=[parse_time_filter("created", text) for text in request.created],
            updated=[parse_time_filter("updated", text) for text in request.updated],
            sort_by=sort_field,
            descending=direction == "desc",
            offset=(request.page - 1) * request.size,
            size=request.size,
        )
        with self._database.snapshot() as connection:
            found, total = list_secrets(connection, query)
        if len(found) > _MAX_SMALL_PAGE:
            check_page_bytes(sum(len(row.description) + len(row.labels) + sum(map(len, row.key_names)) for row in found))
        return Page.of([_secret(row) for row in found], total=total, page=request.page, size=request.size)

    def update(self, actor: Actor, request: UpdateSecret) -> Secret:
        """Merges values as a new version and changes metadata, all at once.

        Tries again when somebody else was faster, unless `if_version` forbids (`StaleVersion`). Values that stay the same make no
        new version. `NothingToChange`, `NotFound`, `AlreadyExists` for a new name that is taken.
        """
        fields = (request.values, request.name, request.scope, request.description, request.labels, request.expires_at)
        if all(field is UNSET for field in fields) or (request.values == {} and all(field is UNSET for field in fields[1:])):
            raise NothingToChange("there is nothing to change", hint="give keys to set or remove, or a new name or scope")
        return self._update(actor, request, request.if_version, lambda known: request)

    def replace(self, actor: Actor, request: ReplaceSecret) -> Secret:
        """Makes a version of exactly these values, in the same way. Values that stay the same make no new version."""
        check_values(request.values)

        def changes(known: SecretRow) -> UpdateSecret:
            gone = [key for key in known.key_names if key not in request.values]
            return UpdateSecret(id=request.id, values={**dict.fromkeys(gone), **request.values})

        return self._update(actor, request, request.if_version, changes)

    def _update(
        self,
        actor: Actor,
        request: UpdateSecret | ReplaceSecret,
        if_version: int | None,
        changes: Callable[[SecretRow], UpdateSecret],
    ) -> Secret:
        """Tries until the secret holds still; `changes` says what to do with the secret as it is."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            known = self._lookup.by_id(actor, request.id)
            if if_version is not None and if_version != known.current_version:
                raise _stale(if_version, known.current_version)
            updated = self._try_update(actor, changes(known), known)
            if updated is not None:
                return updated
        raise Unavailable("others keep changing this secret", hint="try again")

    def delete(self, actor: Actor, request: DeleteSecret) -> None:
        """Deletes the secret with all its versions. `NotFound`."""
        while True:
            known = self._lookup.by_id(actor, request.id)
            with self._database.write() as connection:
                placed = self._index.delete(connection, known)
                if placed is not None:
                    self._placements.release(connection, placed)
                    return

    def list_versions(self, actor: Actor, request: ListSecretVersions) -> Page[SecretVersion]:
        """All kept versions, newest first, on one page."""
        with self._database.snapshot() as connection:
            known = self._index.find_by_id(connection, actor.workspace_id, actor.user_id, request.id)
            if known is None:
                raise no_such_id(request.id)
            found = self._index.list_versions(connection, request.id)
        items = [
            SecretVersion(
                version=row.number,
                current=row.number == known.current_version,
                keys=row.keys,
                created=from_microseconds(row.created),
                created_by=row.created_by,
                placements=_placements_of(row.placements, self._placements.stores),
            )
            for row in found
        ]
        return Page.of(items, total=len(items), page=1, size=max(1, len(items)))

    def rollback(self, actor: Actor, request: RollbackSecret) -> Secret:
        """Makes a kept version the current one; no version is made or lost. `NotFound` when it is not kept.

        That also mends a secret whose row was changed by something else: the actor says which version is right.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            known = self._lookup.by_id(actor, request.id)
            if request.version == known.current_version and known.is_bound:
                raise NothingToChange(f"version {request.version} is the current one already")
            if not 0 < request.version <= MAX_VERSION:
                raise self._lookup.no_such_version(known, request.version)
            with self._database.write() as connection:
                row = self._index.find_by_id(connection, actor.workspace_id, actor.user_id, request.id, request.version)
                if row is None:
                    raise self._lookup.no_such_version(known, request.version)
                moment = max(now(), known.updated + 1)
                changes = {"current_version": request.version, "updated": moment}
                if not known.is_bound:  # the actor says what is right, and a number is used once
                    numbers = [each.number for each in self._index.list_versions(connection, request.id)]
                    changes["last_version"] = max(known.last_version, *numbers)
                if self._index.advance(connection, known, changes):
                    return msgspec.structs.replace(_secret(row), updated=from_microseconds(moment))
        raise Unavailable("others keep changing this secret", hint="try again")

    def _try_update(self, actor: Actor, request: UpdateSecret, known: SecretRow) -> Secret | None:
        """One attempt; None if the secret has moved on since it was `known`."""
        if not known.is_bound:
            raise pointer_changed(known)
        changes = self._changes(actor, request, known)
        values = None
        if request.values is not UNSET:
            row, before = self._placements.read(known, lambda: self._lookup.find(actor, known.id))
            if row.number != known.number:
                return None
            values = _merged(before, request.values)
            check_values({key: SecretText(value) for key, value in values.items()})
            if values == before:
                values = None
        moment = max(now(), known.updated + 1)
        if not changes and values is None:
            return _secret(known)
        changes["updated"] = moment
        number = known.last_version + 1
        if values is not None:
            changes |= {"current_version": number, "last_version": number}
        landed = None
        if values is not None:
            scope = Scope.USER if changes.get("private_to", known.private_to) else Scope.WORKSPACE
            about = self._about(known.id, changes.get("name", known.name), scope, known.workspace, number)
            landed = self._placements.put(values, about)

        def write() -> None:
            sealed = self._placements.seal(landed, known.id, number) if landed is not None else None
            with self._database.write() as connection:
                if not self._index.advance(connection, known, changes):
                    raise _MovedOn  # undoes the transaction: the next attempt must not ask the stores while it holds locks
                if landed is None:
                    return
                self._index.add_version(
                    connection,
                    secret_id=known.id,
                    number=number,
                    keys=list(landed.values),
                    digest=self._placements.version_digest(landed.digest, known.id, number),
                    user_id=actor.user_id,
                    placed=landed.locators,
                    now=moment,
                )
                self._placements.place(connection, landed, known.id, number, sealed)
                if number > self._keep:
                    forgotten = self._index.forget_versions(connection, known.id, number - self._keep, keeping=known.current_version)
                    self._placements.release(connection, forgotten, soon=True)

        try:
            with self._abandoned_unless_placed(landed):
                self._attempt(write, actor, changes.get("private_to", known.private_to), changes.get("name", known.name), known.id)
        except _MovedOn:
            return None
        secret = _secret(known)
        return msgspec.structs.replace(
            secret,
            name=changes.get("name", secret.name),
            scope=secret.scope if request.scope is UNSET else request.scope,
            description=changes.get("description", secret.description),
            labels=changes.get("labels", secret.labels),
            expires_at=_time(changes.get("expires_at", known.expires_at)),
            keys=secret.keys if values is None else list(values),
            version=changes.get("current_version", secret.version),
            updated=from_microseconds(moment),
        )

    def _changes(self, actor: Actor, request: UpdateSecret, known: SecretRow) -> dict[str, Any]:
        """The columns that the request changes in fact."""
        changes: dict[str, Any] = {}
        if request.name is not UNSET:
            changes["name"] = check_name(request.name)
        if request.scope is not UNSET:
            changes["private_to"] = "" if request.scope is Scope.WORKSPACE else known.owner_id
            if request.scope is Scope.USER and known.owner_id != actor.user_id:
                raise InvalidInput(
                    f"only its owner {known.owner} can make this secret private",
                    hint="create a user-scoped secret of your own",
                )
        if request.description is not UNSET:
            changes["description"] = _check_description(request.description)
        if request.labels is not UNSET:
            changes["labels"] = check_labels(request.labels)
        if request.expires_at is not UNSET:
            changes["expires_at"] = None if request.expires_at is None else _moment(request.expires_at)
        present = {
            "name": known.name,
            "private_to": known.private_to,
            "description": known.description,
            "labels": decode_labels(known.labels),
            "expires_at": known.expires_at,
        }
        return {column: value for column, value in changes.items() if present[column] != value}

    def _attempt(self, write: Any, actor: Actor, private_to: str, name: str, own_id: str | None = None) -> None:
        """Runs a write. When the database refuses it, finds out which of the rules it broke.

        The rules: a name is used once per namespace; a retired encryption key seals nothing (another process may have rotated it).
        """
        for _ in range(5):
            try:
                write()
            except Deadlocked:  # two renames that cross each other, for example
                continue
            except ConstraintViolated:
                self._check_free(actor, private_to, name, own_id)
                self._keys.reload()
            else:
                return
        raise Unavailable("the database keeps refusing this change", hint="try again")

    def _check_free(self, actor: Actor, private_to: str, name: str, own_id: str | None = None) -> None:
        """`AlreadyExists` if another secret has the name."""
        with self._database.read() as connection:
            taken = self._index.find_by_name(connection, actor.workspace_id, [private_to], name)
        if taken is not None and taken.id != own_id:
            raise AlreadyExists(
                f"a secret '{name}' already exists in {_place_name(actor, private_to)}",
                hint=f"change it with: strongroom secret update {name}",
            )

    @contextmanager
    def _abandoned_unless_placed(self, landed: PutResult | None) -> Iterator[None]:
        try:
            yield
        except BaseException:
            if landed is not None:
                with suppress(StrongroomError):  # the collector does it, when the time of the put is over
                    self._placements.abandon(landed)
            raise

    def _about(self, secret_id: str, name: str, scope: Scope, workspace: str, version: int) -> About:
        """Of values that will be this version if nobody else is faster."""
        return About(
            deployment_id=self._deployment_id, secret_id=secret_id, name=name, scope=scope, workspace=workspace, version=version
        )

    def _read(self, actor: Actor, row: SecretRow, version: int | None) -> Secret:
        """The secret with the values of this version, or of the current one if it has moved on meanwhile."""
        return _secret(*self._placements.read(row, lambda: self._lookup.find(actor, row.id, version)))


def _placements_of(placed: Sequence[tuple[str, str]], stores: Sequence[ConfiguredStore]) -> list[Placement]:
    """Where a version lies, and which of the stores at work are behind by it."""
    behind = [(each.store_id, BEHIND) for each in stores if each.store_id not in dict(placed)]
    return [Placement(store=store, state=state) for store, state in [*placed, *behind]]


def _place_name(actor: Actor, private_to: str) -> str:
    return f"workspace '{actor.workspace}'" if not private_to else "your user scope"


def _secret(row: SecretRow, values: Mapping[str, str] | None = None) -> Secret:
    return Secret(
        id=row.id,
        name=row.name,
        scope=Scope.USER if row.private_to else Scope.WORKSPACE,
        workspace=row.workspace,
        owner=row.owner,
        description=row.description,
        labels=decode_labels(row.labels),
        keys=list(row.key_names),
        version=row.number,
        created=from_microseconds(row.created),
        updated=from_microseconds(row.updated),
        created_by=row.created_by,
        expires_at=_time(row.expires_at),
        values=UNSET if values is None else {key: SecretText(value) for key, value in values.items()},
    )


def _merged(before: Mapping[str, str], changes: Mapping[str, SecretText | None]) -> dict[str, str]:
    """The values after an update; a removed key has to be there."""
    after = dict(before)
    for key, value in changes.items():
        if value is not None:
            after[key] = value.reveal()
        elif key in before:
            del after[key]
        else:
            raise InvalidInput(f"there is no key '{printable(key)}' to remove", hint=f"the keys are: {', '.join(before)}")
    return after


def _label_filter(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise InvalidInput("a label filter is written key=value")
    return key, value


def _check_description(text: str) -> str:
    if len(text) > _MAX_DESCRIPTION or not text.replace("\n", "").isprintable():
        raise InvalidInput(f"a description is printable text of at most {_MAX_DESCRIPTION} characters")
    return text


def _moment(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise InvalidInput("'expires_at' needs a time zone", hint="for example 2027-01-31T00:00:00Z")
    return to_microseconds(moment)


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else from_microseconds(microseconds)


def _stale(wanted: int, current: int) -> StaleVersion:
    return StaleVersion(f"the secret is at version {current}, not {wanted}", hint="look at it again, then repeat your change")
