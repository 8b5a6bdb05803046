"""A connection to Google Cloud logs in by every method and stays logged in, with Google's own libraries, at fakes of its servers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from strongroom.connectors.deadline import Deadline
from strongroom.connectors.gcp import DEFAULT_METHOD, METHODS, Endpoint, GcpConnection, connect, gcp_method
from strongroom.connectors.options import build
from strongroom.errors import ConfigurationError, StoreForbidden, StrongroomError, Unavailable
from tests.canary import CANARY
from tests.fakes.google_identity import MACHINE, GoogleIdentity
from tests.fakes.proxy import Proxy
from tests.fakes.relay import Fault, Relay
from tests.fakes.secret_manager import PROJECT, SecretManager

SECONDS = 20
TARGET = "target@fake-project-1.iam.gserviceaccount.com"
FEDERATED = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/provider"


@pytest.fixture
def connected(google: SecretManager) -> Iterator[Callable[..., GcpConnection]]:
    """Connects by a method, and closes in the end."""
    connections: list[GcpConnection] = []

    def connect_(name: str, options: dict[str, Any] | None = None, **endpoint: Any) -> GcpConnection:
        place = Endpoint(**{"project_id": PROJECT, "endpoint": f"http://{google.address}", **endpoint})
        connections.append(connect(place, gcp_method(name, options or {})))
        return connections[-1]

    yield connect_
    for connection in connections:
        connection.close()


def list_secrets(connection: GcpConnection, seconds: float = SECONDS) -> None:
    """One request, which takes a permission."""
    from google.cloud.secretmanager_v1.types import service

    path = "/google.cloud.secretmanager.v1.SecretManagerService/ListSecrets"
    request = service.ListSecretsRequest.pb()(parent=f"projects/{PROJECT}", filter="labels.a=b")
    answer_type, right = service.ListSecretsResponse.pb(), "secretmanager.secrets.list"
    answer = connection.ask(path, request, answer_type, Deadline(seconds), right=right)
    assert answer.status == "OK"


def shows_nothing(error: BaseException | None, *, own: bool = True) -> None:
    """No credential in an error, in what led to it, or in what it would print; and all of them are ours."""
    assert error is not None
    shown = "".join(traceback.format_exception(error))
    while error is not None:
        shown += f"{error!r}{vars(error)}"
        assert isinstance(error, StrongroomError) or not own
        error = error.__context__
    assert CANARY not in shown, "an error shows a credential"


def methods_of(google_identity: GoogleIdentity, folder: Path) -> dict[str, tuple[str, dict[str, Any], str]]:
    """Every way to log in: the method, its options, and who that is."""
    key = google_identity.new_service_account("trainer")
    file, in_json = folder / "subject", folder / "subject.json"
    file.write_text(google_identity.subject_token)
    in_json.write_text(json.dumps({"id_token": google_identity.subject_token}))
    described = {"format": {"type": "json", "subject_token_field_name": "id_token"}}
    by_file = google_identity.external_account({"file": str(file)})
    by_json = google_identity.external_account({"file": str(in_json), **described})
    by_url = google_identity.external_account({"url": f"{google_identity.url}/subject", "headers": {"X-Key": CANARY}, **described})
    federated = f"principal:{FEDERATED}"
    lent = google_identity.external_account(
        {"file": str(file)},
        service_account_impersonation_url=f"{google_identity.url}/v1/projects/-/serviceAccounts/{TARGET}:generateAccessToken",
    )
    target = {"target_principal": TARGET, "iam_endpoint": google_identity.url}
    for caller in ("ann@example.com", key["client_email"], federated, "bob@example.com"):
        google_identity.may_impersonate.add((caller, TARGET))
    return {
        "user": ("user-account", {"user_account_json": google_identity.user_account()}, "ann@example.com"),
        "user as text": ("user-account", {"user_account_json": json.dumps(google_identity.user_account())}, "ann@example.com"),
        "key": ("service-account", {"service_account_json": key}, key["client_email"]),
        "key as text": ("service-account", {"service_account_json": json.dumps(key)}, key["client_email"]),
        "file": ("external-account", {"external_account_json": by_file}, federated),
        "json": ("external-account", {"external_account_json": by_json}, federated),
        "url": ("external-account", {"external_account_json": by_url}, federated),
        "lent to a foreign identity": ("external-account", {"external_account_json": lent}, TARGET),
        "token": ("oauth2-token", {"token": google_identity.issue("bob@example.com")}, "bob@example.com"),
        "lent to a user": ("impersonation", {**target, "user_account_json": google_identity.user_account()}, TARGET),
        "lent to a key": ("impersonation", {**target, "service_account_json": key}, TARGET),
        "lent to a token": ("impersonation", {**target, "token": google_identity.issue("bob@example.com")}, TARGET),
        "lent to a federated one": ("impersonation", {**target, "external_account_json": by_file, "lifetime": "600"}, TARGET),
    }


def test_every_method_logs_in(
    google_identity: GoogleIdentity,
    google: SecretManager,
    connected: Callable[..., GcpConnection],
    tmp_path: Path,
    allow_values_in: Callable[[Path], Path],
) -> None:
    """A user, a key (by its own signature), a foreign identity, a token, and a service account lent to each of them."""
    allow_values_in(tmp_path)
    for what, (name, options, principal) in methods_of(google_identity, tmp_path).items():
        google.granted = {}
        connection = connected(name, options)
        with pytest.raises(StoreForbidden, match="lacks the permission"):
            list_secrets(connection)
        google.grant(principal)
        list_secrets(connection)
        who = connection.identity(seconds=SECONDS)
        known = principal.removeprefix("principal:") if name != "oauth2-token" else "somebody by the method oauth2-token"
        assert who == f"{known} in the project {PROJECT}", what
        assert CANARY not in f"{connection!r}{vars(connection)}{connection._login._lease!r}{gcp_method(name, options)!r}"


def test_a_key_asks_nobody_for_a_token(
    google_identity: GoogleIdentity, google: SecretManager, connected: Callable[..., GcpConnection]
) -> None:
    """It signs its own, and Google checks the signature; another key under the same name does not do."""
    key = google_identity.new_service_account("trainer")
    google.grant(key["client_email"])
    list_secrets(connected("service-account", {"service_account_json": key}))
    assert google_identity.seen == []
    other = google_identity.new_service_account("somebody", number=1)
    forged = connected("service-account", {"service_account_json": {**other, "client_email": key["client_email"]}})
    with pytest.raises(StoreForbidden, match="does not take the credential") as refused:
        list_secrets(forged)
    shows_nothing(refused.value)


def test_a_lent_account_starts_from_the_token_server(
    google_identity: GoogleIdentity, google: SecretManager, connected: Callable[..., GcpConnection]
) -> None:
    """A key that borrows a service account gets its own token where its JSON says, as Google's tools do."""
    key = google_identity.new_service_account("trainer")
    google_identity.may_impersonate.add((key["client_email"], TARGET))
    google.grant(TARGET)
    options = {"target_principal": TARGET, "iam_endpoint": f"{google_identity.url}/", "service_account_json": key}
    list_secrets(connected("impersonation", options))
    assert google_identity.seen == ["/token", f"/v1/projects/-/serviceAccounts/{TARGET}:generateAccessToken"]


