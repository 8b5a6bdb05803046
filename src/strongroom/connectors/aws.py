"""A connection to AWS that stays logged in.

The SDK (botocore) makes requests, signs them and reads answers; they travel over a pool of connections of ours, which bounds each
by the caller's deadline, tries once and follows nobody elsewhere. Of the environment, only the method `implicit` takes anything
but proxies.

    StoreForbidden   AWS refuses the credential or the action (or KMS does)
    Unavailable      no answer in time, throttled, a 5xx, or no AWS at all

Other refusals are the caller's to understand. Errors are raised outside of the handlers of the SDK's ones: those hold requests, with
values and credentials, and would hang on as their context. While the SDK works for us its debug log is off, which shows both.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import urllib3

from strongroom import forking
from strongroom.certificates import certificate_file
from strongroom.config import find_proxy
from strongroom.connectors.aws_login import AwsLogin
from strongroom.connectors.aws_methods import DEFAULT_METHOD, METHODS, Ambient, AwsMethod, Exchange, Keys, aws_method
from strongroom.connectors.bounded import BOUNDED_POOLS
from strongroom.connectors.deadline import Deadline
from strongroom.connectors.machine import ADDRESS, FILE
from strongroom.connectors.options import import_extra
from strongroom.errors import ConfigurationError, StoreForbidden, StrongroomError, Unavailable
from strongroom.redaction import mask

__all__ = ["DEFAULT_METHOD", "METHODS", "Answer", "AwsConnection", "AwsMethod", "Endpoint", "aws_method", "connect"]

_CONNECTIONS = 32
_DEAD = {"ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId", "InvalidToken"}
_CLOCK = {"RequestExpired", "RequestTimeTooSkewed", "RequestInTheRequestExpired"}
_SIGNATURE = {"InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "IncompleteSignatureException"}
_DENIED = {"AccessDenied", "AccessDeniedException", "NotAuthorized", "OptInRequired", "RegionDisabledException"}
_KEY_OF_KMS = {"DecryptionFailure", "EncryptionFailure"}
_BUSY = {"InternalFailure", "InternalServiceError", "InternalServiceErrorException", "ServiceUnavailable", "IDPCommunicationError"}
_NAMES = {"secretsmanager": "Secrets Manager of AWS", "sts": "STS of AWS"}


@dataclass(frozen=True)
class Answer:
    """What AWS said: `code` is None, or that of a refusal. `data` may hold values and is not shown."""

    code: str | None
    data: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Which AWS. `region` may be left to the SDK with the method `implicit`. `endpoint_url` takes the place of the region's own
    address, `sts_endpoint_url` that of STS; `ca_cert` is a file of certificates; `insecure` allows plain HTTP to other machines.
    """

    region: str | None = None
    endpoint_url: str | None = field(default=None, metadata=ADDRESS)
    sts_endpoint_url: str | None = field(default=None, metadata=ADDRESS)
    ca_cert: str | None = field(default=None, metadata=FILE)
    insecure: bool = False


def connect(endpoint: Endpoint, method: AwsMethod) -> AwsConnection:
    """A connection that asks nobody yet. `ConfigurationError`, `MissingExtra`."""
    return AwsConnection(endpoint, method)


