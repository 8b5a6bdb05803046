"""Secrets stores that others write: their base class, and how one is loaded.

A class inherits from `BaseSecretsStore`, says `TYPE = SecretsStoreType.CUSTOM`, names the class of its options in `CONFIG_TYPE`, and
has the methods of one of two shapes: those of `base.SecretsStore` (put, get, delete and scan of versions), or the five of
`whole_secrets.SecretsStoreInterface`. Errors of its own become `Unavailable`, those of Python that say more become what they say.
"""

from __future__ import annotations

import enum
import importlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, dataclass_transform

from strongroom import forking
from strongroom.config import debug
from strongroom.connectors.deadline import Deadline
from strongroom.connectors.options import build
from strongroom.db.identifiers import new_id
from strongroom.errors import ConfigurationError, StoreForbidden, StrongroomError, TooLarge, Unavailable, ValuesMissing, printable
from strongroom.secrets_stores.base import MAX_LOCATOR_LENGTH, STORE_ERRORS, About, Capabilities, Found, check_size
from strongroom.secrets_stores.whole_secrets import SecretsStoreInterface, WholeSecrets

_T = TypeVar("_T")
_CALLS = 64
"""So many calls of one store may be under way, those included that were given up."""

_VERSIONS = ("put", "get", "delete", "scan")
_WHOLE = ("create_secret", "get_secret", "list_secrets", "update_secret", "delete_secret")


class SecretsStoreType(enum.StrEnum):
    """The types of secrets stores."""

    AWS = "aws"
    AZURE = "azure"
    CUSTOM = "custom"
    GCP = "gcp"
    NONE = "none"
    SQL = "sql"
    VAULT = "vault"


@dataclass_transform(kw_only_default=True, frozen_default=True)
@dataclass(frozen=True, kw_only=True)
class SecretsStoreConfiguration:
    """The options of a custom store: subclass it, and annotate one attribute for each. Subclasses are frozen dataclasses.

    Types are `str`, `SecretText` for what nobody is to see, `bool`, `int`, `dict[str, str]`, `tuple[str, ...]`, and these or None.
    """

    type: SecretsStoreType = SecretsStoreType.CUSTOM

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)


class BaseSecretsStore:
    """What custom stores inherit from. `self.config` has the options, `self.deployment_id` tells deployments apart."""

    TYPE: ClassVar[SecretsStoreType]
    CONFIG_TYPE: ClassVar[type[Any]] = SecretsStoreConfiguration

    def __init__(self, config: Any, deployment_id: str) -> None:
        self.config, self.deployment_id = config, deployment_id
        self._initialize()

    def _initialize(self) -> None:
        """Makes the store ready. What it raises is told at the start."""

    @property
    def store_id(self) -> str:
        """Names the location. Two stores of one class with the same options are the same place, unless this says otherwise."""
        return f"custom:{type(self).__module__}:{type(self).__qualname__}"

    @property
    def capabilities(self) -> Capabilities:
        """64 KiB, and no other limit; a scan gives locators alone."""
        return Capabilities(max_bytes=65_536, scan_describes=False)

    def new_locator(self, secret_id: str) -> str:
        """`<deployment>/<secret>/<attempt>`."""
        return f"{self.deployment_id}/{secret_id}/{new_id()}"

    def close(self) -> None:
        """Nothing to give back."""


def _new_semaphore() -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(_CALLS)