AMBIENT = """
import sys, warnings
from strongroom.connectors.deadline import Deadline
from strongroom.connectors.gcp import Endpoint, connect, gcp_method
from strongroom.errors import StrongroomError
from google.cloud.secretmanager_v1.types import service

warnings.simplefilter("error")
connection = connect(Endpoint(project_id="fake-project-1", endpoint=sys.argv[1]), gcp_method("implicit", {}))
request = service.ListSecretsRequest.pb()(parent="projects/fake-project-1", filter="labels.a=b")
path = "/google.cloud.secretmanager.v1.SecretManagerService/ListSecrets"
try:
    status = connection.ask(path, request, service.ListSecretsResponse.pb(), Deadline(20), right="secretmanager.secrets.list").status
    print(status, connection.identity(seconds=20))
except StrongroomError as error:
    print(type(error).__name__, error, error.hint)
connection.close()
"""


def ambient(google: SecretManager, folder: Path, **variables: str) -> str:
    """What happens in a process with such an environment, of which google-auth reads parts when it is imported."""
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment |= {"HOME": str(folder), "NO_PROXY": "*", **variables}
    command = [sys.executable, "-c", AMBIENT, f"http://{google.address}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.replace(CANARY, "")
    assert CANARY not in done.stdout + done.stderr, "a credential is shown"
    return done.stdout.strip()


def test_the_ambient_chain(
    google_identity: GoogleIdentity, google: SecretManager, tmp_path: Path, allow_values_in: Callable[[Path], Path]
) -> None:
    """A file that the environment names, gcloud's login, and the machine's own service account are found, in this order."""
    allow_values_in(tmp_path)
    metadata = {"GCE_METADATA_HOST": google_identity.address, "GCE_METADATA_IP": google_identity.address}
    google.grant(MACHINE)
    assert ambient(google, tmp_path, **metadata) == f"OK {MACHINE} in the project {PROJECT}"

    key = google_identity.new_service_account("trainer")
    google.grant(key["client_email"])
    folder = tmp_path / ".config" / "gcloud"
    folder.mkdir(parents=True)
    (folder / "application_default_credentials.json").write_text(json.dumps({**key, "universe_domain": "googleapis.com"}))
    assert ambient(google, tmp_path, **metadata) == f"OK {key['client_email']} in the project {PROJECT}"

    subject, file, proxy = tmp_path / "subject", tmp_path / "named.json", Proxy("u", "p")
    subject.write_text(google_identity.subject_token)
    file.write_text(json.dumps(google_identity.external_account({"file": str(subject)})))
    google.grant(f"principal:{FEDERATED}")
    outside = {"HTTPS_PROXY": proxy.url, "NO_PROXY": "localhost,127.0.0.1"}
    assert ambient(google, tmp_path, GOOGLE_APPLICATION_CREDENTIALS=str(file), **metadata, **outside).startswith("OK ")
    assert proxy.seen == []  # google-auth would ask Google for the project's id, and for where the credential may be used from
    proxy.stop()


def test_no_ambient_credential(google: SecretManager, tmp_path: Path) -> None:
    """Nothing found, or a file that is missing or broken, is an error that says what to do."""
    assert ambient(google, tmp_path, NO_GCE_CHECK="true").startswith(
        "StoreForbidden there is no credential for the login by implicit"
    )
    missing = ambient(google, tmp_path, GOOGLE_APPLICATION_CREDENTIALS="/nowhere")
    assert missing.startswith("StoreForbidden there is no credential for the login by implicit")
    assert "gcloud auth application-default login" in missing


@pytest.mark.parametrize(
    ("what", "text", "hint"),
    [
        ("refresh token", "user-account .invalid_grant", "revoked"),
        ("client secret", "user-account .invalid_client", "client"),
        ("subject", "external-account .invalid_grant", "revoked"),
        ("audience", "external-account .invalid_target", "audience"),
        ("file", "no file at /nowhere", None),
        ("empty file", "external-account", "check"),
        ("url", "external-account", "check"),
        ("not lent", "impersonation .PERMISSION_DENIED", "serviceAccountTokenCreator"),
        ("lent to nobody", "impersonation .UNAUTHENTICATED", "wrong or has expired"),
        ("token", "does not take the token", "new one"),
    ],
)
def test_refused_logins_are_forbidden(
    google_identity: GoogleIdentity, connected: Callable[..., GcpConnection], tmp_path: Path, what: str, text: str, hint: str | None
) -> None:
    """Each wrong or missing credential is forbidden, with what to do about it, and without any part of it."""
    empty = tmp_path / "empty"
    empty.write_text("")
    target = {"target_principal": TARGET, "iam_endpoint": google_identity.url}
    by_url = {"url": f"{google_identity.url}/subject", "headers": {"X-Key": CANARY}}
    name, options = {
        "refresh token": ("user-account", {"user_account_json": google_identity.user_account(refresh_token=f"{CANARY}-x")}),
        "client secret": ("user-account", {"user_account_json": google_identity.user_account(client_secret=f"{CANARY}-x")}),
        "subject": ("external-account", {"external_account_json": google_identity.external_account(by_url)}),
        "audience": ("external-account", {"external_account_json": google_identity.external_account(by_url, audience="//x")}),
        "file": ("external-account", {"external_account_json": google_identity.external_account({"file": "/nowhere"})}),
        "empty file": ("external-account", {"external_account_json": google_identity.external_account({"file": str(empty)})}),
        "url": (
            "external-account",
            {"external_account_json": google_identity.external_account({"url": f"{google_identity.url}/{CANARY}"})},
        ),
        "not lent": ("impersonation", {**target, "user_account_json": google_identity.user_account()}),
        "lent to nobody": ("impersonation", {**target, "token": f"{CANARY}-x"}),
        "token": ("oauth2-token", {"token": f"{CANARY}-x"}),
    }[what]
    connection = connected(name, options)
    for _ in range(2):
        with pytest.raises(StoreForbidden, match=text) as refused:
            list_secrets(connection)
        shows_nothing(refused.value)
        assert (hint or "") in (refused.value.hint or "")
    assert CANARY not in f"{connection!r}{vars(connection)}{gcp_method(name, options)!r}"


@pytest.mark.parametrize("name", ["user", "url", "lent to a user"])
def test_a_token_server_in_trouble(
    google_identity: GoogleIdentity,
    google: SecretManager,
    connected: Callable[..., GcpConnection],
    tmp_path: Path,
    allow_values_in: Callable[[Path], Path],
    name: str,
) -> None:
    """It is `Unavailable` in time when it is slow, overloaded or failing, asked once, and the login is made when it is back."""
    allow_values_in(tmp_path)
    method, options, principal = methods_of(google_identity, tmp_path)[name]
    google.grant(principal)
    connection = connected(method, options)
    for status in (429, 500, 503):
        google_identity.seen.clear()
        with google_identity.failing(status):
            with pytest.raises(Unavailable, match=f"status {status}") as raised:
                list_secrets(connection)
            shows_nothing(raised.value)
        assert len(google_identity.seen) == 1
    with google_identity.hanging():
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(Unavailable, match="in time") as raised:
                list_secrets(connection, 0.3)
            shows_nothing(raised.value)
            assert time.monotonic() - began < 2
    list_secrets(connection)


def test_a_token_server_that_trickles(
    google_identity: GoogleIdentity, google: SecretManager, connected: Callable[..., GcpConnection]
) -> None:
    """An answer in small pieces ends neither the time of a caller nor that of the next one's attempt."""
    google.grant("ann@example.com")
    relay = Relay(int(google_identity.address.rpartition(":")[2]))
    account = google_identity.user_account(token_uri=f"http://127.0.0.1:{relay.port}/token")
    connection = connected("user-account", {"user_account_json": account})
    with relay.fault(Fault.TRICKLES):
        for count in (1, 2):
            began = time.monotonic()
            with pytest.raises(Unavailable, match="in time"):
                list_secrets(connection, 0.6)
            assert time.monotonic() - began < 2
            assert len(google_identity.seen) == count
    list_secrets(connection)
    relay.stop()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_logins_are_not_sent_elsewhere(google_identity: GoogleIdentity, connected: Callable[..., GcpConnection], status: int) -> None:
    """A token server that redirects is refused, and the credential does not follow it."""
    elsewhere = GoogleIdentity()
    connection = connected("user-account", {"user_account_json": google_identity.user_account()})
    with google_identity.failing(status, f"{elsewhere.url}/token"), pytest.raises(StoreForbidden) as refused:
        list_secrets(connection)
    shows_nothing(refused.value)
    assert elsewhere.seen == []
    elsewhere.stop()


def test_a_token_server_that_is_not_there(google_identity: GoogleIdentity, connected: Callable[..., GcpConnection]) -> None:
    """Nobody there is `Unavailable`, and so is somebody who speaks otherwise."""
    account = google_identity.user_account()
    for token_uri, text in (("http://127.0.0.1:1/token", "out of reach"), (f"{google_identity.url}/", "user-account")):
        connection = connected("user-account", {"user_account_json": {**account, "token_uri": token_uri}})
        with pytest.raises((Unavailable, StoreForbidden), match=text) as raised:
            list_secrets(connection)
        shows_nothing(raised.value)


def test_logins_do_not_leave_the_machine_by_plain_http(
    google_identity: GoogleIdentity, connected: Callable[..., GcpConnection]
) -> None:
    """A token's URL in a credential has to be TLS, loopback, or a cloud's own address for its machines."""
    for url in ("http://tokens.example.com/token", "ftp://tokens.example.com", "tokens"):
        connection = connected("user-account", {"user_account_json": google_identity.user_account(token_uri=url)})
        with pytest.raises(StoreForbidden, match=r"plain HTTP|is none"):
            list_secrets(connection)


def test_logins_go_through_the_proxy(
    google_identity: GoogleIdentity, google: SecretManager, connected: Callable[..., GcpConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment's proxy is used for tokens, except for what it excludes."""
    google.grant("ann@example.com")
    proxy = Proxy("u", "p")
    proxy.names["tokens.example.com"] = "127.0.0.1"
    port = google_identity.address.rpartition(":")[2]
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    account = google_identity.user_account(token_uri=f"http://tokens.example.com:{port}/token")
    list_secrets(connected("user-account", {"user_account_json": account}, insecure=True))
    assert len(proxy.seen) == 1
    list_secrets(connected("user-account", {"user_account_json": google_identity.user_account()}))
    assert len(proxy.seen) == 1
    proxy.stop()


def test_passwords_of_other_programs_stay_where_they_are(
    google_identity: GoogleIdentity,
    google: SecretManager,
    connected: Callable[..., GcpConnection],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    allow_values_in: Callable[[Path], Path],
) -> None:
    """What a .netrc holds for the host is not sent there."""
    file = allow_values_in(tmp_path / "netrc")
    file.write_text(f"machine 127.0.0.1 login somebody password {CANARY}\n")
    monkeypatch.setenv("NETRC", str(file))
    google.grant("ann@example.com")
    list_secrets(connected("user-account", {"user_account_json": google_identity.user_account()}))
    assert google_identity.authorizations == [None]


def test_many_threads_log_in_once(
    google_identity: GoogleIdentity, google: SecretManager, connected: Callable[..., GcpConnection]
) -> None:
    """First calls from many threads share one login."""
    google.grant("ann@example.com")
    connection = connected("user-account", {"user_account_json": google_identity.user_account()})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: list_secrets(connection), range(32)))
    assert google_identity.seen == ["/token"]


@pytest.mark.parametrize("revoked", [False, True])
def test_a_caller_with_time_is_not_failed_by_one_without(
    google_identity: GoogleIdentity, google: SecretManager, connected: Callable[..., GcpConnection], revoked: bool
) -> None:
    """Whoever waits for somebody else's login, which ends too early, makes one of their own; also where a token was found dead."""
    google.grant("ann@example.com")
    connection = connected("user-account", {"user_account_json": google_identity.user_account()})
    if revoked:
        list_secrets(connection)
        google_identity.revoke_all()
    with ThreadPoolExecutor(4) as pool:
        with google_identity.hanging():
            with pytest.raises(Unavailable):
                list_secrets(connection, 0.3)
            patient = [pool.submit(list_secrets, connection) for _ in range(4)]
            for _ in range(2):
                with pytest.raises(Unavailable):
                    list_secrets(connection, 0.3)
        for each in patient:
            each.result(SECONDS)


def test_a_token_that_no_header_can_hold(
    google_identity: GoogleIdentity, google: SecretManager, connected: Callable[..., GcpConnection]
) -> None:
    """What cannot be sent is refused, and not shown."""
    connection = connected("user-account", {"user_account_json": google_identity.user_account(quota_project_id=f"{CANARY}\n")})
    with pytest.raises(StoreForbidden, match="could be sent") as refused:
        list_secrets(connection)
    shows_nothing(refused.value)


def test_a_dead_token_is_replaced(
    google_identity: GoogleIdentity, google: SecretManager, connected: Callable[..., GcpConnection]
) -> None:
    """A token that was revoked costs no failed call where there is a way to log in again; one that was given is told to be dead."""
    google.grant("ann@example.com")
    connection = connected("user-account", {"user_account_json": google_identity.user_account()})
    given = connected("oauth2-token", {"token": google_identity.issue("ann@example.com")})
    for each in (connection, given):
        list_secrets(each)
    google_identity.revoke_all()
    list_secrets(connection)
    assert google_identity.seen == ["/token", "/token"]
    with pytest.raises(StoreForbidden, match="wrong or has expired"):
        list_secrets(given)


def test_a_dead_token_of_which_another_came(
    google_identity: GoogleIdentity, google: SecretManager, connected: Callable[..., GcpConnection]
) -> None:
    """Also the token that a service account was borrowed with is fetched anew."""
    google.grant(TARGET)
    google_identity.may_impersonate.add(("ann@example.com", TARGET))
    options = {"target_principal": TARGET, "iam_endpoint": google_identity.url, "user_account_json": google_identity.user_account()}
    connection = connected("impersonation", options)
    list_secrets(connection)
    google_identity.revoke_all()
    list_secrets(connection)


def test_a_login_after_an_outage(
    google_identity: GoogleIdentity, google: SecretManager, connected: Callable[..., GcpConnection]
) -> None:
    """A service and a token server that were away when the token had to be replaced are asked again when they are back."""
    google.grant("ann@example.com")
    connection = connected("user-account", {"user_account_json": google_identity.user_account()})
    list_secrets(connection)
    google_identity.revoke_all()
    with google.down(), pytest.raises(Unavailable, match="out of reach"):
        list_secrets(connection)
    with google_identity.failing(503), pytest.raises(Unavailable, match="503"):
        list_secrets(connection)
    list_secrets(connection)


def test_a_token_is_replaced_in_time(
    google_identity: GoogleIdentity, google: SecretManager, connected: Callable[..., GcpConnection]
) -> None:
    """Tokens that live for a second cost no failed call, and are replaced behind the callers' backs."""
    google_identity.life = 1
    google.grant("ann@example.com")
    connection = connected("user-account", {"user_account_json": google_identity.user_account()})
    began = time.monotonic()
    while time.monotonic() < began + 2.5:
        list_secrets(connection)
    assert 2 <= len(google_identity.seen) <= 8
    assert google.calls.count("ListSecrets") > 20


def test_a_renewal_that_fails_is_no_failure_of_the_caller(
    google_identity: GoogleIdentity, google: SecretManager, connected: Callable[..., GcpConnection]
) -> None:
    """As long as the token at hand is good, a token server in trouble is nobody's business, and is not asked at every call."""
    google_identity.life = 4
    google.grant("ann@example.com")
    connection = connected("user-account", {"user_account_json": google_identity.user_account()})
    list_secrets(connection)
    with google_identity.failing(503):
        began = time.monotonic()
        while time.monotonic() < began + 3:
            list_secrets(connection)
        assert google_identity.seen == ["/token", "/token"]


WRONG = [
    ("implict", {}, "no authentication method 'implict'"),
    ("service-account", {}, "needs the option 'service_account_json'"),
    ("service-account", {"service_account_json": f"/{CANARY}.json"}, "is no JSON object"),
    ("service-account", {"service_account_json": {"type": "authorized_user"}}, "type service_account"),
    ("service-account", {"service_account_json": {"type": "service_account", "private_key": CANARY}}, "does not understand"),
    ("user-account", {"user_account_json": {"type": "authorized_user", "client_id": CANARY}}, "lacks one of"),
    ("user-account", {"user_account_json": "[]"}, "is no JSON object"),
    ("user-account", {"user": CANARY}, "no option 'user'"),
    ("external-account", {"external_account_json": {"type": "external_account"}}, "does not understand"),
    ("external-account", {"external_account_json": {"type": "external_account", "credential_source": CANARY}}, "credential_source"),
    ("oauth2-token", {"token": f"{CANARY}\n"}, "is no access token"),
    ("oauth2-token", {"token": ""}, "needs the option 'token'"),
    ("impersonation", {}, "needs the option 'target_principal'"),
    ("impersonation", {"target_principal": "../x@y"}, "to be service accounts"),
    ("impersonation", {"target_principal": TARGET, "delegates": "x/y"}, "to be service accounts"),
    ("impersonation", {"target_principal": TARGET, "lifetime": 0}, "lifetime"),
    ("impersonation", {"target_principal": TARGET, "token": CANARY, "user_account_json": {"a": 1}}, "several are given"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "text"), WRONG, ids=range(len(WRONG)))
def test_wrong_options_are_told(connected: Callable[..., GcpConnection], name: str, options: dict[str, Any], text: str) -> None:
    """What cannot work is refused without asking anybody, and no text of an option is shown."""
    with warnings.catch_warnings(), pytest.raises(ConfigurationError, match=text) as refused:
        connected(name, options)
    shows_nothing(refused.value)


def test_methods_are_those_of_the_guide() -> None:
    """The names that operators write."""
    names = ["implicit", "user-account", "service-account", "external-account", "oauth2-token", "impersonation"]
    assert list(METHODS) == names
    assert DEFAULT_METHOD == "implicit"
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "store-values-in-gcp.md").read_text()
    assert all(f"`{name}`" in guide for name in names)


