"""How to log in to Google Cloud: one class per authentication method. Its fields are named as its options.

A method is immutable and knows no connection. It makes credentials of google-auth whenever a login is needed, from scratch, so that
nothing of a login that failed or was revoked lives on, and files that others renew are read each time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import msgspec

from strongroom.connectors.machine import ADDRESS, DOCUMENT
from strongroom.connectors.options import build, find_method, import_extra
from strongroom.errors import ConfigurationError, StoreForbidden
from strongroom.redaction import SecretText

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_TOKEN_URI = "https://oauth2.googleapis.com/token"
_AWS_TOKEN_TYPE = "urn:ietf:params:aws:token-type:aws4_request"
_PRINCIPAL = re.compile(r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+", re.ASCII)


class GcpMethod(Protocol):
    """An authentication method with its credential."""

    name: ClassVar[str]
    can_log_in: ClassVar[bool]
    """Whether there is a fresh token for the asking."""

    def check(self) -> None:
        """`ConfigurationError` if the options cannot work. Asks nobody."""

    def credentials(self, request: Any) -> Any:
        """Fresh credentials of google-auth, which may ask by `request` what this machine is.

        `StoreForbidden` when a file with a credential cannot be read; what google-auth raises passes through.
        """


@dataclass(frozen=True, kw_only=True)
class ImplicitMethod:
    """Whatever google-auth finds: `GOOGLE_APPLICATION_CREDENTIALS`, gcloud's login, or the machine's own service account."""

    name: ClassVar[str] = "implicit"
    identity_unless: ClassVar[Sequence[str]] = ()
    can_log_in: ClassVar[bool] = True

    def check(self) -> None:
        """Nothing can be told before the first login."""

    def credentials(self, request: Any) -> Any:
        """The first ones of the chain."""
        return import_google("google.auth").default(scopes=_SCOPES, request=request)[0]


@dataclass(frozen=True, kw_only=True)
class UserAccountMethod:
    """A person's login, as `gcloud auth application-default login` writes it."""

    name: ClassVar[str] = "user-account"
    can_log_in: ClassVar[bool] = True
    user_account_json: SecretText

    def check(self) -> None:
        """The JSON is what it should be."""
        self.credentials(None)

    def credentials(self, request: Any) -> Any:
        """Those of the refresh token."""
        info = _parsed(self.user_account_json, "user_account_json", "authorized_user")
        needed = ("client_id", "client_secret", "refresh_token")
        if not all(isinstance(info.get(each), str) for each in needed):
            raise ConfigurationError(f"'user_account_json' lacks one of: {', '.join(needed)}")
        return import_google("google.oauth2.credentials").Credentials(
            None,
            token_uri=info.get("token_uri") or _TOKEN_URI,
            quota_project_id=info.get("quota_project_id"),
            account=info.get("account"),
            **{each: info[each] for each in needed},
        )


@dataclass(frozen=True, kw_only=True)
class ServiceAccountMethod:
    """A service account's key. It signs its own tokens: no login leaves this machine."""

    name: ClassVar[str] = "service-account"
    can_log_in: ClassVar[bool] = True
    service_account_json: SecretText

    def check(self) -> None:
        """The JSON is what it should be."""
        self.credentials(None)

    def credentials(self, request: Any, *, self_signed: bool = True) -> Any:
        """Those of the key, for tokens that it signs itself or fetches from its `token_uri`."""
        info = _parsed(self.service_account_json, "service_account_json", "service_account")
        make = import_google("google.oauth2.service_account").Credentials.from_service_account_info
        return _made("service_account_json", make, info, scopes=_SCOPES, always_use_jwt_access=self_signed)


@dataclass(frozen=True, kw_only=True)
class ExternalAccountMethod:
    """An identity that somebody else vouches for, by the JSON of `gcloud iam workload-identity-pools create-cred-config`."""

    name: ClassVar[str] = "external-account"
    can_log_in: ClassVar[bool] = True
    external_account_json: SecretText = field(metadata=DOCUMENT)

    def check(self) -> None:
        """The JSON is what it should be."""
        self._made(self._info())

    def credentials(self, request: Any) -> Any:
        """Those of the JSON, if the token that it points to is there."""
        info = self._info()
        file = (info.get("credential_source") or {}).get("file")
        if file and not Path(file).is_file():
            raise StoreForbidden(f"the token for the login cannot be read: there is no file at {file}")
        return self._made(info)

    def _info(self) -> Mapping[str, Any]:
        info = _parsed(self.external_account_json, "external_account_json", "external_account")
        if not isinstance(info.get("credential_source") or {}, Mapping):
            raise ConfigurationError("the 'credential_source' of 'external_account_json' is no JSON object")
        return info

    def _made(self, info: Mapping[str, Any]) -> Any:
        if info.get("subject_token_type") == _AWS_TOKEN_TYPE:
            module = "google.auth.aws"
        elif (info.get("credential_source") or {}).get("executable") is not None:
            module = "google.auth.pluggable"
        else:
            module = "google.auth.identity_pool"
        return _made("external_account_json", import_google(module).Credentials.from_info, info, scopes=_SCOPES)


