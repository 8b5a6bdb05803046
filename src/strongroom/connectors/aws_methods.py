"""How to log in to AWS: one class per authentication method. Its fields are named as its options.

A method is immutable and knows no connection. It says where credentials come from (keys, or the environment that the SDK looks
through) and what STS gives for them, if they are to be exchanged. It is asked anew at each login, so it reads files that others
renew each time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from strongroom.connectors.machine import FILE, PROFILE
from strongroom.connectors.options import build, check_header, find_method, read_credential
from strongroom.errors import ConfigurationError
from strongroom.redaction import SecretText

_EVERYTHING = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
_SESSION_NAME = re.compile(r"[A-Za-z0-9_=,.@+-]{2,64}")


@dataclass(frozen=True, kw_only=True)
class Keys:
    """What requests are signed with."""

    access_key_id: str
    secret_access_key: SecretText
    session_token: SecretText | None = None

    def __post_init__(self) -> None:
        check_header("aws_access_key_id", self.access_key_id)
        check_header("aws_session_token", self.session_token)


@dataclass(frozen=True, kw_only=True)
class Ambient:
    """Whatever the SDK finds: variables, files, a pod's or a machine's role."""

    profile_name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """An operation of STS that gives temporary keys. Its parameters may hold a token and are not shown."""

    operation: str
    parameters: Mapping[str, Any] = field(repr=False)


class AwsMethod(Protocol):
    """An authentication method with its credential."""

    name: ClassVar[str]

    def base(self) -> Keys | Ambient | None:
        """What there is to begin with; None: nothing that signs."""

    def exchange(self) -> Exchange | None:
        """What to ask STS for, signed with the base. `StoreForbidden` when a file with a credential cannot be read."""


@dataclass(frozen=True, kw_only=True)
class ImplicitMethod:
    """The credentials of the place where strongroom runs, found and renewed by the SDK."""

    name: ClassVar[str] = "implicit"
    identity_unless: ClassVar[Sequence[str]] = ()
    profile_name: str | None = field(default=None, metadata=PROFILE)

    def base(self) -> Keys | Ambient | None:
        """What the SDK finds."""
        return Ambient(profile_name=self.profile_name)

    def exchange(self) -> Exchange | None:
        """Nothing."""
        return None


@dataclass(frozen=True, kw_only=True)
class SecretKeyMethod:
    """A user's access key."""

    name: ClassVar[str] = "secret-key"
    aws_access_key_id: str
    aws_secret_access_key: SecretText

    def base(self) -> Keys | Ambient | None:
        """The key."""
        return Keys(access_key_id=self.aws_access_key_id, secret_access_key=self.aws_secret_access_key)

    def exchange(self) -> Exchange | None:
        """Nothing."""
        return None


@dataclass(frozen=True, kw_only=True)
class StsTokenMethod:
    """Temporary keys that somebody else got. Nothing replaces them when they have expired."""

    name: ClassVar[str] = "sts-token"
    aws_access_key_id: str
    aws_secret_access_key: SecretText
    aws_session_token: SecretText

    def base(self) -> Keys | Ambient | None:
        """The keys with their token."""
        return Keys(
            access_key_id=self.aws_access_key_id,
            secret_access_key=self.aws_secret_access_key,
            session_token=self.aws_session_token,
        )

    def exchange(self) -> Exchange | None:
        """Nothing."""
        return None


@dataclass(frozen=True, kw_only=True)
class IamRoleMethod:
    """A role that is assumed with an access key, or with what the SDK finds."""

    name: ClassVar[str] = "iam-role"
    identity_unless: ClassVar[Sequence[str]] = ("aws_access_key_id",)
    role_arn: str
    aws_access_key_id: str | None = None
    aws_secret_access_key: SecretText | None = None
    aws_session_token: SecretText | None = None
    profile_name: str | None = field(default=None, metadata=PROFILE)
    external_id: str | None = None
    role_session_name: str = "strongroom"
    duration_seconds: int = 3600

    def __post_init__(self) -> None:
        _check_role(self.name, self.role_arn, self.role_session_name, self.duration_seconds)
        given = [self.aws_access_key_id is not None, self.aws_secret_access_key is not None]
        if any(given) != all(given) or (self.aws_session_token is not None and not all(given)):
            raise ConfigurationError("the method iam-role needs both 'aws_access_key_id' and 'aws_secret_access_key', or neither")
        if all(given) and self.profile_name is not None:
            raise ConfigurationError("the method iam-role takes either keys or a 'profile_name'")

    def base(self) -> Keys | Ambient | None:
        """The key, or what the SDK finds."""
        if self.aws_access_key_id is None or self.aws_secret_access_key is None:
            return Ambient(profile_name=self.profile_name)
        return Keys(
            access_key_id=self.aws_access_key_id,
            secret_access_key=self.aws_secret_access_key,
            session_token=self.aws_session_token,
        )

    def exchange(self) -> Exchange | None:
        """The role."""
        parameters = {"RoleArn": self.role_arn, "RoleSessionName": self.role_session_name, "DurationSeconds": self.duration_seconds}
        if self.external_id is not None:
            parameters["ExternalId"] = self.external_id
        return Exchange(operation="assume_role", parameters=parameters)


