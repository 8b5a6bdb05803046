"""A login to Google Cloud that stays alive.

Tokens are fetched in a thread of the login's own, one at a time, so that a caller waits for no longer than it may, whatever
google-auth does meanwhile (it sleeps between attempts, looks names up, may start gcloud). A token that gets old is replaced behind
the callers' backs. There is no state of failure: where no token is alive, each call tries anew.

    StoreForbidden   Google refuses the login, or there is no credential
    Unavailable      no answer in time, overloaded (429), a 5xx, or nobody there

google-auth holds credentials in its errors and in the requests that they came from; ours are raised outside of their handlers.
"""

from __future__ import annotations

import copy
import ipaddress
import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn
from urllib.parse import urlsplit

from urllib3 import Timeout

from strongroom import forking
from strongroom.config import find_proxy
from strongroom.connectors.bounded import BOUNDED_POOLS
from strongroom.connectors.deadline import Deadline
from strongroom.connectors.gcp_methods import GcpMethod, import_google
from strongroom.errors import StoreForbidden, StrongroomError, Unavailable

_RENEW_AFTER = 2 / 3
_RENEWAL_SECONDS = 20.0
_TRY_AGAIN_AFTER = 5.0
_TEMPORARY = {"internal_failure", "server_error", "temporarily_unavailable"}
_HINTS = {
    "invalid_grant": "it was revoked, has expired, or the clock of this machine is wrong",
    "invalid_client": "its client is unknown or its client's secret wrong",
    "unauthorized_client": "its client is not allowed to do that",
    "invalid_target": "check the 'audience': the pool and its provider",
    "invalid_request": "check the 'audience' and the token's type",
    "invalid_scope": "it does not include cloud-platform",
    "access_denied": "its provider does not accept it",
    "PERMISSION_DENIED": "it needs roles/iam.serviceAccountTokenCreator there, and the API iamcredentials.googleapis.com",
    "NOT_FOUND": "there is no such service account",
    "UNAUTHENTICATED": "the credential that it starts from is wrong or has expired",
}
"""What may be told of a refusal, by its code. Other words of a server are not shown."""


@dataclass(frozen=True)
class Lease:
    """A token, as headers, and for how long. `who` is for people."""

    headers: tuple[tuple[str, str], ...] = field(repr=False)
    who: str
    given: float
    seconds: float | None
    """None: it has no end that we know of."""
    renew_at: float | None

    def is_alive(self) -> bool:
        """As far as one can know from here."""
        return self.seconds is None or time.monotonic() < self.given + self.seconds

    def is_due(self) -> bool:
        """Whether it is to be replaced while it is still alive."""
        return self.renew_at is not None and time.monotonic() >= self.renew_at


