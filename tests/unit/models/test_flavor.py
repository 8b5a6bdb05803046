"""What a flavor takes, what of it is shown, and the flavors that are built in."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from strongroom import stacks
from strongroom.errors import InvalidInput
from strongroom.flavors import BUILTIN_FLAVORS, find_builtin
from strongroom.models.component import check_plain_name
from strongroom.models.flavor import (
    MAX_CONFIGURATION_BYTES,
    MAX_NESTING,
    Attribute,
    AttributeKind,
    ComponentType,
    Flavor,
    check_configuration,
    configuration_warnings,
    masked,
)
from strongroom.redaction import MASK
from strongroom.stacks.component import Component, load_class
from tests.canary import CANARY, holds_canary

VALUE = f"{CANARY}-attribute"
FLAVOR = Flavor(
    name="mine",
    type=ComponentType.EXPERIMENT_TRACKER,
    source="mine:Tracker",
    attributes=[
        Attribute("tracking_uri"),
        Attribute("project"),
        Attribute("password", default=None, sensitive=True),
        Attribute("options", AttributeKind.MAPPING, default=None, sensitive=True),
        Attribute("tags", AttributeKind.MAPPING, default=None),
        Attribute("hosts", AttributeKind.LIST, default=None),
        Attribute("secrets", AttributeKind.LIST, default=None, sensitive=True),
        Attribute("port", AttributeKind.INTEGER, default=None),
        Attribute("pin", AttributeKind.INTEGER, default=None, sensitive=True),
        Attribute("rate", AttributeKind.NUMBER, default=None),
        Attribute("insecure", AttributeKind.BOOLEAN, default=False),
    ],
)
NEEDED = {"tracking_uri": "http://tracker", "project": "p"}


def refused(configuration: dict[str, Any]) -> InvalidInput:
    """How the flavor refuses this; the error, its hint and its causes repeat no value."""
    with pytest.raises(InvalidInput) as caught:
        check_configuration(FLAVOR, {**NEEDED, **configuration})
    error = caught.value
    assert not holds_canary(f"{error} {error.hint} {error.__cause__!r} {error.__context__!r}")
    return error


def test_what_is_given_stays_and_the_rest_stays_away() -> None:
    """The configuration holds what was given, in the order of the flavor, and no defaults."""
    assert list(check_configuration(FLAVOR, {"project": "p", "tracking_uri": ""}).items()) == [("tracking_uri", ""), ("project", "p")]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("pasword", "did you mean password?"),
        ("tracking_url", "did you mean tracking_uri?"),
        ("zzz", "it takes: tracking_uri, project"),
    ],
)
def test_unknown_attributes(name: str, hint: str) -> None:
    """An attribute that the flavor does not have is refused with one like it, or with all that there are."""
    error = refused({name: VALUE})
    assert str(error) == f"the mine experiment tracker has no attribute '{name}'"
    assert (error.hint or "").startswith(hint)


def test_unknown_attributes_of_a_flavor_without_any() -> None:
    """A flavor without attributes says so."""
    with pytest.raises(InvalidInput) as caught:
        check_configuration(Flavor(name="f", type=ComponentType.ORCHESTRATOR, source="a:B"), {"x": VALUE})
    assert caught.value.hint == "it takes: no attributes"


def test_names_with_control_characters_are_shown_harmlessly() -> None:
    """Neither an unknown name nor a path within a mapping moves the cursor of who reads the message."""
    assert str(refused({"a\n\x1b[2J": VALUE})).isprintable()
    (warning,) = configuration_warnings(FLAVOR, {"options": {"a\n\x1b[2J": VALUE}})
    assert warning.isprintable()


def test_all_missing_attributes_at_once() -> None:
    """Everything that has to be given is named in one error, with the options to give it."""
    with pytest.raises(InvalidInput) as caught:
        check_configuration(FLAVOR, {"password": VALUE})
    assert str(caught.value) == "the mine experiment tracker needs the attributes tracking_uri, project"
    assert caught.value.hint == "give --tracking_uri=... --project=..."
    with pytest.raises(InvalidInput, match=r"needs the attribute project\n"):
        check_configuration(FLAVOR, {"tracking_uri": "x"})


@pytest.mark.parametrize(
    ("name", "given", "stored"),
    [
        ("password", "", ""),
        ("password", "5", "5"),
        ("password", "{{a.b}}", "{{a.b}}"),
        ("password", "x\0\n\u00e4\U0001f600", "x\0\n\u00e4\U0001f600"),
        ("port", 5, 5),
        ("port", "5", 5),
        ("port", "-5", -5),
        ("port", 5.0, 5),
        ("rate", 0.5, 0.5),
        ("rate", "0.5", 0.5),
        ("rate", "3", 3),
        ("rate", "1e3", 1000.0),
        ("insecure", True, True),
        ("insecure", "true", True),
        ("insecure", "False", False),
        ("insecure", "1", True),
        ("insecure", 0, False),
        ("hosts", ["a", 1, None, {"b": "{{c.d}}"}], ["a", 1, None, {"b": "{{c.d}}"}]),
        ("hosts", '["a", "{{c.d}}"]', ["a", "{{c.d}}"]),
        ("hosts", "[]", []),
        ("hosts", ("a",), ["a"]),
        ("tags", {"a": {"b": [True]}}, {"a": {"b": [True]}}),
        ("tags", ' {"a": {"b": 1.5}} ', {"a": {"b": 1.5}}),
        ("tags", "{}", {}),
    ],
    ids=range(24),
)
def test_values_become_what_the_attribute_takes(name: str, given: Any, stored: Any) -> None:
    """Numbers and booleans may come as text, lists and mappings as JSON; what is stored survives JSON."""
    checked = check_configuration(FLAVOR, {**NEEDED, name: given})[name]
    assert checked == stored
    assert type(checked) is type(stored)
    assert json.loads(json.dumps(checked)) == checked


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("password", 5, "text"),
        ("password", None, "text"),
        ("password", True, "text"),
        ("password", [VALUE], "text"),
        ("password", {"a": VALUE}, "text"),
        ("password", VALUE.encode(), "text"),
        ("password", f"{VALUE}\ud800", "text"),
        ("port", VALUE, "a whole number"),
        ("port", "", "a whole number"),
        ("port", "5.5", "a whole number"),
        ("port", 5.5, "a whole number"),
        ("port", True, "a whole number"),
        ("port", "9" * 5000, "a whole number"),
        ("port", None, "a whole number"),
        ("rate", VALUE, "a number"),
        ("rate", True, "a number"),
        ("rate", "nan", "a number"),
        ("rate", "inf", "a number"),
        ("rate", float("-inf"), "a number"),
        ("insecure", "yes", "true or false"),
        ("insecure", VALUE, "true or false"),
        ("insecure", 2, "true or false"),
        ("hosts", VALUE, "a list"),
        ("hosts", f'{{"a": "{VALUE}"}}', "a list"),
        ("hosts", {"a": VALUE}, "a list"),
        ("hosts", "null", "a list"),
        ("hosts", "[" * 100_000, "a list"),
        ("tags", VALUE, "a mapping"),
        ("tags", f'["{VALUE}"]', "a mapping"),
        ("tags", {"a": object()}, "a mapping"),
        ("tags", {"a": f"{VALUE}\ud800"}, "a mapping"),
        ("tags", {1: VALUE}, "a mapping"),
        ("tags", '{"a": NaN}', "a mapping"),
        ("tags", '{"a": 1e999}', "a mapping"),
        ("tags", {"a": {1: VALUE}}, "a mapping"),
        ("tags", {"a": {VALUE}}, "a mapping"),
    ],
    ids=range(36),
)
def test_other_values_are_refused(name: str, given: Any, wanted: str) -> None:
    """What does not fit, or what JSON could not give back, is refused by the attribute's name and what it takes."""
    assert str(refused({name: given})).startswith(f"the attribute '{name}' takes {wanted}")


