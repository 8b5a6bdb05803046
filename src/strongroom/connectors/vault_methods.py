"""How to log in to HashiCorp Vault and OpenBao: one class per authentication method. Its fields are named as its options.

A method is immutable and knows no connection. It is asked for a login whenever one is needed, so it reads files that others renew
(tokens of Kubernetes, of CI systems) each time.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol
from urllib.parse import quote

from strongroom.connectors.machine import FILE
from strongroom.connectors.options import build, check_header, find_method, import_extra, read_credential
from strongroom.errors import ConfigurationError
from strongroom.redaction import SecretText

_KUBERNETES_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"


@dataclass(frozen=True)
class Login:
    """What is sent to log in: a path below `/v1/` and a body. The body holds a credential and is not shown."""

    path: str
    body: Mapping[str, Any] = field(repr=False)


class VaultMethod(Protocol):
    """An authentication method with its credential."""

    name: ClassVar[str]
    can_log_in: ClassVar[bool]
    """Whether there is a fresh token for the asking."""

    def login(self) -> Login | SecretText:
        """What to send for a fresh token, or the token itself. `StoreForbidden` when a file with a credential cannot be read."""


@dataclass(frozen=True, kw_only=True)
class TokenMethod:
    """A token that somebody else got. It is renewed as long as that is possible; nothing replaces it when it is dead."""

    name: ClassVar[str] = "token"
    can_log_in: ClassVar[bool] = False
    vault_token: SecretText

    def __post_init__(self) -> None:
        check_header("vault_token", self.vault_token)

    def login(self) -> Login | SecretText:
        """The token."""
        return self.vault_token


@dataclass(frozen=True, kw_only=True)
class AppRoleMethod:
    """A role id and its secret id."""

    name: ClassVar[str] = "app-role"
    can_log_in: ClassVar[bool] = True
    app_role_id: str
    app_secret_id: SecretText
    auth_mount_point: str = "approle"

    def login(self) -> Login | SecretText:
        """Both ids."""
        return Login(f"auth/{self.auth_mount_point}/login", {"role_id": self.app_role_id, "secret_id": self.app_secret_id.reveal()})


@dataclass(frozen=True, kw_only=True)
class UserpassMethod:
    """A user's name and password."""

    name: ClassVar[str] = "userpass"
    can_log_in: ClassVar[bool] = True
    username: str
    password: SecretText
    auth_mount_point: str = "userpass"

    def login(self) -> Login | SecretText:
        """The password, at the user's path."""
        return Login(f"auth/{self.auth_mount_point}/login/{quote(self.username, safe='')}", {"password": self.password.reveal()})


@dataclass(frozen=True, kw_only=True)
class JwtMethod:
    """A signed token of an identity provider: in a file, which may be renewed by others, or as it is."""

    name: ClassVar[str] = "jwt"
    can_log_in: ClassVar[bool] = True
    role: str
    jwt: SecretText | None = None
    jwt_path: str | None = field(default=None, metadata=FILE)
    auth_mount_point: str = "jwt"

    def __post_init__(self) -> None:
        if (self.jwt is None) == (self.jwt_path is None):
            raise ConfigurationError("the method jwt needs either 'jwt' or 'jwt_path'")

    def login(self) -> Login | SecretText:
        """The role and the token as the file has it now."""
        jwt = self.jwt.reveal() if self.jwt else read_credential(str(self.jwt_path), "token")
        return Login(f"auth/{self.auth_mount_point}/login", {"role": self.role, "jwt": jwt})


@dataclass(frozen=True, kw_only=True)
class KubernetesMethod:
    """The token that Kubernetes puts into a pod and renews there."""

    name: ClassVar[str] = "kubernetes"
    can_log_in: ClassVar[bool] = True
    role: str
    jwt_path: str = field(default=_KUBERNETES_TOKEN, metadata=FILE)
    auth_mount_point: str = "kubernetes"

    def login(self) -> Login | SecretText:
        """The role and the token as the file has it now."""
        return Login(f"auth/{self.auth_mount_point}/login", {"role": self.role, "jwt": read_credential(self.jwt_path, "token")})


@dataclass(frozen=True, kw_only=True)
class AwsMethod:
    """An identity of AWS, proved by a signed request to its STS that Vault sends there (HashiCorp Vault; a plugin in OpenBao)."""

    name: ClassVar[str] = "aws"
    can_log_in: ClassVar[bool] = True
    role: str
    aws_access_key_id: str
    aws_secret_access_key: SecretText
    aws_session_token: SecretText | None = None
    aws_region: str = "us-east-1"
    aws_header_value: str | None = None
    auth_mount_point: str = "aws"

    def login(self) -> Login | SecretText:
        """The request, signed anew."""
        signing = import_hvac("hvac.aws_utils")
        request = signing.generate_sigv4_auth_request(header_value=self.aws_header_value)
        session_token = self.aws_session_token.reveal() if self.aws_session_token else None
        signing.SigV4Auth(self.aws_access_key_id, self.aws_secret_access_key.reveal(), session_token, self.aws_region).add_auth(
            request
        )

        def coded(text: str) -> str:
            return base64.b64encode(text.encode()).decode()

        body = {
            "role": self.role,
            "iam_http_request_method": request.method,
            "iam_request_url": coded(request.url),
            "iam_request_headers": coded(json.dumps(dict(request.headers))),
            "iam_request_body": coded(request.body),
        }
        return Login(f"auth/{self.auth_mount_point}/login", body)


METHODS: Mapping[str, type[Any]] = {
    each.name: each for each in (TokenMethod, AppRoleMethod, KubernetesMethod, JwtMethod, UserpassMethod, AwsMethod)
}


DEFAULT_METHOD = TokenMethod.name


def vault_method(name: str, options: Mapping[str, Any]) -> VaultMethod:
    """The method with its options, by their names. `ConfigurationError` for an unknown method or option, and for a missing one."""
    method: VaultMethod = build(f"the method {name} of Vault", [find_method("Vault", METHODS, name)], options)[0]
    return method


def import_hvac(module: str) -> Any:
    """A module of hvac, or `MissingExtra`."""
    return import_extra(module, "vault")
