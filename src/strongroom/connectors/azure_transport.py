"""How requests get to Azure: on pooled connections, each within its deadline, without cookies, redirects or second tries.

All of Azure's libraries send through one transport here: those that log in, and those that work. Its thread says how long it has
(`watching`), for most of them have no way of passing a deadline on; and is told what went wrong, for some of them swallow that.
"""

from __future__ import annotations

import ipaddress
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from strongroom import forking
from strongroom.config import find_proxy
from strongroom.connectors.azure_methods import import_azure
from strongroom.connectors.bounded import BOUNDED_POOLS
from strongroom.connectors.deadline import Deadline
from strongroom.errors import StrongroomError, Unavailable

_CONNECTIONS = 32


@dataclass
class Watch:
    """On the requests that one thread makes for one purpose: how long they may take, and how the last one that failed did."""

    deadline: Deadline
    trouble: StrongroomError | None = None


class Transport:
    """Thread-safe; holds up to 32 connections open to each host. `close()` gives them back.

    Proxies of the environment are looked up once for each host; a `.netrc` never is. `ca_cert` is a file of certificates.
    """

    def __init__(self, ca_cert: str | None) -> None:
        self._requests = import_azure("requests")
        self._open_pools()
        forking.renew_by(self._open_pools)
        self._proxies: dict[tuple[str, str], dict[str, str]] = {}
        self._thread = threading.local()
        self._session = self._requests.Session()
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        for scheme in ("https://", "http://"):  # the latter for the identity service inside of Azure's machines
            self._session.mount(scheme, self)
        # What the SDK takes for its `transport`. It never follows a redirect.
        self.for_sdk = import_azure("azure.core.pipeline.transport").RequestsTransport(
            session=self._session, session_owner=False, connection_verify=ca_cert or True, use_env_settings=False
        )

    def _open_pools(self) -> None:
        self._pools = self._requests.adapters.HTTPAdapter(pool_connections=4, pool_maxsize=_CONNECTIONS)
        self._pools.poolmanager.pool_classes_by_scheme = BOUNDED_POOLS

    @contextmanager
    def watching(self, deadline: Deadline) -> Iterator[Watch]:
        """Requests of this thread need it."""
        watch = self._thread.watch = Watch(deadline)
        try:
            yield watch
        finally:
            del self._thread.watch

    def send(self, request: Any, *, timeout: Any = None, proxies: Any = None, **options: Any) -> Any:
        """As an adapter of requests. Reads the whole answer."""
        watch: Watch = self._thread.watch
        host = str(urlsplit(request.url).hostname)
        try:
            connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
            limit = Timeout(total=watch.deadline.left(), connect=connect, read=read)
            answer = self._pools.send(request, timeout=limit, proxies=self._proxies_to(request.url, host), **options)
            _ = answer.content
        except Unavailable as error:
            watch.trouble = error
            raise
        except self._requests.exceptions.SSLError:
            watch.trouble = Unavailable(f"{host} cannot prove that it is the right one", hint="check 'ca_cert' and the address")
            raise
        except self._requests.exceptions.ConnectTimeout:
            self._out_of_reach(watch, host)
            raise
        except (self._requests.exceptions.RequestException, OSError) as error:
            if isinstance(error, self._requests.exceptions.Timeout) or "timed out" in str(error):
                watch.trouble = Unavailable(f"{host} did not answer in time; what was asked may have been done")
            else:
                self._out_of_reach(watch, host)
            raise
        if answer.status_code == 429 or answer.status_code >= 500:
            watch.trouble = _refusal(host, answer.status_code, answer.headers.get("Retry-After"))
        return answer

    def close(self) -> None:
        """Closes idle connections, and those in use when their request has ended."""
        self._pools.close()

    def _out_of_reach(self, watch: Watch, host: str) -> None:
        if not _is_link_local(host):  # where it is not there, the machine is none of Azure's, and nothing is wrong
            watch.trouble = Unavailable(f"{host} is out of reach; what was asked may have been done")

    def _proxies_to(self, url: str, host: str) -> dict[str, str]:
        scheme = urlsplit(url).scheme
        if (scheme, host) not in self._proxies:
            proxy = find_proxy(url)
            self._proxies[scheme, host] = {scheme: self._prepared(proxy)} if proxy else {}
        return self._proxies[scheme, host]

    def _prepared(self, proxy: str) -> str:
        proxy = str(self._requests.utils.prepend_scheme_if_needed(proxy, "http"))
        with suppress(HTTPError):
            manager = self._pools.proxy_manager_for(proxy)
            if proxy.lower().startswith("http"):  # SOCKS has connections of its own
                manager.pool_classes_by_scheme = BOUNDED_POOLS
            return proxy
        raise self._requests.exceptions.InvalidProxyURL("the environment's proxy is no address of a proxy")


def _refusal(host: str, status: int, retry_after: str | None) -> Unavailable:
    wait = float(retry_after) if retry_after is not None and re.fullmatch(r"[0-9]{1,5}", retry_after) else None
    asks = f", and asks to wait {wait:.0f} seconds" if wait is not None else ""
    if status == 429:
        message, hint = f"{host} limits how often it may be asked{asks}", "ask less often, or use another vault"
    else:
        message, hint = f"{host} answers with status {status}{asks}; what was asked may have been done", None
    return Unavailable(message, hint, retry_after=wait)


def _is_link_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False
