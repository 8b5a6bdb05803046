"""Calls to a server: the same operations over HTTP."""

from __future__ import annotations

import logging
import os
import random
import re
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote, urlencode, urlsplit

import msgspec
from msgspec import UNSET

from strongroom import changes, errors, forking
from strongroom.certificates import extract_certificates, read_certificates
from strongroom.config import PREFIX, find_proxy
from strongroom.credential_text import fits_header
from strongroom.errors import (
    ConfigurationError,
    Forbidden,
    InvalidInput,
    NoSuchOperation,
    NotFound,
    ServerUnknown,
    StrongroomError,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UnderWay,
)
from strongroom.operations.operation import NONE_IN_PATH, Operation, Repeat
from strongroom.redaction import SecretText

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, HTTPConnectionPool

Request = TypeVar("Request")
Response = TypeVar("Response")

ROOT = "/api/v1"
CONNECT_SECONDS = 10
READ_SECONDS = 90
"""Longer than the server's own patience with its database."""

WAIT_SECONDS = 10
"""How long a call waits out a server that restarts, from its first failure on."""

TELL_SECONDS = 2
"""After so long a call that waits says so."""

ATTEMPTS = 4
"""How often a server is asked that is there and refuses for now."""

LONGEST_PAUSE_SECONDS = 1
LONGEST_RETRY_AFTER_SECONDS = 5
_POOL = 16
_TRY_AGAIN = (429, 502, 503, 504)
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_PARAMETER = re.compile(r"{(\w+)}")


