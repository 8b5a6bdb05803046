"""A connection to Vault logs in by every method, and stays logged in, on a real OpenBao."""

from __future__ import annotations

import base64
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import hvac.exceptions
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from strongroom.connectors.deadline import Deadline
from strongroom.connectors.vault import VaultConnection
from strongroom.connectors.vault_methods import METHODS, AppRoleMethod, AwsMethod, Login, VaultMethod, vault_method
from strongroom.errors import ConfigurationError, StoreForbidden, StrongroomError, Unavailable
from strongroom.redaction import SecretText
from tests.canary import CANARY
from tests.fakes.kubernetes import Kubernetes
from tests.servers.openbao import OpenBaoServer

SECONDS = 20


def who(connection: VaultConnection) -> str:
    """The accessor of the token that the connection uses; no part of the token itself."""
    answer = connection.ask("get", "auth/token/lookup-self", Deadline(SECONDS), right="read")
    return str(answer.data["data"]["accessor"])


def auth_mount(server: OpenBaoServer, kind: str) -> str:
    """A fresh mount of an authentication method."""
    path = f"{kind}-{uuid.uuid4().hex}"
    server.admin.sys.enable_auth_method(kind, path=path)
    return path


def app_role(server: OpenBaoServer, secret_id_num_uses: int = 0, **options: str) -> AppRoleMethod:
    """A role and a secret id for it."""
    mount = auth_mount(server, "approle")
    approle = server.admin.auth.approle
    approle.create_or_update_approle("r", mount_point=mount, secret_id_num_uses=secret_id_num_uses, **options)
    return AppRoleMethod(
        app_role_id=approle.read_role_id("r", mount_point=mount)["data"]["role_id"],
        app_secret_id=SecretText(approle.generate_secret_id("r", mount_point=mount)["data"]["secret_id"]),
        auth_mount_point=mount,
    )


def userpass(server: OpenBaoServer, password: str = f"{CANARY}-password") -> VaultMethod:
    """A user, and a password that may be the wrong one."""
    mount = auth_mount(server, "userpass")
    server.admin.auth.userpass.create_or_update_user("ann", password=f"{CANARY}-password", mount_point=mount)
    return vault_method("userpass", {"username": "ann", "password": password, "auth_mount_point": mount})


