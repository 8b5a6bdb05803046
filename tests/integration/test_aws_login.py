"""A connection to AWS logs in by every method, and stays logged in, on a fake that checks signatures, tokens and their time."""

from __future__ import annotations

import itertools
import json
import logging
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from strongroom.connectors.aws import METHODS, AwsConnection, Endpoint, aws_method, connect
from strongroom.connectors.deadline import Deadline
from strongroom.connectors.options import build
from strongroom.errors import ConfigurationError, StoreForbidden, Unavailable
from tests.canary import CANARY
from tests.fakes.aws import ACCOUNT, REGION, AwsServer, Credential
from tests.fakes.loopback import Answer, LoopbackServer, Request
from tests.fakes.proxy import Proxy
from tests.integration.aws_place import SECONDS, VALUES, put, secret_key, shows_nothing, store_at

ROLE = f"arn:aws:iam::{ACCOUNT}:role/strongroom"
_numbers = itertools.count(1)
ASSUMED = f"arn:aws:sts::{ACCOUNT}:assumed-role/strongroom/strongroom"


@pytest.fixture
def aws() -> Iterator[AwsServer]:
    """A fake of AWS for one test, with a role."""
    server = AwsServer()
    server.roles[ROLE] = None
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def connection_to(aws: AwsServer, name: str, **options: Any) -> AwsConnection:
    """A connection to the fake by this method."""
    return connect(Endpoint(region=REGION, endpoint_url=aws.url, sts_endpoint_url=aws.url), aws_method(name, options))


def keys(credential: Credential, *, token: bool = False) -> dict[str, str]:
    """A credential as options."""
    found = {"aws_access_key_id": credential.access_key_id, "aws_secret_access_key": credential.secret_access_key}
    return found | ({"aws_session_token": str(credential.session_token)} if token else {})


def variables(credential: Credential) -> dict[str, str]:
    """A credential as the environment has it."""
    return {name.upper(): text for name, text in keys(credential, token=credential.session_token is not None).items()}


def ask(connection: AwsConnection, seconds: float = SECONDS) -> None:
    """A call that needs a login."""
    connection.ask("secretsmanager", "describe_secret", Deadline(seconds), at="x", gives="ARN", SecretId="x")


def temporary(aws: AwsServer, life: timedelta = timedelta(hours=1)) -> Credential:
    """Keys with a token, as STS gives them."""
    number, expires = next(_numbers), datetime.now(UTC) + life
    credential = Credential(f"ASIAGIVEN{number}", f"{CANARY}-given-{number}", f"{CANARY}-token", ASSUMED, expires=expires)
    aws.credentials[credential.access_key_id] = credential
    return credential


def forget_temporary_keys(aws: AwsServer) -> None:
    """They are dead from now on."""
    aws.credentials = {name: each for name, each in aws.credentials.items() if not name.startswith("ASIA")}


def test_every_method_logs_in(aws: AwsServer, tmp_path: Path, allow_values_in: Callable[[Path], Path]) -> None:
    """With what a method gives, requests are signed so that AWS takes them, for whom the method is."""
    key, token_file = aws.add(), allow_values_in(tmp_path / "token")
    token_file.write_text(f"{CANARY}-web\n")
    aws.web_tokens.add(f"{CANARY}-web")
    role = {"role_arn": ROLE}
    identities = {
        "secret-key": (keys(key), key.arn),
        "sts-token": (keys(temporary(aws), token=True), ASSUMED),
        "iam-role": (keys(key) | role, ASSUMED),
        "session-token": (keys(key) | {"duration_seconds": "900"}, key.arn),
        "federation-token": (keys(key) | {"federated_user_name": "ml"}, f"arn:aws:sts::{ACCOUNT}:federated-user/ml"),
        "web-identity": (role | {"web_identity_token_file": str(token_file)}, ASSUMED),
    }
    for name, (options, identity) in identities.items():
        connection = connection_to(aws, name, **options)
        ask(connection)
        assert connection.identity(seconds=SECONDS) == identity
        connection.close()
    assert set(identities) | {"implicit"} == set(METHODS)


