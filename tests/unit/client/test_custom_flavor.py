"""Custom flavors, from Python: classes by their import path, and those that installed packages bring."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.client import Client
from strongroom.errors import (
    ConfigurationError,
    InvalidInput,
    MissingExtra,
    NotFound,
    StrongroomWarning,
)
from strongroom.models.flavor import Attribute, AttributeKind, ComponentType, Flavor
from strongroom.stacks.component import Component, load_class
from strongroom.stacks.custom import describe_class, ensure_flavor, installed_flavors
from strongroom.stacks.orchestrator import Orchestrator
from tests.canary import CANARY

ONE = f"{CANARY}-one"
_numbers = itertools.count(1)

MODULE = '''
"""Flavors of somebody's own."""
from strongroom.stacks import Alerter, ArtifactStore, Attribute, AttributeKind, Component, ComponentType, ModelDeployer

class Pager(Alerter):
    """Sends pages.

    At any time.
    """
    flavor = "pager"
    attributes = (
        Attribute("number"),
        Attribute("token", default=None, sensitive=True),
        Attribute("retries", AttributeKind.INTEGER, default=3),
    )

    def post(self, message):
        return f"{self.title} {self.config.number} {self.config.retries} {message}"

class Deployer(ModelDeployer):
    flavor = "deployer"

    def deploy(self):
        return self.needed("no_such_module_anywhere.client")

class Incomplete(Alerter):
    flavor = "incomplete"

class Nameless(Pager):
    pass

class Typeless(Component):
    flavor = "typeless"

class Queue(Alerter):
    flavor = "queue"
    attributes = (Attribute("channel"),)
    service_connector = "vault"

    def post(self, message):
        return f"{self.connector.config.vault_token} {message}"

class Unconnected(Queue):
    flavor = "unconnected"
    service_connector = 1

class OneAttribute(Pager):
    flavor = "one"
    attributes = (Attribute("number"))

class Outer:
    class Inner(Pager):
        flavor = "inner"

