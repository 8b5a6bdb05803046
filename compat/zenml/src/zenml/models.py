"""The models that a secrets store of one's own works with."""

from strongroom.secrets_stores.whole_secrets import (
    Page,
    SecretFilterModel,
    SecretRequestModel,
    SecretResponseModel,
    SecretUpdateModel,
)

__all__ = ["Page", "SecretFilterModel", "SecretRequestModel", "SecretResponseModel", "SecretUpdateModel"]
