"""A database is lost while its values are with AWS, Google or Azure: which deployments there are, and their secrets brought back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from strongroom.client import Client, administration
from strongroom.config import PREFIX, Settings, StoreSettings, read_settings
from strongroom.errors import StoreForbidden
from strongroom.models.job import JobReport
from strongroom.secrets_stores.base import About, ListsDeployments, SecretsStore
from strongroom.secrets_stores.opening import open_external
from tests.canary import CANARY
from tests.conftest import DATABASES
from tests.fakes.aws import REGION, AwsServer
from tests.fakes.azure import TENANT, Azure
from tests.fakes.google_identity import GoogleIdentity
from tests.fakes.secret_manager import PROJECT, SecretManager
from tests.integration.aws_place import NOTHING, least
from tests.integration.gcp import RIGHTS

ONE, TWO, THREE = (f"{CANARY}-{each}" for each in ("one", "two", "three"))

ANOTHER = "strongroom2"
"""A prefix at the same place."""


@dataclass(frozen=True)
class Cloud:
    """One of them: how its store is configured, with the rights of its policy alone, and how to see to it that it may do nothing."""

    settings: StoreSettings
    requests: Callable[[], int]
    forbid: Callable[[], object]

    @property
    def numbers(self) -> bool:
        """Whether it keeps the numbers of versions."""
        return self.settings.type != "aws"

    def store(self, deployment_id: str, **options: str) -> Any:
        """Opened for a deployment."""
        given = replace(self.settings, options=tuple({**dict(self.settings.options), **options}.items()))
        return open_external(given, deployment_id)


@pytest.fixture(params=["aws", "gcp", "azure"])
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    """Each of the fakes in turn."""
    yield from {"aws": _aws, "gcp": _gcp, "azure": _azure}[request.param](request)


def _aws(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    server = AwsServer()
    policy = least()
    policy["Statement"] += least(prefix=ANOTHER)["Statement"]
    key = server.add(policy=policy)
    options = {
        "region": REGION, "endpoint_url": server.url, "aws_access_key_id": key.access_key_id,
        "aws_secret_access_key": key.secret_access_key,
    }  # fmt: skip

    def forbid() -> None:
        server.credentials[key.access_key_id] = replace(key, policy=NOTHING)

    yield Cloud(StoreSettings("aws", "secret-key", 10, tuple(options.items())), lambda: len(server.calls), forbid)
    server.stop()


def _gcp(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    google: SecretManager = request.getfixturevalue("google")
    identity: GoogleIdentity = request.getfixturevalue("google_identity")
    key = identity.new_service_account("strongroom")
    google.grant(key["client_email"], *RIGHTS)
    options = {"project_id": PROJECT, "service_account_json": json.dumps(key), "endpoint": f"http://{google.address}"}
    settings = StoreSettings("gcp", "service-account", 10, tuple(options.items()))
    yield Cloud(settings, lambda: len(google.calls), google.granted.clear)


def _azure(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    folder: Path = request.getfixturevalue("tmp_path")
    azure = Azure(folder)
    application = azure.entra.new_application()
    options = {name: str(each).lower() if isinstance(each, bool) else each for name, each in azure.options().items()}
    options |= {"tenant_id": TENANT, "client_id": application.client_id, "client_secret": application.client_secret}

    def forbid() -> None:
        application.rights = frozenset()

    settings = StoreSettings("azure", "service-principal", 10, tuple(options.items()))
    yield Cloud(settings, lambda: len(azure.vault.requests), forbid)
    azure.stop()


@pytest.fixture
def lost_settings(cloud: Cloud, tmp_path: Path) -> Settings:
    """The settings of a deployment that will be lost."""
    return replace(read_settings({f"{PREFIX}CONFIG_PATH": str(tmp_path / "lost")}), secrets_store=cloud.settings)


@pytest.mark.parametrize("settings", DATABASES, indirect=True)
def test_the_whole_way(cloud: Cloud, settings: Settings, lost_settings: Settings) -> None:
    """Into each database: the id is listed, the secrets come back with their versions, and all is as the index says."""
    with Client(lost_settings) as client:
        made = [client.create_secret(f"s{number}", {"user": ONE, "password": f"{CANARY}-{number}"}) for number in range(5)]
        client.update_secret("s1", new_name="renamed")
        for value in (TWO, THREE):
            client.update_secret("renamed", add_or_update_values={"user": value})
        client.delete_secret("s2")
        lost_id = client.info().deployment_id
    new = replace(settings, secrets_store=cloud.settings)
    (listed,) = administration.list_deployments(new).values()
    assert listed == [lost_id]
    seen: list[tuple[int, int]] = []
    report = administration.recover(new, lost_id, lambda done, total: seen.append((done, total)))
    assert (report, seen[-1]) == (JobReport(done=4), (4, 4))
    assert administration.recover(new, lost_id, lambda done, total: None) == JobReport(skipped=4)
    with Client(new) as client:
        assert client.info().deployment_id == lost_id
        name = "renamed" if cloud.numbers else "s1"  # AWS has the tags of the first put
        assert {each.name for each in client.list_secrets()} == {"s0", name, "s3", "s4"}
        found = client.get_secret(name)
        assert (found.id, found.version) == (made[1].id, 3)
        assert found.secret_values == {"user": THREE, "password": f"{CANARY}-1"}
        assert client.get_secret(name, version=2).secret_values["user"] == TWO
        assert client.verify_secrets(deep=True) == JobReport(done=4)
        assert client.update_secret("s0", add_or_update_values={"user": TWO}).version == 2


def test_deployments_are_listed_page_by_page(cloud: Cloud) -> None:
    """Each once, however much it has; not those at another prefix, nor what is not strongroom's."""
    ids = sorted(str(uuid4()) for _ in range(3))
    elsewhere = str(uuid4())
    puts = [(cloud.store(ids[number % 3]), ids[number % 3]) for number in range(3)]
    put(cloud.store(elsewhere, prefix=ANOTHER), elsewhere)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: put(*puts[number % 3]), range(120)))
    store, before = cloud.store("d"), cloud.requests()
    assert isinstance(store, ListsDeployments)
    assert store.deployments(seconds=10) == ids
    assert 2 <= cloud.requests() - before <= 8
    assert cloud.store("d", prefix="nothing").deployments(seconds=10) == []


def test_a_refusal_is_told(cloud: Cloud) -> None:
    """A refusal is one, and no list that is empty."""
    store = cloud.store("d")
    put(store, "d")
    cloud.forbid()
    with pytest.raises(StoreForbidden):
        store.deployments(seconds=10)


def put(store: SecretsStore, deployment_id: str) -> None:
    """One version of a new secret."""
    secret_id = str(uuid4())
    about = About(deployment_id=deployment_id, secret_id=secret_id, name="s", scope="workspace", workspace="default", version=1)
    store.put(store.new_locator(secret_id), {"k": ONE}, about, seconds=10)