@dataclass(frozen=True, kw_only=True)
class OAuth2TokenMethod:
    """An access token that somebody else got. Nothing replaces it when it has expired."""

    name: ClassVar[str] = "oauth2-token"
    can_log_in: ClassVar[bool] = False
    token: SecretText

    def check(self) -> None:
        """The token could be one."""
        if not (self.token.reveal().isascii() and self.token.reveal().isprintable()):
            raise ConfigurationError("'token' is no access token")

    def credentials(self, request: Any) -> Any:
        """Those of the token."""
        return import_google("google.oauth2.credentials").Credentials(self.token.reveal())


@dataclass(frozen=True, kw_only=True)
class ImpersonationMethod:
    """A service account that lends itself to another credential: one of the JSONs, a token, or (without any) what implicit finds.

    `iam_endpoint` is where the short-lived tokens come from; `lifetime` is theirs, in seconds.
    """

    name: ClassVar[str] = "impersonation"
    identity_unless: ClassVar[Sequence[str]] = (
        "service_account_json",
        "user_account_json",
        "external_account_json",
        "token",
    )
    can_log_in: ClassVar[bool] = True
    target_principal: str
    delegates: tuple[str, ...] = ()
    lifetime: int = 3600
    iam_endpoint: str = field(default="https://iamcredentials.googleapis.com", metadata=ADDRESS)
    service_account_json: SecretText | None = None
    user_account_json: SecretText | None = None
    external_account_json: SecretText | None = field(default=None, metadata=DOCUMENT)
    token: SecretText | None = None

    def __post_init__(self) -> None:
        for each in (self.target_principal, *self.delegates):
            if not _PRINCIPAL.fullmatch(each):
                raise ConfigurationError(
                    "'target_principal' and 'delegates' are to be service accounts",
                    hint="such as trainer@my-project.iam.gserviceaccount.com",
                )
        if not 1 <= self.lifetime <= 43_200:
            raise ConfigurationError("'lifetime' is to be between 1 and 43200 seconds")
        sources = (self.service_account_json, self.user_account_json, self.external_account_json, self.token)
        if sum(each is not None for each in sources) > 1:
            raise ConfigurationError("the method impersonation takes one credential, and several are given")

    def check(self) -> None:
        """The credential that it starts from is what it should be."""
        self._source().check()

    def credentials(self, request: Any) -> Any:
        """Those of the service account."""
        source = self._source()
        if isinstance(source, ServiceAccountMethod):
            own = source.credentials(request, self_signed=False)
        else:
            own = source.credentials(request)
        endpoint = f"{self.iam_endpoint.rstrip('/')}/v1/projects/-/serviceAccounts/{self.target_principal}:generateAccessToken"
        return import_google("google.auth.impersonated_credentials").Credentials(
            own,
            self.target_principal,
            list(_SCOPES),
            delegates=list(self.delegates),
            lifetime=self.lifetime,
            iam_endpoint_override=endpoint,
        )

    def _source(self) -> GcpMethod:
        if self.service_account_json:
            return ServiceAccountMethod(service_account_json=self.service_account_json)
        if self.user_account_json:
            return UserAccountMethod(user_account_json=self.user_account_json)
        if self.external_account_json:
            return ExternalAccountMethod(external_account_json=self.external_account_json)
        return OAuth2TokenMethod(token=self.token) if self.token else ImplicitMethod()


METHODS: Mapping[str, type[Any]] = {
    each.name: each
    for each in (
        ImplicitMethod,
        UserAccountMethod,
        ServiceAccountMethod,
        ExternalAccountMethod,
        OAuth2TokenMethod,
        ImpersonationMethod,
    )
}

DEFAULT_METHOD = ImplicitMethod.name


def gcp_method(name: str, options: Mapping[str, Any]) -> GcpMethod:
    """The method with its options, by their names. `ConfigurationError` for an unknown method or option, and for a missing one."""
    method: GcpMethod = build(f"the method {name} of Google Cloud", [find_method("Google Cloud", METHODS, name)], options)[0]
    return method


def import_google(module: str) -> Any:
    """A module of Google's libraries, or `MissingExtra`."""
    return import_extra(module, "gcp")


def _parsed(text: SecretText, option: str, type_: str) -> Mapping[str, Any]:
    """A JSON of Google's, if it says that it is of this type. No part of it is shown."""
    try:
        info = msgspec.json.decode(text.reveal())
    except (msgspec.DecodeError, UnicodeEncodeError):
        info = None
    if not isinstance(info, dict):
        raise ConfigurationError(
            f"'{option}' is no JSON object",
            hint="give the JSON itself; for a file, use the method implicit with GOOGLE_APPLICATION_CREDENTIALS",
        )
    if info.get("type") != type_:
        raise ConfigurationError(f"the JSON of '{option}' is to have the type {type_}")
    return info


def _made(option: str, make: Callable[..., Any], info: Mapping[str, Any], *, scopes: Sequence[str], **options: Any) -> Any:
    try:
        return make(info, scopes=scopes, **options)
    except (ValueError, TypeError, KeyError, AttributeError):  # they may quote what they were given
        pass
    raise ConfigurationError(f"google-auth does not understand the JSON of '{option}'", hint="is it whole, and of the right kind?")