Inner = Outer.Inner
text = "no class"
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes a module that can be imported, perhaps as a package with entry points; its name."""

    def write(source: str = MODULE, entry_points: str = "") -> str:
        name = f"custom_flavors_{next(_numbers)}"
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"{name}.py").write_text(source)
        if entry_points:
            about = folder / f"{name}-1.0.dist-info"
            about.mkdir()
            (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            (about / "entry_points.txt").write_text(f"[strongroom.flavors]\n{entry_points.replace('MODULE', name)}\n")
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setitem(sys.modules, name, None)  # so that it is forgotten afterwards
        del sys.modules[name]
        return name

    return write


def test_a_flavor_by_its_import_path(local_client: Client, module: Callable[..., str]) -> None:
    """A class is described by its attributes and its docstring, registered, and used like a built-in one."""
    name = module()
    described = describe_class(f"{name}:Pager")
    assert described == describe_class(f"{name}.Pager")
    assert (described.name, described.type, described.source) == ("pager", ComponentType.ALERTER, f"{name}:Pager")
    assert described.description == "Sends pages."
    assert [(item.name, item.kind, item.required, item.sensitive) for item in described.attributes] == [
        ("number", AttributeKind.TEXT, True, False),
        ("token", AttributeKind.TEXT, False, True),
        ("retries", AttributeKind.INTEGER, False, False),
    ]
    assert local_client.register_flavor(described) == described == local_client.get_flavor("alerter", "pager")
    local_client.create_secret("pager", {"number": ONE})
    local_client.create_component("mine", type="alerter", flavor="pager", configuration={"number": "{{pager.number}}"})
    local_client.update_stack("default", components={"alerter": "mine"})
    alerter: Any = local_client.active_stack.alerter
    right = alerter.post("hello") == f"alerter 'mine' {ONE} 3 hello"
    assert right
    with pytest.raises(InvalidInput, match="used by: mine"):
        local_client.delete_flavor("alerter", "pager")


def test_a_flavor_that_uses_service_connectors(local_client: Client, module: Callable[..., str]) -> None:
    """Its components name a connector of the flavor that the class says, and no other one, and have it with its values."""
    described = local_client.register_flavor(describe_class(f"{module()}:Queue"))
    assert described.connector == "vault"
    assert [(item.name, item.required) for item in described.attributes] == [("channel", True), ("connector", False)]
    local_client.register_service_connector(
        "prod", type="vault", configuration={"vault_addr": "https://vault.example.com", "vault_token": ONE}
    )
    local_client.register_service_connector("cloud", type="aws", configuration={"auth_method": "implicit"})
    for named, message in (("nobody", "names a service connector that is not there"), ("cloud", "is of the flavor 'aws'")):
        with pytest.raises(InvalidInput, match=message):
            local_client.create_component("mine", type="alerter", flavor="queue", configuration={"channel": "c", "connector": named})
    local_client.create_component("mine", type="alerter", flavor="queue", configuration={"channel": "c", "connector": "prod"})
    local_client.update_stack("default", components={"alerter": "mine"})
    alerter: Any = local_client.active_stack.alerter
    right = alerter.post("hello") == f"{ONE} hello"
    assert right


def test_what_cannot_be_registered(module: Callable[..., str]) -> None:
    """Each way in which a class is no flavor has an error of its own that says what to do."""
    name = module()
    broken = module("raise RuntimeError('a value perhaps')\n")
    needy = module("import no_such_module_anywhere\n")
    wrong = module("def broken(:\n")
    for source, kind, message in (
        ("Pager", ConfigurationError, "has no proper import path"),
        (":Pager", ConfigurationError, "has no proper import path"),
        (f"{name}:", ConfigurationError, "has no proper import path"),
        ("", ConfigurationError, "has no proper import path"),
        ("no_such_module_anywhere:Pager", ConfigurationError, "there is no module no_such_module_anywhere"),
        (f"{name}.sub:Pager", ConfigurationError, "there is no module"),
        (f"..{name}:Pager", ConfigurationError, "cannot be loaded"),
        (f"{needy}:Pager", ConfigurationError, "there is no module no_such_module_anywhere"),
        (f"{broken}:Pager", ConfigurationError, rf"importing {broken} failed \(RuntimeError\)"),
        (f"{wrong}:Pager", ConfigurationError, rf"importing {wrong} failed \(SyntaxError\)"),
        (f"{name}:Pagr", ConfigurationError, f"the module {name} has no Pagr"),
        (f"{name}:text", InvalidInput, "is no component class"),
        (f"{name}:Outer", InvalidInput, "is no component class"),
        (f"{name}:Typeless", InvalidInput, "does not say what type of component it is"),
        (f"{name}:Incomplete", InvalidInput, "lacks methods of its type: post"),
        (f"{name}:Nameless", InvalidInput, "has no name for its flavor"),
        (f"{name}:OneAttribute", InvalidInput, "are no tuple of Attribute"),
        (f"{name}:Unconnected", InvalidInput, "is no flavor of service connectors"),
    ):
        with pytest.raises(kind, match=message) as caught:
            describe_class(source)
        assert "a value perhaps" not in f"{caught.value} {caught.value.hint}"
        assert caught.value.hint


def test_what_is_described_can_be_loaded(module: Callable[..., str]) -> None:
    """The import path in a description leads to the class again, also to one within another class."""
    name = module()
    for attribute in ("Pager", "Deployer", "Inner"):
        described = describe_class(f"{name}:{attribute}")
        assert load_class(described) is getattr(sys.modules[name], attribute)


def test_classes_that_do_not_fit_any_more(module: Callable[..., str]) -> None:
    """A registered flavor whose class is gone, or became something else, is a clear error when it is used."""
    name = module()
    for source, message in (
        (f"{name}:Gone", "the alerter flavor 'pager' cannot be loaded: the module .* has no Gone"),
        ("no_such_module_anywhere:Pager", "there is no module no_such_module_anywhere"),
        (f"{name}:Deployer", "is no alerter class"),
        (f"{name}:text", "is no alerter class"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            load_class(Flavor(name="pager", type=ComponentType.ALERTER, source=source))


def test_a_package_that_is_not_installed(local_client: Client, module: Callable[..., str]) -> None:
    """A component whose package is missing is registered and opened all the same; using it says what to install."""
    local_client.register_flavor(describe_class(f"{module()}:Deployer"))
    local_client.create_component("mine", type="model-deployer", flavor="deployer")
    local_client.update_stack("default", components={"model_deployer": "mine"})
    deployer: Any = local_client.active_stack.model_deployer
    with pytest.raises(MissingExtra, match="model deployer 'mine' needs the package no_such_module_anywhere") as caught:
        deployer.deploy()
    assert caught.value.hint == "pip install no_such_module_anywhere"
    tracker = Flavor(name="x", type=ComponentType.MODEL_DEPLOYER, source="a:B", extra="mlflow")
    deployer._extra = tracker.extra
    with pytest.raises(MissingExtra) as caught:
        deployer.deploy()
    assert caught.value.hint == "pip install 'strongroom[mlflow]'"


def test_a_package_that_lacks_another_one(local_client: Client, module: Callable[..., str]) -> None:
    """When the package is there and something that it imports is not, Python's own error says what."""
    needy = module("import no_such_module_anywhere\n")
    component: Component = local_client.active_stack.artifact_store
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        component.needed(needy)


