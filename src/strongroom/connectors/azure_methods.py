"""How to log in to Azure: one class per authentication method. Its fields are named as its options.

A method is immutable and knows no connection. It is asked for a credential of azure-identity at each login, so nothing that a former
login left (tokens, errors that MSAL remembers for a minute) has a say in it, and files that others renew are read each time.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from strongroom.connectors.machine import FILE
from strongroom.connectors.options import import_extra, read_credential
from strongroom.errors import ConfigurationError, StoreForbidden
from strongroom.redaction import SecretText

_AKS_TOKEN = "/var/run/secrets/azure/tokens/azure-identity-token"


class AzureMethod(Protocol):
    """An authentication method with its credential."""

    name: ClassVar[str]
    asks_vault_for_tenant: ClassVar[bool]
    """Whether the tenant that a vault names is the one to log in to; else it is in the options."""

    def credential(self, **settings: Any) -> Any:
        """A fresh credential of azure-identity.

        `settings` are the SDK's: how it sends requests, and the authority. `StoreForbidden` when a file cannot be read.
        """


@dataclass(frozen=True, kw_only=True)
class ImplicitMethod:
    """What the machine has: variables `AZURE_*`, a workload or managed identity, or whoever is logged in to Azure's command line.

    `client_id` chooses one of several identities that Azure manages for the machine.
    """

    name: ClassVar[str] = "implicit"
    identity_unless: ClassVar[Sequence[str]] = ()
    asks_vault_for_tenant: ClassVar[bool] = True
    client_id: str | None = None

    def credential(self, **settings: Any) -> Any:
        """The chain of azure-identity."""
        chosen = {"managed_identity_client_id": self.client_id} if self.client_id else {}
        return import_azure("azure.identity").DefaultAzureCredential(**settings, **chosen)


@dataclass(frozen=True, kw_only=True)
class ServicePrincipalMethod:
    """An application of Entra, with its secret or its certificate (a file: PEM or PKCS 12, with the key)."""

    name: ClassVar[str] = "service-principal"
    asks_vault_for_tenant: ClassVar[bool] = False
    tenant_id: str
    client_id: str
    client_secret: SecretText | None = None
    client_certificate_path: str | None = field(default=None, metadata=FILE)
    client_certificate_password: SecretText | None = None

    def __post_init__(self) -> None:
        if (self.client_secret is None) == (self.client_certificate_path is None):
            raise ConfigurationError("the method service-principal needs either 'client_secret' or 'client_certificate_path'")

    def credential(self, **settings: Any) -> Any:
        """By the secret, or by the certificate as the file has it now."""
        identity = import_azure("azure.identity")
        if self.client_secret is not None:
            return identity.ClientSecretCredential(self.tenant_id, self.client_id, self.client_secret.reveal(), **settings)
        certificate = _read_certificate(str(self.client_certificate_path))
        password = self.client_certificate_password.reveal() if self.client_certificate_password else None
        return identity.CertificateCredential(
            self.tenant_id, self.client_id, certificate_data=certificate, password=password, **settings
        )


@dataclass(frozen=True, kw_only=True)
class AccessTokenMethod:
    """A token for Key Vault that somebody else got. It lives about an hour, and nothing replaces it."""

    name: ClassVar[str] = "access-token"
    asks_vault_for_tenant: ClassVar[bool] = False
    token: SecretText

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[!-~]+", self.token.reveal()):
            raise ConfigurationError("the option 'token' of the method access-token is no token: it has blanks or line ends")

    def credential(self, **_: Any) -> Any:
        """Nothing that could give another one."""
        raise StoreForbidden("the token is all that there is", hint="give a new one")


@dataclass(frozen=True, kw_only=True)
class WorkloadIdentityMethod:
    """A token that Kubernetes (or another identity provider that the application trusts) puts into a file and renews there."""

    name: ClassVar[str] = "workload-identity"
    asks_vault_for_tenant: ClassVar[bool] = False
    tenant_id: str
    client_id: str
    token_file_path: str = field(default=_AKS_TOKEN, metadata=FILE)

    def credential(self, **settings: Any) -> Any:
        """By the token as the file has it now."""
        assertion = read_credential(self.token_file_path, "token")
        return import_azure("azure.identity").ClientAssertionCredential(self.tenant_id, self.client_id, lambda: assertion, **settings)


METHODS: Mapping[str, type[Any]] = {
    each.name: each for each in (ImplicitMethod, ServicePrincipalMethod, AccessTokenMethod, WorkloadIdentityMethod)
}

DEFAULT_METHOD = ImplicitMethod.name


def import_azure(module: str) -> Any:
    """A module of Azure's SDK, or `MissingExtra`."""
    return import_extra(module, "azure")


def _read_certificate(path: str) -> bytes:
    try:
        return Path(path).read_bytes().removeprefix(BOM_UTF8)
    except OSError as error:
        reason = type(error).__name__
    raise StoreForbidden(f"the certificate for the login cannot be read from {path}: {reason}", "check the path and its permissions")
