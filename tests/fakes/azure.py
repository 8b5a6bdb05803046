"""Azure, as far as secrets go: Entra and the identity service of a machine, which give tokens, and a Key Vault that takes them."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from tests.canary import CANARY
from tests.fakes.loopback import Answer, LoopbackServer, Request

TENANT = "11111111-1111-1111-1111-111111111111"
RIGHTS = frozenset({"get", "set", "list", "delete", "purge", "recover"})
_NAMES = ("127.0.0.1", "localhost", "myvault.vault.azure.net", "login.microsoftonline.com", "vault.elsewhere.example")
_JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Authority:
    """Certificates for the fakes; `file` is what a client has to trust."""

    def __init__(self, folder: Path) -> None:
        ca = trustme.CA()
        self.file = folder / "ca.pem"
        ca.cert_pem.write_to_path(str(self.file))
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(*_NAMES).configure_cert(self.tls)


@dataclass
class Application:
    """Who may log in. Certificates and tokens of others are as Entra was told to trust them."""

    client_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    client_secret: str = field(default_factory=lambda: f"{CANARY}-secret-{uuid.uuid4().hex}")
    certificate: x509.Certificate | None = None
    federated_token: str | None = None
    rights: frozenset[str] = RIGHTS


class _Trouble(LoopbackServer):
    """Counts requests, and does with some of them what a test says."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self.requests: list[Request] = []
        self.meddle: Callable[[Request], Answer | None] = lambda _: None
        self._going = threading.Event()
        self._going.set()
        super().__init__(tls)
        self.port = int(self.address.rpartition(":")[2])

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        if not self._going.is_set():
            self._going.wait(30)
            raise ConnectionAbortedError  # whoever asked has given up
        return self.meddle(request) or self.understood(request)

    def understood(self, request: Request) -> Answer:
        """The answer of a server at peace."""
        raise NotImplementedError

    @contextmanager
    def meddling(self, answer: Callable[[Request], Answer | None]) -> Iterator[None]:
        """Meanwhile requests get this answer, unless it is None."""
        self.meddle = answer
        try:
            yield
        finally:
            self.meddle = lambda _: None

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Meanwhile requests are taken, and not answered; nor are they done later."""
        self._going.clear()
        try:
            yield
        finally:
            self._going.set()

    @contextmanager
    def counted(self) -> Iterator[list[Request]]:
        """The requests that come meanwhile."""
        before = len(self.requests)
        found: list[Request] = []
        yield found
        found += self.requests[before:]


class Entra(_Trouble):
    """Gives tokens for client secrets, certificates and federated tokens, by HTTPS."""

    def __init__(self, authority: Authority) -> None:
        self.applications: dict[str, Application] = {}
        self.tokens: dict[str, tuple[Application, float, str]] = {}
        self.token_life = 3600.0
        super().__init__(authority.tls)
        self.url = f"https://127.0.0.1:{self.port}"

    def new_application(self, **options: Any) -> Application:
        """One more that may log in."""
        application = Application(**options)
        self.applications[application.client_id] = application
        return application

    def new_token(self, application: Application, resource: str = "https://vault.azure.net") -> str:
        """As Entra gives it: what it says can be read, but not made up."""
        now = time.time()
        claims = {"aud": resource, "appid": application.client_id, "oid": "an-object", "tid": TENANT, "iat": int(now)}
        token = ".".join([_coded({"alg": "RS256", "typ": "JWT"}), _coded(claims), f"{CANARY}-{uuid.uuid4().hex}"])
        self.tokens[token] = (application, now + self.token_life, resource)
        return token

    def tokens_alive(self) -> bool:
        """Whether anybody has a token that works."""
        return any(end > time.time() for _, end, _ in self.tokens.values())

    def understood(self, request: Request) -> Answer:
        _, tenant, *rest = request.path.split("/")
        if rest == ["v2.0", ".well-known", "openid-configuration"]:
            if tenant != TENANT:
                return _refusal_of_entra(400, "invalid_tenant", "AADSTS90002: Tenant not found.")
            host = f"https://{request.headers['host']}/{tenant}"
            return Answer(200, {
                "issuer": f"{host}/v2.0", "token_endpoint": f"{host}/oauth2/v2.0/token",
                "authorization_endpoint": f"{host}/oauth2/v2.0/authorize",
            })  # fmt: skip
        if rest == ["oauth2", "v2.0", "token"] and tenant == TENANT:
            return self._token(request.form(), request)
        return _refusal_of_entra(404, "invalid_request", "AADSTS900144: no such thing.")

    def _token(self, form: Mapping[str, str], request: Request) -> Answer:
        application = self.applications.get(form["client_id"])
        if form["grant_type"] != "client_credentials" or not form["scope"].endswith("/.default"):
            return _refusal_of_entra(400, "invalid_request", f"AADSTS90014: {form}")
        if application is None:
            return _refusal_of_entra(400, "unauthorized_client", f"AADSTS700016: Application {form} was not found.")
        if "client_secret" in form and form["client_secret"] != application.client_secret:
            return _refusal_of_entra(401, "invalid_client", f"AADSTS7000215: Invalid client secret {form['client_secret']}.")
        if "client_secret" not in form and not _is_proved(application, form, f"https://{request.headers['host']}{request.path}"):
            return _refusal_of_entra(401, "invalid_client", f"AADSTS700027: Invalid assertion {form.get('client_assertion')}.")
        token = self.new_token(application, form["scope"].removesuffix("/.default"))
        life = max(1, int(self.token_life))
        return Answer(200, {"token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token})


class MachineIdentity(_Trouble):
    """The identity service of a virtual machine, by plain HTTP."""

    def __init__(self, entra: Entra, application: Application) -> None:
        self._entra, self._application = entra, application
        super().__init__(None)
        self.url = f"http://{self.address}"

    def understood(self, request: Request) -> Answer:
        if request.path != "/metadata/identity/oauth2/token" or request.headers.get("metadata") != "true":
            return Answer(400, {"error": "invalid_request", "error_description": "Required metadata header not specified"})
        token = self._entra.new_token(self._application, request.query["resource"][0])
        life = max(1, int(self._entra.token_life))
        return Answer(200, {"access_token": token, "expires_in": str(life), "expires_on": str(int(time.time()) + life),
                            "resource": request.query["resource"][0], "token_type": "Bearer"})  # fmt: skip


@dataclass
class _Version:
    version: str
    value: str
    tags: dict[str, str]
    content_type: str | None
    created: int
    enabled: bool = True


class KeyVault(_Trouble):
    """Keeps secrets. As in Azure a PUT never refuses, names know no capitals, and what is deleted is there until it is purged."""

    def __init__(self, authority: Authority, entra: Entra, resource: str = "https://vault.azure.net") -> None:
        self.secrets: dict[str, list[_Version]] = {}
        self.deleted: dict[str, list[_Version]] = {}
        self.resource, self.tenant = resource, TENANT
        self.purge_protection = self.by_access_policy = False
        self.firewall: str | None = None
        self.busy_deleting = 0
        self.busy_recovering = 0
        self._busy: dict[str, int] = {}
        self._recovering: dict[str, tuple[int, list[_Version]]] = {}
        self._entra, self._lock = entra, threading.Lock()
        super().__init__(authority.tls)
        self.url = f"https://127.0.0.1:{self.port}"

    def understood(self, request: Request) -> Answer:
        caller = self._entra.tokens.get(request.bearer_token() or "")
        if caller is None or caller[1] < time.time() or caller[2] != self.resource:
            return self._challenge("AKV10022: Invalid audience." if caller else "AKV10000: Request is missing a Bearer token.")
        if self.firewall:
            return _failure(403, "Forbidden", f"Client address is not authorized and caller was {CANARY}.", self.firewall)
        right, effect = self._operation(request)
        if right not in caller[0].rights:
            inner = "AccessDenied" if self.by_access_policy else "ForbiddenByRbac"
            return _failure(403, "Forbidden", f"Caller is not authorized to {right}: appid={caller[0].client_id};{CANARY}", inner)
        with self._lock:
            return effect()

    def edit(self, name: str, value: str, tags: dict[str, str] | None = None) -> None:
        """As somebody does in the portal."""
        with self._lock:
            self._put(name, {"value": value, "tags": tags or {}}, "")

    def replace(self, name: str, value: str) -> None:
        """Makes it forget what was there."""
        with self._lock:
            del self.secrets[name]
            self._put(name, {"value": value}, "")

    def finish_deleting(self) -> None:
        """What is deleted can be purged."""
        with self._lock:
            self._busy = dict.fromkeys(self._busy, 0)

    def _operation(self, request: Request) -> tuple[str, Callable[[], Answer]]:
        version = request.query.get("api-version", [""])[0]
        parts = [each.lower() for each in request.path.strip("/").split("/")]
        host = f"https://{request.headers['host']}"
        match request.method, parts:
            case _ if version != "7.4" and not version.startswith("20"):
                return "get", lambda: _failure(400, "BadParameter", "api-version")
            case "GET", ["secrets"]:
                return "list", lambda: self._list(request, sorted(self.secrets), host)
            case "GET", ["secrets", name, "versions"]:
                return "list", lambda: self._list(request, [name], host, versions=True)
            case "GET", ["secrets", name, *wanted]:
                return "get", lambda: self._get(name, wanted, host)
            case "PUT", ["secrets", name] if re.fullmatch(r"[0-9a-z-]{1,127}", name):
                return "set", lambda: self._put(name, json.loads(request.body), host)
            case "DELETE", ["secrets", name]:
                return "delete", lambda: self._delete(name, host)
            case "POST", ["deletedsecrets", name, "recover"]:
                return "recover", lambda: self._recover(name, host)
            case "DELETE", ["deletedsecrets", name]:
                return "purge", lambda: self._purge(name)
        return "get", lambda: _failure(400, "BadParameter", "no such operation")

    def _get(self, name: str, wanted: list[str], host: str) -> Answer:
        self._go_on_recovering(name)
        versions = [each for each in self.secrets.get(name, []) if not wanted or each.version == wanted[0]]
        if not versions:
            return _failure(404, "SecretNotFound", f"A secret with (name/id) {name} was not found in this key vault.")
        if not versions[-1].enabled:
            return _failure(403, "Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled")
        return Answer(200, {**self._item(name, versions[-1], host, versions=True), "value": versions[-1].value})

    def _put(self, name: str, body: dict[str, Any], host: str) -> Answer:
        if name in self._recovering:
            return _failure(409, "Conflict", f"Secret {name} is currently being recovered.", "ObjectIsBeingRecovered")
        if name in self.deleted:
            inner = "ObjectIsBeingDeleted" if self._busy[name] else "ObjectIsDeletedButRecoverable"
            return _failure(409, "Conflict", f"Secret {name} is currently in a deleted but recoverable state.", inner)
        tags = body.get("tags") or {}
        if len(body["value"].encode()) > 25_600 or len(tags) > 15 or any(max(len(each), len(tags[each])) > 256 for each in tags):
            return _failure(400, "BadParameter", f"{CANARY} is beyond the maximum permitted length.")
        version = _Version(uuid.uuid4().hex, body["value"], tags, body.get("contentType"), int(time.time()))
        self.secrets.setdefault(name, []).append(version)
        return Answer(200, {**self._item(name, version, host, versions=True), "value": version.value})

    def _delete(self, name: str, host: str) -> Answer:
        if name in self.deleted and self._busy[name]:
            return _failure(409, "Conflict", f"Secret {name} is currently being deleted.", "ObjectIsBeingDeleted")
        if name not in self.secrets:
            return _failure(404, "SecretNotFound", f"A secret with (name/id) {name} was not found in this key vault.")
        versions = self.deleted[name] = self.secrets.pop(name)
        self._busy[name] = self.busy_deleting
        return Answer(200, {**self._item(name, versions[-1], host), "recoveryId": f"{host}/deletedsecrets/{name}"})

    def _recover(self, name: str, host: str) -> Answer:
        if name not in self.deleted:
            return _failure(404, "SecretNotFound", f"Deleted Secret not found: {name}")
        if self._busy[name]:
            self._busy[name] -= 1
            return _failure(409, "Conflict", f"Secret {name} is currently being deleted.", "ObjectIsBeingDeleted")
        versions = self.deleted.pop(name)
        self._recovering[name] = (self.busy_recovering, versions)
        answer = Answer(200, self._item(name, versions[-1], host, versions=True))
        self._go_on_recovering(name)
        return answer

    def _go_on_recovering(self, name: str) -> None:
        if name in self._recovering:
            left, versions = self._recovering.pop(name)
            if left:
                self._recovering[name] = (left - 1, versions)
            else:
                self.secrets[name] = versions

    def _purge(self, name: str) -> Answer:
        if name not in self.deleted:
            return _failure(404, "SecretNotFound", f"Deleted Secret not found: {name}")
        if self._busy[name]:
            self._busy[name] -= 1
            return _failure(409, "Conflict", f"Secret {name} is currently being deleted.", "ObjectIsBeingDeleted")
        if self.purge_protection:
            return _failure(403, "Forbidden", 'Operation "purge" is not allowed because purge protection is enabled for this vault.')
        del self.deleted[name]
        return Answer(204, {})

    def _list(self, request: Request, names: list[str], host: str, *, versions: bool = False) -> Answer:
        size = int(request.query.get("maxresults", ["25"])[0])
        if not 1 <= size <= 25:
            return _failure(400, "BadParameter", "maxresults")
        items = [(name, each) for name in names for each in (self.secrets.get(name, []) if versions else self.secrets[name][-1:])]
        items.sort(key=lambda item: (item[0], item[1].version))
        after = base64.urlsafe_b64decode(request.query.get("$skiptoken", [""])[0]).decode()
        items = [item for item in items if f"{item[0]}/{item[1].version if versions else ''}" > after]
        page = [self._item(name, each, host, versions=versions) for name, each in items[:size]]
        if len(items) <= size:
            return Answer(200, {"value": page, "nextLink": None})
        name, last = items[size - 1]
        token = base64.urlsafe_b64encode(f"{name}/{last.version if versions else ''}".encode()).decode()
        link = f"{host}{request.path}?api-version=7.4&$skiptoken={token}&maxresults={size}"
        return Answer(200, {"value": page, "nextLink": link})

    def _item(self, name: str, version: _Version, host: str, *, versions: bool = False) -> dict[str, Any]:
        level = "Recoverable" if self.purge_protection else "Recoverable+Purgeable"
        about = {"enabled": version.enabled, "created": version.created, "updated": version.created, "recoveryLevel": level}
        address = f"{host}/secrets/{name}" + (f"/{version.version}" if versions else "")
        return {"id": address, "attributes": about, "tags": version.tags, "contentType": version.content_type}

    def _challenge(self, message: str) -> Answer:
        header = f'Bearer authorization="https://login.microsoftonline.com/{self.tenant}", resource="{self.resource}"'
        return Answer(401, {"error": {"code": "Unauthorized", "message": message}}, {"WWW-Authenticate": header})


class TricklingServer:
    """Answers any request by HTTPS with a body that comes byte by byte, and does not end."""

    def __init__(self, authority: Authority) -> None:
        enough = self._enough = threading.Event()

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError), authority.tls.wrap_socket(self.request, server_side=True) as client:
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    client.recv(65_536)
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
                    while not enough.wait(0.02):
                        client.sendall(b" ")

        self._server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Closes the port."""
        self._enough.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Azure:
    """All of it, for one test or many."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.entra = Entra(self.authority)
        self.vault = KeyVault(self.authority, self.entra)

    def options(self, **others: Any) -> dict[str, Any]:
        """What a client has to be told to find it, and to trust it."""
        return {
            "vault_url": self.vault.url, "authority": self.entra.url, "ca_cert": str(self.authority.file),
            "verify_challenge_resource": False, "disable_instance_discovery": True, **others,
        }  # fmt: skip

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Meanwhile neither answers."""
        with self.entra.hanging(), self.vault.hanging():
            yield

    @contextmanager
    def unavailable(self) -> Iterator[None]:
        """Meanwhile the vault says that it cannot."""
        with self.vault.meddling(lambda _: _failure(503, "ServiceUnavailable", f"{CANARY} is restarting")):
            yield

    def stop(self) -> None:
        """Closes the ports."""
        self.vault.stop()
        self.entra.stop()


