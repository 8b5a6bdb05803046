"""A connection to an Azure Key Vault that stays logged in.

It asks the vault whose tokens it takes, logs in there, and renews the token in good time, while the old one still works. There is no
state of failure: each call tries anew, and one thread logs in for all that wait.

    StoreForbidden   Entra refuses the login, or the vault the request: the message says which right is missing
    Unavailable      no answer in time, throttling (429), a 5xx, or no Key Vault at all

Other answers (2xx, 400, 404, 409) are the caller's to understand. Azure's own clients carry the requests; what else they do (retries,
redirects, logs, their way of logging in, which is not safe among threads) is left out. Errors are raised outside of the handlers of
theirs: those hold requests, with values and tokens, and would hang on as their context.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec

from strongroom.certificates import certificate_file
from strongroom.connectors.azure_entra import PUBLIC, EntraLogin, StorageTokens, owner
from strongroom.connectors.azure_login import Token, TokenKeeper
from strongroom.connectors.azure_methods import DEFAULT_METHOD, METHODS, AccessTokenMethod, AzureMethod, import_azure
from strongroom.connectors.azure_transport import Transport
from strongroom.connectors.deadline import Deadline
from strongroom.connectors.machine import ADDRESS, FILE
from strongroom.errors import ConfigurationError, StoreForbidden, Unavailable, printable

__all__ = ["DEFAULT_METHOD", "METHODS", "Answer", "AzureConnection", "Endpoint", "connect", "storage_tokens"]

_API_VERSION = "7.4"
"""Of 2023, and in all of Azure's clouds. A newer SDK does not change what we say."""

_VAULTS = {
    PUBLIC: "vault.azure.net",
    "login.microsoftonline.us": "vault.usgovcloudapi.net",
    "login.partner.microsoftonline.cn": "vault.azure.cn",
    "login.chinacloudapi.cn": "vault.azure.cn",
}
"""The domain of the vaults of each cloud, by the authority that logs in to it."""

