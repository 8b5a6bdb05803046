"""Artifact stores that log in by a service connector: with a key, with keys that are renewed, and with a run's token alone."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import ssl
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.client import Client
from strongroom.connectors.aws_methods import Keys
from strongroom.connectors.aws_session import aio_session
from strongroom.connectors.deadline import Deadline
from strongroom.errors import ConfigurationError, NotFound, StoreForbidden, StrongroomError, Unavailable, Unresolved
from strongroom.pipelines import pipeline
from strongroom.redaction import Redactor, SecretText, redacting
from strongroom.steps import StepContext, step
from tests.canary import CANARY, holds_canary
from tests.fakes.azure import TENANT, Azure
from tests.fakes.google_identity import GoogleIdentity
from tests.fakes.google_storage import GoogleStorage
from tests.fakes.loopback import Answer, LoopbackServer, Request
from tests.integration.stack import add_to_stack, failing
from tests.servers.openbao import OpenBaoServer
from tests.servers.s3 import ROLE, S3Server

CONNECTOR = "service_connector"


@step
def weights() -> bytes:
    return bytes(range(256)) * 100


@step
def size(data: bytes) -> int:
    return len(data)


@pipeline
def measuring() -> None:
    size(weights())


def aws(client: Client, server: S3Server, name: str = "aws", **attributes: Any) -> str:
    """A connector with the server's key, which is a secret; its name."""
    given = {
        "auth_method": "secret-key",
        "aws_access_key_id": server.access_key_id,
        "aws_secret_access_key": server.secret_access_key,
        "region": server.region,
        "endpoint_url": server.url,
        "sts_endpoint_url": server.url,
        **attributes,
    }
    client.register_service_connector(name, type="aws", configuration={key: item for key, item in given.items() if item is not None})
    return name


def s3(client: Client, server: S3Server, connector: str, **attributes: Any) -> str:
    """An artifact store in a bucket of its own, in the active stack; the bucket."""
    bucket = server.bucket(f"test-{uuid.uuid4().hex}")
    add_to_stack(client, "artifact_store", "s3", {"path": f"s3://{bucket}/a", "connector": connector, **attributes}, "bucket")
    return bucket


def shows_nothing(error: BaseException) -> None:
    """No value in an error or what led to it."""
    assert not holds_canary("".join(traceback.format_exception(error)))


# S3.


def test_a_pipeline_with_a_key(client: Client, s3_server: S3Server) -> None:
    """A store whose credentials are those of a connector takes the outputs of a run, whose steps have nothing but its token.

    The run's record says which step read the connector's secret.
    """
    s3(client, s3_server, aws(client, s3_server))
    run = measuring()
    assert run.output("size") == 25_600
    assert run.output("weights") == weights()
    assert {(read.secret, read.key) for read in run.record.reads} == {("aws-credentials", "aws_secret_access_key")}
    assert client.active_stack.artifact_store.exists(run.steps["weights"].outputs[0].uri)


def test_an_assumed_role(client: Client, s3_server: S3Server) -> None:
    """Temporary keys of a role sign the requests; `identity` says whose they are."""
    s3(client, s3_server, aws(client, s3_server, auth_method="iam-role", role_arn=ROLE))
    assert measuring().output("size") == 25_600
    assert client.service_connector("aws").identity().endswith(":assumed-role/trainer/strongroom")


def test_own_attributes_win(client: Client, s3_server: S3Server) -> None:
    """A store's own key and address are used instead of the connector's."""
    wrong = aws(client, s3_server, aws_secret_access_key=f"{CANARY}-wrong", endpoint_url="http://127.0.0.1:1")
    client.create_secret("own", {"key": s3_server.access_key_id, "secret": s3_server.secret_access_key})
    s3(client, s3_server, wrong, key="{{own.key}}", secret="{{own.secret}}", endpoint_url=s3_server.url, region=s3_server.region)
    assert measuring().output("size") == 25_600


