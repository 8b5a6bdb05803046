"""The options of a secrets store of one's own."""

from strongroom.secrets_stores.custom import SecretsStoreConfiguration

__all__ = ["SecretsStoreConfiguration"]
