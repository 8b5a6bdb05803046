"""Secrets stores as users write them, in both shapes, and classes that are none."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

from strongroom.errors import ConfigurationError
from strongroom.redaction import SecretText
from strongroom.secrets_stores.custom import About, BaseSecretsStore, Capabilities, Found, SecretsStoreConfiguration, SecretsStoreType
from strongroom.secrets_stores.memory import MemorySecretsStore, Shelf, Trouble
from strongroom.secrets_stores.whole_secrets import (
    Page,
    SecretFilterModel,
    SecretRequestModel,
    SecretResponseModel,
    SecretUpdateModel,
)

SHELVES: dict[str, Shelf] = {}


class VersionsConfig(SecretsStoreConfiguration):
    """A default before an option that has to be given: the order does not matter."""

    region: str = "eu"
    shelf: str
    token: SecretText | None = None
    loud: bool = False


class Versions(BaseSecretsStore):
    """The small shape. It keeps values on a shelf."""

    TYPE = SecretsStoreType.CUSTOM
    CONFIG_TYPE = VersionsConfig
    config: VersionsConfig

    def _initialize(self) -> None:
        self._store = MemorySecretsStore(self.deployment_id, SHELVES.setdefault(self.config.shelf, Shelf(self.config.shelf)))

    @property
    def store_id(self) -> str:
        return f"shelf:{self.config.shelf}"

    @property
    def capabilities(self) -> Capabilities:
        return self._store.capabilities

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        self._store.put(locator, values, about, seconds=seconds)

    def get(self, locator: str, *, seconds: float) -> dict[str, str]:
        return self._store.get(locator, seconds=seconds)

    def delete(self, locator: str, *, seconds: float) -> None:
        self._store.delete(locator, seconds=seconds)

    def scan(self, *, seconds: float) -> Iterator[Sequence[Found]]:
        return self._store.scan(seconds=seconds)


class Drawer:
    """Whole secrets by their ids, and the trouble that there is."""

    def __init__(self) -> None:
        self.secrets: dict[UUID, SecretResponseModel] = {}
        self.lock = threading.Lock()
        self.trouble: Trouble | None = None
        self.calm = threading.Event()

    @contextmanager
    def in_trouble(self, kind: Trouble) -> Iterator[None]:
        self.calm.clear()
        self.trouble = kind
        try:
            yield
        finally:
            self.trouble = None
            self.calm.set()

    def ask(self) -> None:
        if self.trouble is Trouble.UNAVAILABLE:
            raise ConnectionError("cannot connect")
        if self.trouble is Trouble.FORBIDDEN:
            raise PermissionError("no")
        if self.trouble is Trouble.HANGS:
            self.calm.wait()

    def answer(self) -> None:
        if self.trouble is Trouble.REPLY_LOST:
            raise RuntimeError("the answer got lost")


DRAWERS: dict[str, Drawer] = {}


class MyStoreConfiguration(SecretsStoreConfiguration):
    """Configuration of my secrets store."""

    type: SecretsStoreType = SecretsStoreType.CUSTOM
    drawer: str


class MySecretsStore(BaseSecretsStore):
    """The shape of the guide: five methods on whole secrets."""

    config: MyStoreConfiguration
    TYPE = SecretsStoreType.CUSTOM
    CONFIG_TYPE = MyStoreConfiguration

    def _initialize(self) -> None:
        """Initialize the secrets store."""
        self.drawer = DRAWERS.setdefault(self.config.drawer, Drawer())

    def create_secret(self, secret: SecretRequestModel) -> SecretResponseModel:
        """Creates a new secret."""
        self.drawer.ask()
        created = SecretResponseModel(
            id=uuid4(),
            created=datetime.now(UTC),
            updated=datetime.now(UTC),
            name=secret.name,
            scope=secret.scope,
            values=dict(secret.values),
            user=secret.user,
            workspace=secret.workspace,
        )
        with self.drawer.lock:
            self.drawer.secrets[created.id] = created
        self.drawer.answer()
        return created

    def get_secret(self, secret_id: UUID) -> SecretResponseModel:
        """Get a secret with a given name."""
        self.drawer.ask()
        return self.drawer.secrets[secret_id]

    def list_secrets(self, secret_filter_model: SecretFilterModel) -> Page[SecretResponseModel]:
        """List all secrets matching the given filter criteria."""
        self.drawer.ask()
        wanted = secret_filter_model.name
        with self.drawer.lock:
            secrets = [each for each in self.drawer.secrets.values() if wanted in (None, each.name)]
        return Page.of(sorted(secrets, key=lambda each: (each.created, str(each.id))), secret_filter_model)

    def update_secret(self, secret_id: UUID, secret_update: SecretUpdateModel) -> SecretResponseModel:
        """Updates a secret."""
        secret = self.drawer.secrets[secret_id]
        for key, value in (secret_update.values or {}).items():
            if value is None:
                secret.values.pop(key, None)
            else:
                secret.values[key] = value
        return secret

    def delete_secret(self, secret_id: UUID) -> None:
        """Deletes a secret."""
        self.drawer.ask()
        del self.drawer.secrets[secret_id]


class NotAStore:
    """Inherits from nothing."""


class WithoutType(BaseSecretsStore):
    """Does not say its type."""


class Half(MySecretsStore):
    """Lacks methods."""

    list_secrets = None  # type: ignore[assignment]
    delete_secret = None  # type: ignore[assignment]


class Nothing(BaseSecretsStore):
    """Has none of the methods."""

    TYPE = SecretsStoreType.CUSTOM


class OddConfig(Versions):
    """Its options are no options."""

    CONFIG_TYPE = dict


class Failing(Versions):
    """Cannot be made ready, and its error holds what nobody is to see."""

    def _initialize(self) -> None:
        raise RuntimeError(f"cannot log in with {self.config.token.reveal() if self.config.token else ''}")


class Refusing(Versions):
    """Cannot be made ready, and says so."""

    def _initialize(self) -> None:
        raise ConfigurationError("the shelf is not there", hint="put it up")


class Careless(Versions):
    """Fails with errors that hold values."""

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        raise RuntimeError(f"cannot put {dict(values)}")


class Stuck(Versions):
    """Never comes back."""

    def get(self, locator: str, *, seconds: float) -> dict[str, str]:
        time.sleep(0.5)
        return {}


class Long(Versions):
    """Its id does not fit into the index."""

    @property
    def store_id(self) -> str:
        return "x" * 256
