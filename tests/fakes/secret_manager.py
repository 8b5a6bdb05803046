"""Google Secret Manager as its gRPC clients see it, in this process, with the rights of IAM."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import google_crc32c
import grpc
from google.cloud.secretmanager_v1.types import resources, service
from google.protobuf import any_pb2, duration_pb2, empty_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from tests.canary import CANARY
from tests.fakes.google_identity import GoogleIdentity

PROJECT, NUMBER = "fake-project-1", "4242"
SERVICE = "google.cloud.secretmanager.v1.SecretManagerService"
RIGHTS = {
    "CreateSecret": "secretmanager.secrets.create",
    "GetSecret": "secretmanager.secrets.get",
    "ListSecrets": "secretmanager.secrets.list",
    "DeleteSecret": "secretmanager.secrets.delete",
    "AddSecretVersion": "secretmanager.versions.add",
    "AccessSecretVersion": "secretmanager.versions.access",
    "DisableSecretVersion": "secretmanager.versions.disable",
    "EnableSecretVersion": "secretmanager.versions.enable",
    "DestroySecretVersion": "secretmanager.versions.destroy",
}
_MESSAGES: Mapping[str, tuple[Any, Any]] = {
    "CreateSecret": (service.CreateSecretRequest, resources.Secret),
    "GetSecret": (service.GetSecretRequest, resources.Secret),
    "ListSecrets": (service.ListSecretsRequest, service.ListSecretsResponse),
    "DeleteSecret": (service.DeleteSecretRequest, empty_pb2.Empty),
    "AddSecretVersion": (service.AddSecretVersionRequest, resources.SecretVersion),
    "AccessSecretVersion": (service.AccessSecretVersionRequest, service.AccessSecretVersionResponse),
    "DisableSecretVersion": (service.DisableSecretVersionRequest, resources.SecretVersion),
    "EnableSecretVersion": (service.EnableSecretVersionRequest, resources.SecretVersion),
    "DestroySecretVersion": (service.DestroySecretVersionRequest, resources.SecretVersion),
}
_MOST = 65_536
_State = resources.SecretVersion.State


@dataclass
class _Version:
    data: bytes
    state: Any = _State.ENABLED


@dataclass
class _Kept:
    secret: resources.Secret
    versions: list[_Version] = field(default_factory=list)


@dataclass(frozen=True)
class Failure(Exception):
    """What is answered instead of a message."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    retry_after: int = 0
    details: bytes | None = None
    """Instead of details that can be understood."""