@pytest.mark.parametrize("name", ["port", "rate", "insecure", "hosts", "tags"])
def test_only_texts_are_references(name: str) -> None:
    """An attribute that takes no text refuses a reference, and says why."""
    error = refused({name: "{{a.b}}"})
    assert "cannot be a reference" in str(error)
    assert error.hint == "only texts can refer to a secret"


def test_nesting_has_an_end() -> None:
    """What is nested too deeply to be shown later is not stored in the first place."""

    def nested(depth: int) -> str:
        return '{"a":' * depth + '"x"' + "}" * depth

    deep = check_configuration(FLAVOR, {**NEEDED, "options": nested(MAX_NESTING)})
    assert MASK in json.dumps(masked(FLAVOR, deep))
    for depth in (MAX_NESTING + 1, 500, 900, 5_000):
        assert "the attribute 'options' takes a mapping" in str(refused({"options": nested(depth)}))


def test_the_size_is_limited() -> None:
    """All attributes together have a limit, named in the error."""
    spare = MAX_CONFIGURATION_BYTES - len(json.dumps({**NEEDED, "password": ""}, separators=(",", ":")))
    check_configuration(FLAVOR, {**NEEDED, "password": "x" * spare})
    assert str(MAX_CONFIGURATION_BYTES) in str(refused({"password": "x" * (spare + 1)}))


def test_sensitive_attributes_are_masked() -> None:
    """Texts and numbers of sensitive attributes are masked at any depth; references, and other attributes, stay as written."""
    shown = masked(
        FLAVOR,
        {
            "tracking_uri": "http://tracker",
            "project": "{{a.b}}",
            "password": VALUE,
            "options": {"user": "{{ a.b }}", "password": VALUE, "more": [VALUE, "", None, True, 123456, 1.5, "x{{a.b}}"]},
            "secrets": [VALUE],
            "pin": 1234,
            "port": 5432,
        },
    )
    assert shown == {
        "tracking_uri": "http://tracker",
        "project": "{{a.b}}",
        "password": MASK,
        "options": {"user": "{{ a.b }}", "password": MASK, "more": [MASK, "", None, True, MASK, MASK, MASK]},
        "secrets": [MASK],
        "pin": MASK,
        "port": 5432,
    }
    assert masked(FLAVOR, {"password": ""}) == {"password": ""}