class AwsConnection:
    """Thread-safe; holds up to 32 connections open. `close()` gives them back."""

    def __init__(self, endpoint: Endpoint, method: AwsMethod) -> None:
        """Asks nobody. `ConfigurationError` for options that will not do or a missing file, `MissingExtra`."""
        self._session_of, self._exceptions = import_extra("botocore.session", "aws"), import_extra("botocore.exceptions", "aws")
        import_extra("boto3", "aws")  # the package of the extra
        self._urls = {
            "sts": _checked("sts_endpoint_url", endpoint.sts_endpoint_url, insecure=endpoint.insecure),
            None: _checked("endpoint_url", endpoint.endpoint_url, insecure=endpoint.insecure),
        }
        self.region = endpoint.region or self._ambient_region(method)
        if not re.fullmatch(r"[a-z]{2,}(-[a-z0-9]+)+", self.region):
            raise ConfigurationError("'region' is no region of AWS", hint="such as eu-west-1")
        self._ca_cert = certificate_file(endpoint.ca_cert)
        self._method = method
        self._session: Any = None
        self._clients: dict[str, Any] = {}
        self._making = forking.renewed(self, "_making", threading.Lock)
        self._call = threading.local()
        self._pools = forking.renewed(self, "_pools", dict[str | None, urllib3.PoolManager])
        self._login = AwsLogin(method, self._exchange, _quietly)
        for name in _CHATTY:
            logging.getLogger(name).addFilter(_QUIET)

    def __repr__(self) -> str:
        return f"<AWS in {self.region} by {self._method.name}>"

    @property
    def place(self) -> str:
        """The host of an `endpoint_url` that is not AWS's own, with its port; or nothing."""
        address = self._urls[None]
        host = urlsplit(address or "").hostname or ""
        if address is None or re.search(r"(^|\.)(amazonaws\.com(\.cn)?|api\.aws|amazonaws\.eu)$", host):
            return ""
        return urlsplit(address).netloc.lower()

    @property
    def partition(self) -> str:
        """The first part of ARNs here: `aws`, `aws-cn`, ... No back end is asked."""
        with self._making:
            try:
                return str(self._isolated_session().get_partition_for_region(self.region))
            except self._exceptions.BotoCoreError:
                return "aws"

    def ask(
        self, service: str, operation: str, deadline: Deadline, *, at: str = "", gives: str | None = None, **parameters: Any
    ) -> Answer:
        """One request, with keys that are alive; `operation` and `parameters` are those of the SDK.

        `at` says in messages what was asked about. `gives`: a field that no true answer lacks.
        """
        lease = self._login.lease(deadline)
        sent = self._send(service, operation, deadline, lease.keys, parameters)
        if sent.code in _DEAD:
            lease = self._login.lease(deadline, dead=lease)
            sent = self._send(service, operation, deadline, lease.keys, parameters)
        if sent.code is None:
            if gives is not None and gives not in sent.data:
                raise Unavailable(f"what answers for {self._name(service)} does not speak as AWS does")
            return Answer(None, sent.data)
        error = self._understood(sent, service, operation, at)
        if error is not None:
            raise error
        return Answer(sent.code, {})

    def keys(self, deadline: Deadline) -> Keys:
        """What to sign with, alive as far as one can know from here; masked in runs. `StoreForbidden`, `Unavailable`."""
        keys = self._login.lease(deadline).keys
        assert keys is not None  # no method ends with nothing to sign with
        mask(keys.secret_access_key)
        if keys.session_token is not None:
            mask(keys.session_token)
        return keys

    def identity(self, *, seconds: float) -> str:
        """The ARN of whoever signs the requests, for people to read; or the id of the access key, where STS is out of reach."""
        deadline = Deadline(seconds)
        lease = self._login.lease(deadline)
        try:
            return str(self.ask("sts", "get_caller_identity", Deadline(deadline.left() / 2), gives="Arn").data["Arn"])
        except Unavailable as error:
            if lease.keys is None:
                raise
            return f"the access key {lease.keys.access_key_id}; whose it is, STS would know: {error.message}"

    def close(self) -> None:
        """Closes idle connections, and those in use when their request has ended."""
        with self._making:
            for pool in self._pools.values():
                pool.clear()

    def _exchange(self, exchange: Exchange, keys: Keys | None, deadline: Deadline) -> Mapping[str, Any]:
        sent = self._send("sts", exchange.operation, deadline, keys, exchange.parameters)
        if sent.code is None:
            if "Credentials" not in sent.data:
                raise Unavailable("what answers for STS of AWS does not speak as AWS does")
            return sent.data
        error = self._understood(sent, "sts", exchange.operation, str(exchange.parameters.get("RoleArn", "")))
        raise error or StoreForbidden(
            f"STS of AWS refuses the login by {self._method.name}: {sent.code}", hint="check the options of the method"
        )

    def _understood(self, sent: _Sent, service: str, operation: str, at: str) -> StrongroomError | None:
        """What a refusal means whatever was asked; None: it depends on what was asked."""
        name, code = self._name(service), sent.code or ""
        if sent.status == 429 or "Throttl" in code or code in ("TooManyRequestsException", "RequestLimitExceeded", "SlowDown"):
            wait = f"; it says: again in {sent.retry_after:g} seconds" if sent.retry_after is not None else ""
            return Unavailable(
                f"{name} limits how often it may be asked{wait}", "raise the quota, or ask less often", sent.retry_after
            )
        if sent.status >= 500 or code in _BUSY:
            return Unavailable(f"{name} answers with status {sent.status} ({code}); what was asked may have been done")
        if sent.status < 400:
            return Unavailable(f"what answers for {name} does not speak as AWS does: it answers with status {sent.status}")
        if code in _CLOCK or (code in _SIGNATURE and ("expired" in sent.message or "not yet current" in sent.message)):
            return StoreForbidden(f"{name} refuses the signature for its time", hint="set the clock of this machine")
        if code in _DEAD:
            return StoreForbidden(
                f"{name} does not take the access key or token: it is unknown, was deactivated or has expired",
                hint="give a new one, or a method that renews it by itself",
            )
        if code in _SIGNATURE:
            return StoreForbidden(f"{name} refuses the signature: the secret access key is wrong", hint="check the credential")
        if code in _KEY_OF_KMS or "KMS" in code or (code in _DENIED and "kms" in sent.message.replace(at, "").lower()):
            return StoreForbidden(
                f"{name} may not use the KMS key of {at}", hint="enable the key, and allow kms:Decrypt and kms:GenerateDataKey"
            )
        if code in _DENIED:
            found = re.search(r"perform: ([a-z0-9-]+:[A-Za-z]+)", sent.message)  # may be another one that this one includes
            action = found[1] if found else f"{service}:{''.join(part.title() for part in operation.split('_'))}"
            where = f" at '{at}'" if at else ""
            return StoreForbidden(f"AWS refuses: strongroom lacks the right to '{action}'{where}", hint="extend its policy")
        return None

    def _send(self, service: str, operation: str, deadline: Deadline, keys: Keys | None, parameters: Mapping[str, Any]) -> _Sent:
        client = self._client(service)
        self._call.keys, self._call.deadline, self._call.service = keys, deadline, service
        try:
            return _Sent(None, 200, _quietly(lambda: getattr(client, operation)(**parameters)))
        except self._exceptions.ClientError as error:
            said, about = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
            wait = str(about.get("HTTPHeaders", {}).get("retry-after", ""))
            return _Sent(
                str(said.get("Code") or "an error without a code").rpartition("#")[2],
                int(about.get("HTTPStatusCode", 0)),
                message=str(said.get("Message", "")),
                retry_after=float(wait) if wait.isdecimal() and len(wait) < 6 else None,
            )
        except self._exceptions.ParamValidationError:
            failure = f"the SDK refuses the parameters of {operation}"
        except self._exceptions.BotoCoreError as error:
            failure = f"what answers for {self._name(service)} does not speak as AWS does: {type(error).__name__}"
        finally:
            self._call.keys = self._call.deadline = self._call.service = None
        raise Unavailable(failure)

    def _transport(self, request: Any, **_: Any) -> Any:
        """In place of the SDK's own: an event handler of its client, in the thread of the call."""
        service, deadline = self._call.service, self._call.deadline
        failure: StrongroomError
        if not all(_can_be_sent(value) for value in request.headers.values()):
            raise StoreForbidden(
                f"the credential for {self._name(service)} has a line end or another character that cannot be sent",
                hint="check the variables and files that AWS's SDK reads",
            )
        try:
            response = self._pool(request.url).urlopen(
                request.method,
                request.url,
                body=request.body,
                headers=request.headers,
                retries=False,
                redirect=False,  # credentials and values would go along
                timeout=urllib3.Timeout(total=deadline.left()),
                preload_content=False,
                decode_content=False,
            )
            answer = self._awsrequest.AWSResponse(request.url, response.status, response.headers, response)
            _ = answer.content  # read now, while there is time
            response.release_conn()
        except urllib3.exceptions.SSLError:
            failure = Unavailable(
                f"{self._name(service)} cannot prove that it is the right one", hint="check 'ca_cert' and the address"
            )
        except urllib3.exceptions.NewConnectionError:
            failure = Unavailable(f"{self._name(service)} is out of reach; it was not asked", hint="check the region and the network")
        except (urllib3.exceptions.TimeoutError, TimeoutError):
            failure = Unavailable(f"{self._name(service)} did not answer in time; what was asked may have been done")
        except (urllib3.exceptions.HTTPError, OSError):
            failure = Unavailable(f"{self._name(service)} is out of reach; what was asked may have been done")
        else:
            return answer
        raise failure

    def _client(self, service: str) -> Any:
        client = self._clients.get(service)
        if client is None:
            with self._making:
                client = self._clients.get(service) or self._new_client(service)
                self._clients[service] = client
        return client

    def _new_client(self, service: str) -> Any:
        config = import_extra("botocore.config", "aws").Config(
            retries={"total_max_attempts": 1, "mode": "standard"},  # who calls has the whole picture, and its own
            parameter_validation=False,
            ignore_configured_endpoint_urls=True,
        )
        client = self._isolated_session().create_client(
            service, region_name=self.region, endpoint_url=self._urls["sts" if service == "sts" else None], config=config
        )
        client.meta.events.register_first("before-send", self._transport)
        return client

    def _isolated_session(self) -> Any:
        """A session that takes nothing from the environment or from files, and signs with the keys of the call."""
        if self._session is None:
            nothing = {"config_file": os.devnull, "credentials_file": os.devnull}
            variables = {
                name: (None, None, nothing.get(name, default), conversion)
                for name, (_, _, default, conversion) in self._session_of.Session.SESSION_VARIABLES.items()
            }
            self._session = self._session_of.Session(session_vars=variables)
            self._session.set_config_variable("sts_regional_endpoints", "regional")
            self._session.register_component("credential_provider", _Signer(self._call))
            self._awsrequest = import_extra("botocore.awsrequest", "aws")
        return self._session

    def _ambient_region(self, method: AwsMethod) -> str:
        base = method.base()
        region, failure = None, "there is no 'region' for AWS"
        if isinstance(base, Ambient):
            try:
                region = self._session_of.Session(profile=base.profile_name).get_config_variable("region")
            except self._exceptions.ProfileNotFound:
                failure = "there is no profile of this name in the configuration of AWS"
            except (self._exceptions.BotoCoreError, OSError) as error:
                failure = f"the configuration of AWS cannot be read: {type(error).__name__}"
        if region is None:
            raise ConfigurationError(failure, hint="give a 'region', such as eu-west-1")
        return str(region)

    def _pool(self, url: str) -> urllib3.PoolManager:
        address = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        pool = self._pools.get(address)
        if pool is None:
            with self._making:
                pool = self._pools.get(address) or self._new_pool(address)
                self._pools[address] = pool
        return pool

    def _new_pool(self, address: str) -> urllib3.PoolManager:
        http, found = import_extra("botocore.httpsession", "aws"), find_proxy(address)
        authorities = self._ca_cert or http.get_cert_path(True)
        options: dict[str, Any] = {"maxsize": _CONNECTIONS, "cert_reqs": "CERT_REQUIRED", "ca_certs": authorities}
        proxies = http.ProxyConfiguration(proxies={urlsplit(address).scheme: found} if found else {})
        if proxy := proxies.proxy_url_for(address):
            pool: urllib3.PoolManager = urllib3.ProxyManager(proxy, proxy_headers=proxies.proxy_headers_for(proxy), **options)
        else:
            pool = urllib3.PoolManager(**options)
        pool.pool_classes_by_scheme = BOUNDED_POOLS
        return pool

    def _name(self, service: str) -> str:
        return f"{_NAMES.get(service, f'AWS {service}')} in {self.region}"


