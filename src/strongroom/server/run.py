"""Serving: worker processes of Granian, from the first start of a deployment to the end of the last request."""

from __future__ import annotations

import functools
import ipaddress
import os
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from granian.constants import HTTPModes, Interfaces, Loops, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels

from strongroom.config import PREFIX, Settings
from strongroom.crypto.key_source import KEY_FILE, find_key_source
from strongroom.errors import ConfigurationError, EncryptionKeyError
from strongroom.redaction import SecretText
from strongroom.server import METRICS_FOLDER, signals
from strongroom.server.supervisor import Supervisor
from strongroom.server.worker import end_with, open_app
from strongroom.service.wiring import Service

BACKLOG = 1024
CONNECTIONS = 4096
"""How many connections a worker has at once; others wait in the backlog. Silent ones take a few KiB each."""

HEAD_BYTES = 65_536
"""How long the head of a request may be; hyper reads bodies in pieces of at most this size too."""

DRAIN_SECONDS = 30
"""How long requests that are being answered when the server is told to end may still take."""

_LOG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "plain"}},
    "loggers": {"_granian": {"handlers": ["console"], "level": "WARNING", "propagate": False}},
}


@dataclass(frozen=True)
class Address:
    """Where to listen, and with which certificate; without one it is plain HTTP."""

    host: str
    port: int
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """The server's URL, as seen from this machine."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls_cert else ''}://{host}:{self.port}"


def prepare(settings: Settings, address: Address, warn: Callable[[str], object]) -> SecretText | None:
    """Opens the deployment once, which makes or upgrades its database, and sees to it that somebody can log in.

    That is the administrator of the settings; without one, a one-time token is given back. Tries the secrets stores out. `warn` hears
    of a store that does not answer while the other one does, of one that keeps fewer versions than wanted, and of an encryption key
    that was made. `EncryptionKeyError` when the operator gave no key, and either the address is for other machines or the database is
    not the local one; what a secrets store refuses.
    """
    source = find_key_source(settings)
    if source.managed and not (address.is_loopback and settings.is_local_database):
        raise EncryptionKeyError(
            f"set {PREFIX}ENCRYPTION_KEY or {PREFIX}ENCRYPTION_KEY_FILE: a server needs a key of yours", hint=_key_hint(settings)
        )
    is_without_key = source.managed and not source.load()
    service = Service(settings)
    if is_without_key and source.load():
        warn(f"made an encryption key in {source.description}; keep a copy of it elsewhere: without it all values are lost")
    try:
        for warning in service.check_stores():
            warn(warning)
        if not service.identities.needs_set_up():
            return None
        if settings.admin_username and settings.admin_password:
            service.identities.ensure_admin(settings.admin_username, SecretText(settings.admin_password))
            return None
        return service.identities.make_setup_token()
    finally:
        service.close()


def _key_hint(settings: Settings) -> str:
    path = settings.folder / KEY_FILE
    if settings.is_local_database and path.exists():  # made by a former version, or by the store of this machine's user
        return f"the key that was made here: {PREFIX}ENCRYPTION_KEY_FILE={path}"
    return "make one with: strongroom server generate-key"


def serve(settings: Settings, address: Address, workers: int, ready: Callable[[], None]) -> None:
    """Serves until SIGTERM or SIGINT; then nothing new is accepted, and what is being answered is finished.

    Each worker opens the service for itself. `ready` is called when the port is ours. `ConfigurationError` when no worker can start.
    """
    check_address(address)
    _allow_open_files(CONNECTIONS + 512)
    _forbid_core_dumps()
    with tempfile.TemporaryDirectory(prefix="strongroom-metrics-") as folder:
        os.environ[METRICS_FOLDER] = folder
        server = Supervisor(
            "strongroom",
            address=address.host,
            port=address.port,
            interface=Interfaces.ASGI,
            workers=workers,
            loop=Loops.uvloop if find_spec("uvloop") else Loops.asyncio,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=settings.client_timeout * 1000, max_buffer_size=HEAD_BYTES),
            websockets=False,
            backlog=BACKLOG,
            backpressure=CONNECTIONS,
            log_dictconfig=_LOG,
            log_level=LogLevels.warning,
            ssl_cert=address.tls_cert,
            ssl_key=address.tls_key,
            ssl_protocol_min=SSLProtocols.tls12,
            workers_kill_timeout=DRAIN_SECONDS,
        )
        server.on_startup(ready)
        signals.hold_in_forked_processes()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=functools.partial(end_with, os.getpid()))
        server.serve(target_loader=functools.partial(open_app, settings, os.getpid()), wrap_loader=False)
    if server.gave_up:
        raise ConfigurationError("no worker of the server can start", hint="what they have written above says why")


def _allow_open_files(wanted: int) -> None:
    """Raises the soft limit, which is 1024 on many systems, as far as the hard one lets us. Workers inherit it."""
    try:
        import resource
    except ModuleNotFoundError:  # no POSIX system
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _forbid_core_dumps() -> None:
    """Values and keys in memory stay out of files when a process crashes. Workers inherit it."""
    try:
        import resource
    except ModuleNotFoundError:  # no POSIX system
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def check_address(address: Address) -> None:
    """`ConfigurationError` when the address cannot be used, or the certificate cannot."""
    import ssl

    if (address.tls_cert is None) is not (address.tls_key is None):
        raise ConfigurationError("give both --tls-cert and --tls-key, or none of them")
    if address.tls_cert is not None and address.tls_key is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(address.tls_cert, address.tls_key)
        except (OSError, ssl.SSLError) as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else "they do not fit, or are not PEM"
            raise ConfigurationError(f"the certificate and its key cannot be used: {reason}") from None
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((address.host, address.port))
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen at {address.host} port {address.port}: {error.strerror or 'no such address'}",
            hint="choose another with --host and --port",
        ) from None