class CustomSecretsStore:
    """A `SecretsStore` around somebody else's, which keeps its promises about errors and time.

    Calls are made in threads of their own. One that does not end in time is given up: it may still go on, and what it then writes is
    found by a scan. A thread that hangs for ever is one of the few that there may be.
    """

    def __init__(self, inner: Any, store_id: str) -> None:
        self._inner, self._store_id = inner, store_id
        # The threads of a parent process are not there.
        self._idle: queue.SimpleQueue[_Worker] = forking.renewed(self, "_idle", queue.SimpleQueue)
        self._free = forking.renewed(self, "_free", _new_semaphore)

    def __repr__(self) -> str:
        return f"<secrets store {self._store_id}>"

    @property
    def store_id(self) -> str:
        """The inner store's, or the operator's name."""
        return self._store_id

    @property
    def capabilities(self) -> Capabilities:
        """The inner store's."""
        capabilities: Capabilities = self._inner.capabilities
        return capabilities

    def new_locator(self, secret_id: str) -> str:
        """The inner store's."""
        locator: str = self._inner.new_locator(secret_id)
        return locator

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        """See `SecretsStore.put`."""
        check_size(values, self.capabilities)
        self._call("put", seconds, lambda: self._inner.put(locator, values, about, seconds=seconds))

    def get(self, locator: str, *, seconds: float) -> dict[str, str]:
        """See `SecretsStore.get`."""
        return dict(self._call("get", seconds, lambda: self._inner.get(locator, seconds=seconds)))

    def delete(self, locator: str, *, seconds: float) -> None:
        """See `SecretsStore.delete`."""
        self._call("delete", seconds, lambda: self._inner.delete(locator, seconds=seconds))

    def scan(self, *, seconds: float) -> Iterator[Sequence[Found]]:
        """See `SecretsStore.scan`."""
        pages = iter(self._call("scan", seconds, lambda: self._inner.scan(seconds=seconds)))
        while (page := self._call("scan", seconds, lambda: next(pages, None))) is not None:
            yield page

    def close(self) -> None:
        """Closes the inner store."""
        while not self._idle.empty():
            self._idle.get_nowait().end()
        self._inner.close()

    def _call(self, name: str, seconds: float, call: Callable[[], _T]) -> _T:
        deadline = Deadline(seconds)
        if not self._free.acquire(timeout=deadline.left()):
            raise Unavailable(f"{self._store_id} hangs: {_CALLS} calls have not ended")
        try:
            worker = self._idle.get_nowait()
        except queue.Empty:
            worker = _Worker(self._idle, self._free)
        reply = worker.begin(call)
        try:
            result, error = reply.get(timeout=max(0.0, deadline.remaining()))
        except queue.Empty:
            raise Unavailable(f"{self._store_id} did not answer in time; what was asked may have been done") from None
        if error is None:
            return result  # type: ignore[no-any-return]
        raise _meaning(error, self._store_id, name)


class _Worker:
    """A thread that makes one call after the other. It is idle again when a call has ended, however late."""

    def __init__(self, idle: queue.SimpleQueue[_Worker], free: threading.BoundedSemaphore) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[Any]] | None] = queue.SimpleQueue()
        self._idle, self._free = idle, free
        threading.Thread(target=self._run, name="custom-store", daemon=True).start()

    def begin(self, call: Callable[[], Any]) -> queue.SimpleQueue[Any]:
        """Where the result or the error will be."""
        reply: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._calls.put((call, reply))
        return reply

    def end(self) -> None:
        """Makes no further call."""
        self._calls.put(None)

    def _run(self) -> None:
        while (wanted := self._calls.get()) is not None:
            call, reply = wanted
            outcome: tuple[Any, BaseException | None]
            try:
                outcome = call(), None
            except BaseException as error:  # noqa: BLE001 - somebody else's code; whoever waits for the call is told
                outcome = None, error
            self._idle.put(self)
            self._free.release()
            reply.put(outcome)
            del wanted, call, reply, outcome  # nothing of it stays here while the thread is idle


def open_custom(options: Mapping[str, str], deployment_id: str) -> CustomSecretsStore:
    """The store that `class_path` names, with the other options. `ConfigurationError` says which of five things is wrong."""
    given = dict(options)
    path, name = given.pop("class_path", ""), given.pop("name", None)
    if not path:
        raise ConfigurationError("a secrets store of type custom needs the option 'class_path'", hint="such as package.module:Class")
    store_class = _load(path)
    shape = _shape_of(store_class, path)
    config = build(f"the secrets store {store_class.__name__}", [_config_type(store_class)], given)[0]
    inner = _initialized(store_class, config, deployment_id)
    store_id = name or inner.store_id
    if not (isinstance(store_id, str) and 0 < len(store_id) <= MAX_LOCATOR_LENGTH and store_id.isascii() and store_id.isprintable()):
        raise ConfigurationError(f"the store id of {path} is no printable ASCII text of at most {MAX_LOCATOR_LENGTH} characters")
    return CustomSecretsStore(inner if shape is _VERSIONS else WholeSecrets(inner, store_id, deployment_id), store_id)


