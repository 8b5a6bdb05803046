"""A credential that turns out to be empty does not become the login of the machine."""

from __future__ import annotations

import warnings

import pytest

from strongroom.client import Client
from strongroom.errors import ConfigurationError, StrongroomWarning
from strongroom.flavors import BUILTIN_FLAVORS
from strongroom.models.flavor import ComponentType, Flavor
from strongroom.models.reference import UseOf
from strongroom.models.stack import ComponentUse
from strongroom.stacks.component import Config
from strongroom.stacks.resolution import Resolver, places_in

CASES = [(flavor, name) for flavor in BUILTIN_FLAVORS for name in flavor.identity_unless or () if name != "connector"]


@pytest.mark.parametrize("text", ["", " \n"], ids=["empty", "blank"])
@pytest.mark.parametrize(("flavor", "name"), CASES, ids=lambda each: each if isinstance(each, str) else f"{each.type}-{each.name}")
def test_of_components(local_client: Client, flavor: Flavor, name: str, text: str) -> None:
    """An attribute without which the machine's own login is used, and that refers to an empty key, is an error when it is used."""
    local_client.create_secret("s", {"empty": text})
    given = {name: "{{s.empty}}"}
    config = Config(flavor, given, Resolver(local_client, places_in("c", given), use=None))
    with pytest.raises(ConfigurationError, match=f"'{name}' of the {flavor.name}"):
        config[name]


@pytest.mark.parametrize("text", ["", " \n"], ids=["empty", "blank"])
@pytest.mark.parametrize("name", ["service_account_json", "user_account_json", "external_account_json", "token"])
def test_of_service_connectors(local_client: Client, name: str, text: str) -> None:
    """A connector whose credential is empty does not impersonate with the login of the machine."""
    local_client.create_secret("s", {"empty": text})
    given = {"project_id": "p", "target_principal": "a@b.iam.gserviceaccount.com", name: "{{s.empty}}"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StrongroomWarning)
        local_client.register_service_connector("c", type="gcp", auth_method="impersonation", configuration=given)
    with pytest.raises(ConfigurationError, match="is empty where it is used"):
        local_client.service_connector("c").connect()


def test_what_is_left_out_stays_so(local_client: Client) -> None:
    """An attribute that is not given is not empty."""
    flavor = next(each for each in BUILTIN_FLAVORS if each.type is ComponentType.EXPERIMENT_TRACKER and each.name == "wandb")
    assert Config(flavor, {}, Resolver(local_client, [], use=UseOf("nothing"))).api_key is None
    assert ComponentUse(id="i", name="n", type=flavor.type, flavor=flavor, configuration={}).state is None