class RemoteTransport:
    """Carries operations to a server. Opens connections at its first call, keeps them, and survives a fork. Thread-safe.

    A call is tried again when no answer came or the server was busy, if that is harmless: because it reads or ends in the same state,
    because it never left, or because it carries an `Idempotency-Key` of its own. So it waits for a server that restarts, or whose
    gateway finds nobody; one that answers and refuses is asked a few times; a name without an address, and TLS that fails, are errors
    at once.
    Redirects are not followed: they would take the token elsewhere.
    """

    def __init__(
        self,
        url: str,
        token: Callable[[], SecretText | None],
        *,
        workspace: str = "",
        ca_cert: Path | str | None = None,
        insecure: bool = False,
        read_seconds: float = READ_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        """`token` is asked at each call. Without a `workspace` it is the one that the bearer has chosen. `ConfigurationError`.

        `ca_cert` is a file with certificates that prove the server's identity, or their text (PEM). With `wait_seconds` 0 no call is
        tried again.
        """
        self.url = url.rstrip("/")
        self._root = urlsplit(check_url(url, insecure=insecure)).path.rstrip("/") + ROOT
        self._token, self._workspace, self._ca_cert = token, workspace, ca_cert
        self._read_seconds, self._wait_seconds, self._told = read_seconds, wait_seconds, float("-inf")
        parts = urlsplit(self.url)
        # A token does not leave the machine in clear just because there is a proxy.
        self._proxy = None if parts.scheme == "http" and parts.hostname in _LOOPBACK else find_proxy(self.url)
        self._before = f"http://{parts.netloc}" if self._proxy and parts.scheme == "http" else ""  # what a proxy is asked for
        self.insecure = insecure
        self._lock = forking.renewed(self, "_lock", threading.RLock)
        self._pool: HTTPConnectionPool | None = None
        self._owner = 0

    @property
    def server(self) -> str:
        """The server's URL."""
        return self.url

    @property
    def certificates(self) -> str | None:
        """The certificates that prove the server's identity beside the system's, as text. `ConfigurationError`."""
        if self._ca_cert is None:
            return None
        try:
            is_file = isinstance(self._ca_cert, Path)
            return read_certificates(self._ca_cert) if is_file else extract_certificates(str(self._ca_cert))
        except (OSError, ValueError):
            raise self._unreadable() from None

    def call(self, operation: Operation[Request, Response], request: Request) -> Response:
        """The operation's response, or the error that the server gave. `Unavailable` when it gives none."""
        target, body = _encode(self._root, operation, request, self._workspace)
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if operation.permission is not None:
            token = self._token()
            if token is None:
                raise Unauthenticated(f"you are not logged in at {self.url}", hint=f"strongroom login {self.url}")
            text = token.reveal()
            if not fits_header(text):  # the library would show it
                raise ConfigurationError(
                    f"the token for {self.url} has a blank, a line end or another character that is in no token",
                    hint=f"give it again: strongroom login {self.url}",
                )
            headers["Authorization"] = f"Bearer {text}"
        harmless = operation.repeatable is Repeat.HARMLESS
        if operation.repeatable is Repeat.WITH_KEY:
            headers["Idempotency-Key"] = secrets.token_urlsafe(24)
            harmless = True
        with nullcontext() if operation.reads else changes.changing():
            return self._decode(operation, *self._send(operation.method, target, headers, body, harmless=harmless))

    def for_children(self) -> dict[str, str]:
        """The server, how to reach it, and the token. Certificates that are no file of this machine stay behind."""
        token = self._token()
        variables = {"SERVER_URL": self.url, "INSECURE": "1" if self.insecure else "0"}
        variables |= {"CA_CERT": str(self._ca_cert)} if isinstance(self._ca_cert, Path) else {}
        variables |= {} if token is None else {"RUN_TOKEN": token.reveal()}
        return {f"{PREFIX}{name}": text for name, text in variables.items()}

    def with_token(self, token: SecretText) -> RemoteTransport:
        """The same server, for whoever bears this token, in the workspace that belongs to it."""
        return RemoteTransport(
            self.url,
            lambda: token,
            ca_cert=self._ca_cert,
            insecure=self.insecure,
            read_seconds=self._read_seconds,
            wait_seconds=self._wait_seconds,
        )

    def close(self) -> None:
        """Closes the connections; a later call opens new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None and self._owner == os.getpid():
            pool.close()

    def _send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, *, harmless: bool
    ) -> tuple[BaseHTTPResponse, bool]:
        """The answer, and whether an earlier attempt may have been carried out."""
        from urllib3.exceptions import ConnectTimeoutError, HTTPError, NameResolutionError, NewConnectionError, ProxyError

        lost, attempt, deadline = False, 0, 0.0
        while True:
            attempt += 1
            failure: Exception | None = None
            try:
                answer = self._open().request(
                    method,
                    self._before + target,
                    body=body,
                    headers=dict(headers),
                    retries=False,
                    redirect=False,
                    assert_same_host=False,
                )
            except (HTTPError, OSError) as error:
                failure = error
                unsent = isinstance(error, (ConnectTimeoutError, NewConnectionError, ProxyError))
                lost = lost or not unsent
                explained = self._explain(error, unsent=unsent)
                final = isinstance(explained, ConfigurationError) or isinstance(error, NameResolutionError)
                pause = None if final or not (harmless or unsent) else _pause(attempt)
                restarts = not isinstance(error, ProxyError)
            else:
                pause = _wait_before_next(answer, attempt) if harmless else None
                restarts = _may_restart(answer)
            moment = time.monotonic()
            deadline = deadline or moment + self._wait_seconds
            is_over = moment >= deadline if restarts else attempt >= ATTEMPTS or not self._wait_seconds
            if pause is None or is_over:
                if failure is not None:
                    raise explained from None
                return answer, lost
            if moment >= deadline - self._wait_seconds + TELL_SECONDS:
                self._tell(moment)
            time.sleep(min(pause, deadline - moment) if restarts else pause)

    def _tell(self, moment: float) -> None:
        """Says once, for all calls that wait for the same outage, what they wait for. Without handlers of its own it is on stderr."""
        with self._lock:
            is_new, self._told = moment - self._told > self._wait_seconds, moment
        if is_new:
            logging.getLogger("strongroom").warning("waiting for %s; Ctrl-C to stop", self.url)

    def _open(self) -> HTTPConnectionPool:
        """The connections of this process: those of a parent belong to it."""
        pool = self._pool
        if pool is not None and self._owner == os.getpid():
            return pool
        with self._lock:
            if self._pool is None or self._owner != os.getpid():
                self._pool, self._owner = self._connections(), os.getpid()
            return self._pool

    def _connections(self) -> HTTPConnectionPool:
        from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout

        parts = urlsplit(self.url)
        host, timeout = parts.hostname or "", Timeout(connect=CONNECT_SECONDS, read=self._read_seconds)
        if parts.scheme == "http":
            if self._proxy is not None:
                return _through(self._proxy, self.url, timeout=timeout, maxsize=_POOL)
            return HTTPConnectionPool(host, parts.port or 80, timeout=timeout, maxsize=_POOL)
        context = ssl.create_default_context()
        if (certificates := self.certificates) is not None:
            try:
                context.load_verify_locations(cadata=certificates)
            except ssl.SSLError:
                raise self._unreadable() from None
        if self._proxy is not None:
            return _through(self._proxy, self.url, timeout=timeout, maxsize=_POOL, ssl_context=context)
        return HTTPSConnectionPool(host, parts.port or 443, timeout=timeout, maxsize=_POOL, ssl_context=context)

    def _unreadable(self) -> ConfigurationError:
        where = self._ca_cert if isinstance(self._ca_cert, Path) else "what was passed on"
        return ConfigurationError(f"{PREFIX}CA_CERT cannot be read: {where}", hint="it is a file with certificates in PEM")

    def _explain(self, error: Exception, *, unsent: bool) -> StrongroomError:
        """Our error for a failure of the network."""
        from urllib3.exceptions import (
            ConnectTimeoutError,
            NameResolutionError,
            NewConnectionError,
            ProxyError,
            ReadTimeoutError,
            SSLError,
        )

        where = urlsplit(self.url).netloc
        if isinstance(error, ProxyError):
            return Unavailable(
                f"the proxy {urlsplit(self._proxy or '').hostname} does not connect to {where}",
                hint="check HTTPS_PROXY, and NO_PROXY for servers that are reached without it",
            )
        if isinstance(error, NameResolutionError):
            return Unavailable(f"there is no address for {where}", hint="check the server's URL and the network")
        if isinstance(error, NewConnectionError):
            return Unavailable(f"nothing answers at {where}", hint="check the server's URL, and whether it runs")
        if isinstance(error, ConnectTimeoutError):
            return Unavailable(f"{where} cannot be reached in time", hint="check the server's URL and the network")
        if isinstance(error, ReadTimeoutError):
            return Unavailable(f"{where} did not answer in time; what was asked may have been done", hint="look, then try again")
        if isinstance(error, (SSLError, ssl.SSLError)):
            if "CERTIFICATE_VERIFY_FAILED" in str(error) or "match" in str(error):
                return ServerUnknown(
                    f"the certificate of {where} does not prove that it is the right server",
                    hint=f"if its authority is your own, set {PREFIX}CA_CERT to the authority's certificate",
                )
            return ServerUnknown(f"{where} does not speak TLS as it should", hint="check the scheme of the URL: http or https")
        return Unavailable(
            f"the connection to {where} broke" + ("" if unsent else "; what was asked may have been done"),
            hint="look, then try again",
        )

    def _decode(self, operation: Operation[Any, Response], answer: BaseHTTPResponse, lost: bool) -> Response:
        if 200 <= answer.status < 300:
            if operation.response is type(None):
                return None
            try:
                response: Response = _decoder(operation)(answer.data)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                pass  # that error may hold a piece of the answer
            else:
                return response
            raise self._not_ours()
        error = _decode_error(answer)
        if error is None:
            if answer.status in (502, 503, 504):
                raise Unavailable(f"what stands before {self.url} says that the server does not answer", hint="try again later")
            raise self._not_ours()
        if lost and operation.method == "DELETE" and isinstance(error, NotFound):
            return None  # type: ignore[return-value] # the attempt whose answer was lost has done it
        if isinstance(error, NoSuchOperation):
            raise NoSuchOperation(
                f"the server does not know '{operation.name}'", hint="is its URL right, and its version that of this client?"
            )
        raise error

    def _not_ours(self) -> ServerUnknown:
        return ServerUnknown(f"what answers at {self.url} is no strongroom server of this version", hint="check the server's URL")


def _through(proxy: str, url: str, **options: Any) -> HTTPConnectionPool:
    """Connections to a server through a proxy, whose URL may hold credentials."""
    from urllib3 import ProxyManager, make_headers
    from urllib3.exceptions import HTTPError

    try:
        parts = urlsplit(proxy)
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
        headers = make_headers(proxy_basic_auth=login) if login else None
        return ProxyManager(bare, proxy_headers=headers, **options).connection_from_url(url)
    except (HTTPError, ValueError):
        pass  # that error may hold the proxy's password
    raise ConfigurationError("the proxy's URL in HTTPS_PROXY or HTTP_PROXY cannot be read", hint="for example: http://proxy:3128")


def check_url(url: str, *, insecure: bool) -> str:
    """The URL itself if it is one of a server that tokens may be sent to. `ConfigurationError`."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        good = (
            good and not (parts.username or parts.password or parts.query or parts.fragment) and url.isascii() and url.isprintable()
        )
    except ValueError:
        good = False
    if not good:
        raise ConfigurationError("the server's URL cannot be read", hint="for example: https://strongroom.example.com")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and not insecure:
        raise ConfigurationError(
            "a server on another machine has an https URL: tokens and values would travel in clear",
            hint=f"set {PREFIX}INSECURE=1 if nobody can listen",
        )
    return url


