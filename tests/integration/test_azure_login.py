"""A connection to Key Vault logs in by every method, and stays logged in, with a fake of Entra that Azure's own clients talk to."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from strongroom.connectors.azure import METHODS, AzureConnection, Endpoint, connect
from strongroom.connectors.deadline import Deadline
from strongroom.connectors.options import build, find_method
from strongroom.errors import ConfigurationError, MissingExtra, StoreForbidden, StrongroomError, Unavailable
from tests.canary import CANARY, holds_canary
from tests.fakes.azure import TENANT, Application, Azure, MachineIdentity
from tests.fakes.loopback import Answer
from tests.fakes.proxy import Proxy

SECONDS = 20


@pytest.fixture
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """A Key Vault and its Entra."""
    azure = Azure(tmp_path_factory.mktemp("azure"))
    yield azure
    azure.stop()


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine that the tests run on: no identity, no proxy, and only such programs of Azure's as a test makes."""
    for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")


def method(name: str, options: dict[str, Any]) -> Any:
    """As an operator's options make it."""
    return build(f"the method {name} of Azure", [find_method("Azure", METHODS, name)], options)[0]


def by_secret(azure: Azure, application: Application | None = None, **options: str) -> Any:
    """The method of an application's secret."""
    application = application or azure.entra.new_application()
    given = {"tenant_id": TENANT, "client_id": application.client_id, "client_secret": application.client_secret}
    return method("service-principal", given | options)


def opened(azure: Azure, by: Any, **options: Any) -> AzureConnection:
    """A connection by this method."""
    return connect(Endpoint(**azure.options(**options)), by)


def use(connection: AzureConnection, seconds: float = SECONDS) -> int:
    """A request that needs a token."""
    return connection.ask("GET", "/secrets", Deadline(seconds), right="list").status


def certificate(folder: Path, name: str, password: bytes | None = None) -> tuple[Path, x509.Certificate]:
    """A file with a key and its certificate."""
    key, now = rsa.generate_private_key(65_537, 2048), datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now, now.replace(year=2099))
    signed = made.sign(key, SHA256())
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    file = folder / f"{name}.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption) + signed.public_bytes(Encoding.PEM))
    return file, signed


def shows_nothing(error: BaseException | None) -> None:
    """Neither an error nor what led to it holds a credential."""
    while error is not None:
        assert not holds_canary(f"{error!r}{error}{vars(error)}")
        assert isinstance(error, StrongroomError | OSError)
        error = error.__context__


def test_secrets_certificates_and_tokens_log_in(azure: Azure, tmp_path: Path) -> None:
    """A client secret, a certificate (also with a password), a federated token and a token of one's own are taken."""
    file, signed = certificate(tmp_path, "plain")
    locked, other = certificate(tmp_path, "locked", f"{CANARY}-password".encode())
    owner, second = azure.entra.new_application(certificate=signed), azure.entra.new_application(certificate=other)
    workload = azure.entra.new_application(federated_token=f"{CANARY}.federated")
    jwt = tmp_path / "token"
    jwt.write_text("an.old.token")
    methods = [
        by_secret(azure),
        method("service-principal", {"tenant_id": TENANT, "client_id": owner.client_id, "client_certificate_path": str(file)}),
        method(
            "service-principal",
            {
                "tenant_id": TENANT, "client_id": second.client_id, "client_certificate_path": str(locked),
                "client_certificate_password": f"{CANARY}-password",
            },
        ),
        method("access-token", {"token": azure.entra.new_token(azure.entra.new_application())}),
    ]  # fmt: skip
    for each in methods:
        connection = opened(azure, each)
        assert use(connection) == 200
        assert CANARY not in f"{each!r}{connection!r}{vars(connection)}"
    options = {"tenant_id": TENANT, "client_id": workload.client_id, "token_file_path": str(jwt)}
    connection = opened(azure, method("workload-identity", options))
    with pytest.raises(StoreForbidden, match="AADSTS700027"):
        use(connection)
    azure.entra.applications[workload.client_id].federated_token = "a.renewed.token"
    jwt.write_text("a.renewed.token\n")  # as Kubernetes does; the file is read at each login
    assert use(connection) == 200


