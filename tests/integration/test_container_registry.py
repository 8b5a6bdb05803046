"""The fake of a container registry, as a client on HTTP sees it."""

from __future__ import annotations

import re

import requests

from tests.canary import CANARY
from tests.fakes.container_registry import ContainerRegistry


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