def test_options_of_sts_are_sent(aws: AwsServer) -> None:
    """A role's external id, and policies of a federated user, in JSON or by their ARNs."""
    key, role = aws.add(), f"arn:aws:iam::{ACCOUNT}:role/other"
    aws.roles[role] = "x-1"
    ask(connection_to(aws, "iam-role", **keys(key), role_arn=role, external_id="x-1", role_session_name="ml", duration_seconds=900))
    with pytest.raises(StoreForbidden, match="'sts:AssumeRole'"):
        ask(connection_to(aws, "iam-role", **keys(key), role_arn=role))
    for policies in ({"policy": {"Version": "2012-10-17", "Statement": []}}, {"policy_arns": "arn:aws:iam::aws:policy/x"}):
        ask(connection_to(aws, "federation-token", **keys(key), **policies))


def test_implicit_takes_what_the_place_has(
    aws: AwsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allow_values_in: Callable[[Path], Path]
) -> None:
    """Variables, or a profile of a file; also as what a role is assumed with. The region may come from there."""
    key, other = aws.add(), aws.add(arn=f"arn:aws:iam::{ACCOUNT}:user/other")
    file = allow_values_in(tmp_path / "credentials")
    file.write_text("[ml]\n" + "\n".join(f"{name} = {text}" for name, text in keys(other).items()))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    assert connection_to(aws, "implicit", profile_name="ml").identity(seconds=SECONDS) == other.arn
    for name, text in variables(key).items():
        monkeypatch.setenv(name, text)
    assert connection_to(aws, "implicit").identity(seconds=SECONDS) == key.arn
    assert connection_to(aws, "iam-role", role_arn=ROLE).identity(seconds=SECONDS) == ASSUMED
    with pytest.raises(ConfigurationError, match="region"):
        connect(Endpoint(), aws_method("implicit", {}))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert connect(Endpoint(), aws_method("implicit", {})).region == "eu-central-1"
    with pytest.raises(ConfigurationError, match="region"):
        connect(Endpoint(), aws_method("secret-key", keys(key)))


def test_implicit_reads_a_file_anew_when_its_key_is_dead(
    aws: AwsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allow_values_in: Callable[[Path], Path]
) -> None:
    """A key that was rotated in its file is taken up, also where it only leads to a role; while none works, that is told."""
    file = allow_values_in(tmp_path / "credentials")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))

    def write(credential: Credential) -> None:
        file.write_text("[default]\n" + "\n".join(f"{name} = {text}" for name, text in keys(credential).items()))

    for options in ({}, {"role_arn": ROLE}):
        first, second = aws.add(), aws.add()
        write(first)
        connection = connection_to(aws, "iam-role" if options else "implicit", **options)
        ask(connection)
        del aws.credentials[first.access_key_id]
        forget_temporary_keys(aws)
        with pytest.raises(StoreForbidden, match="access key"):
            ask(connection)
        write(second)
        ask(connection)


class Container(LoopbackServer):
    """What gives a container its credentials."""

    def __init__(self, aws: AwsServer, life: timedelta) -> None:
        self._aws, self._life, self.count = aws, life, 0
        self.calm = threading.Event()
        self.calm.set()
        super().__init__()

    def answer(self, request: Request) -> Answer:
        """Fresh keys each time."""
        self.calm.wait(30)
        self.count += 1
        given = temporary(self._aws, self._life)
        expires = datetime.now(UTC) + self._life
        return Answer(
            200,
            {
                "AccessKeyId": given.access_key_id, "SecretAccessKey": given.secret_access_key, "Token": given.session_token,
                "Expiration": f"{expires:%Y-%m-%dT%H:%M:%SZ}",
            },
        )  # fmt: skip