class Login:
    """Thread-safe. Not to be carried across a fork."""

    def __init__(self, method: GcpMethod, *, ca_cert: str | None, insecure: bool) -> None:
        """Asks nobody. `ConfigurationError`, `MissingExtra`."""
        self._errors = import_google("google.auth.exceptions")
        self._session = _Session(ca_cert, insecure=insecure)
        self._method = method
        method.check()
        self._lease: Lease | None = None
        self._pause_until = 0.0
        self._attempt: Future[Lease | StrongroomError] | None = forking.renewed(self, "_attempt", lambda: None)
        self._lock = forking.renewed(self, "_lock", threading.Lock)
        self._worker = forking.renewed(self, "_worker", _new_worker)

    def lease(self, deadline: Deadline, dead: Lease | None = None) -> Lease:
        """A token that is alive, and not the one that is known to be dead."""
        if dead is not None and not self._method.can_log_in:
            raise StoreForbidden("Google does not take the token: it is wrong or has expired", hint="give a new one")
        while True:
            current = self._lease
            if current is not None and (current is dead or not current.is_alive()):
                current = None
            if current is not None and (not current.is_due() or time.monotonic() < self._pause_until):
                return current
            attempt, is_ours = self._begin(current or dead, Deadline(_RENEWAL_SECONDS if current else deadline.left()))
            if current is not None:
                return current
            if attempt is None:
                continue  # somebody was faster
            try:
                outcome: Lease | StrongroomError | None = attempt.result(deadline.left())
            except (TimeoutError, CancelledError):
                outcome = None
            if isinstance(outcome, Lease):
                return outcome
            if outcome is None:
                raise Unavailable("Google did not answer a login in time")
            if is_ours or not isinstance(outcome, Unavailable):
                raise copy.copy(outcome)

    def close(self) -> None:
        """Lets the thread end. Later logins fail."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        self._session.close()

    def _begin(self, known: Lease | None, deadline: Deadline) -> tuple[Future[Lease | StrongroomError] | None, bool]:
        """The attempt that is under way, or a new one; and whether it is new. None if there is a token that was not known."""
        with self._lock:
            if self._lease is not None and self._lease is not known and self._lease.is_alive():
                return None, False
            if self._attempt is not None and not self._attempt.done():
                return self._attempt, False
            try:
                self._attempt = self._worker.submit(self._log_in, deadline)
            except RuntimeError:
                pass
            else:
                return self._attempt, True
        raise Unavailable("the connection to Google is closed")

    def _log_in(self, deadline: Deadline) -> Lease | StrongroomError:
        try:
            outcome: Lease | StrongroomError = self._fetch(deadline)
        except StrongroomError as error:
            outcome = error
        with self._lock:
            if isinstance(outcome, Lease):
                self._lease = outcome
            else:  # the one at hand may live for a while; whoever finds it dead is told
                self._pause_until = time.monotonic() + _TRY_AGAIN_AFTER
        return outcome

    def _fetch(self, deadline: Deadline) -> Lease:
        errors, by = self._errors, f"for the login by {self._method.name}"
        try:
            credentials = self._method.credentials(_Request(self._session, deadline, detecting=True))
            if self._method.can_log_in:
                credentials.refresh(_Request(self._session, deadline))
            headers: dict[str, str] = {}
            credentials.apply(headers)
        except errors.TransportError:
            failure: StrongroomError = Unavailable("Google is out of reach for a login")
        except errors.DefaultCredentialsError:
            failure = StoreForbidden(
                f"there is no credential {by}, or none that can be used",
                hint="where none is given: gcloud auth application-default login",
            )
        except (errors.RefreshError, errors.OAuthError) as error:
            failure = self._refused(error.args[1] if len(error.args) > 1 else "")
        except errors.GoogleAuthError:
            failure = self._refused("")
        except OSError as error:
            failure = StoreForbidden(f"the credential {by} cannot be read: {type(error).__name__}", hint="check its file")
        except (ValueError, TypeError, KeyError, AttributeError):
            failure = Unavailable("what answers the login does not speak as Google does")
        else:
            if all(text.isascii() and text.isprintable() for text in headers.values()):
                return self._lease_of(credentials, headers)
            failure = StoreForbidden(
                f"the token {by} is none that could be sent", hint="check the credential and its quota_project_id"
            )
        raise failure

    def _lease_of(self, credentials: Any, headers: Mapping[str, str]) -> Lease:
        now, expiry = time.monotonic(), credentials.expiry
        seconds = None
        if expiry is not None and self._method.can_log_in:
            seconds = max(0.0, (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds())
        renew_at = None if seconds is None else now + seconds * _RENEW_AFTER
        return Lease(tuple((name.lower(), text) for name, text in headers.items()), self._who(credentials), now, seconds, renew_at)

    def _who(self, credentials: Any) -> str:
        for attribute in ("service_account_email", "account"):
            who = getattr(credentials, attribute, None)
            if who and who != "default":
                return str(who)
        audience = getattr(credentials, "info", {}).get("audience") if self._method.name == "external-account" else None
        return str(audience) if audience else f"somebody by the method {self._method.name}"

    def _refused(self, answer: Any) -> StoreForbidden:
        code = _code(answer)
        hint = _HINTS.get(code, "check the credential")
        known = f" ({code})" if code in _HINTS else ""
        return StoreForbidden(f"Google refuses the login by {self._method.name}{known}", hint=hint)


def is_loopback(host: str) -> bool:
    """Whether what is sent there stays on this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class _Response:
    """As google-auth wants it."""

    status: int
    headers: Mapping[str, str]
    data: bytes = field(repr=False)


def _new_worker() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="gcp-login")


