"""The Python interface."""

from __future__ import annotations

import copy
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from strongroom import Client as TopLevelClient
from strongroom.client import Client
from strongroom.config import Settings
from strongroom.errors import AlreadyExists, AmbiguousId, InvalidInput, NotFound, NothingToChange, StaleVersion, StrongroomError
from strongroom.models.secret import Scope
from strongroom.redaction import SecretText
from tests.canary import CANARY, holds_canary

ONE, TWO = f"{CANARY}-one", f"{CANARY}-two"


def test_the_journey_of_a_secret(client: Client) -> None:
    """Create, get, update, list and delete work as the first document shows them."""
    client.create_secret(name="my_secret", values={"username": "admin", "password": ONE}, scope="workspace")
    secret = client.get_secret("my_secret")
    assert secret.secret_values["password"] == ONE
    assert isinstance(secret.values, dict)
    assert isinstance(secret.values["password"], SecretText)
    client.update_secret("my_secret", add_or_update_values={"password": TWO}, remove_values=["username"], new_name="other")
    assert client.get_secret("other").secret_values == {"password": TWO}
    assert [item.name for item in client.list_secrets()] == ["other"]
    client.delete_secret("other")
    assert len(client.list_secrets()) == 0


def test_a_missing_secret_is_a_key_error(client: Client) -> None:
    """The guide's `except KeyError` catches a missing secret."""
    for attempt in (client.get_secret, client.delete_secret, client.list_secret_versions):
        with pytest.raises(KeyError):
            attempt("absent")


def test_plain_values_become_text(client: Client) -> None:
    """Numbers and booleans are stored as their JSON text."""
    client.create_secret("s", {"a": 1, "b": True, "c": 1.5, "d": SecretText(ONE)})
    assert client.get_secret("s").secret_values == {"a": "1", "b": "true", "c": "1.5", "d": ONE}
    client.update_secret("s", add_or_update_values={"a": False})
    assert client.get_secret("s").secret_values["a"] == "false"


@pytest.mark.parametrize(
    "values", [None, "text", ["a"], {1: "x"}, {"k": None}, {"k": {"x": CANARY}}, {"k": [CANARY]}, {"k": b"x"}], ids=range(8)
)
def test_other_values_are_refused(local_client: Client, values: Any) -> None:
    """What is no mapping of keys to texts is refused, on create and on update, without showing it."""
    local_client.create_secret("s", {"k": ONE})
    with pytest.raises(InvalidInput) as caught:
        local_client.create_secret("t", values)
    assert not holds_canary(str(caught.value))
    if values is not None:
        with pytest.raises(InvalidInput):
            local_client.update_secret("s", add_or_update_values=values)
    assert local_client.list_secrets().total == 1


@pytest.mark.parametrize("scope", ["User", "everyone", "", 1])
def test_unknown_scopes_are_refused(local_client: Client, scope: Any) -> None:
    """A scope is 'workspace' or 'user' and nothing else, wherever one is given."""
    local_client.create_secret("s", {"k": ONE})
    for attempt in (
        lambda: local_client.create_secret("t", {"k": ONE}, scope=scope),
        lambda: local_client.get_secret("s", scope=scope),
        lambda: local_client.list_secrets(scope=scope),
        lambda: local_client.update_secret("s", new_scope=scope),
        lambda: local_client.delete_secret("s", scope=scope),
    ):
        with pytest.raises(InvalidInput, match="a scope is"):
            attempt()
    assert [secret.scope for secret in local_client.list_secrets()] == [Scope.WORKSPACE]


def test_look_up_order(client: Client) -> None:
    """A name means the caller's own secret first, then the workspace's; a scope says which one."""
    shared = client.create_secret("s", {"k": ONE})
    own = client.create_secret("s", {"k": TWO}, scope="user")
    assert client.get_secret("s").id == client.get_secret("s", scope="user").id == own.id
    assert client.get_secret("s", scope="workspace").id == shared.id
    client.update_secret("s", scope="workspace", new_name="t")
    assert client.get_secret("t").id == shared.id
    client.delete_secret("s", scope="user")
    assert {secret.id for secret in client.list_secrets()} == {shared.id}


