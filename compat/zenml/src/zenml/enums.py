"""Enumerations."""

from strongroom.models.flavor import ComponentType as StackComponentType
from strongroom.models.secret import Scope as SecretScope
from strongroom.secrets_stores.custom import SecretsStoreType

__all__ = ["SecretScope", "SecretsStoreType", "StackComponentType"]