def test_implicit_in_a_container(aws: AwsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its role's keys are fetched and kept; when nothing gives them in time, that is `Unavailable`, and over when it does."""
    container = Container(aws, timedelta(hours=1))
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://{container.address}/")
    try:
        connection = connection_to(aws, "implicit")
        container.calm.clear()
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(Unavailable, match="in time"):
                ask(connection, 0.2)
            assert time.monotonic() - began < 2
        container.calm.set()
        for _ in range(3):
            ask(connection)
        assert container.count == 1
        aws.credentials.clear()
        with pytest.raises(StoreForbidden):
            connection_to(aws, "secret-key", **keys(Credential("AKIAX", "x"))).identity(seconds=SECONDS)
        ask(connection)  # AWS says that they are dead; there are others
        assert container.count == 2
    finally:
        container.calm.set()
        container.stop()


def refused(aws: AwsServer) -> Mapping[str, tuple[str, dict[str, Any], str]]:
    """Logins that cannot work: method, options, and what the error says."""

    def file(path: str) -> dict[str, str]:
        return {"web_identity_token_file": path}

    key = aws.add()
    wrong = {"aws_access_key_id": key.access_key_id, "aws_secret_access_key": f"{CANARY}-wrong"}
    unknown = {"aws_access_key_id": "AKIAUNKNOWN", "aws_secret_access_key": f"{CANARY}-x"}
    expired = temporary(aws, -timedelta(hours=1))
    stranger = {"role_arn": f"arn:aws:iam::{ACCOUNT}:role/stranger"}
    return {
        "a wrong secret": ("secret-key", wrong, "secret access key is wrong"),
        "an unknown key": ("secret-key", unknown, "unknown, was deactivated or has expired"),
        "an expired token": ("sts-token", keys(expired, token=True), "unknown, was deactivated or has expired"),
        "a wrong token": ("sts-token", keys(key) | {"aws_session_token": f"{CANARY}-x"}, "unknown, was deactivated"),
        "a wrong secret for a role": ("iam-role", wrong | {"role_arn": ROLE}, "secret access key is wrong"),
        "an unknown key for a session": ("session-token", unknown, "unknown, was deactivated or has expired"),
        "a role that is not there": ("iam-role", keys(key) | stranger, "'sts:AssumeRole' at 'arn:aws:iam"),
        "a wrong token of a provider": (
            "web-identity",
            {"role_arn": ROLE, "web_identity_token_file": __file__},
            "InvalidIdentityToken",
        ),
        "no token of a provider": ("web-identity", {"role_arn": ROLE, **file("/nowhere")}, "/nowhere"),
        "a place without credentials": ("implicit", {}, "no credentials for AWS"),
        "a role in such a place": ("iam-role", {"role_arn": ROLE}, "no credentials for AWS"),
        "an unknown profile": ("implicit", {"profile_name": "nobody"}, "no profile"),
    }


def test_refused_logins_are_forbidden(aws: AwsServer) -> None:
    """Each says what is wrong and what to do, with no credential in the error, nor in what it hangs on."""
    for what, (name, options, text) in refused(aws).items():
        connection = connection_to(aws, name, **options)
        with pytest.raises(StoreForbidden, match=text) as raised:
            ask(connection)
        assert raised.value.hint, what
        shows_nothing(raised.value)
        assert CANARY not in f"{connection!r}{vars(connection)}{vars(connection._login)}{connection._method!r}"


def test_a_clock_that_is_wrong(aws: AwsServer) -> None:
    """Is told as that, not as a wrong key."""
    aws.clock_is_wrong_by = timedelta(hours=1)
    with pytest.raises(StoreForbidden, match="time") as raised:
        ask(connection_to(aws, "secret-key", **keys(aws.add())))
    assert "clock" in str(raised.value.hint)


def test_a_network_without_sts(aws: AwsServer) -> None:
    """Where only Secrets Manager can be reached, an access key works, and its id has to do for its owner's."""
    key = aws.add()
    store = store_at(aws.url, secret_key(key))
    connection = connect(Endpoint(region=REGION, endpoint_url=aws.url, sts_endpoint_url="http://127.0.0.1:1"), secret_key(key))
    assert store.get(put(store, "s"), seconds=SECONDS) == VALUES
    assert key.access_key_id in connection.identity(seconds=SECONDS)


def test_many_threads_log_in_once(aws: AwsServer) -> None:
    """First calls from many threads share one login."""
    connection = connection_to(aws, "iam-role", **keys(aws.add()), role_arn=ROLE)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ask(connection), range(32)))
    assert aws.calls.count("AssumeRole") == 1


