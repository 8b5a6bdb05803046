"""Secrets managers keep their promises: on a real OpenBao, on fakes of AWS, Google and Azure, and in a file.

What one service does and others do not is in `test_secrets_managers_services.py`, what happens when services fail in
`test_secrets_managers_faults.py`, and what references make of them in `test_secrets_managers_resolution.py`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier
from typing import Any

import pytest

from strongroom.client import Client
from strongroom.errors import AlreadyExists, InvalidInput, NotFound, TooLarge, ValuesCorrupt
from strongroom.models.secrets_manager import NAME_RULES
from strongroom.stacks.secrets_manager import SecretsManager
from tests.canary import CANARY, holds_canary
from tests.integration.manager_places import OTHERS, VALUES, Google, Managers, Place, contents, shows_nothing

SERVICES = ["aws", "azure", "gcp", "vault"]
pytestmark = pytest.mark.usefixtures("_credentials_stand_in_the_index")


@pytest.fixture
def managers(client: Client, place: Place) -> Managers:
    """Managers of one service after the other."""
    return Managers(client, place.flavor, place.attributes)


@pytest.fixture
def manager(managers: Managers) -> SecretsManager:
    """One of a service."""
    return managers.add()


@pytest.fixture(params=[*SERVICES, "local"])
def any_manager(request: pytest.FixtureRequest, client: Client) -> SecretsManager:
    """One of each flavor."""
    if request.param == "local":
        return Managers(client, "local", {}).add()
    place: Place = request.getfixturevalue(f"{request.param}_place")
    return Managers(client, place.flavor, place.attributes).add()


# Of all flavors.


def test_a_life(any_manager: SecretsManager) -> None:
    """What is registered is found, listed, changed, replaced and deleted, each as a whole; nothing shows a value by accident."""
    manager = any_manager
    assert manager.list_secrets() == []
    assert manager.find_secret("s") is None
    manager.register_secret("s", VALUES)
    manager.register_secret("another", OTHERS)
    assert manager.find_secret("s") == VALUES
    assert manager.get_secret("s").content == VALUES
    assert manager.list_secrets() == ["another", "s"]
    assert sorted(manager.change_secret("s", {"user": f"{CANARY}-new", "more": ""}, ["password"])) == ["more", "user"]
    assert manager.find_secret("s") == {"user": f"{CANARY}-new", "more": ""}
    manager.update_secret("s", OTHERS)
    assert contents(manager) == {"another": OTHERS, "s": OTHERS}
    manager.delete_secret("s")
    assert contents(manager) == {"another": OTHERS}
    assert not holds_canary(f"{manager!r}{manager.config!r}{manager.get_secret('another')!r}{vars(manager)}")


def test_names_are_exact(any_manager: SecretsManager) -> None:
    """No other case and no part of a name leads to a secret."""
    manager = any_manager
    manager.register_secret("my-Secret", VALUES)
    for name in (
        "my-secret",
        "MY-SECRET",
        "my-Secre",
        "my-Secret1",
        "my-Secret-",
        "Secret",
        "y-Secret",
        "*",
        "",
        "my-Secret/",
        "../s",
    ):
        assert manager.find_secret(name) is None
        with pytest.raises(KeyError):
            manager.get_secret(name)
        for failing in (
            lambda name=name: manager.update_secret(name, OTHERS),
            lambda name=name: manager.change_secret(name, OTHERS),
            lambda name=name: manager.delete_secret(name),
        ):
            with pytest.raises((NotFound, InvalidInput)) as caught:
                failing()
            shows_nothing(caught.value)
    with pytest.raises(NotFound) as caught:
        manager.get_secret("my-Secre")
    assert caught.value.hint == "did you mean my-Secret?"
    assert contents(manager) == {"my-Secret": VALUES}


def test_failures_change_nothing(any_manager: SecretsManager) -> None:
    """A name that is taken, values that can be no secret's, and keys that are not there leave everything as it was."""
    manager = any_manager
    manager.register_secret("s", VALUES)
    with pytest.raises(AlreadyExists, match="'s'") as taken:
        manager.register_secret("s", OTHERS)
    shows_nothing(taken.value)
    bad: list[dict[str, str]] = [{}, {"name": CANARY}, {"a b": CANARY}, {"a": f"{CANARY}\ud800"}, {"a": CANARY * 6000}]
    for values in bad:
        for call in (manager.register_secret, manager.update_secret):
            with pytest.raises(InvalidInput) as caught:
                call("s", values)
            shows_nothing(caught.value)
    for changed, removed in (({}, ["user", "password"]), ({}, ["absent"]), (OTHERS, ["token"]), ({"a": f"{CANARY}\ud800"}, [])):
        with pytest.raises(InvalidInput) as caught:
            manager.change_secret("s", changed, removed)
        shows_nothing(caught.value)
    for name in ("a.b", "a b", "name", "ä", "x" * 256):
        with pytest.raises(InvalidInput):
            manager.register_secret(name, VALUES)
    assert contents(manager) == {"s": VALUES}