def test_look_up_by_full_id(client: Client) -> None:
    """Every method takes a full id, as text or as a UUID, and a scope along with it has to be the right one."""
    made = client.create_secret("s", {"k": ONE})
    for reference in (made.id, uuid.UUID(made.id)):
        for scope in (None, "workspace"):
            assert client.get_secret(reference, scope=scope).secret_values == {"k": ONE}
            assert client.get_secret_metadata(reference, scope=scope).id == made.id
            assert client.update_secret(reference, scope=scope, description=f"{scope}").id == made.id
            assert client.list_secret_versions(reference, scope=scope).total == 1
        for attempt in (client.get_secret, client.get_secret_metadata, client.delete_secret):
            with pytest.raises(NotFound):
                attempt(reference, scope="user")
    client.delete_secret(uuid.UUID(made.id), scope="workspace")
    with pytest.raises(NotFound):
        client.get_secret(made.id)


def test_a_name_that_looks_like_an_id(client: Client) -> None:
    """A name in the form of an id is found by name, unless it is the id of a secret; a UUID object is an id alone."""
    first = client.create_secret("first", {"k": ONE})
    odd = "0" * 8 + "-0000-7000-8000-" + "0" * 12
    second = client.create_secret(odd, {"k": ONE})
    assert client.get_secret(odd).id == second.id
    with pytest.raises(NotFound):
        client.get_secret(uuid.UUID(odd))
    client.create_secret(first.id, {"k": TWO})
    assert client.get_secret(first.id).id == first.id


def test_look_up_by_a_prefix_of_the_id(client: Client) -> None:
    """Reads take a unique prefix of 8 characters or more; an exact name comes first; writes never take one."""
    made = client.create_secret("s", {"k": ONE})
    for length in (8, 13, 35):
        assert client.get_secret(made.id[:length]).id == made.id
        assert client.get_secret_metadata(made.id[:length]).id == made.id
        assert client.list_secret_versions(made.id[:length]).total == 1
        assert client.get_secret(made.id[:length], scope="workspace").id == made.id
        with pytest.raises(NotFound):
            client.get_secret(made.id[:length], scope="user")
        for attempt in (
            client.delete_secret,
            lambda text: client.update_secret(text, description="x"),
            lambda text: client.rollback_secret(text, 1),
            client.get_secret_metadata_exactly,
        ):
            with pytest.raises(NotFound):
                attempt(made.id[:length])
    for short in (made.id[:7], made.id[:8].upper() + "x", made.id[1:10]):
        with pytest.raises(NotFound):
            client.get_secret(short)
    named = client.create_secret(made.id[:8], {"k": TWO})
    assert client.get_secret(made.id[:8]).id == named.id


def test_an_ambiguous_prefix_is_refused(client: Client) -> None:
    """A prefix that fits several secrets is an error that shows their ids and names."""
    made = [client.create_secret(f"s{number}", {"k": ONE}) for number in range(3)]
    same = made[1].id[:8]  # the clock may turn this over between two of them, not among all three
    alike = [secret for secret in made if secret.id.startswith(same)]
    with pytest.raises(AmbiguousId, match=f"{len(alike)} secrets have an id that starts with") as caught:
        client.get_secret(same)
    assert all(f"{secret.id} ({secret.name})" in (caught.value.hint or "") for secret in alike)


def test_did_you_mean(client: Client) -> None:
    """A failed look-up suggests a near name."""
    client.create_secret("mlflow_secret", {"k": ONE})
    with pytest.raises(NotFound) as caught:
        client.get_secret("mlflow-secret")
    assert caught.value.hint == "did you mean mlflow_secret?"


def test_values_set_and_removed_at_once_are_refused(client: Client) -> None:
    """A key both set and removed is an error and changes nothing; one key to remove may be given as a plain text."""
    client.create_secret("s", {"user": ONE, "k": TWO})
    with pytest.raises(InvalidInput, match="both set and removed"):
        client.update_secret("s", add_or_update_values={"k": ONE}, remove_values=["k"])
    assert client.update_secret("s", remove_values="user").keys == ["k"]
    with pytest.raises(NothingToChange):
        client.update_secret("s")
    with pytest.raises(StaleVersion):
        client.update_secret("s", remove_values="k", if_version=1)


def test_every_field_can_be_updated(client: Client) -> None:
    """All options of an update reach the secret at once."""
    client.create_secret("s", {"k": ONE})
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    client.update_secret(
        "s",
        add_or_update_values={"l": TWO},
        remove_values=["k"],
        new_name="t",
        new_scope="user",
        description="d",
        labels={"a": "b"},
        expires_at=moment,
        if_version=1,
    )
    secret = client.get_secret("t", scope="user")
    assert (secret.secret_values, secret.description, secret.labels, secret.expires_at) == ({"l": TWO}, "d", {"a": "b"}, moment)
    assert client.update_secret("t", expires_at=None).expires_at is None


