"""A store with a stack whose components' credentials are references, for tests of flavors."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from strongroom.client import Client
from strongroom.errors import StrongroomError
from strongroom.models.flavor import ComponentType
from tests.canary import holds_canary

WANTED = {"orchestrator": "default", "artifact_store": "default"}


def add_to_stack(client: Client, kind: str, flavor: str, configuration: Mapping[str, object], name: str | None = None) -> str:
    """Registers a component and puts it into the active stack, which is made when that is still the default one; its name."""
    name = name or flavor
    client.create_component(name, type=kind, flavor=flavor, configuration=configuration)
    if client.get_stack().name == "default":
        client.create_stack("tests", {**WANTED, kind: name}, activate=True)
    else:
        client.update_stack("tests", components={ComponentType(kind): name})
    return name


@contextmanager
def failing(error: type[StrongroomError], message: str, hint: str = "") -> Iterator[None]:
    """Within the block an error of just this class is raised or is the cause; message and hint tell, and nothing shows a value."""
    with pytest.raises(StrongroomError) as caught:
        yield
    found: BaseException = caught.value
    while type(found).__name__ != error.__name__ and found.__cause__ is not None:  # its stand-in if it came from one with a value
        found = found.__cause__
    assert not holds_canary("".join(traceback.format_exception(caught.value))), "the traceback shows a value"
    assert type(found).__name__ == error.__name__
    assert message in str(found)
    assert message in str(caught.value)
    assert hint in str(caught.value.hint)