@dataclass(frozen=True, kw_only=True)
class SessionTokenMethod:
    """Temporary keys for an access key: what it may do, but not for ever."""

    name: ClassVar[str] = "session-token"
    aws_access_key_id: str
    aws_secret_access_key: SecretText
    duration_seconds: int = 43_200

    def __post_init__(self) -> None:
        _check_duration(self.name, self.duration_seconds, 129_600)

    def base(self) -> Keys | Ambient | None:
        """The key."""
        return Keys(access_key_id=self.aws_access_key_id, secret_access_key=self.aws_secret_access_key)

    def exchange(self) -> Exchange | None:
        """A session of the user."""
        return Exchange(operation="get_session_token", parameters={"DurationSeconds": self.duration_seconds})


@dataclass(frozen=True, kw_only=True)
class FederationTokenMethod:
    """Temporary keys for an access key: what its user and the given policies both allow; without policies, what its user may."""

    name: ClassVar[str] = "federation-token"
    aws_access_key_id: str
    aws_secret_access_key: SecretText
    federated_user_name: str = "strongroom"
    policy: str | None = None
    policy_arns: tuple[str, ...] = ()
    duration_seconds: int = 43_200

    def __post_init__(self) -> None:
        _check_duration(self.name, self.duration_seconds, 129_600)
        if not _SESSION_NAME.fullmatch(self.federated_user_name) or len(self.federated_user_name) > 32:
            raise ConfigurationError("'federated_user_name' is to be 2 to 32 letters, digits and any of _=,.@+-")

    def base(self) -> Keys | Ambient | None:
        """The key."""
        return Keys(access_key_id=self.aws_access_key_id, secret_access_key=self.aws_secret_access_key)

    def exchange(self) -> Exchange | None:
        """A federated user."""
        parameters: dict[str, Any] = {"Name": self.federated_user_name, "DurationSeconds": self.duration_seconds}
        if self.policy_arns:
            parameters["PolicyArns"] = [{"arn": each} for each in self.policy_arns]
        if self.policy or not self.policy_arns:
            parameters["Policy"] = self.policy or _EVERYTHING
        return Exchange(operation="get_federation_token", parameters=parameters)


@dataclass(frozen=True, kw_only=True)
class WebIdentityMethod:
    """A role that is assumed with a token of an identity provider (Kubernetes, a CI system) in a file that others renew."""

    name: ClassVar[str] = "web-identity"
    role_arn: str
    web_identity_token_file: str = field(metadata=FILE)
    role_session_name: str = "strongroom"
    duration_seconds: int = 3600

    def __post_init__(self) -> None:
        _check_role(self.name, self.role_arn, self.role_session_name, self.duration_seconds)

    def base(self) -> Keys | Ambient | None:
        """Nothing: the token speaks for itself."""
        return None

    def exchange(self) -> Exchange | None:
        """The role, for the token as the file has it now."""
        parameters = {
            "RoleArn": self.role_arn,
            "RoleSessionName": self.role_session_name,
            "DurationSeconds": self.duration_seconds,
            "WebIdentityToken": read_credential(self.web_identity_token_file, "token"),
        }
        return Exchange(operation="assume_role_with_web_identity", parameters=parameters)


METHODS: Mapping[str, type[Any]] = {
    each.name: each
    for each in (
        ImplicitMethod,
        SecretKeyMethod,
        StsTokenMethod,
        IamRoleMethod,
        SessionTokenMethod,
        FederationTokenMethod,
        WebIdentityMethod,
    )
}

DEFAULT_METHOD = ImplicitMethod.name


def aws_method(name: str, options: Mapping[str, Any]) -> AwsMethod:
    """The method with its options, by their names. `ConfigurationError` for an unknown method or option, and for a missing one."""
    method: AwsMethod = build(f"the method {name} of AWS", [find_method("AWS", METHODS, name)], options)[0]
    return method


def _check_role(method: str, role_arn: str, session_name: str, seconds: int) -> None:
    if not re.fullmatch(r"arn:[a-z-]+:iam::\d{12}:role/[\x21-\x7e]+", role_arn):
        raise ConfigurationError("'role_arn' is no ARN of a role", hint="such as arn:aws:iam::123456789012:role/strongroom")
    if not _SESSION_NAME.fullmatch(session_name):
        raise ConfigurationError("'role_session_name' is to be 2 to 64 letters, digits and any of _=,.@+-")
    _check_duration(method, seconds, 43_200)


def _check_duration(method: str, seconds: int, longest: int) -> None:
    if not 900 <= seconds <= longest:
        raise ConfigurationError(f"'duration_seconds' of the method {method} is to be from 900 to {longest}")