def test_wrong_credentials(client: Client, s3_server: S3Server, capfd: pytest.CaptureFixture[str]) -> None:
    """A wrong key is told from everything else, by the store and by the connector, and is not shown."""
    s3(client, s3_server, aws(client, s3_server, aws_secret_access_key=f"{CANARY}-wrong"))
    with pytest.raises(StrongroomError) as caught:
        measuring()
    assert "artifact store 'bucket' refused to" in str(caught.value)
    shows_nothing(caught.value)
    with pytest.raises(StoreForbidden, match="the secret access key is wrong") as refused:
        client.service_connector("aws").identity()
    shows_nothing(refused.value)
    assert not holds_canary("".join(capfd.readouterr()))


def test_a_missing_secret(client: Client, s3_server: S3Server) -> None:
    """Before a step runs, validation names the connector and its attribute, and what to do."""
    s3(client, s3_server, aws(client, s3_server))
    client.delete_secret("aws-credentials")
    with failing(Unresolved, "no step was started: 1 reference cannot be resolved", "register-secrets"):
        measuring()
    with pytest.raises(Unresolved, match="service connector 'aws', aws_secret_access_key"):
        client.service_connector("aws").connect()


class _Changing:
    """What a connection gives to sign with, one after the other."""

    def __init__(self, *keys: Keys | StrongroomError) -> None:
        self._keys = list(keys)

    def keys(self, _: object) -> Keys:
        found = self._keys[0] if len(self._keys) == 1 else self._keys.pop(0)
        if isinstance(found, StrongroomError):
            raise found
        return found


def test_each_request_has_fresh_keys(s3_server: S3Server) -> None:
    """A file system that is open signs each request with the keys of that moment; when there are none, that is what it says."""
    import s3fs

    good = Keys(access_key_id=s3_server.access_key_id, secret_access_key=SecretText(s3_server.secret_access_key))
    dead = Keys(access_key_id="AKIANOSUCHKEY0000000", secret_access_key=SecretText(f"{CANARY}-dead"))
    gone = Unavailable("STS of AWS does not answer")
    changing: Any = _Changing(good, dead, good, gone)
    bucket = s3_server.bucket(f"test-{uuid.uuid4().hex}")
    files = s3fs.S3FileSystem(
        session=aio_session(changing),
        client_kwargs={"endpoint_url": s3_server.url, "region_name": s3_server.region},
        skip_instance_cache=True,
    )
    files.pipe_file(f"{bucket}/a", b"first")
    with pytest.raises(PermissionError):
        files.pipe_file(f"{bucket}/b", b"second")
    files.pipe_file(f"{bucket}/c", b"third")
    with pytest.raises(Unavailable, match="STS of AWS does not answer"):
        files.pipe_file(f"{bucket}/d", b"fourth")


@step
def account(context: StepContext) -> str:
    """A step that uses the connector of its stack by itself."""
    assert context.stack.artifact_store.connector is not None
    found = Client().service_connector("aws")
    assert found is context.stack.artifact_store.connector
    with pytest.raises(NotFound, match="no component of stack 'tests' names"):
        Client().service_connector("other")
    with pytest.raises(AttributeError):
        _ = context.stack.service_connector
    return found.identity().rpartition(":")[2]


@pipeline
def asking() -> None:
    account()


def test_steps_use_the_connectors_of_their_stack(client: Client, s3_server: S3Server) -> None:
    """A step has the connectors that its stack's components name, and no others."""
    aws(client, s3_server, "other")
    s3(client, s3_server, aws(client, s3_server))
    assert asking().output("account") == "user/tests"


@step
def careless(context: StepContext) -> str:
    """Shows the keys of its login, and keeps their digest for the test."""
    keys = context.stack.artifact_store.connector.connect().keys(Deadline(20))
    assert keys.session_token is not None
    logging.getLogger("sdk").warning("signing with %s", keys.secret_access_key.reveal())
    print(f"token={keys.session_token.reveal()}")
    return hashlib.sha256(keys.session_token.reveal().encode()).hexdigest()


@pipeline
def showing() -> None:
    careless()


