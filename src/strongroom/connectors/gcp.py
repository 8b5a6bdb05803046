"""A connection to one of Google Cloud's gRPC services that stays logged in.

It carries single requests over one channel, which gRPC shares among threads. Google's own clients wrap gRPC with retries, and write
every request and answer to the log where that is set to DEBUG, values included; so their messages are used here, and not the clients.

A channel that failed is replaced: gRPC would wait before it connects again, and refuse everything meanwhile. So each call during an
outage is a real attempt, and the first one after it succeeds.

    StoreForbidden   Google refuses the login or the request, or is not set up for it
    Unavailable      no answer in time, throttled, a fault of the service, or nobody there

Other answers (done, not found, exists already, not in this state) are the caller's to understand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from strongroom.certificates import certificate_file
from strongroom.config import is_without_proxy
from strongroom.connectors.deadline import Deadline
from strongroom.connectors.gcp_login import Login, is_loopback
from strongroom.connectors.gcp_methods import DEFAULT_METHOD, METHODS, GcpMethod, gcp_method, import_google
from strongroom.connectors.machine import ADDRESS, FILE
from strongroom.errors import ConfigurationError, StoreForbidden, StrongroomError, Unavailable
from strongroom.redaction import SecretText, mask

__all__ = ["DEFAULT_METHOD", "METHODS", "Answer", "Endpoint", "GcpConnection", "connect", "gcp_method"]

_PROJECT = re.compile(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]", re.ASCII)
_SERVICE = re.compile(r"[a-z0-9.-]+\.googleapis\.com", re.ASCII)
_MEGABYTE = 1 << 20
_CHANNEL = (
    ("grpc.use_local_subchannel_pool", 1),  # a new channel is not to inherit a failed one's pause
    ("grpc.min_reconnect_backoff_ms", 10_000),  # how long connecting may take
    ("grpc.client_idle_timeout_ms", 240_000),  # before what lies between forgets an idle connection without a word
    ("grpc.max_receive_message_length", 16 * _MEGABYTE),
    ("grpc.primary_user_agent", "strongroom"),
)
_NO_PROJECT = ("CONSUMER_INVALID", "CONSUMER_SUSPENDED", "USER_PROJECT_DENIED", "RESOURCE_PROJECT_INVALID")


@dataclass(frozen=True)
class Answer:
    """What the service said: a status of gRPC, and its message if that is OK. Both may hold values and are not shown."""

    status: str
    message: Any = field(repr=False, default=None)
    details: str = field(repr=False, default="")
    """The service's own words, in lower case: to be understood, not to be shown."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Which project, and where its service is: a host with or without a port, or a URL.

    `ca_cert` is a file of the certificates that are trusted instead of the usual ones, there and where tokens come from; `insecure`
    allows plain HTTP to other machines.
    """

    project_id: str
    endpoint: str = field(default="secretmanager.googleapis.com", metadata=ADDRESS)
    ca_cert: str | None = field(default=None, metadata=FILE)
    insecure: bool = False


def connect(endpoint: Endpoint, method: GcpMethod) -> GcpConnection:
    """A connection that asks nobody yet. `ConfigurationError`, `MissingExtra`."""
    return GcpConnection(endpoint, method)


class _Link:
    """A channel with its calls. It closes when it is forgotten, after the last call that is under way."""

    def __init__(self, grpc: Any, target: str, credentials: Any, options: list[tuple[str, Any]]) -> None:
        if credentials is None:
            self.channel = grpc.insecure_channel(target, options)
        else:
            self.channel = grpc.secure_channel(target, credentials, options)
        self._calls: dict[str, Any] = {}

    def call(self, path: str, answer_type: Any) -> Any:
        found = self._calls.get(path)
        if found is None:
            found = self._calls[path] = self.channel.unary_unary(
                path, request_serializer=_serialized, response_deserializer=answer_type.FromString
            )
        return found


class GcpConnection:
    """Thread-safe. `close()` gives the connection back. Not to be carried across a fork, which gRPC does not survive."""

    def __init__(self, endpoint: Endpoint, method: GcpMethod) -> None:
        """Asks nobody. `ConfigurationError` for options that will not do or a missing file, `MissingExtra`."""
        self._grpc = import_google("grpc")
        self._status = import_google("google.rpc.status_pb2").Status
        self._details = import_google("google.rpc.error_details_pb2")
        self._decode_error = import_google("google.protobuf.message").DecodeError
        if not _PROJECT.fullmatch(endpoint.project_id):
            raise ConfigurationError(
                "'project_id' is no id of a project", hint="its id (such as my-project-42), not its number or name"
            )
        self.project_id = endpoint.project_id
        self.address, plain = _checked(endpoint.endpoint, endpoint.insecure)
        authorities = certificate_file(endpoint.ca_cert)
        roots = None if authorities is None else Path(authorities).read_bytes()
        self._credentials = None if plain else self._grpc.ssl_channel_credentials(roots)
        self._options: list[tuple[str, Any]] = list(_CHANNEL)
        if is_loopback(self.host) or is_without_proxy(f"https://{self.address}"):
            self._options.append(("grpc.enable_http_proxy", 0))
        self._method = method
        self._login = Login(method, ca_cert=authorities, insecure=endpoint.insecure)
        self._closed = False
        self._link = self._new_link()

    def __repr__(self) -> str:
        return f"<Google Cloud at {self.address} for {self.project_id} by {self._method.name}>"

    @property
    def host(self) -> str:
        """The host of the address."""
        return self.address.rpartition(":")[0].strip("[]")

    def ask(self, path: str, request: Any, answer_type: Any, deadline: Deadline, *, right: str) -> Answer:
        """One request of the method at `/package.Service/Method`, with a token that is alive.

        `request` is a message of protobuf with a `parent` or a `name`, by which it finds its way; `answer_type` is another one's
        type, and `right` the permission that it takes, for the message.
        """
        kind = "parent" if "parent" in request.DESCRIPTOR.fields_by_name else "name"
        resource = getattr(request, kind)
        routing = ("x-goog-request-params", f"{kind}={quote(resource)}")
        lease = self._login.lease(deadline)
        answer, reason = self._send(path, request, answer_type, deadline, (*lease.headers, routing))
        if answer.status == "UNAUTHENTICATED":
            lease = self._login.lease(deadline, dead=lease)
            answer, reason = self._send(path, request, answer_type, deadline, (*lease.headers, routing))
        if answer.status in ("OK", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION") and reason.name not in _NO_PROJECT:
            return answer
        raise self._failure(answer, reason, right, resource)

    def headers(self, deadline: Deadline) -> dict[str, str]:
        """What a request to any of Google's services takes along, with a token that is alive, which is masked in runs.

        `StoreForbidden`, `Unavailable`.
        """
        headers = dict(self._login.lease(deadline).headers)
        mask(SecretText(headers["authorization"].removeprefix("Bearer ")))
        return headers

    def identity(self, *, seconds: float) -> str:
        """Who the credential is, for people to read. Logs in, and asks the service nothing."""
        return f"{self._login.lease(Deadline(seconds)).who} in the project {self.project_id}"

    def close(self) -> None:
        """Ends calls that are under way."""
        self._closed = True
        self._link.channel.close()
        self._login.close()

    def _new_link(self) -> _Link:
        return _Link(self._grpc, self.address, self._credentials, self._options)

    def _send(
        self, path: str, request: Any, answer_type: Any, deadline: Deadline, headers: tuple[tuple[str, str], ...]
    ) -> tuple[Answer, _Reason]:
        link, left = self._link, deadline.left()
        try:
            return Answer("OK", link.call(path, answer_type)(request, timeout=left, metadata=headers)), _Reason()
        except self._grpc.RpcError as error:
            status, details, trailing = error.code().name, error.details() or "", error.trailing_metadata() or ()
        except ValueError:
            status, details, trailing = "CANCELLED", "", ()  # the channel is closed
        if status in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN") and link is self._link and not self._closed:
            self._link = self._new_link()
        return Answer(status, details=details.lower()), self._reason(trailing)

    def _reason(self, trailing: Any) -> _Reason:
        """What Google's APIs say of a failure beside its status, for programs."""
        name = service = ""
        wait: float | None = None
        for key, data in trailing:
            if key != "grpc-status-details-bin":
                continue
            try:
                status = self._status.FromString(data)
                for each in status.details:
                    if each.Is(self._details.ErrorInfo.DESCRIPTOR):
                        info = self._details.ErrorInfo.FromString(each.value)
                        name, service = info.reason, info.metadata["service"]
                    elif each.Is(self._details.RetryInfo.DESCRIPTOR):
                        delay = self._details.RetryInfo.FromString(each.value).retry_delay
                        wait = delay.seconds + delay.nanos / 1e9
            except self._decode_error:
                pass
        return _Reason(name, service if _SERVICE.fullmatch(service) else "", wait)

    def _failure(self, answer: Answer, reason: _Reason, right: str, resource: str) -> StrongroomError:
        at, project = f"Google at {self.address}", self.project_id
        if reason.name in _NO_PROJECT:
            return StoreForbidden(f"{at} has no project {project}, or none that the credential may use", hint="check 'project_id'")
        if reason.name == "SERVICE_DISABLED":
            service = reason.service or "that is asked here"
            hint = f"gcloud services enable {service} --project={project}" if reason.service else "enable it"
            return StoreForbidden(f"the API {service} is not enabled in the project {project}", hint=hint)
        match answer.status:
            case "PERMISSION_DENIED":
                said = _DENIED.get(reason.name)
                if said:
                    return StoreForbidden(f"{at} refuses: {said[0]}", hint=said[1])
                return StoreForbidden(
                    f"{at} refuses: strongroom lacks the permission '{right}' at '{resource}'",
                    hint="extend the role of its credential; a change takes some minutes to be in force",
                )
            case "UNAUTHENTICATED":
                return StoreForbidden(
                    f"{at} does not take the credential by {self._method.name}",
                    hint="it was revoked or deleted, or the clock of this machine is wrong",
                )
            case "INVALID_ARGUMENT" if "checksum" in answer.details or "crc32c" in answer.details:
                return Unavailable(f"what was sent to {self.address} did not arrive as it was")
            case "INVALID_ARGUMENT":
                return StoreForbidden(
                    f"{at} does not accept what it was asked for at '{resource}'",
                    hint="check the options: locations, keys of KMS, labels",
                )
            case "RESOURCE_EXHAUSTED":
                return Unavailable(
                    f"{at} limits how often it may be asked",
                    hint="raise the project's quota, or ask less often",
                    retry_after=reason.wait,
                )
            case "DEADLINE_EXCEEDED":
                return Unavailable(f"{at} did not answer in time; what was asked may have been done")
            case "CANCELLED" if self._closed:
                return Unavailable("the connection to Google is closed; what was asked may have been done")
            case "UNAVAILABLE" if "handshake failed" in answer.details:
                return Unavailable(f"{at} cannot prove that it is the right one", hint="check 'ca_cert' and 'endpoint'")
            case "UNAVAILABLE":
                return Unavailable(f"{at} is out of reach; what was asked may have been done", retry_after=reason.wait)
            case "UNIMPLEMENTED":
                return Unavailable(f"what answers at {self.address} does not speak as Google does", hint="check 'endpoint'")
        return Unavailable(f"{at} answers with {answer.status}; what was asked may have been done")