def test_any_text_is_a_value(any_manager: SecretsManager) -> None:
    """Empty, of many lines, with quotes, controls and characters of every plane."""
    texts = ["", " ", "\n\r\t\0", "'\"\\", "{{a.b}}", "null", "[1]", "ä€\U0001f511", "\u2028\ufeff\uffff", "\x7f\x1b[31m"]
    values = {f"key.{number}-_": f"{CANARY}{text}" if text else "" for number, text in enumerate(texts)}
    any_manager.register_secret("s", values)
    assert any_manager.get_secret("s").content == values
    any_manager.update_secret("s", {"one": ""})
    assert any_manager.get_secret("s").content == {"one": ""}


def test_a_name_is_free_again(any_manager: SecretsManager) -> None:
    """A secret that was deleted is gone for all; its name can be registered again, with nothing of the former values."""
    for values in (VALUES, OTHERS, VALUES):
        any_manager.register_secret("s", values)
        assert contents(any_manager) == {"s": values}
        any_manager.delete_secret("s")
        assert any_manager.list_secrets() == []
        assert any_manager.find_secret("s") is None
        for gone in (any_manager.get_secret, any_manager.delete_secret):
            with pytest.raises(NotFound):
                gone("s")
        with pytest.raises(NotFound):
            any_manager.update_secret("s", OTHERS)


def test_one_of_many_gets_the_name(any_manager: SecretsManager) -> None:
    """Of eight who register a name at the same moment one does, and its values stay. Key Vault cannot promise the first half."""
    manager, barrier = any_manager, Barrier(8)
    manager.find_secret("s")  # logged in

    def register(number: int) -> int | None:
        barrier.wait()
        with suppress(AlreadyExists):
            manager.register_secret("s", {"who": f"{CANARY}-{number}"})
            return number
        return None

    with ThreadPoolExecutor(8) as threads:
        won = [each for each in threads.map(register, range(8)) if each is not None]
    found = manager.get_secret("s").content["who"]
    assert found in {f"{CANARY}-{number}" for number in won}
    assert len(won) == 1 or manager.flavor == "azure"
    assert manager.list_secrets() == ["s"]


@pytest.mark.parametrize("flavor", ["vault", "local"])
def test_changes_at_the_same_moment(request: pytest.FixtureRequest, client: Client, flavor: str) -> None:
    """Where changes are atomic, eight of different keys are all made."""
    attributes = request.getfixturevalue("vault_place").attributes if flavor == "vault" else {}
    manager, barrier = Managers(client, flavor, attributes).add(), Barrier(8)
    manager.register_secret("s", {"first": "", **{f"old{number}": "" for number in range(8)}})

    def change(number: int) -> None:
        barrier.wait()
        manager.change_secret("s", {f"new{number}": f"{CANARY}-{number}"}, [f"old{number}"])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(change, range(8)))
    assert manager.find_secret("s") == {"first": "", **{f"new{number}": f"{CANARY}-{number}" for number in range(8)}}


# Of those of services.


def test_the_largest_values(manager: SecretsManager) -> None:
    """What the service takes is stored; one byte more is refused, and nothing is written."""
    limit = {"aws": 65_536, "gcp": 65_536, "azure": 25_600, "vault": 65_536}[manager.flavor]
    frame = 1 if manager.flavor == "vault" else len(b'{"k":""}')
    text = CANARY + "x" * (limit - frame - len(CANARY))
    manager.register_secret("s", {"k": text})
    assert manager.get_secret("s").content == {"k": text}
    for call in (manager.update_secret, manager.change_secret):
        with pytest.raises(TooLarge) as caught:
            call("s", {"k": f"{text}x"})
        shows_nothing(caught.value)
    with pytest.raises(TooLarge, match=f"{limit:,}|{limit}"):
        manager.register_secret("t", {"k": f"{text}x"})
    assert contents(manager) == {"s": {"k": text}}


@pytest.fixture
def scopes(managers: Managers) -> Mapping[str, SecretsManager]:
    """A manager of each scope, and others that differ in one thing."""
    return {
        "none": managers.add("none", scope="none"),
        "global": managers.add("global", scope="global"),
        "one": managers.add("one"),
        "two": managers.add("two", scope="component"),
        "team": managers.add("team", scope="namespace", namespace="team"),
        "team2": managers.add("team2", scope="namespace", namespace="team2"),
        "their-global": managers.add("their-global", scope="global", prefix="their"),
        "their-team": managers.add("their-team", scope="namespace", namespace="team", prefix="their"),
    }