def _encode(root: str, operation: Operation[Any, Any], request: Any, workspace: str) -> tuple[str, bytes | None]:
    """Path with query, and body. What a field leaves at its default does not travel."""
    in_path = set(_PARAMETER.findall(operation.path))
    path = root + _PARAMETER.sub(lambda found: _segment(getattr(request, found[1])), operation.path)
    fields = {
        field.name: _whole_minutes(value)
        for field in msgspec.structs.fields(request)
        if (value := getattr(request, field.name)) is not UNSET and field.name not in in_path and value != _default(field)
    }
    query = [("workspace", workspace)] if workspace and operation.permission is not None else []
    body = None
    try:
        if operation.method in ("GET", "DELETE"):
            query += [
                (name, _text(item)) for name, value in fields.items() for item in (value if isinstance(value, list) else [value])
            ]
        else:
            body = msgspec.json.encode(fields, enc_hook=_reveal)
        target = path + (f"?{urlencode(query)}" if query else "")
    except UnicodeEncodeError:
        target = None  # that error holds the text: ours is raised outside of it
    if target is None:
        raise InvalidInput("a text is not valid Unicode", hint="encode binary data, for example as base64")
    return target, body


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _whole_minutes(value: Any) -> Any:
    """A moment in a zone of whole minutes: JSON's times know no others, and local mean times of former centuries are."""
    offset = value.utcoffset() if isinstance(value, datetime) else None
    if offset is None or not (offset.seconds % 60 or offset.microseconds):
        return value
    try:
        return value.astimezone(UTC)
    except OverflowError:  # beyond the calendar, which is refused
        return value