def test_temporary_keys_are_masked_in_a_run(
    client: Client, s3_server: S3Server, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """They are no value of a secret, but as good as one: what a step shows of them is masked, as in an SDK's debug log."""
    s3(client, s3_server, aws(client, s3_server, auth_method="iam-role", role_arn=ROLE))
    digest = showing().output("careless")
    assert "token=********" in capfd.readouterr().out
    assert "signing with ********" in caplog.text
    keys = client.service_connector("aws").connect().keys(Deadline(20))  # another login, with other keys, and outside of a run
    assert hashlib.sha256(keys.session_token.reveal().encode()).hexdigest() != digest
    print(f"token={keys.session_token.reveal()}")
    assert keys.session_token.reveal() in capfd.readouterr().out


# Google Cloud Storage.


@pytest.fixture
def storage(google_identity: GoogleIdentity) -> Iterator[GoogleStorage]:
    """A fake of Google Cloud Storage that takes tokens of the fake identity."""
    server = GoogleStorage(google_identity)
    yield server
    server.stop()


def test_a_store_in_google_cloud(client: Client, google_identity: GoogleIdentity, storage: GoogleStorage) -> None:
    """A service account's key logs in; objects are written, found and read by it."""
    key = json.dumps(google_identity.new_service_account("trainer"))
    configuration = {"project_id": "fake-project-1", "service_account_json": key}
    client.register_service_connector("google", type="gcp", auth_method="service-account", configuration=configuration)
    add_to_stack(client, "artifact_store", "gcs", {"path": "gs://bucket/a", "connector": "google", "endpoint_url": storage.url})
    assert measuring().output("size") == 25_600
    assert {name.rpartition("/")[2] for _, name in storage.objects} == {"output.bin", "output.json"}
    assert set(storage.callers) == {"trainer@fake-project-1.iam.gserviceaccount.com"}
    assert client.service_connector("google").identity() == (
        "trainer@fake-project-1.iam.gserviceaccount.com in the project fake-project-1"
    )


def read_until(store: Any, deadline: float) -> None:
    """Reads an object again and again."""
    while time.monotonic() < deadline:
        store.read("gs://bucket/a/first")


def test_tokens_of_google_are_renewed(client: Client, google_identity: GoogleIdentity, storage: GoogleStorage) -> None:
    """A file system that is open longer than a token lives goes on with the next one; a login that is refused is said so."""
    google_identity.life = 2.0
    configuration = {"project_id": "fake-project-1", "user_account_json": json.dumps(google_identity.user_account())}
    client.register_service_connector("google", type="gcp", auth_method="user-account", configuration=configuration)
    add_to_stack(client, "artifact_store", "gcs", {"path": "gs://bucket/a", "connector": "google", "endpoint_url": storage.url})
    store = client.active_stack.artifact_store
    store.write("first", b"1")
    first = google_identity.seen.count("/token")
    deadline = time.monotonic() + 30
    while google_identity.seen.count("/token") < first + 2:
        assert time.monotonic() < deadline
        assert store.read("gs://bucket/a/first") == b"1"
    assert set(storage.callers) == {"ann@example.com"}
    google_identity.refresh_token = f"{CANARY}-other"
    with pytest.raises(StoreForbidden, match="invalid_grant") as caught:
        read_until(store, deadline)
    shows_nothing(caught.value)


# Azure.


@pytest.fixture
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """A Key Vault and its Entra."""
    azure = Azure(tmp_path_factory.mktemp("azure"))
    yield azure
    azure.stop()


class _Blobs(LoopbackServer):
    """Knows who asks for a list of containers."""

    def __init__(self, azure: Azure) -> None:
        self.seen: list[str | None] = []
        self._azure = azure
        context: ssl.SSLContext = azure.authority.tls
        super().__init__(context)

    def answer(self, request: Request) -> Answer:
        token = request.bearer_token() or ""
        self.seen.append(token)
        _, end, resource = self._azure.entra.tokens.get(token, (None, 0.0, ""))
        if end < time.time() or resource != "https://storage.azure.com":
            return Answer(403, b"<Error><Code>AuthenticationFailed</Code></Error>", {"Content-Type": "application/xml"})
        body = b"<EnumerationResults><Containers><Container><Name>c</Name><Properties/></Container></Containers></EnumerationResults>"
        return Answer(200, body, {"Content-Type": "application/xml"})


def azure_connector(client: Client, azure: Azure, name: str = "azure", **attributes: Any) -> str:
    """A connector by an application's secret; its name."""
    application = azure.entra.new_application()
    options = {key: item for key, item in azure.options().items() if key in ("authority", "ca_cert", "disable_instance_discovery")}
    given = {"tenant_id": TENANT, "client_id": application.client_id, "client_secret": application.client_secret, **attributes}
    client.register_service_connector(name, type="azure", auth_method="service-principal", configuration={**options, **given})
    return name


def test_a_login_to_azures_storage(client: Client, azure: Azure) -> None:
    """What the store's file system is given logs in to storage, with tokens that are renewed; Azure's own client takes it."""
    from azure.storage.blob.aio import BlobServiceClient

    azure.entra.token_life = 2.0
    blobs = _Blobs(azure)
    add_to_stack(
        client,
        "artifact_store",
        "azure",
        {"path": "az://c/a", "account_name": "account", "connector": azure_connector(client, azure)},
    )
    store = client.active_stack.artifact_store
    credential = store.options()["credential"]

    async def names() -> list[str]:
        address = f"https://{blobs.address}"
        async with BlobServiceClient(address, credential, connection_verify=str(azure.authority.file)) as service:
            return [each.name async for each in service.list_containers()]

    try:
        deadline = time.monotonic() + 30
        while len(set(blobs.seen)) < 3:
            assert time.monotonic() < deadline
            assert asyncio.run(names()) == ["c"]
    finally:
        blobs.stop()
    identity = client.service_connector("azure").identity()
    assert identity.startswith("application ")
    assert identity.endswith(f"of tenant {TENANT}")


def test_azure_file_systems_take_the_credential(client: Client, azure: Azure) -> None:
    """The file system is opened with the connector's login, unless the store has a credential of its own."""
    configuration = {"path": "az://c/a", "account_name": "account", "connector": azure_connector(client, azure)}
    add_to_stack(client, "artifact_store", "azure", configuration, "one")
    opened = client.active_stack.artifact_store._filesystem
    assert opened.credential is not None
    client.create_secret("own", {"sas": f"{CANARY}-sas"})
    add_to_stack(client, "artifact_store", "azure", {**configuration, "sas_token": "{{own.sas}}"}, "two")
    assert "credential" not in client.active_stack.artifact_store.options()


def test_a_wrong_secret_of_azure(client: Client, azure: Azure) -> None:
    """Entra's refusal is told by its code, and shows no value; a Key Vault says who asks, where one is named."""
    azure_connector(client, azure, client_secret=f"{CANARY}-wrong")
    with pytest.raises(StoreForbidden, match="AADSTS7000215") as caught:
        client.service_connector("azure").identity()
    shows_nothing(caught.value)
    options = {key: item for key, item in azure.options().items() if key in ("vault_url", "verify_challenge_resource")}
    azure_connector(client, azure, "vaulted", **options)
    assert client.service_connector("vaulted").identity().startswith("application ")


# Tokens are masked.


def is_masked(log_in: Callable[[], str]) -> bool:
    """Whether what a login gives is masked in the runs that are under way, also if it is older than they are."""
    redactor = Redactor()
    log_in()
    with redacting(redactor):
        token = log_in()
        assert len(token) > 20
        return redactor.redact(f"it is {token}!") == "it is ********!"


def test_a_token_of_google_is_masked(client: Client, google_identity: GoogleIdentity) -> None:
    """Also in the header that it is sent in."""
    configuration = {"project_id": "fake-project-1", "user_account_json": json.dumps(google_identity.user_account())}
    client.register_service_connector("google", type="gcp", auth_method="user-account", configuration=configuration)
    connection = client.service_connector("google").connect()
    assert is_masked(lambda: connection.headers(Deadline(20))["authorization"].removeprefix("Bearer "))


def test_a_token_of_entra_is_masked(client: Client, azure: Azure) -> None:
    """The one that goes to a storage account."""
    credential = client.service_connector(azure_connector(client, azure)).filesystem_options()["credential"]
    assert is_masked(lambda: asyncio.run(credential.get_token("https://storage.azure.com/.default")).token)


def test_a_token_of_vault_is_masked(client: Client, openbao: OpenBaoServer) -> None:
    """The one that a login gives, as Vault tells it to whoever asks about it; the given one is a value of a secret."""
    mount = f"userpass-{uuid.uuid4().hex}"
    openbao.admin.sys.enable_auth_method("userpass", path=mount)
    openbao.admin.auth.userpass.create_or_update_user("ann", password=f"{CANARY}-password", mount_point=mount)
    configuration = {"vault_addr": openbao.url, "username": "ann", "password": f"{CANARY}-password", "auth_mount_point": mount}
    client.register_service_connector("vault", type="vault", auth_method="userpass", configuration=configuration)
    connection = client.service_connector("vault").connect()
    assert is_masked(lambda: connection.ask("get", "auth/token/lookup-self", Deadline(20), right="read").data["data"]["id"])


def test_keys_of_a_role_are_masked(client: Client, s3_server: S3Server) -> None:
    """Both the key and the token that goes with it."""
    connection = client.service_connector(aws(client, s3_server, auth_method="iam-role", role_arn=ROLE)).connect()
    assert is_masked(lambda: connection.keys(Deadline(20)).secret_access_key.reveal())
    assert is_masked(lambda: connection.keys(Deadline(20)).session_token.reveal())


# In Python.


def test_a_connection_to_vault(client: Client, openbao: OpenBaoServer) -> None:
    """`client.service_connector` gives a connection that is logged in with the values of secrets; the same one each time."""
    token = openbao.new_token('path "secret/*" { capabilities = ["read"] }', display_name="trainer")
    client.register_service_connector("vault", type="vault", configuration={"vault_addr": openbao.url, "vault_token": token})
    connector = client.service_connector("vault")
    assert connector.connect() is connector.connect()
    assert connector.identity().startswith("token-trainer with the policies default, policy-")
    with pytest.raises(ConfigurationError, match="is for no artifact store"):
        connector.filesystem_options()
    connector.close()
    client.update_service_connector("vault", configuration={"vault_token": SecretText(f"{CANARY}-wrong")})
    with pytest.raises(StoreForbidden, match="does not take the token") as caught:
        client.service_connector("vault").identity()
    shows_nothing(caught.value)
    assert not holds_canary(repr(connector) + repr(connector.config))


def test_registering_that_is_cut_off(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the answer to a registration is lost, the secret stays if the connector is there, and goes if it is not."""
    configuration = {"vault_addr": "https://x", "vault_token": CANARY}
    call: Callable[..., Any] = client.transport.call

    def losing(operation: Any, request: Any, *, before: bool) -> Any:
        if operation.name == "component.create":
            if not before:
                call(operation, request)
            raise Unavailable("the answer was lost")
        return call(operation, request)

    for before in (True, False):
        monkeypatch.setattr(
            client.transport, "call", lambda operation, request, before=before: losing(operation, request, before=before)
        )
        with pytest.raises(Unavailable, match="the answer was lost"):
            client.register_service_connector("vault", type="vault", configuration=configuration)
        assert client.list_secrets().total == (0 if before else 1)
    assert client.get_component(CONNECTOR, "vault").configuration["vault_token"] == "{{vault-credentials.vault_token}}"


def test_a_missing_certificate_file(client: Client, tmp_path: Path) -> None:
    """What is wrong with an attribute where it is used names it."""
    client.register_service_connector("azure", type="azure", configuration={"ca_cert": str(tmp_path / "absent.pem")})
    with pytest.raises(ConfigurationError, match="there is no file of certificates"):
        client.service_connector("azure").identity()