PLACES = [
    {"endpoint": "http://google.example.com"}, {"endpoint": "http://10.0.0.1:80"}, {"endpoint": "ftp://google"},
    {"endpoint": "https://user@google"}, {"endpoint": "google:x"}, {"endpoint": "https://google/v1"}, {"endpoint": ""},
    {"endpoint": "unix:/tmp/socket"}, {"endpoint": "a,b"}, {"ca_cert": "/nowhere"}, {"project_id": "123456"},
    {"project_id": "p/../q"}, {"project_id": ""}, {"project_id": "my-project\n"},
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES, ids=range(len(PLACES)))
def test_places_that_will_not_do(connected: Callable[..., GcpConnection], place: dict[str, str]) -> None:
    """What is no address or no project is refused, and plain HTTP leaves the machine only if that is said."""
    with pytest.raises(ConfigurationError):
        connected("implicit", **place)


def test_addresses_have_one_spelling(connected: Callable[..., GcpConnection]) -> None:
    """The same service under another spelling is the same address."""
    for spelling in ("secretmanager.googleapis.com", "https://SecretManager.googleapis.com/", "secretmanager.googleapis.com:443"):
        assert connected("implicit", endpoint=spelling).address == "secretmanager.googleapis.com:443"
    assert connected("implicit", endpoint="http://google", insecure=True).address == "google:80"
    assert connected("implicit", endpoint="http://[::1]:8080").address == "[::1]:8080"
    assert connected("implicit", endpoint="http://[::1]:8080").host == "::1"


def test_options_as_operators_write_them() -> None:
    """Texts of the environment make an endpoint, with the service of Google as the default."""
    (endpoint,) = build("gcp", [Endpoint], {"project_id": "my-project-42", "insecure": "true"})
    assert endpoint == Endpoint(project_id="my-project-42", endpoint="secretmanager.googleapis.com", insecure=True)