@dataclass(frozen=True)
class _Reason:
    name: str = ""
    service: str = ""
    wait: float | None = None
    """Seconds that it asks for."""


_DENIED = {
    "BILLING_DISABLED": ("the project has no billing", "enable billing for it"),
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": ("the token lacks a scope", "it needs https://www.googleapis.com/auth/cloud-platform"),
    "SECURITY_POLICY_VIOLATED": ("a perimeter of VPC Service Controls is in the way", "let this machine, or its credential, in"),
}


def _serialized(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _checked(endpoint: str, insecure: bool) -> tuple[str, bool]:
    """The address in one spelling, and whether it is to be plain."""
    url = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    try:
        host, port = url.hostname, url.port
    except ValueError:
        host = port = None
    if url.scheme not in ("http", "https") or not host or url.username or url.query or url.fragment or url.path.strip("/"):
        raise ConfigurationError("'endpoint' is no address of a service", hint="such as secretmanager.googleapis.com")
    if not re.fullmatch(r"[a-z0-9.:-]+", host, re.ASCII):
        raise ConfigurationError("'endpoint' is no address of a service", hint="such as secretmanager.googleapis.com")
    plain = url.scheme == "http"
    if plain and not insecure and not is_loopback(host):
        raise ConfigurationError(f"Google at {host} is to be reached by plain HTTP", hint="use https://, or say insecure=true")
    return f"{f'[{host}]' if ':' in host else host}:{port or (80 if plain else 443)}", plain