def test_flavors_of_installed_packages(local_client: Client, module: Callable[..., str]) -> None:
    """Entry points of installed packages are flavors that are known from their first use on."""
    module(entry_points="pager = MODULE:Pager\ndeployer = MODULE:Deployer")
    assert [flavor.name for flavor in installed_flavors(ComponentType.ALERTER)] == ["pager"]
    assert {flavor.name for flavor in installed_flavors()} >= {"pager", "deployer"}
    with pytest.raises(NotFound):
        local_client.get_flavor("alerter", "pager")
    ensure_flavor(local_client, ComponentType.ALERTER, "pager")
    ensure_flavor(local_client, ComponentType.ALERTER, "pager")
    ensure_flavor(local_client, ComponentType.ALERTER, "slack")
    assert local_client.get_flavor("alerter", "pager").description == "Sends pages."
    with pytest.raises(NotFound, match="no alerter flavor 'slac'") as caught:
        ensure_flavor(local_client, ComponentType.ALERTER, "slac")
    assert caught.value.hint == "did you mean slack?"
    with pytest.raises(NotFound, match="no model deployer flavor 'deploye'") as caught:
        ensure_flavor(local_client, ComponentType.MODEL_DEPLOYER, "deploye")
    assert caught.value.hint == "did you mean deployer?"


def test_a_broken_package_hides_no_other(module: Callable[..., str]) -> None:
    """An installed flavor that cannot be loaded is warned about by name; the others are there."""
    module(entry_points="pager = MODULE:Pager\ngone = MODULE:Gone\nincomplete = MODULE:Incomplete")
    with pytest.warns(StrongroomWarning) as caught:
        assert [flavor.name for flavor in installed_flavors(ComponentType.ALERTER)] == ["pager"]
    assert sorted(str(warning.message).split("'")[1] for warning in caught) == ["gone", "incomplete"]


def test_orchestrators_can_be_custom(module: Callable[..., str]) -> None:
    """A class derived from the orchestrator's is one of its flavors; without its method it is not."""
    source = "from strongroom.stacks.orchestrator import Orchestrator\nclass Own(Orchestrator):\n    flavor = 'own'\n"
    name = module(source + "    def execute(self, tasks, run_step):\n        pass\n")
    assert describe_class(f"{name}:Own").type is Orchestrator.type
    with pytest.raises(InvalidInput, match="lacks methods of its type: execute"):
        describe_class(f"{module(source)}:Own")


def test_attributes_of_custom_flavors_are_checked(local_client: Client) -> None:
    """A flavor made by hand is taken as it is described."""
    flavor = Flavor(
        name="mine", type=ComponentType.STEP_OPERATOR, source="mine:Mine", attributes=[Attribute("rate", AttributeKind.NUMBER)]
    )
    assert local_client.register_flavor(flavor) == flavor
    assert [item.name for item in local_client.list_flavors("step-operator")] == ["mine"]
    with pytest.raises(InvalidInput, match="needs the attribute rate"):
        local_client.create_component("x", type="step_operator", flavor="mine")
    assert local_client.create_component("x", type="step_operator", flavor="mine", configuration={"rate": "0.5"}).configuration == {
        "rate": 0.5
    }
    local_client.delete_component("step_operator", "x")
    local_client.delete_flavor("step_operator", "mine")
    assert local_client.list_flavors("step_operator").total == 0