def _load(path: str) -> type[Any]:
    """The class at `package.module:Class`, or with a dot instead of the colon."""
    module_name, colon, class_name = path.partition(":")
    if not colon:
        module_name, _, class_name = path.rpartition(".")
    shown, reason = printable(path), ""
    try:
        found = getattr(importlib.import_module(module_name), class_name, None) if module_name else None
    except ModuleNotFoundError as error:
        reason = f"there is no module '{printable(error.name or module_name)}'"
    except Exception as error:  # noqa: BLE001 - a module may raise anything; the operator is told
        reason = f"the module cannot be imported: {type(error).__name__}"
    else:
        if isinstance(found, type):
            return found
        reason = f"the module has no class '{printable(class_name)}'"
    raise ConfigurationError(f"the custom secrets store {shown} cannot be loaded: {reason}", hint="check 'class_path' and PYTHONPATH")


def _shape_of(store_class: type[Any], path: str) -> tuple[str, ...]:
    shown = printable(path)
    if not issubclass(store_class, BaseSecretsStore):
        raise ConfigurationError(
            f"the custom secrets store {shown} does not inherit from BaseSecretsStore",
            hint="import it from strongroom.secrets_stores.custom",
        )
    if getattr(store_class, "TYPE", None) != SecretsStoreType.CUSTOM:
        raise ConfigurationError(f"the custom secrets store {shown} does not say TYPE = SecretsStoreType.CUSTOM")
    for shape in (_VERSIONS, _WHOLE):
        if any(callable(getattr(store_class, name, None)) for name in shape):
            missing = [name for name in shape if not callable(getattr(store_class, name, None))]
            if missing or getattr(store_class, "__abstractmethods__", None):
                names = ", ".join(missing or sorted(vars(store_class).get("__abstractmethods__", ())))
                raise ConfigurationError(f"the custom secrets store {shown} lacks the methods: {names}")
            return shape
    raise ConfigurationError(
        f"the custom secrets store {shown} lacks the methods: {', '.join(_VERSIONS)}", hint="see the guide on custom secrets stores"
    )


def _config_type(store_class: type[Any]) -> type[Any]:
    found = store_class.CONFIG_TYPE
    if not (isinstance(found, type) and issubclass(found, SecretsStoreConfiguration)):
        raise ConfigurationError(
            f"CONFIG_TYPE of the custom secrets store {store_class.__name__} is no subclass of SecretsStoreConfiguration"
        )
    return found


def _initialized(store_class: type[Any], config: Any, deployment_id: str) -> Any:
    try:
        return store_class(config, deployment_id)
    except StrongroomError as error:
        reason, hint = error.message, error.hint
    except Exception as error:
        reason, hint = type(error).__name__, "set STRONGROOM_DEBUG=1 to see where"
        if debug():
            raise
    raise ConfigurationError(f"the custom secrets store {store_class.__name__} cannot be initialized: {reason}", hint=hint)


def _meaning(error: BaseException, store_id: str, call: str) -> StrongroomError:
    """What somebody else's error says to us. Its text may hold values and is not shown, but for those of our own errors."""
    if isinstance(error, Unavailable):
        return Unavailable(error.message, error.hint, error.retry_after)
    if isinstance(error, (*STORE_ERRORS, TooLarge)):
        return type(error)(error.message, hint=error.hint)
    if isinstance(error, KeyError) and call == "get":
        return ValuesMissing(f"{store_id} has nothing there")
    if isinstance(error, PermissionError):
        return StoreForbidden(f"{store_id} refuses to {call}", hint="check its credential and rights")
    return Unavailable(f"{store_id} failed to {call}: {type(error).__name__}")


__all__ = [
    "About", "BaseSecretsStore", "Capabilities", "Found", "SecretsStoreConfiguration", "SecretsStoreInterface", "SecretsStoreType",
    "open_custom",
]  # fmt: skip
