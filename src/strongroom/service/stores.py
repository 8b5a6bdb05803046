"""The configured secrets stores: opened, and tried out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from strongroom.config import PREFIX, Settings, StoreSettings
from strongroom.db.clock import now
from strongroom.db.engine import Database
from strongroom.errors import ConfigurationError, StoreForbidden, StrongroomError, Unavailable, ValuesCorrupt, ValuesMissing
from strongroom.metadata import placement as rows
from strongroom.secrets_stores.base import About
from strongroom.secrets_stores.guarded import GuardedStore
from strongroom.secrets_stores.opening import open_external, type_of
from strongroom.secrets_stores.sql import STORE_ID
from strongroom.service.placements import ConfiguredStore

PRIMARY, BACKUP = "primary", "backup"
_FAMILIES = {PRIMARY: "SECRETS_STORE", BACKUP: "BACKUP_SECRETS_STORE"}
_PROBE = "strongroom-probe"


@dataclass(frozen=True)
class Trial:
    """One thing that a store has to let us do, and what it said if it did not."""

    right: str
    error: StrongroomError | None = None


@dataclass(frozen=True)
class Examination:
    """A store as it showed itself. `identity` and `policy` are None where the store cannot tell."""

    role: str
    kind: str
    location: str
    identity: str | None
    trials: Sequence[Trial]
    policy: str | None
    max_versions: int | None = None

    @property
    def is_fine(self) -> bool:
        """Whether it lets us do all that we need."""
        return all(trial.error is None for trial in self.trials)


def open_stores(settings: Settings, deployment_id: str) -> list[ConfiguredStore]:
    """The primary and the backup, in this order; none for the type `none`. Asks no back end.

    `ConfigurationError` names the variable's family: for an unknown type or option, and for two stores at one place.
    """
    opened: list[ConfiguredStore] = []
    try:
        for role, store in ((PRIMARY, settings.secrets_store), (BACKUP, settings.backup_secrets_store)):
            if store is not None and (configured := _open(role, store, deployment_id)) is not None:
                opened.append(configured)
        _check_places(opened)
    except BaseException:
        for each in opened:
            if each.external is not None:
                each.external.close()
        raise
    return opened


def examine(database: Database, store: ConfiguredStore, deployment_id: str) -> Examination:
    """Tries out all that strongroom does with a store: puts, gets, lists and deletes values of its own, which hold nothing secret.

    The store is one that the index knows. An index that does not answer is an error of the caller's; what the store says is in the
    examination.
    """
    external = store.external
    if external is None:
        return Examination(store.role, store.kind, STORE_ID, "the database's user", [Trial("read and write")], None)
    trials, identity = [], None
    try:
        identity = external.identity(seconds=store.timeout)
    except StoreForbidden as error:
        trials.append(Trial("log in", error))
    except Unavailable as error:
        trials.append(Trial("connect", error))
    if not trials:
        trials += [Trial(right, error) for right, error in _try_out(database, store, external, deployment_id)]
    most = external.capabilities.max_versions
    return Examination(store.role, store.kind, external.store_id, identity, trials, external.policy, most)


def check_at_start(database: Database, stores: Sequence[ConfiguredStore], deployment_id: str) -> list[StrongroomError]:
    """Tries the stores out. Gives an error for each that does not answer while another one is fine: the start is degraded.

    Raises what a store refuses, and that none answers, as an error that names its role and says what to do.
    """
    silent: list[StrongroomError] = []
    for store in stores:
        trials = examine(database, store, deployment_id).trials
        error = next((trial.error for trial in trials if trial.error is not None and trial.right != "list"), None)
        if error is None:
            continue
        is_silent = isinstance(error, Unavailable)
        advice = "check its address and whether it runs" if is_silent else "see: strongroom server check-stores"
        told = type(error)(f"{store.role} secrets store: {error.message}", hint=error.hint or advice)
        if not is_silent:
            raise told
        silent.append(told)
    if silent and len(silent) == len(stores):
        raise silent[0]
    return silent


def _check_places(opened: Sequence[ConfiguredStore]) -> None:
    if len({each.store_id for each in opened}) < len(opened):
        raise ConfigurationError(
            f"primary and backup secrets store are the same place: {opened[0].store_id}",
            hint=f"unset {PREFIX}{_FAMILIES[BACKUP]}_TYPE, or give it another location",
        )
    if opened and opened[0].role == BACKUP:
        raise ConfigurationError("there is a backup secrets store, and the primary one is of type 'none'")


def _open(role: str, settings: StoreSettings, deployment_id: str) -> ConfiguredStore | None:
    try:
        kind = type_of(settings)
        if kind == "none":
            return None
        external = None if kind == "sql" else GuardedStore(open_external(settings, deployment_id))
    except ConfigurationError as error:
        raise type(error)(f"{role} secrets store: {error.message}", hint=error.hint) from None
    return ConfiguredStore(role, kind, settings.timeout, external)


def _try_out(
    database: Database, store: ConfiguredStore, external: GuardedStore, deployment_id: str
) -> Iterator[tuple[str, StrongroomError | None]]:
    """What we do, and the error of each. The values are announced as all puts are, so that a crash leaves nothing for ever."""
    about = About(deployment_id=deployment_id, secret_id=deployment_id, name=_PROBE, scope="workspace", workspace="default")
    locator, values = external.new_locator(deployment_id), {"probe": "strongroom was here"}
    with database.write() as connection:
        rows.announce(connection, [(store.store_id, locator)], now() + 5 * store.timeout * 1_000_000)
    yield "write", (failed := _said(lambda: external.put(locator, values, about, seconds=store.timeout)))
    if isinstance(failed, Unavailable):
        return
    read = _said(lambda: external.get(locator, seconds=store.timeout))
    yield "read", None if failed and isinstance(read, ValuesMissing) else read
    yield "list", _said(lambda: next(iter(external.scan(seconds=store.timeout)), None))
    yield "delete", (failed := _said(lambda: external.delete(locator, seconds=store.timeout)))
    if failed is None:
        with database.write() as connection:
            rows.claim(connection, [(store.store_id, locator)])


def _said(call: Callable[[], object]) -> StrongroomError | None:
    try:
        call()
    except (StoreForbidden, Unavailable, ValuesCorrupt, ValuesMissing) as error:
        return error
    return None
