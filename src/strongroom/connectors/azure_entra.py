"""Tokens of Entra for Azure's services, by an authentication method.

    StoreForbidden   Entra refuses the login
    Unavailable      no answer in time, throttling (429), a 5xx, or nobody there

Errors are raised outside of the handlers of the SDK's ones: those hold requests, with credentials, and would hang on as their
context.
"""

from __future__ import annotations

import base64
import re
import time
from typing import Any

import msgspec

from strongroom.connectors.azure_login import Token, TokenKeeper, quieten
from strongroom.connectors.azure_methods import AccessTokenMethod, AzureMethod, import_azure
from strongroom.connectors.azure_transport import Transport
from strongroom.connectors.deadline import Deadline
from strongroom.errors import StoreForbidden, StrongroomError, Unavailable, printable
from strongroom.redaction import mask

PUBLIC = "login.microsoftonline.com"
STORAGE = "https://storage.azure.com/.default"
"""What a token is for that Blob Storage takes, in all of Azure's clouds."""

_FAILURES = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, OSError)
"""Beside the SDK's own: they come from options and answers that the libraries did not expect."""


class EntraLogin:
    """Logs in anew at each call; keeping tokens is the caller's. Thread-safe."""

    def __init__(self, method: AzureMethod, transport: Transport, authority: str | None, *, discovers: bool = True) -> None:
        """Asks nobody. `authority` is a host; `discovers`: whether Microsoft knows it."""
        self._method, self._transport = method, transport
        self._error = import_azure("azure.core.exceptions").AzureError
        self._settings = {
            "transport": transport.for_sdk,
            "retry_total": 0,
            "disable_instance_discovery": not discovers,
            # The ambient chain may find an authority in the environment, as it finds everything else there.
            **({"authority": f"https://{authority or PUBLIC}"} if authority or not method.asks_vault_for_tenant else {}),
        }
        self._was_logged_in = False

    def token(self, scope: str, deadline: Deadline, *, tenant: str | None = None, whither: str = "Azure") -> Token:
        """A token for the scope; `whither` says in messages what for."""
        options = {"tenant_id": tenant} if tenant and self._method.asks_vault_for_tenant else {}
        with self._transport.watching(deadline) as watch:
            try:
                credential = self._method.credential(**self._settings)
                quieten()
                given = credential.get_token_info(scope, options=options)
            except (self._error, *_FAILURES) as error:
                said = str(error)
            else:
                self._was_logged_in = True
                return Token.of_sdk(given)
        raise watch.trouble or self._refused(said, whither)

    def _refused(self, said: str, whither: str) -> StrongroomError:
        """What Entra meant, in codes; its words may hold what was sent."""
        code = re.search(r"AADSTS(\d{4,9})", said)
        if code is None and ((self._was_logged_in and self._method.asks_vault_for_tenant) or "temporarily_unavailable" in said):
            return Unavailable(f"no login to {whither} by {self._method.name} is to be had at the moment")
        if code is not None:
            return StoreForbidden(
                f"Entra refuses the login by {self._method.name}: AADSTS{code[1]}",
                hint=f"see https://login.microsoftonline.com/error?code={code[1]}",
            )
        if self._method.asks_vault_for_tenant:
            return StoreForbidden(
                "this machine has no identity for Azure that works",
                hint="give it a managed identity, set AZURE_CLIENT_ID and its like, or run: az login",
            )
        return StoreForbidden(
            f"the login by {self._method.name} is refused", hint="check tenant_id, client_id, authority and the credential"
        )


class StorageTokens:
    """A login to Azure's storage that stays alive. Thread-safe. `close()` gives its connections back."""

    def __init__(self, method: AzureMethod, authority: str | None, *, ca_cert: str | None, discovers: bool) -> None:
        """Asks nobody. `MissingExtra`."""
        self._method, self._transport = method, Transport(ca_cert)
        self._entra = EntraLogin(method, self._transport, authority, discovers=discovers)
        self._keeper = TokenKeeper(self._fetch)

    def token(self, deadline: Deadline) -> Token:
        """A token that is alive as far as one can know from here; masked in runs. `StoreForbidden`, `Unavailable`."""
        token = self._keeper.token(deadline)
        mask(token.text)
        return token

    def identity(self, *, seconds: float) -> str:
        """Who the token belongs to, for people to read. Entra has been asked, unless the token was given."""
        return owner(self.token(Deadline(seconds)).text.reveal())

    def sdk_credential(self) -> Any:
        """What the asynchronous clients of the SDK take for their `credential`."""
        return _SdkCredential(self)

    def close(self) -> None:
        """Closes idle connections, and those in use when their request has ended."""
        self._transport.close()

    def _fetch(self, deadline: Deadline) -> Token:
        if isinstance(self._method, AccessTokenMethod):
            return Token(self._method.token)
        return self._entra.token(STORAGE, deadline, whither="Azure's storage")


class _SdkCredential:
    """Asks for the token at each request that needs one, so that no client keeps one that is dead."""

    def __init__(self, tokens: StorageTokens) -> None:
        self._tokens = tokens

    async def get_token(self, *_: str, **__: Any) -> Any:
        """As `AsyncTokenCredential`: a token with the second in which it ends."""
        import asyncio

        token = await asyncio.to_thread(self._tokens.token, Deadline(_LOGIN_SECONDS))
        life = min(token.ends_at - time.monotonic(), _LONGEST_LIFE)
        return import_azure("azure.core.credentials").AccessToken(token.text.reveal(), int(time.time() + life))

    async def close(self) -> None:
        """The login is its maker's."""

    async def __aenter__(self) -> _SdkCredential:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


_LOGIN_SECONDS = 20.0
_LONGEST_LIFE = 24 * 3600.0


def owner(token: str) -> str:
    """What a token says about whom it was given to; who takes it has checked it."""
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(token.split(".")[1] + "=="), type=dict[str, Any])
    except (ValueError, LookupError, msgspec.MsgspecError):
        return "the owner of a token that does not say who that is"
    names = [claims.get(claim) for claim in ("upn", "unique_name", "app_displayname", "appid", "azp")]
    name = next((each for each in names if each), "unknown")
    user = claims.get("upn") or claims.get("unique_name")
    return printable(f"{'user' if user else 'application'} {name}") + printable(
        f" (object {claims.get('oid', 'unknown')}) of tenant {claims.get('tid', 'unknown')}"
    )