class _Session:
    """Pooled connections to where tokens come from. No redirects, no .netrc; proxies as the environment says."""

    def __init__(self, ca_cert: str | None, *, insecure: bool) -> None:
        self.requests = import_google("requests")
        self.errors = import_google("google.auth.exceptions")
        self._insecure = insecure
        self._session = self.requests.Session()
        self._session.trust_env = False
        self._session.verify = ca_cert or True
        self._open_pools()
        forking.renew_by(self._open_pools)

    def _open_pools(self) -> None:
        self._pools = self.requests.adapters.HTTPAdapter()
        self._pools.poolmanager.pool_classes_by_scheme = BOUNDED_POOLS
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, self._pools)

    def send(self, method: str, url: str, seconds: float, **options: Any) -> Any:
        """The response, whatever its status."""
        proxy = find_proxy(url)
        if proxy is not None:
            self._pools.proxy_manager_for(proxy).pool_classes_by_scheme = BOUNDED_POOLS
        return self._session.request(
            method, url, timeout=Timeout(total=seconds), allow_redirects=False, proxies={"all": proxy} if proxy else {}, **options
        )

    def check(self, url: str) -> str:
        """The host, if credentials may go there."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not host:
            raise StoreForbidden("a URL of the credential's JSON is none", hint="check token_uri, token_url and credential_source")
        if parts.scheme == "http" and not (self._insecure or _is_near(host)):
            raise StoreForbidden(f"a login would go to {host} by plain HTTP", hint="use https://, or say insecure=true")
        return host

    def close(self) -> None:
        """Closes idle connections."""
        self._session.close()


class _Request:
    """One request after the other for google-auth, all of them within a deadline, and each of them once.

    google-auth tries again by itself where it is told of a failure; so it is not told, but passed by. Only while it finds out what
    machine this is (`detecting`) a failure is an answer. It cannot be copied: google-auth would make requests of its own with it,
    in a thread, to learn where the credential may be used from; nothing here needs to know.
    """

    def __init__(self, session: _Session, deadline: Deadline, *, detecting: bool = False) -> None:
        self._session, self._deadline, self._detecting = session, deadline, detecting

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> _Response:
        host = self._session.check(url)
        if self._detecting and host.startswith("cloudresourcemanager."):
            return _Response(403, {}, b"{}")  # it wants to know the project's id, which we do
        left = self._deadline.left()
        seconds = left if timeout is None else min(left, timeout)
        requests = self._session.requests.exceptions
        failure, retry_after = "", None
        try:
            response = self._session.send(method, url, seconds, data=body, headers=headers, **options)
        except requests.SSLError:
            failure = "cannot prove that it is the right one"
        except requests.Timeout:
            failure = "did not answer a login in time"
        except (requests.RequestException, OSError):
            failure = "is out of reach for a login"
        else:
            status = response.status_code
            if status in (408, 429) or status >= 500 or (status >= 400 and _code(response.content) in _TEMPORARY):
                failure, asked = f"is not ready for a login: it answers with status {status}", response.headers.get("Retry-After", "")
                retry_after = float(asked) if asked.isdecimal() and asked.isascii() else None
        if failure:
            self._fail(f"{host} {failure}", retry_after)
        return _Response(response.status_code, response.headers, response.content)

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("a request with a deadline is not copied")

    def _fail(self, message: str, retry_after: float | None) -> NoReturn:
        if self._detecting:
            raise self._session.errors.TransportError(message)
        raise Unavailable(message, "check 'ca_cert' and the address" if "prove" in message else None, retry_after)


def _is_near(host: str) -> bool:
    """Loopback, or where clouds tell their machines who they are; that is always plain HTTP, and never leaves the cloud."""
    if host in ("metadata.google.internal", "metadata") or is_loopback(host):
        return True
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False


def _code(answer: Any) -> str:
    """The code in an answer that refuses: OAuth's `error`, or the `status` of Google's APIs. Empty if there is none."""
    try:
        data = json.loads(answer) if isinstance(answer, str | bytes) else answer
        error = data["error"]
        return str(error["status"] if isinstance(error, dict) else error)
    except (ValueError, TypeError, KeyError):
        return ""