def test_versions(client: Client) -> None:
    """History lists versions, each can be read, and a rollback makes one current."""
    client.create_secret("s", {"k": ONE})
    client.update_secret("s", add_or_update_values={"k": TWO})
    assert [version.version for version in client.list_secret_versions("s")] == [2, 1]
    assert client.get_secret("s", version=1).secret_values == {"k": ONE}
    assert client.get_secret_metadata("s", version=1).version == 1
    assert client.rollback_secret("s", 1).version == 1
    assert client.get_secret("s").secret_values == {"k": ONE}


def test_filters_reach_the_list(client: Client) -> None:
    """Every filter of a list works from Python, single times as plain text too."""
    client.create_secret("ml_a", {"k": ONE}, labels={"team": "ml"})
    client.create_secret("ml_b", {"k": ONE}, scope="user")
    made = client.create_secret("other", {"k": ONE})

    def names(**filters: Any) -> list[str]:
        return [secret.name for secret in client.list_secrets(**filters)]

    assert names(name="startswith:ml") == ["ml_a", "ml_b"]
    assert names(scope="user") == names(scope=Scope.USER) == ["ml_b"]
    assert names(labels={"team": "ml"}) == ["ml_a"]
    assert names(user="default") == ["ml_a", "ml_b", "other"]
    assert names(user="notequals:default") == []
    assert names(id=made.id) == names(created=f"gte:{made.created.isoformat()}") == ["other"]
    assert names(updated=["gte:2000-01-01T00:00:00Z", f"lt:{made.created.isoformat()}"]) == ["ml_a", "ml_b"]
    assert names(sort_by="desc:name", size=2) == ["other", "ml_b"]
    assert names(sort_by="name", size=2, page=2) == ["other"]


def test_clients_share_an_open_store(local_settings: Settings) -> None:
    """Clients with equal settings use one store; closing one leaves it open to the others; a closed client opens again."""
    one, two = Client(local_settings), Client(local_settings)
    one.create_secret("s", {"k": ONE})
    assert two.get_secret("s").secret_values == {"k": ONE}
    assert one._transport.opened().service() is two._transport.opened().service()  # type: ignore[attr-defined]
    one.close()
    assert two.get_secret("s").secret_values == {"k": ONE}
    two.close()
    two.close()
    with one:
        assert one.get_secret("s").secret_values == {"k": ONE}


def test_making_a_client_touches_nothing(new_local_settings: Settings) -> None:
    """A client costs nothing before its first call."""
    with Client(new_local_settings):
        pass
    assert not new_local_settings.folder.exists()


def test_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch, local_settings: Settings) -> None:
    """Without settings the environment counts, and `strongroom.Client` is the same class."""
    monkeypatch.setenv("STRONGROOM_CONFIG_PATH", str(local_settings.folder))
    with TopLevelClient() as client:
        client.create_secret("s", {"k": ONE})
    with Client(local_settings) as client:
        assert client.get_secret("s").secret_values == {"k": ONE}


def test_a_client_is_thread_safe(client: Client) -> None:
    """Eight threads share one client."""

    def work(number: int) -> dict[str, str]:
        client.create_secret(f"s{number}", {"k": f"{CANARY}-{number}"})
        client.update_secret(f"s{number}", add_or_update_values={"l": "x"})
        return client.get_secret(f"s{number}").secret_values

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(24)))
    assert results == [{"k": f"{CANARY}-{number}", "l": "x"} for number in range(24)]
    assert client.list_secrets().total == 24


def test_of_eight_threads_one_creates(client: Client) -> None:
    """Of eight threads that create one name, one wins and seven are told that it exists."""

    def create(number: int) -> str:
        try:
            return client.create_secret("s", {"k": f"{CANARY}-{number}"}).name
        except AlreadyExists as error:
            return error.code

    with ThreadPoolExecutor(8) as pool:
        outcomes = sorted(pool.map(create, range(8)))
    assert outcomes == ["already_exists"] * 7 + ["s"]


def test_errors_are_ours(client: Client) -> None:
    """Whatever goes wrong is a `StrongroomError` with a code."""
    with pytest.raises(StrongroomError) as caught:
        client.get_secret("absent")
    assert caught.value.code == "not_found"


def test_a_copy_of_a_secret_is_the_secret(client: Client) -> None:
    """A secret cannot be changed, and holds values that are not copied."""
    client.create_secret("s", {"k": CANARY})
    secret = client.get_secret("s")
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret
