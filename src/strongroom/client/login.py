"""Logging in to a server, and out again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from strongroom.client.login_state import LoginState, delete_login, read_login, write_login
from strongroom.client.transports.chosen import open_transport
from strongroom.client.transports.remote import RemoteTransport
from strongroom.config import Settings
from strongroom.errors import StrongroomError, Unauthenticated
from strongroom.models.info import GetInfo
from strongroom.models.user import AccessToken, Identity, Login, Logout, SetUp, WhoAmI
from strongroom.operations import info as of_info
from strongroom.operations import user as of_user
from strongroom.redaction import SecretText


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Where calls go and as whom. `server` is None for the embedded store; `problem` says why it cannot be used."""

    server: str | None
    reachable: bool
    user: str | None = None
    workspace: str | None = None
    role: str | None = None
    admin: bool | None = None
    version: str | None = None
    expires: datetime | None = None
    problem: str | None = None


def log_in(settings: Settings, url: str, username: str, password: SecretText) -> Identity:
    """Trades a password for a token and keeps it. `Unauthenticated`, `TooManyRequests`, and what a call may raise."""
    token = _connect(settings, url, None).call(of_user.LOGIN, Login(username=username, password=password))
    return _keep(settings, url, token)


def set_up(settings: Settings, url: str, token: SecretText, username: str, password: SecretText) -> Identity:
    """Makes the first administrator of a new server and logs in as them. `Unauthenticated` when the token was used."""
    request = SetUp(token=token, username=username, password=password)
    return _keep(settings, url, _connect(settings, url, None).call(of_user.SET_UP, request))


def log_in_with_key(settings: Settings, url: str, key: SecretText) -> Identity:
    """Keeps an API key, after asking the server whose it is. `Unauthenticated`."""
    return _keep(settings, url, AccessToken(access_token=key, token_type="bearer", expires_in=0), api_key=True)  # noqa: S106


def log_out(settings: Settings) -> str | None:
    """Ends the login here and its token at the server; the server's URL, or None when there was no login.

    An API key is only forgotten here: others may use it. Where the server cannot be reached, its error comes after the login here
    has ended.
    """
    state = read_login(settings)
    if state is None:
        return None
    delete_login(settings)
    if state.expires is not None:
        transport = _connect(settings, state.url, state.token)
        try:
            transport.call(of_user.LOGOUT, Logout())
        except Unauthenticated:
            pass  # it had ended already
        finally:
            transport.close()
    return state.url


def status(settings: Settings) -> Status:
    """Where calls go and as whom; never raises for a server that does not answer."""
    state = None if settings.api_key else read_login(settings)
    server = settings.server_url or (state.url if state else None)
    transport = open_transport(settings)
    try:
        identity = transport.call(of_user.WHO_AM_I, WhoAmI())
        info = transport.call(of_info.INFO, GetInfo())
    except StrongroomError as error:
        refused = isinstance(error, Unauthenticated)
        return Status(server=server, reachable=refused, user=state.username if state else None, problem=error.message)
    finally:
        transport.close()
    return Status(
        server=server,
        reachable=True,
        user=identity.name,
        workspace=identity.workspace,
        role=identity.role,
        admin=identity.admin,
        version=info.version,
        expires=state.expires if state else None,
    )


def _connect(settings: Settings, url: str, token: SecretText | None) -> RemoteTransport:
    return RemoteTransport(
        url, lambda: token, ca_cert=settings.ca_cert, insecure=settings.insecure, wait_seconds=settings.server_wait
    )


def _keep(settings: Settings, url: str, token: AccessToken, *, api_key: bool = False) -> Identity:
    transport = _connect(settings, url, token.access_token)
    try:
        identity = transport.call(of_user.WHO_AM_I, WhoAmI())
    finally:
        transport.close()
    expires = None if api_key else datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=token.expires_in)
    state = LoginState(url=url.rstrip("/"), token=token.access_token, username=identity.name, expires=expires)
    write_login(settings, state)
    return identity