def _segment(value: Any) -> str:
    """A piece of a path. Dots alone would be read as steps in it."""
    if value is None:
        return NONE_IN_PATH
    text = _text(value)
    return {".": "%2E", "..": "%2E%2E", NONE_IN_PATH: "%7E"}.get(text) or quote(text, safe="", errors="replace")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(msgspec.to_builtins(value)).lower() if isinstance(value, bool) else str(value)


def _reveal(value: Any) -> str:
    """The one place where values leave for the server."""
    if isinstance(value, SecretText):
        return value.reveal()
    raise NotImplementedError(type(value))


def _hide(kind: type, value: Any) -> Any:
    if kind is SecretText and isinstance(value, str):
        return SecretText(value)
    raise ValueError("Expected text")


@cache
def _decoder(operation: Operation[Any, Any]) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(operation.response, dec_hook=_hide).decode


class _ErrorBody(msgspec.Struct):
    code: str
    message: str
    hint: str | None = None


class _Error(msgspec.Struct):
    error: _ErrorBody


def _classes() -> dict[str, type[StrongroomError]]:
    found = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, StrongroomError)]
    return {each.code: each for each in found}


_CLASSES = _classes()
_BY_STATUS: dict[int, type[StrongroomError]] = {
    401: Unauthenticated,
    403: Forbidden,
    409: UnderWay,
    422: InvalidInput,
    429: TooManyRequests,
    503: Unavailable,
}


def _decode_error(answer: BaseHTTPResponse) -> StrongroomError | None:
    """The error in the answer; None when there is none in our shape."""
    try:
        body = msgspec.json.decode(answer.data, type=_Error).error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    kind = _CLASSES.get(body.code) or _BY_STATUS.get(answer.status, StrongroomError)
    error = kind(body.message, body.hint)
    if isinstance(error, TooManyRequests):
        error.retry_after = int(_retry_after(answer) or error.retry_after)
    return error


def _retry_after(answer: BaseHTTPResponse) -> int | None:
    text = answer.headers.get("Retry-After", "")
    return int(text) if text.isdecimal() and len(text) < 7 else None


def _wait_before_next(answer: BaseHTTPResponse, attempt: int) -> float | None:
    """How long to wait before asking again; None when this answer stands."""
    if answer.status not in _TRY_AGAIN:
        return None
    wait = _retry_after(answer)
    if answer.status == 429 and (wait is None or wait > LONGEST_RETRY_AFTER_SECONDS):
        return None
    return max(_pause(attempt), min(wait or 0, LONGEST_RETRY_AFTER_SECONDS))


def _may_restart(answer: BaseHTTPResponse) -> bool:
    """Whether the answer is what is heard while a server restarts: it says when to come again, or a gateway has found nobody."""
    if answer.status == 503 and _retry_after(answer) is not None:
        return True
    return answer.status in (502, 503, 504) and _decode_error(answer) is None


def _pause(attempt: int) -> float:
    """Longer after each attempt, and never the same for two clients."""
    return float(min(LONGEST_PAUSE_SECONDS, 0.1 * 2 ** min(attempt, 10)) * random.uniform(0.5, 1))  # noqa: S311 - no secret
