"""Names of secrets in back ends: no two secrets of different scopes ever have the same one."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import InvalidInput
from strongroom.models.secrets_manager import NAME_RULES, ManagerScope, ScopedNames, scoped_names

PARTS = ["strongroom", "their", "global", "component", "namespace", "none", "a", "B", "0", "_", "-", "a" * 32, "0" * 8]
TEXTS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=6).map("".join) | st.lists(st.sampled_from(PARTS), min_size=1).map(
    "-".join
)
IDS = st.uuids().map(str) | st.uuids().map(lambda each: each.hex)


@st.composite
def managers(draw: st.DrawFn, flavor: str) -> ScopedNames:
    scope = draw(st.sampled_from(list(ManagerScope)))
    attributes: dict[str, Any] = {"scope": scope, "prefix": draw(st.sampled_from(["strongroom", "their", "s", "strongroomglobal"]))}
    if scope is ManagerScope.NAMESPACE:
        attributes["namespace"] = draw(st.from_regex(rf"\A{NAME_RULES[flavor].namespaces}\Z").filter(lambda each: len(each) < 64))
    if scope is ManagerScope.COMPONENT and draw(st.booleans()):
        attributes["component_id"] = draw(IDS)
    return scoped_names(flavor, draw(st.uuids().map(str)), attributes)


@pytest.mark.parametrize("flavor", NAME_RULES)
@given(data=st.data())
def test_names_of_different_scopes_differ(flavor: str, data: st.DataObject) -> None:
    """Managers of different scopes have no name in common, in whatever case, and do not list each other's secrets."""
    one, two = (data.draw(managers(flavor)) for _ in range(2))
    names = [data.draw(TEXTS) for _ in range(2)]
    found = [manager.find(name) for manager, name in zip((one, two), names, strict=True)]
    if found[0] is None or found[1] is None:
        return
    is_same_scope = (one.prefix, one.scope, one.inner) == (two.prefix, two.scope, two.inner)
    if is_same_scope:
        assert (found[0] == found[1]) == (names[0] == names[1])
    elif ManagerScope.NONE not in (one.scope, two.scope) or one.prefix == two.prefix:
        assert found[0].lower() != found[1].lower()
        assert one.name_in(found[1]) is None


@pytest.mark.parametrize("flavor", NAME_RULES)
@given(data=st.data())
def test_names_lead_back(flavor: str, data: st.DataObject) -> None:
    """What a secret is called there gives its name again, and is one that the back end takes."""
    manager, name = data.draw(managers(flavor)), data.draw(TEXTS)
    full = manager.find(name)
    if full is None:
        with pytest.raises(InvalidInput):
            manager.of(name)
        return
    assert manager.name_in(full) == name
    assert full.endswith(name)
    assert len(full) <= manager.rules.max_length
    if flavor == "azure":
        assert re.fullmatch("[A-Za-z0-9-]+", full)


@pytest.mark.parametrize(
    ("flavor", "attributes", "full"),
    [
        ("vault", {"scope": "none"}, "s"),
        ("vault", {"scope": "global"}, "strongroom/global/s"),
        ("aws", {"scope": "namespace", "namespace": "my-team"}, "strongroom/namespace/my-team/s"),
        ("aws", {}, "strongroom/component/0123/s"),
        ("gcp", {"scope": "global", "prefix": "zenml"}, "zenml-global-s"),
        ("azure", {}, "strongroom-component-0123-s"),
        ("azure", {"prefix": "zenml", "component_id": f"{'0' * 8}-1111-2222-3333-{'4' * 12}"},
         f"zenml-component-{'0' * 8}-1111-2222-3333-{'4' * 12}-s"),
    ],
)  # fmt: skip
def test_layouts(flavor: str, attributes: dict[str, str], full: str) -> None:
    """Where other tools find a secret."""
    assert scoped_names(flavor, "01-23", attributes).of("s") == full