_NETWORKS = ("ForbiddenByFirewall", "ForbiddenByConnection")
_ACTIONS = {
    "get": "getSecret/action",
    "set": "setSecret/action",
    "list": "readMetadata/action",
    "delete": "delete",
    "purge": "purge/action",
    "recover": "recover/action",
}


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a Key Vault is: by its name, or by its whole address for clouds that we do not know. TLS always.

    `authority` is the host that logs in (Entra's, which also tells the cloud); `ca_cert` a file of certificates for both. The last
    two are for clouds of one's own: a vault whose tokens are for something else than its own domain, and an authority that
    Microsoft does not know.
    """

    key_vault_name: str | None = None
    vault_url: str | None = field(default=None, metadata=ADDRESS)
    authority: str | None = field(default=None, metadata=ADDRESS)
    ca_cert: str | None = field(default=None, metadata=FILE)
    verify_challenge_resource: bool = True
    disable_instance_discovery: bool = False


@dataclass(frozen=True)
class Answer:
    """What the vault said. `data` may hold values and is not shown."""

    status: int
    data: Mapping[str, Any] = field(repr=False)
    challenge: str = ""

    @property
    def code(self) -> str:
        """Of an error: the inner one, which is more exact, or else the outer."""
        error = self.data.get("error")
        if not isinstance(error, dict):
            return ""
        inner = error.get("innererror") or error.get("innerError")
        code = (inner.get("code") if isinstance(inner, dict) else None) or error.get("code")
        return code if isinstance(code, str) else ""

    @property
    def message(self) -> str:
        """The vault's own words: to be understood, not to be shown."""
        error = self.data.get("error")
        return str(error.get("message") or "") if isinstance(error, dict) else ""


@dataclass(frozen=True)
class _Place:
    """Whose tokens a vault takes."""

    scope: str
    tenant: str | None


def connect(endpoint: Endpoint, method: AzureMethod) -> AzureConnection:
    """A connection that asks nobody yet. `ConfigurationError`, `MissingExtra`."""
    return AzureConnection(endpoint, method)


def storage_tokens(endpoint: Endpoint, method: AzureMethod) -> StorageTokens:
    """A login to Azure's storage, for which the endpoint needs no vault. Asks nobody yet. `ConfigurationError`, `MissingExtra`."""
    authorities = certificate_file(endpoint.ca_cert)
    authority = _host("authority", endpoint.authority) if endpoint.authority else None
    discovers = not endpoint.disable_instance_discovery
    return StorageTokens(method, authority, ca_cert=authorities, discovers=discovers)


class AzureConnection:
    """Thread-safe; holds up to 32 connections open. `close()` gives them back."""

    def __init__(self, endpoint: Endpoint, method: AzureMethod) -> None:
        """Asks nobody. `ConfigurationError` for an address that will not do or a missing file, `MissingExtra`."""
        authority = _host("authority", endpoint.authority) if endpoint.authority else None
        self.address = _address(endpoint, authority or PUBLIC)
        self.host = self.address.removeprefix("https://")
        authorities = certificate_file(endpoint.ca_cert)
        secrets = import_azure("azure.keyvault.secrets")
        core = import_azure("azure.core.pipeline.policies")
        self._failures = (import_azure("azure.core.exceptions").AzureError, OSError)
        self._request = import_azure("azure.core.rest").HttpRequest
        self._method = method
        self._verifies_resource = endpoint.verify_challenge_resource
        self._transport = Transport(authorities)
        self._entra = EntraLogin(method, self._transport, authority, discovers=not endpoint.disable_instance_discovery)
        self._client = secrets.SecretClient(
            self.address,
            credential=self,  # never asked: the policies that would ask it are left out
            api_version=_API_VERSION,
            transport=self._transport.for_sdk,
            policies=[core.UserAgentPolicy(sdk_moniker="strongroom")],
        )
        self._tokens = TokenKeeper(self._fetch_token)
        self._place: _Place | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<Key Vault at {self.host} by {self._method.name}>"

    def ask(
        self,
        verb: str,
        path: str,
        deadline: Deadline,
        *,
        right: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, with a token that is alive. `right` is what a policy has to allow, for the message."""
        answer, _ = self._ask(verb, path, deadline, body, query or {})
        if answer.status == 403:
            raise self._forbidden(answer, right)
        return answer

    def next_page(self, link: object) -> dict[str, str] | None:
        """The query that the link to a next page has; None if there is none. The token goes nowhere but to this vault."""
        if not isinstance(link, str) or not link:
            return None
        url = urlsplit(link)
        if (url.scheme, url.hostname, url.port or 443) != ("https", *_split(self.host)):
            raise Unavailable(f"Key Vault at {self.host} sends on to another host", hint="check the address of the vault")
        query = url.query.replace("{", "%7B").replace("}", "%7D")  # the SDK's addresses are templates
        return dict(each.partition("=")[::2] for each in query.split("&") if not each.startswith("api-version="))

    @staticmethod
    def action(right: str) -> str:
        """What a role calls the right to do something with secrets; an access policy calls it by its name."""
        return f"Microsoft.KeyVault/vaults/secrets/{_ACTIONS[right]}"

    def identity(self, *, seconds: float) -> str:
        """Who the token belongs to, for people to read. The vault has looked at the token when this returns.

        No right is needed: a refusal shows as well that the vault knows whom it refuses.
        """
        answer, token = self._ask("GET", "/secrets", Deadline(seconds), None, {"maxresults": "1"})
        if answer.code in _NETWORKS:
            raise self._forbidden(answer, "list")
        return owner(token.text.reveal())

    def close(self) -> None:
        """Closes idle connections, and those in use when their request has ended. Later calls are `Unavailable`."""
        self._closed = True
        self._transport.close()

    def _ask(
        self, verb: str, path: str, deadline: Deadline, body: Mapping[str, Any] | None, query: Mapping[str, str]
    ) -> tuple[Answer, Token]:
        """The answer to a token that the vault takes, be it a refusal; and that token."""
        token = self._logged_in(deadline)
        answer = self._send(verb, path, deadline, token, body, query)
        if answer.status == 401:
            self._read_challenge(answer)
            token = self._logged_in(deadline, dead=token)
            answer = self._send(verb, path, deadline, token, body, query)
        if answer.status == 401:
            raise self._takes_no_token(answer)
        return answer, token

    def _logged_in(self, deadline: Deadline, dead: Token | None = None) -> Token:
        """A token that is alive as far as one can know from here."""
        if self._closed:
            raise Unavailable(f"the connection to Key Vault at {self.host} is closed")
        if dead is not None and isinstance(self._method, AccessTokenMethod):
            raise StoreForbidden(
                f"Key Vault at {self.host} does not take the token: it is wrong, for something else, or has expired",
                hint="give a new one: az account get-access-token --resource https://vault.azure.net",
            )
        return self._tokens.token(deadline, dead)

    def _fetch_token(self, deadline: Deadline) -> Token:
        if isinstance(self._method, AccessTokenMethod):
            return Token(self._method.token)
        place = self._place or self._find_place(deadline)
        return self._entra.token(place.scope, deadline, tenant=place.tenant, whither=f"Key Vault at {self.host}")

    def _find_place(self, deadline: Deadline) -> _Place:
        """Asks the vault, which says it to whoever comes without a token."""
        answer = self._send("GET", "/secrets", deadline, None, None, {"maxresults": "1"})
        if answer.status == 403:
            raise self._forbidden(answer, "list")
        self._read_challenge(answer)
        if self._place is None:
            raise Unavailable(f"what answers at {self.host} does not speak as Key Vault does")
        return self._place

    def _read_challenge(self, answer: Answer) -> None:
        """Learns from a 401 whose tokens the vault takes. `StoreForbidden` if those would be for somebody else."""
        said = dict(re.findall(r'(?<![\w-])([\w-]+)\s*=\s*"?([^",\s]+)', answer.challenge))
        wanted = said.get("scope") or said.get("resource")
        if answer.status != 401 or wanted is None:
            return
        domain = urlsplit(wanted).hostname
        if self._verifies_resource and not (domain and _split(self.host)[0].endswith(f".{domain}")):
            raise StoreForbidden(
                f"what answers at {self.host} wants a token for {printable(wanted)}, which is not its own",
                hint="check the address; for a vault in a cloud of your own, set verify_challenge_resource=false",
            )
        tenant = urlsplit(said.get("authorization_uri") or said.get("authorization") or "").path.strip("/").partition("/")[0]
        known = re.fullmatch(r"[A-Za-z0-9.-]+", tenant) and not tenant.lower().endswith("adfs")
        self._place = _Place(wanted if "scope" in said else f"{wanted}/.default", tenant if known else None)

    def _send(
        self, verb: str, path: str, deadline: Deadline, token: Token | None, body: Mapping[str, Any] | None, query: Mapping[str, str]
    ) -> Answer:
        headers = {"Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token.text.reveal()}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        url = path + ("?" + "&".join(f"{name}={text}" for name, text in query.items()) if query else "")
        response = None
        with self._transport.watching(deadline) as watch:
            try:
                content = msgspec.json.encode(body) if body is not None else None
                response = self._client.send_request(self._request(verb, url, headers=headers, content=content))
            except self._failures:
                pass
        if watch.trouble is not None:
            raise watch.trouble
        if response is None:
            raise Unavailable(f"Key Vault at {self.host} is out of reach; what was asked may have been done")
        return self._understood(response)

    def _understood(self, response: Any) -> Answer:
        status, data = response.status_code, None
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            data = msgspec.json.decode(response.content) if response.content else {}
        answer = Answer(status, data if isinstance(data, dict) else {}, response.headers.get("WWW-Authenticate", ""))
        is_key_vault = (answer.challenge if status == 401 else answer.code) if status >= 400 else isinstance(data, dict)
        if not is_key_vault or 300 <= status < 400:
            raise Unavailable(f"what answers at {self.host} does not speak as Key Vault does: status {status}")
        return answer

    def _takes_no_token(self, answer: Answer) -> StoreForbidden:
        code = re.search(r"AKV\d{4,6}", answer.message)
        why = f" ({code[0]})" if code else ""
        return StoreForbidden(
            f"Key Vault at {self.host} does not take the token of the login by {self._method.name}{why}",
            hint="is the vault in another tenant or cloud than the identity?",
        )

    def _forbidden(self, answer: Answer, right: str) -> StoreForbidden:
        if answer.code in _NETWORKS:
            return StoreForbidden(
                f"the firewall of Key Vault at {self.host} lets nobody in from here",
                hint="allow this machine's network there, or use a private endpoint",
            )
        if answer.code == "SecretDisabled":
            return StoreForbidden(
                f"somebody has disabled a secret that strongroom needs in Key Vault at {self.host}",
                hint="enable it: az keyvault secret set-attributes --enabled true --id ...",
            )
        return StoreForbidden(
            f"Key Vault at {self.host} refuses: strongroom lacks the right to '{right}' secrets ({printable(answer.code)})",
            hint=f"allow '{right}' in the access policy, or give a role with {self.action(right)}",
        )


def _address(endpoint: Endpoint, authority: str) -> str:
    """The address in one spelling."""
    if (endpoint.key_vault_name is None) == (endpoint.vault_url is None):
        raise ConfigurationError("Azure Key Vault needs either 'key_vault_name' or 'vault_url'")
    if endpoint.vault_url is not None:
        return f"https://{_host('vault_url', endpoint.vault_url)}"
    if not re.fullmatch(r"(?=.{3,24}$)[A-Za-z](-?[A-Za-z0-9])+", str(endpoint.key_vault_name)):
        raise ConfigurationError("'key_vault_name' is no name of a Key Vault", hint="3 to 24 letters, digits and '-'")
    if authority not in _VAULTS:
        raise ConfigurationError(f"where the vaults of {authority} are is not known", hint="give 'vault_url' instead of the name")
    return f"https://{str(endpoint.key_vault_name).lower()}.{_VAULTS[authority]}"


def _host(option: str, address: str) -> str:
    """Host, and port unless it is 443, of an address by HTTPS."""
    url = urlsplit(address if "//" in address else f"https://{address}")
    try:
        host, port = url.hostname, url.port
    except ValueError:
        host = port = None
    if url.scheme != "https" or not host or url.username is not None or url.query or url.fragment or url.path.strip("/"):
        raise ConfigurationError(f"'{option}' is no address by HTTPS", hint="such as https://my-vault.vault.azure.net")
    if not re.fullmatch(r"[a-z0-9.:_-]+", host):
        raise ConfigurationError(f"'{option}' has a host of odd characters")
    return (f"[{host}]" if ":" in host else host) + (f":{port}" if port not in (None, 443) else "")


def _split(host: str) -> tuple[str, int]:
    url = urlsplit(f"https://{host}")
    return str(url.hostname), url.port or 443
