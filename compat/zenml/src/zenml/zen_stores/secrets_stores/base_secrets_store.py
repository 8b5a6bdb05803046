"""What a secrets store of one's own inherits from. The documents also call it `BaseSecretsManager`."""

from strongroom.secrets_stores.custom import BaseSecretsStore, SecretsStoreConfiguration, SecretsStoreType

BaseSecretsManager = BaseSecretsStore

__all__ = ["BaseSecretsManager", "BaseSecretsStore", "SecretsStoreConfiguration", "SecretsStoreType"]