def test_dead_keys_are_replaced(aws: AwsServer) -> None:
    """Keys that died before their time cost no failed call, where there are others for the asking."""
    connection = connection_to(aws, "session-token", **keys(aws.add()))
    ask(connection)
    forget_temporary_keys(aws)
    ask(connection)
    assert aws.calls.count("GetSessionToken") == 2


def test_a_login_after_an_outage(aws: AwsServer) -> None:
    """STS that was down when keys had to be replaced gives them when it is back; meanwhile each call ends in time."""
    connection = connection_to(aws, "iam-role", **keys(aws.add()), role_arn=ROLE)
    ask(connection)
    forget_temporary_keys(aws)
    for trouble in (aws.hanging, lambda: aws.answering(503, b"")):
        with trouble():
            for _ in range(2):
                began = time.monotonic()
                with pytest.raises(Unavailable):
                    ask(connection, 0.2)
                assert time.monotonic() - began < 2
    ask(connection)


def test_keys_are_renewed_in_time(aws: AwsServer) -> None:
    """Before they expire, and no call fails. STS that does not work then is nobody's trouble while they are alive."""
    aws.lifetime = timedelta(seconds=1)
    connection = connection_to(aws, "iam-role", **keys(aws.add()), role_arn=ROLE)
    began = time.monotonic()
    while aws.calls.count("AssumeRole") < 3:
        ask(connection)
        assert time.monotonic() < began + 20
    assert time.monotonic() - began > 1
    assert not [each for each in aws.credentials.values() if each.expires and each.expires > datetime.now(UTC) + timedelta(seconds=3)]

    asked: list[str] = []

    def refuse(action: str, who: str) -> Answer | None:
        if action == "AssumeRole":
            asked.append(action)
            raise ConnectionError
        return None

    aws.before = refuse
    while not asked:
        ask(connection)
        assert time.monotonic() < began + 20
    ask(connection)