def test_without_its_flavor_everything_is_masked() -> None:
    """When nobody knows what is sensitive, only references show."""
    assert masked(None, {"a": VALUE, "b": "{{a.b}}", "c": {"d": [VALUE, 5]}, "e": True}) == {
        "a": MASK,
        "b": "{{a.b}}",
        "c": {"d": [MASK, MASK]},
        "e": True,
    }
    assert masked(FLAVOR, {"unknown": VALUE}) == {"unknown": MASK}


def test_warnings() -> None:
    """Plain text in sensitive attributes, and what looks like a reference, is named by its path, without its value."""
    found = configuration_warnings(
        FLAVOR,
        {
            "tracking_uri": f"x{{{{{VALUE}}}}}",
            "project": "plain",
            "password": VALUE,
            "options": {"user": "{{a.b}}", "auth": {"token": VALUE}, "hosts": [VALUE, ""]},
            "secrets": ["{{a.b}}", "{{a}}"],
            "tags": {"a": "plain"},
        },
    )
    assert [text.split("'")[1] for text in found] == [
        "tracking_uri",
        "password",
        "options.auth.token",
        "options.hosts[0]",
        "secrets[1]",
    ]
    assert ["looks like a reference" in text for text in found] == [True, False, False, False, True]
    assert all("{{name.key}}" in text and text.isprintable() and not holds_canary(text) for text in found)
    assert configuration_warnings(FLAVOR, {"password": "{{ a.b }}", "options": {"a": ""}, "port": 5}) == []


@pytest.mark.parametrize("flavor", BUILTIN_FLAVORS, ids=lambda flavor: f"{flavor.type}-{flavor.name}")
def test_built_in_flavors_are_what_their_classes_say(flavor: Flavor) -> None:
    """Each row names a class that can be imported without what it needs, of the row's type and name, that can be made."""
    found = load_class(flavor)
    assert issubclass(found, Component)
    assert not getattr(found, "__abstractmethods__", None)
    assert (found.type, found.flavor) == (flavor.type, flavor.name)
    assert flavor.source == f"{found.__module__}:{found.__qualname__}"
    assert find_builtin(flavor.type, flavor.name) == flavor
    assert flavor.builtin
    assert flavor.description.endswith(".")
    assert check_plain_name(flavor.name, "a flavor") == flavor.name


@pytest.mark.parametrize("flavor", BUILTIN_FLAVORS, ids=lambda flavor: f"{flavor.type}-{flavor.name}")
def test_attributes_of_built_in_flavors(flavor: Flavor) -> None:
    """Attributes are identifiers, each once, described, with defaults that they would take; what is called a secret is sensitive."""
    assert len({attribute.name for attribute in flavor.attributes}) == len(flavor.attributes)
    for attribute in flavor.attributes:
        assert attribute.name.isidentifier()
        assert attribute.name not in ("name", "flavor", "values", "output", "remove")
        assert attribute.description
        if not attribute.required and attribute.default is not None:
            alone = msgspec.structs.replace(flavor, attributes=[attribute])
            assert check_configuration(alone, {attribute.name: attribute.default}) == {attribute.name: attribute.default}
        about = attribute.name.endswith(("_id", "_name", "_file", "_path"))  # says which one, not what it is
        if not about and any(word in attribute.name for word in ("password", "token", "secret", "key", "connection_string")):
            assert attribute.sensitive, attribute.name


def test_built_in_flavors_have_names_of_their_own() -> None:
    """Type and name find one flavor."""
    assert len({(flavor.type, flavor.name) for flavor in BUILTIN_FLAVORS}) == len(BUILTIN_FLAVORS)
    assert find_builtin(ComponentType.ORCHESTRATOR, "mlflow") is None
    assert find_builtin(ComponentType.ALERTER, "Slack") is None


def test_stacks_import_none_of_the_packages_of_flavors() -> None:
    """All modules of stacks can be imported where none of the packages is installed that components need."""
    modules = [f"strongroom.stacks.{found.name}" for found in pkgutil.iter_modules(stacks.__path__)]
    modules += [flavor.source.partition(":")[0] for flavor in BUILTIN_FLAVORS]
    heavy = ["mlflow", "wandb", "fsspec", "slack_sdk", "s3fs", "gcsfs", "adlfs", "boto3", "botocore", "azure", "google", "sqlalchemy"]
    script = (
        f"import importlib, sys\nfor name in {sorted(set(modules))!r}: importlib.import_module(name)\n"
        f"print(*[name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
