"""The interface of secrets stores of whole secrets."""

from strongroom.secrets_stores.whole_secrets import SecretsStoreInterface
from zenml.models import Page, SecretFilterModel, SecretRequestModel, SecretResponseModel, SecretUpdateModel

__all__ = [
    "Page",
    "SecretFilterModel",
    "SecretRequestModel",
    "SecretResponseModel",
    "SecretUpdateModel",
    "SecretsStoreInterface",
]
