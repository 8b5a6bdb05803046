"""Puts the pieces together."""

from __future__ import annotations

from collections.abc import Callable

from strongroom.config import Settings
from strongroom.operations import secret as operations
from strongroom.secrets_stores.sql import SqlSecretsStore
from strongroom.service.deployment import Deployment, open_deployment
from strongroom.service.dispatcher import Dispatcher
from strongroom.service.encryption_keys import Rotation, key_target, rotate
from strongroom.service.secret import SecretService


class Service:
    """An open deployment behind its dispatcher. Thread-safe; close it when done."""

    def __init__(self, settings: Settings) -> None:
        self.deployment: Deployment = open_deployment(settings)
        self.store = SqlSecretsStore(self.deployment.keys)
        secrets = SecretService(self.deployment, self.store)
        self.dispatcher = Dispatcher(
            {
                operations.CREATE.name: secrets.create,
                operations.DELETE.name: secrets.delete,
                operations.GET.name: secrets.get,
                operations.GET_BY_NAME.name: secrets.get_by_name,
                operations.GET_METADATA.name: secrets.get_metadata,
                operations.GET_METADATA_BY_NAME.name: secrets.get_metadata_by_name,
                operations.LIST.name: secrets.list,
                operations.LIST_VERSIONS.name: secrets.list_versions,
                operations.ROLLBACK.name: secrets.rollback,
                operations.UPDATE.name: secrets.update,
            }
        )

    def rotate_key(self, to: str | None, progress: Callable[[int, int], None]) -> Rotation:
        """Puts a new encryption key in charge; `to` moves it into the managed source `file` or `keyring`."""
        keys = self.deployment.keys
        target = keys.source if to is None else key_target(self.deployment.settings, to)
        return rotate(self.deployment.database, keys, self.store, target, progress)

    def close(self) -> None:
        """Closes the deployment."""
        self.deployment.close()
