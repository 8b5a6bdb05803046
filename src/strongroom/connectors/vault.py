"""A connection to HashiCorp Vault or OpenBao that stays logged in.

It logs in when it is first used, renews its token in good time, and logs in again when the token is dead, whatever killed it: its
age, an operator, or a server that came back from an outage without it. There is no state of failure: each call tries anew.

    StoreForbidden   the server refuses the login or the request (403), or is not set up for it
    Unavailable      no answer in time, sealed, overloaded (429), a 5xx, or no Vault at all

Other answers (2xx, 400, 404) are the caller's to understand. Errors are raised outside of the handlers of the driver's ones: those
hold requests, with values and tokens, and would hang on as their context.
"""

from __future__ import annotations

import ipaddress
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode, urlsplit

from urllib3 import PoolManager, ProxyManager, Timeout
from urllib3.exceptions import HTTPError, ReadTimeoutError, SSLError

from strongroom import forking
from strongroom.certificates import certificate_file
from strongroom.config import find_proxy
from strongroom.connectors.bounded import BOUNDED_POOLS
from strongroom.connectors.deadline import Deadline
from strongroom.connectors.machine import ADDRESS, FILE
from strongroom.connectors.options import check_header
from strongroom.connectors.vault_methods import DEFAULT_METHOD, METHODS, VaultMethod
from strongroom.errors import ConfigurationError, StoreForbidden, StrongroomError, Unavailable
from strongroom.redaction import SecretText, mask

__all__ = ["DEFAULT_METHOD", "METHODS", "Answer", "Endpoint", "VaultConnection", "connect"]

_CONNECTIONS = 32
_RENEW_AFTER = 2 / 3
_TRY_AGAIN_AFTER = 5.0


@dataclass(frozen=True)
class Answer:
    """What the server said. `data` may hold values and is not shown."""

    status: int
    data: Mapping[str, Any] = field(repr=False)

    @property
    def errors(self) -> str:
        """The server's own words, in lower case: to be understood, not to be shown."""
        return " ".join(map(str, self.data.get("errors") or ())).lower()