def test_scopes_are_kept_apart(scopes: Mapping[str, SecretsManager]) -> None:
    """The same name in each scope is another secret: found, listed, changed and deleted by its own manager alone."""
    wanted = {scope: {"s": {"scope": f"{CANARY}-{scope}"}} for scope in scopes}
    for scope, manager in scopes.items():
        assert manager.list_secrets() == []
        manager.register_secret("s", wanted[scope]["s"])
    assert {scope: contents(manager) for scope, manager in scopes.items()} == wanted
    for scope, manager in scopes.items():
        manager.change_secret("s", {"more": f"{CANARY}-{scope}"})
        wanted[scope]["s"]["more"] = f"{CANARY}-{scope}"
        assert {each: contents(other) for each, other in scopes.items()} == wanted
    for scope, manager in scopes.items():
        for name in manager.list_secrets():  # as cleanup does
            manager.delete_secret(name)
        wanted[scope] = {}
        assert {each: contents(other) for each, other in scopes.items()} == wanted


def test_names_that_begin_as_another_scope(scopes: Mapping[str, SecretsManager], place: Place) -> None:
    """A name that looks as if it led to another scope does not, or is refused where it would."""
    separator = NAME_RULES[place.flavor].separator
    scopes["team2"].register_secret("s", VALUES)
    scopes["global"].register_secret("s", VALUES)
    for name in (f"strongroom{separator}namespace{separator}team2{separator}s", f"strongroom{separator}global{separator}s"):
        with pytest.raises(InvalidInput):
            scopes["none"].register_secret(name, OTHERS)
        assert scopes["none"].find_secret(name) is None
        with pytest.raises((InvalidInput, NotFound)):
            scopes["none"].delete_secret(name)
        with pytest.raises((InvalidInput, NotFound)):
            scopes["none"].update_secret(name, OTHERS)
    scopes["team"].register_secret("2-s", OTHERS)
    scopes["global"].register_secret("namespace-team2-s", OTHERS)
    assert {scope: contents(manager) for scope, manager in scopes.items() if contents(manager)} == {
        "global": {"s": VALUES, "namespace-team2-s": OTHERS},
        "team": {"2-s": OTHERS},
        "team2": {"s": VALUES},
    }


def test_a_shared_scope(managers: Managers) -> None:
    """Managers of one namespace see the same secrets; so do those of one component id, and a component that was renamed."""
    first, second = (managers.add(name, scope="namespace", namespace="team") for name in ("first", "second"))
    first.register_secret("s", VALUES)
    assert contents(second) == {"s": VALUES}
    own = managers.add("own")
    own.register_secret("mine", OTHERS)
    managers.client.update_component("secrets_manager", "own", new_name="renamed")
    assert contents(managers.open()) == {"mine": OTHERS}
    heir = managers.add("heir", component_id=own.id.replace("-", ""))
    assert contents(heir) == {"mine": OTHERS}


def test_the_scope_none_among_others(managers: Managers, place: Place) -> None:
    """It lists what secrets managers made there; what others made is read by its exact name, changed, and never adopted."""
    manager = managers.add(scope="none")
    place.write("theirs", json.dumps(VALUES), {"name": "production", "owner": "team"})
    manager.register_secret("ours", OTHERS)
    assert manager.list_secrets() == ["ours"]
    assert manager.get_secret("theirs").content == VALUES
    with pytest.raises(AlreadyExists):
        manager.register_secret("theirs", OTHERS)
    manager.change_secret("theirs", OTHERS)
    assert manager.get_secret("theirs").content == VALUES | OTHERS
    assert manager.list_secrets() == ["ours"]
    manager.delete_secret("theirs")
    assert place.read("theirs") is None
    manager.register_secret("theirs", VALUES)
    assert contents(manager) == {"ours": OTHERS, "theirs": VALUES}