@dataclass(frozen=True)
class _Sent:
    code: str | None
    status: int
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    message: str = field(default="", repr=False)
    """To be understood, not to be shown."""
    retry_after: float | None = None


class _Signer:
    """What the SDK asks for the keys to sign with: those of the call that its thread makes."""

    method = "strongroom"

    def __init__(self, call: threading.local) -> None:
        self._call = call

    def load_credentials(self) -> _Signer:
        """As a resolver of credentials."""
        return self

    def get_frozen_credentials(self) -> Any:
        """As credentials."""
        keys: Keys | None = getattr(self._call, "keys", None)
        if keys is None:
            return None
        token = keys.session_token.reveal() if keys.session_token else None
        frozen = import_extra("botocore.credentials", "aws").ReadOnlyCredentials
        return frozen(keys.access_key_id, keys.secret_access_key.reveal(), token)

    def get_deferred_property(self, _: str) -> Callable[[], None]:
        """As credentials that know no account."""
        return lambda: None


class _Quiet(logging.Filter):
    """Drops what the SDK logs in a thread while it works for us there."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(self.thread, "is_quiet", False)


_QUIET = _Quiet()
_CHATTY = (
    *(f"botocore.{module}" for module in ("auth", "client", "credentials", "endpoint", "handlers", "hooks", "httpsession")),
    *(f"botocore.{module}" for module in ("parsers", "retries.standard", "retryhandler", "tokens", "utils")),
)


def _can_be_sent(value: Any) -> bool:
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return text.isascii() and text.isprintable()


def _quietly(call: Callable[[], Any]) -> Any:
    _QUIET.thread.is_quiet = True
    try:
        return call()
    finally:
        _QUIET.thread.is_quiet = False


def _checked(option: str, address: str | None, *, insecure: bool) -> str | None:
    if address is None:
        return None
    url = urlsplit(address)
    try:
        host, _ = url.hostname, url.port
    except ValueError:
        host = None
    if url.scheme not in ("http", "https") or not host or url.username or url.query or url.path.strip("/"):
        raise ConfigurationError(f"'{option}' is no address", hint="such as https://secretsmanager.eu-west-1.amazonaws.com")
    if url.scheme == "http" and not insecure and not _is_loopback(host):
        raise ConfigurationError(f"{host} is to be reached by plain HTTP", hint="use https://, or say insecure=true")
    return f"{url.scheme}://{url.netloc}"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