def test_nothing_is_taken_from_the_environment(aws: AwsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """But by the method implicit: a stray variable or profile neither breaks nor redirects what was configured."""
    stray = {
        "AWS_PROFILE": "nobody", "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_CA_BUNDLE": "/nowhere", "AWS_MAX_ATTEMPTS": "9",
        "AWS_SESSION_TOKEN": "x", "AWS_ACCESS_KEY_ID": "AKIAX", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    for name, text in stray.items():
        monkeypatch.setenv(name, text)
    key = aws.add()
    assert connection_to(aws, "secret-key", **keys(key)).identity(seconds=SECONDS) == key.arn
    assert connection_to(aws, "iam-role", **keys(key), role_arn=ROLE).identity(seconds=SECONDS) == ASSUMED


def test_proxies_of_the_environment(aws: AwsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy is used, with its password, and with or without its scheme written; but not for what NO_PROXY names."""
    proxy, key = Proxy("ann", f"{CANARY}/p"), aws.add()
    try:
        for scheme in ("http://", ""):
            monkeypatch.setenv("HTTP_PROXY", scheme + proxy.url.removeprefix("http://"))
            monkeypatch.delenv("NO_PROXY", raising=False)
            assert connection_to(aws, "secret-key", **keys(key)).identity(seconds=SECONDS) == key.arn
        assert len(proxy.seen) == 2
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert connection_to(aws, "secret-key", **keys(key)).identity(seconds=SECONDS) == key.arn
        assert len(proxy.seen) == 2
    finally:
        proxy.stop()


def test_the_debug_log_shows_nothing(aws: AwsServer, caplog: pytest.LogCaptureFixture) -> None:
    """The SDK would log requests, answers and signatures; while it works for us it does not, and afterwards it may again."""
    caplog.set_level(logging.DEBUG)
    store = store_at(aws.url, aws_method("iam-role", keys(aws.add()) | {"role_arn": ROLE}))
    assert store.get(put(store, "s"), seconds=SECONDS) == VALUES
    with aws.answering(500, {"message": CANARY}), pytest.raises(Unavailable):
        store.get(store.new_locator("s"), seconds=SECONDS)
    assert CANARY not in caplog.text
    logging.getLogger("botocore.endpoint").debug("somebody else's")
    assert "somebody else's" in caplog.text


def test_tls_needs_the_right_authority(aws: AwsServer, tmp_path: Path) -> None:
    """`ca_cert` lets a private authority in; without it nothing is sent."""
    authority, file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    aws._server.socket = context.wrap_socket(aws._server.socket, server_side=True, do_handshake_on_connect=False)
    aws._server.handle_error = lambda *_: None  # that a client does not trust it is no news
    url, key = aws.url.replace("http:", "https:"), aws.add()
    trusted = connect(Endpoint(region=REGION, endpoint_url=url, sts_endpoint_url=url, ca_cert=str(file)), secret_key(key))
    assert trusted.identity(seconds=SECONDS) == key.arn
    trusted.close()
    stranger = connect(Endpoint(region=REGION, endpoint_url=url, sts_endpoint_url=url), secret_key(key))
    with pytest.raises(Unavailable, match="right one"):
        ask(stranger)
    assert aws.calls == ["GetCallerIdentity"]


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("secretkey", {}, "no authentication method 'secretkey'"),
        ("secret-key", {"aws_access_key_id": "x"}, "needs the option 'aws_secret_access_key'"),
        ("secret-key", {"aws_access_key": "x"}, "no option 'aws_access_key'"),
        ("iam-role", {"role_arn": "strongroom"}, "no ARN of a role"),
        ("iam-role", {"role_arn": ROLE, "aws_access_key_id": "x"}, "or neither"),
        ("iam-role", {"role_arn": ROLE, "aws_access_key_id": "x", "aws_secret_access_key": "x", "profile_name": "x"}, "either"),
        ("iam-role", {"role_arn": ROLE, "role_session_name": "a b"}, "role_session_name"),
        ("iam-role", {"role_arn": ROLE, "duration_seconds": 60}, "from 900 to 43200"),
        ("session-token", {"aws_access_key_id": "x", "aws_secret_access_key": "x", "duration_seconds": "a"}, "whole number"),
        ("federation-token", {"aws_access_key_id": "x", "aws_secret_access_key": "x", "federated_user_name": "x" * 33}, "2 to 32"),
        ("web-identity", {"role_arn": ROLE}, "needs the option 'web_identity_token_file'"),
    ],
)
def test_wrong_options_are_told(name: str, options: dict[str, Any], text: str) -> None:
    """An unknown method or option, a missing one or one that cannot be is refused by name, and no text of an option is shown."""
    with pytest.raises(ConfigurationError, match=text):
        aws_method(name, options)


@pytest.mark.parametrize(
    "options",
    [
        {"region": "Europe"}, {"endpoint_url": "aws"}, {"endpoint_url": "ftp://aws"}, {"endpoint_url": "https://a@aws"},
        {"endpoint_url": "https://aws:x"}, {"endpoint_url": "https://aws/path"}, {"endpoint_url": "http://10.0.0.1"},
        {"sts_endpoint_url": "http://sts.example.com"}, {"ca_cert": "/nowhere"},
    ],
)  # fmt: skip
def test_endpoints_that_will_not_do(options: dict[str, str]) -> None:
    """Plain HTTP leaves the machine only if that is said, and what is no address, region or file is refused."""
    (endpoint,) = build("AWS", [Endpoint], {"region": REGION} | options)
    with pytest.raises(ConfigurationError):
        connect(endpoint, secret_key(Credential("AKIAX", "x")))


def test_plain_http_where_it_is_said() -> None:
    """`insecure` allows it, and loopback needs no saying."""
    for options in ({"endpoint_url": "http://10.0.0.1", "insecure": "true"}, {"endpoint_url": "http://[::1]:4566"}):
        (endpoint,) = build("AWS", [Endpoint], {"region": REGION, **options})
        assert connect(endpoint, secret_key(Credential("AKIAX", "x"))).region == REGION


def test_the_policy_of_a_federated_user_may_be_json(aws: AwsServer) -> None:
    """As a structure in a configuration of JSON, too."""
    method = aws_method("federation-token", keys(aws.add()) | {"policy": {"Version": "2012-10-17"}})
    exchange = method.exchange()
    assert exchange is not None
    assert json.loads(exchange.parameters["Policy"]) == {"Version": "2012-10-17"}
