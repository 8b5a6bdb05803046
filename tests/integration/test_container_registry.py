"""The fake of a container registry, as a client on HTTP sees it, and the component that has the credentials for one."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
import requests

from strongroom.client import Client
from strongroom.errors import InvalidInput
from strongroom.pipelines import pipeline
from strongroom.stacks.container_registry import ContainerRegistry as Component
from strongroom.steps import StepContext, step
from tests.canary import CANARY, holds_canary
from tests.fakes.container_registry import ContainerRegistry
from tests.integration.stack import add_to_stack


def get(registry: ContainerRegistry, path: str, password: str) -> requests.Response:
    """What a client gets that does what the registry's challenge says."""
    with requests.Session() as session:
        session.trust_env = False
        first = session.get(registry.url + path)
        assert first.status_code == 401
        assert first.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
        scheme, _, rest = first.headers["WWW-Authenticate"].partition(" ")
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        if scheme == "Basic":
            return session.get(registry.url + path, auth=(registry.user, password))
        assert scheme == "Bearer"
        answer = session.get(fields.pop("realm"), params=fields, auth=(registry.user, password))
        if answer.status_code != 200:
            return answer
        return session.get(registry.url + path, headers={"Authorization": f"Bearer {answer.json()['token']}"})


def test_the_right_password_opens_the_registry(container_registry: ContainerRegistry) -> None:
    """A client that follows the challenge is let in and sees the tags of a repository."""
    assert get(container_registry, "/v2/", container_registry.password).status_code == 200
    tags = get(container_registry, "/v2/team/model/tags/list", container_registry.password)
    assert tags.json() == {"name": "team/model", "tags": ["1.0", "latest"]}
    unknown = get(container_registry, "/v2/team/nothing/tags/list", container_registry.password)
    assert (unknown.status_code, unknown.json()["errors"][0]["code"]) == (404, "NAME_UNKNOWN")


def test_a_wrong_password_is_refused(container_registry: ContainerRegistry) -> None:
    """A wrong password opens nothing."""
    for path in ("/v2/", "/v2/team/model/tags/list"):
        refused = get(container_registry, path, f"{CANARY}-wrong")
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (401, "UNAUTHORIZED")


def test_a_token_opens_what_it_was_asked_for() -> None:
    """A token for one repository does not open another one, and the challenge says why."""
    registry = ContainerRegistry("robot", f"{CANARY}-registry", "bearer", {"a": ["1"], "b": ["1"]})
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(
                f"{registry.url}/token", params={"scope": "repository:a:pull,push"}, auth=("robot", registry.password)
            )
            session.headers["Authorization"] = f"Bearer {answer.json()['token']}"
            assert session.get(f"{registry.url}/v2/a/tags/list").json() == {"name": "a", "tags": ["1"]}
            refused = session.get(f"{registry.url}/v2/b/tags/list")
            assert refused.status_code == 401
            assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    finally:
        registry.stop()


@pytest.fixture
def registered(client: Client, container_registry: ContainerRegistry) -> Client:
    """A stack with this registry, credentials in a secret."""
    client.create_secret("registry", {"username": container_registry.user, "password": container_registry.password})
    configuration = {
        "uri": f"{container_registry.url}/team/",
        "username": "{{registry.username}}",
        "password": "{{registry.password}}",
        "insecure": True,
    }
    add_to_stack(client, "container_registry", "default", configuration, "images")
    return client


def credentials(config: str, host: str) -> tuple[str, str]:
    """What docker and the like take out of a `config.json`."""
    user, _, password = base64.b64decode(json.loads(config)["auths"][host]["auth"]).decode().partition(":")
    return user, password


def test_credentials_in_the_form_of_docker(registered: Client, container_registry: ContainerRegistry) -> None:
    """The component's `config.json` has what the registry takes, for just its host."""
    images = registered.active_stack.container_registry
    assert images.host == container_registry.address
    assert images.image("model", "1.0") == f"{container_registry.address}/team/model:1.0"
    user, password = credentials(images.docker_config(), images.host)
    assert user == container_registry.user
    assert get(container_registry, "/v2/team/model/tags/list", password).json()["tags"] == ["1.0", "latest"]


def test_a_step_logs_in(registered: Client, container_registry: ContainerRegistry, tmp_path: Path) -> None:
    """Within the block the file is there for this user alone, both variables name it; after it, or an error in it, it is gone."""
    seen: dict[str, Path] = {}

    def look(images: Component, key: str) -> None:
        with images.logged_in() as environment:
            folder, path = Path(environment["DOCKER_CONFIG"]), Path(environment["REGISTRY_AUTH_FILE"])
            assert path == folder / "config.json"
            assert (folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
            assert credentials(path.read_text(), images.host) == (container_registry.user, container_registry.password)
            assert set(environment) == {"DOCKER_CONFIG", "REGISTRY_AUTH_FILE"}
            seen[key] = folder
            if key == "failed":
                raise InterruptedError

    @step
    def push(context: StepContext) -> None:
        look(context.stack.container_registry, "done")
        with pytest.raises(InterruptedError):
            look(context.stack.container_registry, "failed")

    @pipeline
    def pushing() -> None:
        push()

    run = pushing()
    assert {(read.secret, read.key) for read in run.record.reads} == {("registry", "username"), ("registry", "password")}
    assert set(seen) == {"done", "failed"}
    assert not any(folder.exists() for folder in seen.values())


def test_a_registry_without_credentials(client: Client) -> None:
    """A public registry needs none: its `config.json` is empty."""
    add_to_stack(client, "container_registry", "default", {"uri": "registry.example.com/team"}, "public")
    images = client.active_stack.container_registry
    assert json.loads(images.docker_config()) == {"auths": {}}
    assert images.image("model") == "registry.example.com/team/model:latest"
    with pytest.raises(InvalidInput, match="the name of an image"):
        images.image("/model")


def test_nothing_of_it_is_printed(registered: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """A step that prints the `config.json`, where user and password are in base64, shows neither."""

    @step
    def show(context: StepContext) -> None:
        print(context.stack.container_registry.docker_config())

    @pipeline
    def showing() -> None:
        show()

    showing()
    out = capsys.readouterr().out
    assert not holds_canary(out)
    assert '"auths"' in out