def test_what_the_machine_has_is_found(azure: Azure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`implicit` finds variables, the identity of a virtual machine, and whoever is logged in to Azure's command line."""
    application = azure.entra.new_application()
    with monkeypatch.context() as patch:
        patch.setenv("AZURE_TENANT_ID", TENANT)
        patch.setenv("AZURE_CLIENT_ID", application.client_id)
        patch.setenv("AZURE_CLIENT_SECRET", application.client_secret)
        assert use(opened(azure, method("implicit", {}))) == 200
    machine = MachineIdentity(azure.entra, application)
    try:
        with monkeypatch.context() as patch:
            patch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", machine.url)
            patch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
            assert use(opened(azure, method("implicit", {"client_id": application.client_id}))) == 200
            assert machine.requests[-1].query["client_id"] == [application.client_id]
    finally:
        machine.stop()
    token = {"accessToken": azure.entra.new_token(application), "expires_on": int(time.time()) + 3600, "tokenType": "Bearer"}
    program(
        tmp_path, f'echo "$@" > {tmp_path}/arguments; cat <<END\n{json.dumps(token | {"subscription": "x", "tenant": TENANT})}\nEND'
    )
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")
    try:
        assert use(opened(azure, method("implicit", {}))) == 200
    finally:
        (tmp_path / "bin" / "az").unlink()
    assert f"--tenant {TENANT}" in (tmp_path / "arguments").read_text()  # the vault's, as it says


def test_a_machine_without_an_identity(azure: Azure) -> None:
    """It is told what can be done, and no more is asked of the vault than whose tokens it takes."""
    with azure.vault.counted() as requests, pytest.raises(StoreForbidden, match="no identity") as refused:
        use(opened(azure, method("implicit", {})))
    assert "az login" in str(refused.value.hint)
    assert len(requests) == 1


def test_a_login_that_takes_too_long(azure: Azure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program that does not end costs the caller no more than its time."""
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")
    program(tmp_path, f"until test -e {tmp_path}/enough; do sleep 0.05; done; exit 1")
    connection = opened(azure, method("implicit", {}))
    began = time.monotonic()
    with pytest.raises(Unavailable, match="too long"):
        use(connection, 0.5)
    assert time.monotonic() - began < 2
    (tmp_path / "enough").touch()


def program(folder: Path, text: str) -> None:
    """Azure's command line, for this test."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / "az").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "bin" / "az").chmod(0o755)


def test_refused_logins_are_forbidden(azure: Azure, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong secret, certificate, application, tenant, token or file: forbidden, with Entra's code, and without any credential."""
    known = azure.entra.new_application(certificate=certificate(tmp_path, "known")[1])
    file = str(certificate(tmp_path, "stranger")[0])
    refused = {
        "AADSTS7000215": by_secret(azure, client_secret=f"{CANARY}-wrong"),
        "AADSTS700016": by_secret(azure, client_id=f"{CANARY}-nobody"),
        "tenant_id": by_secret(azure, tenant_id="22222222-2222-2222-2222-222222222222"),
        "AADSTS700027": method("service-principal", {
            "tenant_id": TENANT, "client_id": azure.entra.new_application().client_id, "client_certificate_path": file}),
        "from /nowhere": method("service-principal", {
            "tenant_id": TENANT, "client_id": known.client_id, "client_certificate_path": "/nowhere"}),
        "the token for the login": method("workload-identity", {
            "tenant_id": TENANT, "client_id": known.client_id, "token_file_path": "/nowhere/token"}),
        "does not take the token": method("access-token", {"token": f"{CANARY}.wrong.token"}),
    }  # fmt: skip
    caplog.set_level("DEBUG")
    for text, each in refused.items():
        with pytest.raises(StoreForbidden) as raised:
            use(opened(azure, each))
        assert text in f"{raised.value} {raised.value.hint}"
        shows_nothing(raised.value)
    assert CANARY not in caplog.text


def test_a_vault_of_another_tenant_is_told(azure: Azure) -> None:
    """A token that the vault does not take, fresh as it is, is forbidden; the caller is asked to compare tenants."""
    azure.vault.resource = "https://vault.azure.cn"
    connection = opened(azure, method("access-token", {"token": azure.entra.new_token(azure.entra.new_application())}))
    with pytest.raises(StoreForbidden, match="for something else"):
        use(connection)
    azure.vault.resource = "https://vault.azure.net"
    with azure.vault.meddling(lambda request: _sent_back("AKV10032: Invalid issuer.") if request.bearer_token() else None):
        with pytest.raises(StoreForbidden, match="AKV10032") as refused:
            use(opened(azure, by_secret(azure)))
        assert "tenant" in str(refused.value.hint)


def _sent_back(message: str) -> Answer:
    header = f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", resource="https://vault.azure.net"'
    return Answer(401, {"error": {"code": "Unauthorized", "message": message}}, {"WWW-Authenticate": header})


def test_many_threads_log_in_once(azure: Azure) -> None:
    """First calls from many threads share one login, and so do those that find their token dead."""
    connection = opened(azure, by_secret(azure))
    for _ in range(2):
        with azure.entra.counted() as requests, ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: use(connection), range(32))) == {200}
        assert [each.path.rpartition("/")[2] for each in requests] == ["openid-configuration", "token"]
        azure.entra.tokens.clear()


def test_a_dead_token_is_replaced(azure: Azure) -> None:
    """A token that was revoked costs no failed call; one that was given is told to be dead."""
    connection = opened(azure, by_secret(azure))
    given = opened(azure, method("access-token", {"token": azure.entra.new_token(azure.entra.new_application())}))
    assert use(connection) == use(given) == 200
    azure.entra.tokens.clear()
    assert use(connection) == 200
    with pytest.raises(StoreForbidden, match="expired"):
        use(given)


@pytest.mark.parametrize("kind", ["service-principal", "workload-identity", "implicit"])
def test_a_token_is_renewed_in_time(azure: Azure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str) -> None:
    """Whoever goes on working never meets a token that has ended, and never waits for a new one."""
    azure.entra.token_life = 3.9
    application = azure.entra.new_application(federated_token="a.b.c")
    machine = MachineIdentity(azure.entra, application)
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", machine.url)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
    (tmp_path / "jwt").write_text("a.b.c")
    options = {"tenant_id": TENANT, "client_id": application.client_id, "token_file_path": str(tmp_path / "jwt")}
    methods = {
        "service-principal": lambda: by_secret(azure, application),
        "workload-identity": lambda: method("workload-identity", options),
        "implicit": lambda: method("implicit", {}),
    }
    connection = opened(azure, methods[kind]())
    try:
        assert use(connection) == 200
        began = time.monotonic()
        while len(azure.entra.tokens) < 2:
            with azure.vault.counted() as requests:
                assert use(connection) == 200
            assert len(requests) == 1, "a call met a token that had ended"
            assert time.monotonic() - began < 30
    finally:
        machine.stop()


def test_a_renewal_that_fails_costs_nothing(azure: Azure) -> None:
    """While Entra is out of order the token at hand is used as long as it lives; then it is `Unavailable`, and works afterwards."""
    azure.entra.token_life = 5.0
    connection = opened(azure, by_secret(azure))
    assert use(connection) == 200
    began = time.monotonic()
    with azure.entra.hanging():
        asked = len(azure.entra.requests)
        while len(azure.entra.requests) == asked:
            assert use(connection) == 200
            assert time.monotonic() - began < 30
        assert use(connection) == 200  # while the renewal hangs
        while azure.entra.tokens_alive():
            assert time.monotonic() - began < 30
        with pytest.raises(Unavailable, match=r"too long|in time"):
            use(connection, 0.3)
    assert use(connection) == 200


TROUBLES: dict[str, Callable[[Azure], Any]] = {
    "status 503": lambda azure: azure.entra.meddling(lambda _: Answer(503, {"error": "server_error", "error_description": CANARY})),
    "how often .* 17 seconds": lambda azure: azure.entra.meddling(
        lambda _: Answer(429, {"error": "too_many_requests", "error_description": CANARY}, {"Retry-After": "17"})
    ),
    "too long|in time": lambda azure: azure.entra.hanging(),
}


@pytest.mark.parametrize("text", TROUBLES)
@pytest.mark.parametrize("kind", ["service-principal", "workload-identity", "implicit"])
def test_a_login_after_an_outage(azure: Azure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, kind: str) -> None:
    """When Entra is back the next call logs in: no library remembers the outage, and none tries twice meanwhile."""
    application = azure.entra.new_application(federated_token="a.b.c")
    (tmp_path / "jwt").write_text("a.b.c")
    for name, value in [("TENANT_ID", TENANT), ("CLIENT_ID", application.client_id), ("CLIENT_SECRET", application.client_secret)]:
        monkeypatch.setenv(f"AZURE_{name}", value)
    options = {"tenant_id": TENANT, "client_id": application.client_id, "token_file_path": str(tmp_path / "jwt")}
    methods = {
        "service-principal": lambda: by_secret(azure, application),
        "workload-identity": lambda: method("workload-identity", options),
        "implicit": lambda: method("implicit", {}),
    }
    connection = opened(azure, methods[kind]())
    with TROUBLES[text](azure):
        for _ in range(2):
            with azure.entra.counted() as requests, pytest.raises(Unavailable, match=text) as raised:
                use(connection, 0.5)
            shows_nothing(raised.value)
            assert raised.value.retry_after == (17 if "17" in text else None)
            assert len(requests) == 1
    assert use(connection) == 200


def test_an_entra_that_is_not_there(azure: Azure) -> None:
    """A closed port is `Unavailable`, and names the host."""
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1 is out of reach"):
        use(opened(azure, by_secret(azure), authority="https://127.0.0.1:1"))


def test_a_machine_whose_identity_service_stumbles(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that had an identity a moment ago is not told that it has none."""
    machine = MachineIdentity(azure.entra, azure.entra.new_application())
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", machine.url)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
    connection = opened(azure, method("implicit", {}))
    try:
        assert use(connection) == 200
        azure.entra.tokens.clear()
        with machine.meddling(lambda _: Answer(404, {"error": "not_found"})), pytest.raises(Unavailable):
            use(connection)
        with machine.meddling(lambda _: Answer(500, {})), pytest.raises(Unavailable, match="status 500"):
            use(connection)
        assert use(connection) == 200
    finally:
        machine.stop()


def test_tokens_are_for_the_vault_alone(azure: Azure) -> None:
    """What answers at the address cannot ask for a token that opens something else, unless that is allowed."""
    connection = opened(azure, by_secret(azure), verify_challenge_resource=True)
    with azure.entra.counted() as requests, pytest.raises(StoreForbidden, match="not its own"):
        use(connection)
    assert requests == []


def test_real_names_behind_a_proxy(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a proxy of the environment, and a password for it, a vault proves by its name that it may have its token."""
    proxy = Proxy("ann", f"{CANARY}/+")
    proxy.names = dict.fromkeys(("myvault.vault.azure.net", "login.microsoftonline.com", "vault.elsewhere.example"), "127.0.0.1")
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    try:
        port = azure.vault.port
        names = {"authority": f"login.microsoftonline.com:{azure.entra.port}", "verify_challenge_resource": True}
        names["disable_instance_discovery"] = False
        connection = opened(azure, by_secret(azure), vault_url=f"https://MyVault.vault.azure.net:{port}/", **names)
        assert use(connection) == 200
        assert f"CONNECT myvault.vault.azure.net:{port} HTTP/1.0" in [line.replace("1.1", "1.0") for line in proxy.seen]
        with pytest.raises(StoreForbidden, match=r"wants a token for https://vault\.azure\.net"):
            use(opened(azure, by_secret(azure), vault_url=f"https://vault.elsewhere.example:{port}", **names))
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        with pytest.raises(Unavailable) as raised:
            use(opened(azure, by_secret(azure), vault_url=f"https://myvault.vault.azure.net:{port}", **names))
        shows_nothing(raised.value)
    finally:
        proxy.stop()


def test_an_authority_that_microsoft_does_not_know(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked up at Microsoft, unless that is switched off: no secret goes to it before."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with azure.entra.counted() as requests, pytest.raises(Unavailable, match=r"login\.microsoftonline\.com"):
        use(opened(azure, by_secret(azure), disable_instance_discovery=False))
    assert requests == []


def test_certificates_are_checked(azure: Azure) -> None:
    """A server that cannot prove who it is gets no credential."""
    with azure.entra.counted() as requests, pytest.raises(Unavailable, match="right one"):
        use(opened(azure, by_secret(azure), ca_cert=None))
    assert requests == []


def test_redirects_are_not_followed(azure: Azure) -> None:
    """Neither a token nor a client secret goes where an answer points to."""
    connection = opened(azure, by_secret(azure))
    assert use(connection) == 200
    away = Answer(302, {}, {"Location": f"{azure.entra.url}/elsewhere"})
    with azure.vault.meddling(lambda _: away), azure.entra.counted() as requests, pytest.raises(Unavailable, match="302"):
        use(connection)
    assert requests == []
    away = Answer(302, {}, {"Location": f"{azure.vault.url}/elsewhere"})
    with azure.entra.meddling(lambda _: away), azure.vault.counted() as requests, pytest.raises(StrongroomError) as raised:
        use(opened(azure, by_secret(azure)))
    assert [each.path for each in requests] == ["/secrets"]
    shows_nothing(raised.value)


def test_who_one_is(azure: Azure) -> None:
    """A line for people, of a token that the vault has seen; the token itself is not in it."""
    application = azure.entra.new_application()
    line = opened(azure, by_secret(azure, application)).identity(seconds=SECONDS)
    assert line == f"application {application.client_id} (object an-object) of tenant {TENANT}"
    application.rights = frozenset()  # a refusal shows as well that the vault knows it
    assert opened(azure, by_secret(azure, application)).identity(seconds=SECONDS) == line
    azure.entra.tokens["opaque"] = (application, time.time() + 60, "https://vault.azure.net")
    assert "does not say" in opened(azure, method("access-token", {"token": "opaque"})).identity(seconds=SECONDS)
    with pytest.raises(StoreForbidden):
        opened(azure, method("access-token", {"token": f"{CANARY}.x"})).identity(seconds=SECONDS)
    azure.vault.firewall = "ForbiddenByFirewall"
    with pytest.raises(StoreForbidden, match="firewall"):
        opened(azure, by_secret(azure)).identity(seconds=SECONDS)


def test_closed_is_closed(azure: Azure) -> None:
    """A connection that was closed is `Unavailable`."""
    connection = opened(azure, by_secret(azure))
    assert use(connection) == 200
    connection.close()
    with pytest.raises(Unavailable, match="closed"):
        use(connection)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("implict", {}, "no authentication method 'implict'"),
        ("access-token", {}, "needs the option 'token'"),
        ("access-token", {"token": "x\ny"}, "is no token"),
        ("service-principal", {"tenant_id": "t", "client_id": "c"}, "either 'client_secret' or"),
        ("service-principal", {"tenant_id": "t", "client_secret": "c"}, "needs the option 'client_id'"),
        ("workload-identity", {"tenant_id": "t", "client_id": "c", "token_file": "x"}, "no option 'token_file'"),
    ],
)
def test_wrong_options_are_told(name: str, options: dict[str, str], text: str) -> None:
    """An unknown method or option, or a missing one, is refused by name, and no text of an option is shown."""
    with pytest.raises(ConfigurationError, match=text):
        method(name, options)


def test_methods_are_those_of_the_guide() -> None:
    """The names that operators write."""
    assert set(METHODS) == {"implicit", "service-principal", "access-token", "workload-identity"}


ODD_ENDPOINTS = [
    {},
    {"key_vault_name": "my-vault", "vault_url": "https://my-vault.vault.azure.net"},
    {"key_vault_name": "my.vault"},
    {"key_vault_name": "1vault"},
    {"key_vault_name": "my--vault"},
    {"key_vault_name": "x" * 25},
    {"key_vault_name": "my-vault", "authority": "login.example.com"},
    {"vault_url": "http://my-vault.vault.azure.net"},
    {"vault_url": "https://ann@my-vault.vault.azure.net"},
    {"vault_url": "https://my-vault.vault.azure.net/secrets"},
    {"vault_url": "https://my-vault.vault.azure.net:x"},
    {"vault_url": "https://my_väult"},
    {"vault_url": "https:///"},
    {"key_vault_name": "my-vault", "authority": "http://login.microsoftonline.com"},
    {"key_vault_name": "my-vault", "ca_cert": "/nowhere"},
]


@pytest.mark.parametrize("options", ODD_ENDPOINTS, ids=str)
def test_endpoints_that_will_not_do(options: dict[str, str]) -> None:
    """A name and an address, neither, what is no address, and plain HTTP are refused without asking anybody."""
    with pytest.raises(ConfigurationError):
        connect(Endpoint(**options), method("implicit", {}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ({"key_vault_name": "My-Vault"}, "https://my-vault.vault.azure.net"),
        ({"key_vault_name": "v12", "authority": "login.microsoftonline.us"}, "https://v12.vault.usgovcloudapi.net"),
        ({"key_vault_name": "v12", "authority": "https://login.partner.microsoftonline.cn/"}, "https://v12.vault.azure.cn"),
        ({"vault_url": "HTTPS://My-Vault.Vault.Azure.net:443/"}, "https://my-vault.vault.azure.net"),
        ({"vault_url": "vault.example.com:8443", "authority": "login.example.com"}, "https://vault.example.com:8443"),
        ({"vault_url": "https://[::1]:8443"}, "https://[::1]:8443"),
    ],
)
def test_addresses_have_one_spelling(options: dict[str, str], address: str) -> None:
    """A name leads to the domain of its cloud, and the same vault under another spelling is the same address."""
    assert connect(Endpoint(**options), method("implicit", {})).address == address  # type: ignore[arg-type]


@pytest.mark.parametrize("package", ["azure.keyvault.secrets", "azure.identity"])
def test_the_extra_is_named(azure: Azure, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Without Azure's packages the error says what to install."""
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra) as missing:
        use(opened(azure, by_secret(azure)))
    assert missing.value.hint == "pip install 'strongroom[azure]'"