class SecretManager:
    """One project. `granted` says who may do what; `calls` are the methods that were called, in order."""

    page = 50
    """The most secrets of a page, whatever is asked for; Google may give fewer, too."""

    def __init__(self, identity: GoogleIdentity, credentials: grpc.ServerCredentials | None = None) -> None:
        self.identity = identity
        self.granted: dict[str, set[str]] = {}
        self.calls: list[str] = []
        self.params: list[str] = []
        """The header by which a request finds its way."""
        self.fail_next: list[Failure] = []
        self.before: Callable[[str], None] | None = None
        """Called with the method before each call."""
        self.spoil_checksums = False
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.RLock()
        self._calm = threading.Event()
        self._calm.set()
        self._credentials = credentials
        self.port = 0
        self._start()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"localhost:{self.port}"

    def grant(self, principal: str, *rights: str) -> None:
        """Lets somebody do this; everything, if nothing is said."""
        self.granted[principal] = set(rights or RIGHTS.values())

    @contextmanager
    def down(self) -> Iterator[None]:
        """Meanwhile nobody listens at the port."""
        self._server.stop(None).wait()
        try:
            yield
        finally:
            self._start()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Meanwhile requests are taken and not answered, and nothing is done."""
        self._calm.clear()
        try:
            yield
        finally:
            self._calm.set()

    @contextmanager
    def forbidden(self) -> Iterator[None]:
        """Meanwhile nobody may do anything."""
        granted, self.granted = self.granted, {}
        try:
            yield
        finally:
            self.granted = granted

    def damage(self, secret_id: str, data: bytes) -> None:
        """What lies there is something else now."""
        self._kept[secret_id].versions[0].data = data

    def change(self, secret_id: str, annotation: str, text: str | None) -> None:
        """Somebody changes an annotation, or takes it away."""
        annotations = self._kept[secret_id].secret.annotations
        if text is None:
            del annotations[annotation]
        else:
            annotations[annotation] = text

    def age(self, secret_id: str, seconds: int) -> None:
        """It was made longer ago."""
        created = self._kept[secret_id].secret._pb.create_time
        created.seconds -= seconds

    def versions(self, secret_id: str) -> list[tuple[str, bytes]]:
        """The state and the data of each version."""
        return [(each.state.name, each.data) for each in self._kept[secret_id].versions]

    def stop(self) -> None:
        """Closes the port."""
        self._calm.set()
        self._server.stop(None).wait()

    def _start(self) -> None:
        self._server = grpc.server(ThreadPoolExecutor(32, thread_name_prefix="secret-manager"), options=[("grpc.so_reuseport", 0)])
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._handler(name, getattr(self, f"_{name}")),
                request_deserializer=asked.deserialize,
                response_serializer=_serialized,
            )
            for name, (asked, _) in _MESSAGES.items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        wanted = f"127.0.0.1:{self.port}"
        if self._credentials is None:
            self.port = self._server.add_insecure_port(wanted)
        else:
            self.port = self._server.add_secure_port(wanted, self._credentials)
        self._server.start()

    def _handler(self, name: str, answer: Callable[[Any], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            while not self._calm.wait(0.05):
                if not context.is_active():
                    return None
            if self.before is not None:
                self.before(name)
            try:
                with self._lock:
                    headers = dict(context.invocation_metadata())
                    self.calls.append(name)
                    self.params.append(str(headers.get("x-goog-request-params", "")))
                    if self.fail_next:
                        raise self.fail_next.pop(0)
                    self._check(name, request, str(headers.get("authorization", "")))
                    return answer(request)
            except Failure as error:
                failure = error
            return _abort(context, failure)

        return handle

    def _check(self, name: str, request: Any, authorization: str) -> None:
        principal = self.identity.principal(authorization.removeprefix("Bearer "))
        if principal is None:
            raise Failure(grpc.StatusCode.UNAUTHENTICATED, f"invalid credentials: {authorization}", "ACCESS_TOKEN_EXPIRED")
        resource = getattr(request, "parent", None) or request.name
        if resource.split("/")[1] not in (PROJECT, NUMBER):
            raise Failure(grpc.StatusCode.PERMISSION_DENIED, f"Permission denied on resource {resource}", "CONSUMER_INVALID")
        if RIGHTS[name] not in self.granted.get(principal, ()):
            message = f"Permission '{RIGHTS[name]}' denied for resource '{resource}' (or it may not exist)."
            raise Failure(grpc.StatusCode.PERMISSION_DENIED, message, "IAM_PERMISSION_DENIED")

    def _CreateSecret(self, request: service.CreateSecretRequest) -> resources.Secret:
        name = f"projects/{NUMBER}/secrets/{request.secret_id}"
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", request.secret_id):
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "the secret's id will not do")
        labels, annotations = dict(request.secret.labels), dict(request.secret.annotations)
        fits = all(re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) for key in labels)
        fits = fits and all(re.fullmatch(r"[a-z0-9_-]{0,63}", text) for text in labels.values())
        if not fits or len(labels) > 64 or sum(len(key) + len(text.encode()) for key, text in annotations.items()) > 16_384:
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "labels or annotations will not do")
        if not request.secret.replication._pb.WhichOneof("replication"):
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "the replication is missing")
        if request.secret_id in self._kept:
            raise Failure(grpc.StatusCode.ALREADY_EXISTS, f"Secret [{name}] already exists.")
        secret = resources.Secret(request.secret)
        secret.name = name
        secret._pb.create_time.GetCurrentTime()
        secret.etag = f'"{uuid.uuid4().hex}"'
        self._kept[request.secret_id] = _Kept(secret)
        return secret

    def _GetSecret(self, request: service.GetSecretRequest) -> resources.Secret:
        return self._find(request.name).secret

    def _DeleteSecret(self, request: service.DeleteSecretRequest) -> empty_pb2.Empty:
        if request.etag and request.etag != self._find(request.name).secret.etag:
            raise Failure(grpc.StatusCode.ABORTED, "the etag is another one")
        self._find(request.name)
        del self._kept[request.name.split("/")[3]]
        return empty_pb2.Empty()

    def _ListSecrets(self, request: service.ListSecretsRequest) -> service.ListSecretsResponse:
        wanted = re.fullmatch(r"labels\.([a-z_]+)=([a-z0-9_-]+)", request.filter)
        part = re.fullmatch(r"name:([A-Za-z0-9_-]+)", request.filter)
        if not (wanted or part):
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "the filter is not understood here")
        names = sorted(
            name
            for name, kept in self._kept.items()
            if (wanted and kept.secret.labels.get(wanted[1]) == wanted[2]) or (part and part[1] in kept.secret.name)
        )
        names = [name for name in names if name > request.page_token]
        most = min(request.page_size or self.page, self.page)
        return service.ListSecretsResponse(
            secrets=[self._kept[name].secret for name in names[:most]], next_page_token=names[most - 1] if len(names) > most else ""
        )

    def _AddSecretVersion(self, request: service.AddSecretVersionRequest) -> resources.SecretVersion:
        kept, payload = self._find(request.parent), request.payload
        if len(payload.data) > _MOST:
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "the payload is larger than 64 KiB")
        if payload.data_crc32c != google_crc32c.value(payload.data):
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "the checksum is wrong")
        kept.versions.append(_Version(payload.data))
        return _described(kept, len(kept.versions))

    def _AccessSecretVersion(self, request: service.AccessSecretVersionRequest) -> service.AccessSecretVersionResponse:
        kept, version = self._find_version(request.name)
        if version.state is not _State.ENABLED:
            message = f"Secret Version [{kept.secret.name}/versions/{request.name.split('/')[5]}] is in {version.state.name} state."
            raise Failure(grpc.StatusCode.FAILED_PRECONDITION, message)
        checksum = google_crc32c.value(version.data) ^ self.spoil_checksums
        payload = resources.SecretPayload(data=version.data, data_crc32c=checksum)
        return service.AccessSecretVersionResponse(name=f"{kept.secret.name}/versions/1", payload=payload)

    def _DisableSecretVersion(self, request: service.DisableSecretVersionRequest) -> resources.SecretVersion:
        return self._set(request.name, _State.DISABLED)

    def _EnableSecretVersion(self, request: service.EnableSecretVersionRequest) -> resources.SecretVersion:
        return self._set(request.name, _State.ENABLED)

    def _DestroySecretVersion(self, request: service.DestroySecretVersionRequest) -> resources.SecretVersion:
        found = self._set(request.name, _State.DESTROYED)
        self._find_version(request.name)[1].data = b""
        return found

    def _set(self, name: str, state: Any) -> resources.SecretVersion:
        kept, version = self._find_version(name)
        version.state = state
        return _described(kept, kept.versions.index(version) + 1)

    def _find(self, name: str) -> _Kept:
        secret_id = name.split("/")[3]
        if secret_id not in self._kept:
            raise Failure(grpc.StatusCode.NOT_FOUND, f"Secret [projects/{NUMBER}/secrets/{secret_id}] not found or has no versions.")
        return self._kept[secret_id]

    def _find_version(self, name: str) -> tuple[_Kept, _Version]:
        kept, number = self._find(name), name.split("/")[5]
        number = str(len(kept.versions)) if number == "latest" else number
        if not 1 <= int(number) <= len(kept.versions):
            message = f"Secret [{kept.secret.name}] not found or has no versions."
            if kept.versions:
                message = f"Secret Version [{kept.secret.name}/versions/{number}] not found."
            raise Failure(grpc.StatusCode.NOT_FOUND, message)
        return kept, kept.versions[int(number) - 1]


def _described(kept: _Kept, number: int) -> resources.SecretVersion:
    return resources.SecretVersion(name=f"{kept.secret.name}/versions/{number}", state=kept.versions[number - 1].state)


def _serialized(message: Any) -> bytes:
    return message.SerializeToString() if isinstance(message, empty_pb2.Empty) else type(message).serialize(message)


def _abort(context: grpc.ServicerContext, failure: Failure) -> Any:
    """As Google says it: a status, words, and details for programs. Raises."""
    message = f"{failure.message} {CANARY}"
    if failure.details is not None:
        context.set_trailing_metadata((("grpc-status-details-bin", failure.details),))
        return context.abort(failure.code, message)
    details = []
    if failure.reason:
        info = error_details_pb2.ErrorInfo(
            reason=failure.reason, domain="googleapis.com", metadata={"service": "secretmanager.googleapis.com", "note": CANARY}
        )
        details.append(_any(info))
    if failure.retry_after:
        details.append(_any(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=failure.retry_after))))
    status = status_pb2.Status(code=failure.code.value[0], message=message, details=details)
    return context.abort_with_status(rpc_status.to_status(status))


def _any(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