@dataclass(frozen=True)
class _Lease:
    token: SecretText
    given: float
    seconds: float | None
    """None: it has no end, or none that we may know."""
    renewable: bool
    renew_at: float | None

    def is_alive(self) -> bool:
        return self.seconds is None or time.monotonic() < self.given + self.seconds


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a Vault is. `ca_cert` is a file of certificates; `insecure` allows plain HTTP to other machines."""

    vault_addr: str = field(metadata=ADDRESS)
    vault_namespace: str = ""
    ca_cert: str | None = field(default=None, metadata=FILE)
    insecure: bool = False


def connect(endpoint: Endpoint, method: VaultMethod) -> VaultConnection:
    """A connection that asks nobody yet. `ConfigurationError`."""
    return VaultConnection(
        endpoint.vault_addr,
        method,
        vault_namespace=endpoint.vault_namespace,
        ca_cert=endpoint.ca_cert,
        insecure=endpoint.insecure,
    )


class VaultConnection:
    """Thread-safe; holds up to 32 connections open. `close()` gives them back."""

    def __init__(
        self, vault_addr: str, method: VaultMethod, *, vault_namespace: str = "", ca_cert: str | None = None, insecure: bool = False
    ) -> None:
        """Asks nobody. `ca_cert` is a file of certificates; `insecure` allows plain HTTP to other machines.

        `ConfigurationError` for an address that will not do or a missing file.
        """
        self.address = _checked(vault_addr, insecure)
        self.namespace = vault_namespace.strip("/")
        self._method = method
        self._lease: _Lease | None = None
        self._turn = forking.renewed(self, "_turn", threading.Lock)
        authorities = certificate_file(ca_cert)
        proxy = find_proxy(self.address)
        options: dict[str, Any] = {"num_pools": 1, "maxsize": _CONNECTIONS, "block": False, "retries": False}
        if self.address.startswith("https"):
            options |= {"ca_certs": authorities, "cert_reqs": "CERT_REQUIRED"}  # without a file: those of the system

        def new_pools() -> PoolManager:
            pools: PoolManager = ProxyManager(proxy, **options) if proxy else PoolManager(**options)
            pools.pool_classes_by_scheme = BOUNDED_POOLS
            return pools

        self._pools = forking.renewed(self, "_pools", new_pools)
        self._headers = {"X-Vault-Request": "true", "Content-Type": "application/json"}
        if self.namespace:
            check_header("vault_namespace", self.namespace)
            self._headers["X-Vault-Namespace"] = self.namespace

    def __repr__(self) -> str:
        return f"<Vault at {self.address} by {self._method.name}>"

    def ask(
        self, verb: str, path: str, deadline: Deadline, *, right: str, body: Mapping[str, Any] | None = None, **query: str
    ) -> Answer:
        """One request below `/v1/`, with a token that is alive. `right` is what a policy has to allow, for the message."""
        lease = self._logged_in(deadline)
        answer = self._send(verb, path, deadline, lease.token, body, query)
        if answer.status == 403 and self._is_dead(lease, deadline):
            lease = self._logged_in(deadline, dead=lease)
            answer = self._send(verb, path, deadline, lease.token, body, query)
        if answer.status == 403:
            raise StoreForbidden(
                f"Vault at {self.address} refuses: strongroom lacks the right to '{right}' at '{path}'",
                hint="extend the policy of its token",
            )
        return answer

    def identity(self, *, seconds: float) -> str:
        """Who the token belongs to, and its policies, for people to read."""
        answer = self.ask("get", "auth/token/lookup-self", Deadline(seconds), right="read")
        about = answer.data.get("data") or {}
        policies = ", ".join(sorted({*(about.get("policies") or ()), *(about.get("identity_policies") or ())}))
        return f"{about.get('display_name') or 'a token'} with the policies {policies or 'of nobody'}"

    def close(self) -> None:
        """Closes idle connections, and those in use when their request has ended."""
        self._pools.clear()

    def _logged_in(self, deadline: Deadline, dead: _Lease | None = None) -> _Lease:
        """A token that is alive as far as one can know from here. Only one thread logs in or renews at a time."""
        lease = self._lease
        if lease is not None and lease is not dead:
            if lease.renew_at is None or time.monotonic() < lease.renew_at:
                return lease
            if lease.is_alive() and self._turn.locked():
                return lease  # somebody renews it; meanwhile it works
        if not self._turn.acquire(timeout=deadline.left()):
            raise Unavailable(f"Vault at {self.address} did not answer a login in time")
        try:
            current = self._lease
            if current is None or current is dead or not current.is_alive():
                current = self._login(deadline)
            elif current is lease:
                current = self._renewed(current, deadline)
            self._lease = current
            return current
        finally:
            self._turn.release()

    def _renewed(self, lease: _Lease, deadline: Deadline) -> _Lease:
        """The same token for longer, or another one. As long as the one at hand is alive, no failure is one of the caller's."""
        later = replace(lease, renew_at=time.monotonic() + _TRY_AGAIN_AFTER)
        try:
            if lease.renewable:
                answer = self._send("post", "auth/token/renew-self", deadline, lease.token, {}, {})
                if answer.status == 200:
                    renewed = _lease_of(lease.token, answer.data["auth"])
                    if not self._method.can_log_in or (renewed.seconds or 0) > (lease.seconds or 0) / 2:
                        return renewed  # else the end of its longest life is near
            return self._login(deadline) if self._method.can_log_in else later
        except (Unavailable, StoreForbidden):  # whoever asks when the token is dead is told
            return later

    def _login(self, deadline: Deadline) -> _Lease:
        login = self._method.login()
        if isinstance(login, SecretText):
            answer = self._send("get", "auth/token/lookup-self", deadline, login, None, {})
            if answer.status != 200:
                # Dead, or not allowed to ask about itself: the request that follows will tell.
                return _Lease(login, time.monotonic(), None, renewable=False, renew_at=None)
            about = answer.data["data"]
            return _lease_of(login, {"lease_duration": about["ttl"], "renewable": about.get("renewable", False)})
        answer = self._send("post", login.path, deadline, None, login.body, {})
        if answer.status == 200 and (auth := answer.data.get("auth")):
            return _lease_of(SecretText(auth["client_token"]), auth)
        mount = login.path.partition("/login")[0]  # that nothing is mounted there is not told to strangers
        raise StoreForbidden(
            f"Vault at {self.address} refuses the login by {self._method.name} at '{mount}'",
            hint="check the credential, its role, and that the method is enabled there",
        )

    def _is_dead(self, lease: _Lease, deadline: Deadline) -> bool:
        """Whether the token is no longer known: a 403 does not say why."""
        if self._lease is not lease:
            return True
        if self._send("get", "auth/token/lookup-self", deadline, lease.token, None, {}).status == 200:
            return False
        if not self._method.can_log_in:
            raise StoreForbidden(
                f"Vault at {self.address} does not take the token: it is wrong, has expired or was revoked",
                hint="give a new one; it needs Vault's policy 'default'",
            )
        return True

    def _send(
        self,
        verb: str,
        path: str,
        deadline: Deadline,
        token: SecretText | None,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str],
    ) -> Answer:
        failure: StrongroomError
        if token is not None:  # an answer may tell it
            mask(token)
        try:
            response = self._pools.request(
                verb.upper(),
                f"{self.address}/v1/{path}{'?' + urlencode(query) if query else ''}",
                headers={**self._headers, "X-Vault-Token": token.reveal()} if token else self._headers,
                body=None if body is None else json.dumps(body).encode(),
                timeout=Timeout(total=deadline.left()),
                redirect=False,  # the token would go along
            )
        except SSLError:
            failure = Unavailable(
                f"Vault at {self.address} cannot prove that it is the right one", hint="check 'ca_cert' and the address"
            )
        except ReadTimeoutError:
            failure = Unavailable(f"Vault at {self.address} did not answer in time; what was asked may have been done")
        except (HTTPError, OSError):
            failure = Unavailable(f"Vault at {self.address} is out of reach; what was asked may have been done")
        else:
            return self._understood(response.status, response.data, response.headers.get("Retry-After"))
        raise failure

    def _understood(self, status: int, content: bytes, retry_after: str | None) -> Answer:
        try:
            data = json.loads(content) if content else {}
        except ValueError:
            data = None
        if not isinstance(data, dict):
            data, status = {}, 599
        answer = Answer(status, data)
        if status in (200, 204, 400, 403, 404):
            return answer
        if status == 429:
            raise Unavailable(
                f"Vault at {self.address} limits how often it may be asked",
                hint="raise the quota, or ask less often",
                retry_after=float(retry_after) if retry_after and retry_after.isdecimal() else None,
            )
        if status == 503 and "sealed" in answer.errors:
            raise Unavailable(f"Vault at {self.address} is sealed", hint="unseal it")
        if status == 599:
            raise Unavailable(f"what answers at {self.address} does not speak as Vault does")
        raise Unavailable(f"Vault at {self.address} answers with status {status}; what was asked may have been done")


def _lease_of(token: SecretText, auth: Mapping[str, Any]) -> _Lease:
    now, seconds = time.monotonic(), float(auth["lease_duration"]) or None
    return _Lease(token, now, seconds, bool(auth["renewable"]), now + seconds * _RENEW_AFTER if seconds else None)


def _checked(address: str, insecure: bool) -> str:
    """The address in one spelling."""
    url = urlsplit(address)
    try:
        host, port = url.hostname, url.port
    except ValueError:
        host = port = None
    if url.scheme not in ("http", "https") or not host or url.username or url.query or url.path.strip("/"):
        raise ConfigurationError("'vault_addr' is no address of a Vault", hint="such as https://vault.example.com:8200")
    if url.scheme == "http" and not insecure and not _is_loopback(host):
        raise ConfigurationError(f"Vault at {host} is to be reached by plain HTTP", hint="use https://, or say insecure=true")
    port = port or (443 if url.scheme == "https" else 80)
    return f"{url.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