def jwt_options(server: OpenBaoServer, life: timedelta = timedelta(hours=1)) -> dict[str, str]:
    """A role for tokens of a fresh identity provider, and such a token."""
    mount, key = auth_mount(server, "jwt"), rsa.generate_private_key(65_537, 2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    server.admin.auth.jwt.configure(jwt_validation_pubkeys=[public], path=mount)
    server.admin.auth.jwt.create_role(
        "r", user_claim="sub", allowed_redirect_uris=[], bound_audiences=["vault"], role_type="jwt", path=mount
    )
    now = datetime.now(UTC)
    issued, expires = int((now - timedelta(days=1)).timestamp()), int((now + life).timestamp())
    signed = signed_jwt(key, {"sub": "ann", "aud": "vault", "iat": issued, "exp": expires})
    return {"role": "r", "jwt": signed, "auth_mount_point": mount}


def signed_jwt(key: rsa.RSAPrivateKey, claims: dict[str, Any]) -> str:
    """A JWT by RS256."""
    signed = ".".join(coded(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    return f"{signed}.{coded(key.sign(signed.encode(), padding.PKCS1v15(), SHA256()))}"


def coded(data: bytes) -> str:
    """As in a JWT."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_every_method_logs_in(openbao: OpenBaoServer, tmp_path: Path) -> None:
    """Token, AppRole, userpass, and JWT (as it is, or in a file) give a token that works."""
    options = jwt_options(openbao)
    file = tmp_path / "token"
    file.write_text(options["jwt"] + "\n")
    token = openbao.admin.auth.token.create(policies=["default"])["auth"]["client_token"]
    methods = [
        vault_method("token", {"vault_token": token}),
        app_role(openbao),
        userpass(openbao),
        vault_method("jwt", options),
        vault_method("jwt", {"role": "r", "jwt_path": str(file), "auth_mount_point": options["auth_mount_point"]}),
    ]
    accessors = {who(VaultConnection(openbao.url, method)) for method in methods}
    assert len(accessors) == len(methods)


def test_a_pod_logs_in_with_the_token_of_its_file(openbao: OpenBaoServer, tmp_path: Path) -> None:
    """The file is read at each login, so a token that Kubernetes renewed is the one that is sent."""
    account = {"namespace": "ml", "serviceaccount": {"name": "training", "uid": "1"}}
    claims = {
        "iss": "kubernetes/serviceaccount",
        "sub": "system:serviceaccount:ml:training",
        "kubernetes.io": account,
        "aud": ["vault"],
    }
    expires = int(time.time()) + 3600
    pod_jwt = signed_jwt(rsa.generate_private_key(65_537, 2048), {**claims, "exp": expires, "iat": expires - 3600})
    kubernetes = Kubernetes(pod_jwt)
    try:
        mount, file = auth_mount(openbao, "kubernetes"), tmp_path / "token"
        auth = openbao.admin.auth.kubernetes
        ca = trustme.CA().cert_pem.bytes().decode()  # has to be given, also for plain HTTP
        url = f"http://{kubernetes.address}"
        auth.configure(url, kubernetes_ca_cert=ca, token_reviewer_jwt="x", mount_point=mount, disable_local_ca_jwt=True)
        auth.create_role("r", ["training"], ["ml"], mount_point=mount, audience="vault")
        connection = VaultConnection(
            openbao.url, vault_method("kubernetes", {"role": "r", "jwt_path": str(file), "auth_mount_point": mount})
        )
        file.write_text("an.old.token")
        with pytest.raises(StoreForbidden):
            who(connection)
        file.write_text(pod_jwt)
        assert who(connection)
    finally:
        kubernetes.stop()


def test_refused_logins_are_forbidden(openbao: OpenBaoServer) -> None:
    """A wrong password, an expired JWT, an unknown role, a missing mount or file: forbidden, with no credential in the error."""
    stranger = {"app_role_id": "x", "app_secret_id": f"{CANARY}-id"}
    expired = jwt_options(openbao, -timedelta(hours=1))
    methods = [
        userpass(openbao, f"{CANARY}-wrong"),
        vault_method("jwt", expired),
        vault_method("app-role", {**stranger, "auth_mount_point": auth_mount(openbao, "approle")}),
        vault_method("app-role", {**stranger, "auth_mount_point": "nowhere"}),
        vault_method("kubernetes", {"role": "r", "jwt_path": "/nowhere"}),
        vault_method("token", {"vault_token": f"{CANARY}-token"}),
    ]
    for method in methods:
        connection = VaultConnection(openbao.url, method)
        with pytest.raises(StoreForbidden, match=r"auth/|token") as refused:
            who(connection)
        error: BaseException | None = refused.value
        while error is not None:
            assert CANARY not in f"{error!r}{vars(error)}"
            assert isinstance(error, StrongroomError | OSError)
            error = error.__context__
        assert CANARY not in f"{connection!r}{vars(connection)}{method!r}"


def test_many_threads_log_in_once(openbao: OpenBaoServer) -> None:
    """First calls from many threads share one login: a secret id that may be used once is enough."""
    connection = VaultConnection(openbao.url, app_role(openbao, secret_id_num_uses=1))
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: who(connection), range(32)))) == 1


def test_a_dead_token_is_replaced(openbao: OpenBaoServer) -> None:
    """A token that was revoked costs no failed call, where there is a way to log in again; one that was given is told to be dead."""
    connection = VaultConnection(openbao.url, app_role(openbao))
    first = who(connection)
    openbao.admin.auth.token.revoke_accessor(first)
    assert who(connection) != first

    token = openbao.admin.auth.token.create(policies=["default"])["auth"]["client_token"]
    given = VaultConnection(openbao.url, vault_method("token", {"vault_token": token}))
    openbao.admin.auth.token.revoke_accessor(who(given))
    with pytest.raises(StoreForbidden, match="expired or was revoked"):
        who(given)


def test_a_login_after_an_outage(openbao: OpenBaoServer) -> None:
    """A back end that was down when the token had to be replaced is logged in again when it is back."""
    connection = VaultConnection(openbao.url, app_role(openbao))
    first = who(connection)
    openbao.admin.auth.token.revoke_accessor(first)
    for trouble in (openbao.sealed, openbao.paused):
        with trouble():
            for _ in range(2):
                with pytest.raises(Unavailable):
                    connection.ask("get", "auth/token/lookup-self", Deadline(0.3), right="read")
    assert who(connection) != first


def test_a_token_is_renewed_in_time(openbao: OpenBaoServer) -> None:
    """A token outlives its time while it is used; at the end of its longest life it is replaced, and no call fails."""
    renewed = VaultConnection(openbao.url, app_role(openbao, token_ttl="1s"))
    replaced = VaultConnection(openbao.url, app_role(openbao, token_ttl="1s", token_max_ttl="1s"))
    first, second, began = who(renewed), who(replaced), time.monotonic()
    while time.monotonic() < began + 1.5 or who(replaced) == second:
        assert who(renewed) == first
        assert time.monotonic() < began + 20
    with pytest.raises((hvac.exceptions.InvalidPath, hvac.exceptions.Forbidden, hvac.exceptions.InvalidRequest)):
        openbao.admin.auth.token.lookup_accessor(second)


def test_an_identity_of_aws_is_proved_by_a_signature() -> None:
    """The login holds a signed request to STS, and neither the secret key nor a `repr` of anything shows it."""
    method = vault_method(
        "aws",
        {
            "role": "r", "aws_access_key_id": "AKIAX", "aws_secret_access_key": f"{CANARY}-key",
            "aws_session_token": "session", "aws_region": "eu-west-1", "aws_header_value": "vault.example.com",
        },
    )  # fmt: skip
    assert isinstance(method, AwsMethod)
    login = method.login()
    assert isinstance(login, Login)
    decoded = {name: base64.b64decode(text).decode() for name, text in login.body.items() if name.startswith("iam_request")}
    headers = json.loads(decoded["iam_request_headers"])
    assert login.path == "auth/aws/login"
    assert decoded["iam_request_url"] == "https://sts.amazonaws.com/"
    assert parse_qs(decoded["iam_request_body"])["Action"] == ["GetCallerIdentity"]
    assert headers["X-Vault-AWS-IAM-Server-ID"] == "vault.example.com"
    assert headers["X-Amz-Security-Token"] == "session"
    assert "Credential=AKIAX/" in headers["Authorization"]
    assert "/eu-west-1/sts/aws4_request" in headers["Authorization"]
    assert CANARY not in f"{decoded}{method!r}{login!r}"


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("tokn", {}, "no authentication method 'tokn'"),
        ("token", {}, "needs the option 'vault_token'"),
        ("app-role", {"app_role_id": "x", "app_secret_id": ""}, "needs the option 'app_secret_id'"),
        ("userpass", {"username": "x", "password": "y", "user": "z"}, "no option 'user'"),
        ("jwt", {"role": "x"}, "either 'jwt' or 'jwt_path'"),
    ],
)
def test_wrong_options_are_told(name: str, options: dict[str, str], text: str) -> None:
    """An unknown method or option, or a missing one, is refused by name, and no text of an option is shown."""
    with pytest.raises(ConfigurationError, match=text):
        vault_method(name, options)


def test_methods_are_those_of_the_guide() -> None:
    """The names that operators write."""
    assert set(METHODS) == {"token", "app-role", "kubernetes", "jwt", "userpass", "aws"}


ODD_ADDRESSES = ["", "vault", "ftp://vault", "https://user@vault", "https://vault:x", "https://vault/ui"]


@pytest.mark.parametrize("address", [*ODD_ADDRESSES, "http://vault.example.com", "http://10.0.0.1:8200"])
def test_addresses_that_will_not_do(address: str) -> None:
    """Plain HTTP leaves the machine only if that is said, and what is no address is refused."""
    with pytest.raises(ConfigurationError):
        VaultConnection(address, vault_method("token", {"vault_token": "x"}))


def test_addresses_have_one_spelling() -> None:
    """The same server under another spelling is the same address."""
    method = vault_method("token", {"vault_token": "x"})
    assert VaultConnection("HTTPS://Vault.Example.com/", method).address == "https://vault.example.com:443"
    assert VaultConnection("http://vault", method, insecure=True).address == "http://vault:80"
    assert VaultConnection("http://[::1]:8200", method).address == "http://[::1]:8200"
    with pytest.raises(ConfigurationError, match="no file of certificates"):
        VaultConnection("https://vault", method, ca_cert="/nowhere")


def test_proxies_of_the_environment(openbao: OpenBaoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy is used, with or without its scheme written, but not for what NO_PROXY names."""
    method = vault_method("token", {"vault_token": openbao.admin.token})
    for proxy in ("http://127.0.0.1:1", "127.0.0.1:1"):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with pytest.raises(Unavailable):
            VaultConnection(openbao.url, method).identity(seconds=5)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert "root" in VaultConnection(openbao.url, method).identity(seconds=5)