@pytest.mark.parametrize("scope", ["none", "global"])
def test_what_is_no_secret(managers: Managers, place: Place, scope: str) -> None:
    """What is no JSON object of texts is corrupt, is not shown or changed, and is deleted only where it can be nobody else's."""
    manager = managers.add(scope=scope)
    full = "odd" if scope == "none" else place.full("strongroom", "global", "odd")
    texts = [json.dumps({"a": {"b": CANARY}}), json.dumps({"a": 1, "b": CANARY})]
    if place.flavor != "vault":
        texts += [json.dumps([CANARY]), f"{CANARY} plain text", f'{{"a": "{CANARY}']
    for text in texts:
        place.write(full, text)
        for call in (
            lambda: manager.find_secret("odd"),
            lambda: manager.get_secret("odd"),
            lambda: manager.update_secret("odd", OTHERS),
            lambda: manager.change_secret("odd", OTHERS),
        ):
            with pytest.raises(ValuesCorrupt, match=r"'odd'.* is no JSON object of texts") as caught:
                call()
            shows_nothing(caught.value)
        with pytest.raises(AlreadyExists):
            manager.register_secret("odd", OTHERS)
        found = place.read(full)
        assert found is not None
        assert found == text or json.loads(found) == json.loads(text)
    if scope == "none":
        with pytest.raises(ValuesCorrupt):
            manager.delete_secret("odd")
        assert place.read(full) is not None
    else:
        manager.delete_secret("odd")
        assert place.read(full) is None


def test_other_tools_can_read_it(managers: Managers, place: Place) -> None:
    """Values are plain JSON under a name that tells the scope, for the vendor's own client."""
    managers.add("all", scope="global").register_secret("s", VALUES)
    assert json.loads(place.read(place.full("strongroom", "global", "s")) or "") == VALUES
    own = managers.add("own")
    own.register_secret("s", OTHERS)
    assert json.loads(place.read(place.full("strongroom", "component", own.id.replace("-", ""), "s")) or "") == OTHERS
    managers.add("plain", scope="none").register_secret("s", VALUES)
    assert json.loads(place.read("s") or "") == VALUES


def test_secrets_of_another_system(managers: Managers, place: Place) -> None:
    """With its prefix, and its component's id, they are found and listed as that system wrote them, without its own key."""
    component = str(uuid.uuid4())
    stored = json.dumps({"zenml_schema_name": "arbitrary", **VALUES})
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "global": ("", {"scope": "global"}),
        "namespace": ("team", {"scope": "namespace", "namespace": "team"}),
        "component": (component, {"scope": "component", "component_id": component}),
    }
    for scope, (inner, attributes) in kinds.items():
        full = place.full("zenml", scope, *([inner] if inner else []), "their-secret")
        place.write(full, stored, {"zenml_scope": scope, "zenml_secret_name": "their-secret"})
        manager = managers.add(scope, prefix="zenml", **attributes)
        assert manager.list_secrets() == ["their-secret"]
        assert manager.get_secret("their-secret").content == VALUES
        manager.change_secret("their-secret", {"user": f"{CANARY}-changed"})
        assert manager.get_secret("their-secret").content == VALUES | {"user": f"{CANARY}-changed"}
        manager.delete_secret("their-secret")
        assert place.read(full) is None


def test_rules_for_names(managers: Managers, place: Place) -> None:
    """What a service takes for a name is said in words; the longest name works, and one more character is refused."""
    manager = managers.add(scope="global")
    room = min(255, NAME_RULES[place.flavor].max_length - len(place.full("strongroom", "global", "")))
    longest = "x" * room
    manager.register_secret(longest, VALUES)
    assert contents(manager) == {longest: VALUES}
    with pytest.raises(InvalidInput, match="at most"):
        manager.register_secret(f"{longest}x", VALUES)
    assert manager.find_secret(f"{longest}x") is None
    if place.flavor == "azure":
        with pytest.raises(InvalidInput, match="takes letters, digits and '-' in a name"):
            manager.register_secret("a_b", VALUES)
    else:
        manager.register_secret("a_b", VALUES)
        assert manager.get_secret("a_b").content == VALUES


def test_how_much_is_asked(manager: SecretsManager, place: Place) -> None:
    """Each method takes as many requests as it says, once logged in."""
    manager.find_secret("s")
    calls = {
        "register": lambda: manager.register_secret("s", VALUES),
        "find": lambda: manager.find_secret("s"),
        "list": lambda: manager.list_secrets(),
        "update": lambda: manager.update_secret("s", OTHERS),
        "change": lambda: manager.change_secret("s", VALUES),
        "delete": lambda: manager.delete_secret("s"),
    }
    counted = {}
    for name, call in calls.items():
        before = place.count()
        call()
        counted[name] = place.count() - before
    assert counted == place.requests


def test_many_secrets(manager: SecretsManager, place: Place) -> None:
    """More than fit on one page are listed, each once."""
    if isinstance(place, Google):
        place.server.page = 10
    names = [f"s{number:02}" for number in range(30)]
    for name in reversed(names):
        manager.register_secret(name, {"a": CANARY})
    assert manager.list_secrets() == names
