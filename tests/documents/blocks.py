"""The commands and the code of the two documents that strongroom follows, as they stand there but for their prose.

Placeholders such as `<SECRET_NAME>` are filled in by `filled`, `...` at the end of a command stands for nothing. They have the names
of the existing system; strongroom's own come out of `renamed`.
"""

from __future__ import annotations

import re

CREATE = r"""zenml secret create <SECRET_NAME> \
    --<KEY_1>=<VALUE_1> \
    --<KEY_2>=<VALUE_2>"""

CREATE_INTERACTIVELY = "zenml secret create <SECRET_NAME> -i"

CREATE_FROM_A_FILE = r"""zenml secret create <SECRET_NAME> \
   --key=@path/to/file.txt \
   ..."""

CREATE_BY_THE_CLIENT = """
from zenml.client import Client

client = Client()
client.create_secret(
    name = "my_secret",
    values = {
        "username": "admin",
        "password": "abc123"
    }
)
"""

CREATE_FOR_ONESELF = r"""zenml secret create <SECRET_NAME> \
    --scope user \
    --<KEY_1>=<VALUE_1> \
    --<KEY_2>=<VALUE_2>"""

SECRET_OF_A_TRACKER = r"""# Using central secrets management
zenml secret create mlflow_secret \
    --username=admin \
    --password=abc123"""

MANAGED_SECRET_OF_A_TRACKER = r"""# Or using a secrets manager
zenml secrets-manager secret register mlflow_secret \
    --username=admin \
    --password=abc123"""

TRACKER = r"""# Then reference the username and password in our experiment tracker component
zenml experiment-tracker register mlflow \
    --flavor=mlflow \
    --tracking_username={{mlflow_secret.username}} \
    --tracking_password={{mlflow_secret.password}} \
    ..."""

VALIDATION_LEVEL = "ZENML_SECRET_VALIDATION_LEVEL"

STEP = '''
from zenml.steps import step
from zenml.client import Client

@step
def secret_loader() -> None:
    """Load the example secret from the server."""
    # Fetch the secret from ZenML.
    secret = Client().get_secret(<SECRET_NAME>)

    # `secret.secret_values` will contain a dictionary with all key-value
    # pairs within your secret.
    authenticate_to_some_api(
        username = secret.secret_values["username"],
        password = secret.secret_values["password"],
    )
    ...
'''

STEP_WITH_A_SECRETS_MANAGER = '''
from zenml.steps import step, StepContext


@step(enable_cache=True)
def secret_loader(
    context: StepContext,
) -> None:
    """Load the example secret from the secrets manager."""
    # Load Secret from active secrets manager. This will fail if no secret
    # manager is active or if that secret does not exist.
    retrieved_secret = context.stack.secrets_manager.get_secret(<SECRET_NAME>)

    # retrieved_secret.content will contain a dictionary with all key-value
    # pairs within your secret.
    return
'''

REGISTER = r"""zenml secrets-manager secret register <SECRET_NAME> \
    --<KEY_1>=<VALUE_1> \
    --<KEY_2>=<VALUE_2>"""

REGISTER_INTERACTIVELY = "zenml secrets-manager secret register <SECRET_NAME> -i"

REGISTER_FROM_A_FILE = r"""zenml secrets-manager secret register <SECRET_NAME> \
   --key=@path/to/file.txt \
   ..."""

REGISTER_MISSING = "zenml stack register-secrets [<STACK_NAME>]"

MIGRATE = "zenml secrets-manager secrets migrate"

STORE_OF_ONES_OWN = """
from abc import ABC, abstractmethod
from uuid import UUID

from zenml.zen_stores.secrets_stores.base_secrets_store import BaseSecretsManager, SecretsStoreConfiguration, SecretsStoreType
from zenml.zen_stores.secrets_stores.secrets_store_interface import (
    Page, SecretFilterModel, SecretRequestModel, SecretResponseModel, SecretUpdateModel,
)
"""
"""The modules and names that the guide speaks of when it says how to write one."""

INTERFACE = """
    @abstractmethod
    def _initialize(self) -> None: ...

    @abstractmethod
    def create_secret(
        self,
        secret: SecretRequestModel,
    ) -> SecretResponseModel: ...

    @abstractmethod
    def get_secret(self, secret_id: UUID) -> SecretResponseModel: ...

    @abstractmethod
    def list_secrets(
        self, secret_filter_model: SecretFilterModel
    ) -> Page[SecretResponseModel]: ...

    @abstractmethod
    def update_secret(
        self,
        secret_id: UUID,
        secret_update: SecretUpdateModel,
    ) -> SecretResponseModel: ...

    @abstractmethod
    def delete_secret(self, secret_id: UUID) -> None: ...
"""
"""The methods of `SecretsStoreInterface`, as far as the guide prints them."""

BACKUP = "zenml secret backup"
RESTORE = "zenml secret restore"
BACKUP_AND_DELETE = "zenml secret backup --delete-secrets"

_OWN_NAMES = {
    "zenml.zen_stores.secrets_stores.base_secrets_store": "strongroom.secrets_stores.custom",
    "zenml.zen_stores.secrets_stores.secrets_store_interface": "strongroom.secrets_stores.whole_secrets",
    "BaseSecretsManager": "BaseSecretsStore",
    "zenml.": "strongroom.",
    "ZENML_": "STRONGROOM_",
}


def filled(block: str, **placeholders: str) -> str:
    """The block with its placeholders filled in: `SECRET_NAME="x"` for `<SECRET_NAME>`, optional ones in brackets given or gone."""
    text = re.sub(r"\[<(\w+)>\]", lambda found: placeholders.get(found[1], ""), block)
    for name, given in placeholders.items():
        text = text.replace(f"<{name}>", given)
    assert not re.search(r"<[A-Z_0-9]+>", text), text
    return re.sub(r"\s*\\\n\s*\.\.\.$", "", text)


def renamed(text: str) -> str:
    """The same by strongroom's own names."""
    for name, own in _OWN_NAMES.items():
        text = text.replace(name, own)
    return re.sub(r"\bzenml\b", "strongroom", text)