def _is_proved(application: Application, form: Mapping[str, str], audience: str) -> bool:
    """Whether the assertion is what the application has: a token of a trusted provider, or one signed with its certificate's key."""
    assertion = form.get("client_assertion", "")
    if form.get("client_assertion_type") != _JWT_BEARER:
        return False
    if application.certificate is None:
        return assertion == application.federated_token
    key = application.certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    signed, _, signature = assertion.rpartition(".")
    header, claims = (json.loads(base64.urlsafe_b64decode(each + "==")) for each in signed.split("."))
    scheme = padding.PKCS1v15() if header["alg"] == "RS256" else padding.PSS(padding.MGF1(SHA256()), SHA256.digest_size)
    key.verify(base64.urlsafe_b64decode(signature + "=="), signed.encode(), scheme, SHA256())
    return bool(claims["aud"] == audience and claims["sub"] == application.client_id)


def _coded(part: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def _failure(status: int, code: str, message: str, inner: str | None = None) -> Answer:
    error: dict[str, Any] = {"code": code, "message": message}
    return Answer(status, {"error": error | ({"innererror": {"code": inner}} if inner else {})})


def _refusal_of_entra(status: int, error: str, description: str) -> Answer:
    codes = [int(code) for code in re.findall(r"AADSTS(\d+)", description)]
    return Answer(status, {"error": error, "error_description": description, "error_codes": codes})
