"""Requests from what travels."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import InvalidInput, StrongroomError
from strongroom.models.reference import Reference
from strongroom.models.secret import CreateSecret, GetSecret, ListSecrets, Scope
from strongroom.operations import component as of_component
from strongroom.operations import run as of_run
from strongroom.operations import secret as of_secret
from strongroom.operations.all import ALL_OPERATIONS
from strongroom.redaction import SecretText
from strongroom.server import ROOT
from strongroom.server.encoding import (
    fields_of_form,
    fields_of_json,
    metadata_to_json,
    request_of_body,
    request_of_query,
    to_json,
    workspace_of,
)
from strongroom.server.refusal import Refusal
from strongroom.server.routes import PathTable
from tests.canary import CANARY, holds_canary


def test_queries_become_requests() -> None:
    """Text becomes what the field is; lists repeat; the workspace belongs to all operations; what looks like null is text."""
    query = "name=null&scope=user&label=a%3Db&label=c%3Dd&page=2&workspace=w"
    assert request_of_query(of_secret.LIST, {}, query) == ListSecrets(name="null", scope=Scope.USER, label=["a=b", "c=d"], page=2)
    assert workspace_of(query) == "w"
    assert workspace_of("") == ""
    assert request_of_query(of_secret.GET, {"id": "x"}, "version=3") == GetSecret(id="x", version=3)


@pytest.mark.parametrize("query", ["id=y", "version=1&version=2", "version=", "version=x", "colour=red", "%ff=x", "workspace=a&id=y"])
def test_queries_that_are_refused(query: str) -> None:
    """Unknown, repeated and wrong parameters, and those that are in the path already."""
    with pytest.raises(InvalidInput):
        request_of_query(of_secret.GET, {"id": "x"}, query)


def test_two_workspaces_are_one_too_many() -> None:
    """It cannot be two at once."""
    with pytest.raises(InvalidInput):
        workspace_of("workspace=a&workspace=b")


def test_bodies_become_requests() -> None:
    """Values become secret texts; elsewhere JSON stays what it is."""
    fields = fields_of_json(
        of_secret.CREATE, b'{"name": "s", "values": {"a": 1.10, "b": false, "c": "\\u00e9"}, "labels": {"x": "1"}}'
    )
    values = {"a": SecretText("1.10"), "b": SecretText("false"), "c": SecretText("é")}
    assert request_of_body(of_secret.CREATE, {}, "", fields) == CreateSecret(name="s", values=values, labels={"x": "1"})
    run = fields_of_json(of_run.CREATE, b'{"pipeline": "p", "stack": "s", "parameters": {"rate": 0.1, "n": 3}}')
    assert request_of_body(of_run.CREATE, {}, "", run).parameters == {"rate": 0.1, "n": 3}


def test_a_body_never_overrides_the_path() -> None:
    """A field that is in the path is not taken from the body, and none from the query."""
    with pytest.raises(InvalidInput, match="'id'"):
        request_of_body(of_secret.UPDATE, {"id": "x"}, "", {"id": "y", "name": "n"})
    with pytest.raises(InvalidInput, match="'name'"):
        request_of_body(of_secret.UPDATE, {"id": "x"}, "name=n", {})


def test_forms() -> None:
    """Fields of a form, each once."""
    assert fields_of_form(b"username=a+b&password=%C3%A9%26") == {"username": "a b", "password": "é&"}
    for body in (b"a=1&a=2", b"a=%ff", "a=é".encode()):
        with pytest.raises(InvalidInput):
            fields_of_form(body)


@given(st.binary(max_size=200) | st.from_regex(rb'\{"(name|values|labels)": [\[\]{}":,0-9a-z\\]*\}', fullmatch=True))
def test_any_body_is_taken_or_refused_in_our_words(body: bytes) -> None:
    """Nothing but a request or a `StrongroomError` comes out."""
    for operation in (of_secret.CREATE, of_run.CREATE):
        with contextlib.suppress(StrongroomError):
            request_of_body(operation, {}, "", fields_of_json(operation, body))


def test_replies_that_are_kept_hold_no_value() -> None:
    """A value in a reply is revealed on its way to the caller, and stops a reply from being kept."""
    assert CANARY.encode() in to_json({"k": SecretText(CANARY)})
    with pytest.raises(TypeError) as caught:
        metadata_to_json({"k": SecretText(CANARY)})
    assert not holds_canary(str(caught.value))


def test_every_operation_is_found_by_its_path() -> None:
    """Each row of the table is found by its own method and path, with the parameters decoded after they were told apart."""
    table = PathTable(ALL_OPERATIONS)
    for row in ALL_OPERATIONS:
        names = [segment.strip("{}") for segment in row.path.split("/") if segment.startswith("{")]
        path = row.path.format(**dict.fromkeys(names, "a%2Fb%20c"))
        assert table.find(row.method, f"{ROOT}{path}".encode()) == (row, dict.fromkeys(names, "a/b c"))


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", "/secrets/by-name/metadata", ("secret.get-by-name", {"name": "metadata"})),
        ("GET", "/secrets/by-name/by-name/metadata", ("secret.get-metadata-by-name", {"name": "by-name"})),
        ("GET", "/secrets/check", ("secret.get", {"id": "check"})),
        ("POST", "/secrets/check", ("secret.check", {})),
        ("GET", "/secrets/by-name/", ("secret.get-by-name", {"name": ""})),
        ("HEAD", "/secrets", ("secret.list", {})),
        ("GET", "/stacks/by-name/~", ("stack.get", {"name": None})),
        ("GET", "/stacks/by-name/%7E", ("stack.get", {"name": "~"})),
        ("GET", "/secrets/by-name/~", ("secret.get-by-name", {"name": "~"})),
    ],
)
def test_paths_that_could_be_confused(method: str, path: str, wanted: Any) -> None:
    """What is written out comes before what is open, and an empty piece is a piece."""
    operation, parameters = PathTable(ALL_OPERATIONS).find(method, f"{ROOT}{path}".encode())
    assert (operation.name, parameters) == wanted


@pytest.mark.parametrize(("method", "path", "status"), [("PUT", "/secrets", 405), ("GET", "/secrets//x/y", 404), ("GET", "", 404)])
def test_paths_that_there_are_not(method: str, path: str, status: int) -> None:
    """They are refused, and 405 says which methods there are."""
    with pytest.raises(Refusal) as caught:
        PathTable(ALL_OPERATIONS).find(method, f"{ROOT}{path}".encode())
    assert caught.value.status == status
    assert caught.value.headers == ({"Allow": "GET, POST"} if status == 405 else {})


@pytest.mark.parametrize(
    ("operation", "body", "said"),
    [
        (of_secret.RESOLVE, b'{"references": [{"name": "s", "key": "k"}, {"name": "s", "kye": "CANARY"}]}', "'kye' in 'references'"),
        (of_secret.CHECK, b'{"references": [{"name": "s", "key": "k", "version": "CANARY"}]}', "'version' in 'references'"),
        (
            of_component.REGISTER_FLAVOR,
            b'{"flavor": {"name": "f", "type": "alerter", "attributes": [{"name": "a", "kind": "text", "requird": "CANARY"}]}}',
            "'requird' in 'flavor.attributes'",
        ),
    ],
    ids=["resolve", "check", "flavor"],
)
def test_typos_within_are_refused(operation: Any, body: bytes, said: str) -> None:
    """Fields that there are not are refused by name and place at any depth, and what they hold is not repeated."""
    fields = fields_of_json(operation, body.replace(b"CANARY", CANARY.encode()))
    with pytest.raises(InvalidInput, match=said) as caught:
        request_of_body(operation, {}, "", fields)
    assert not holds_canary(repr(caught.value) + str(caught.value.hint))


def test_replies_may_have_more_fields_than_a_client_knows() -> None:
    """A client reads the replies of a newer server, also where requests use the same shapes."""
    for operation in ALL_OPERATIONS:
        if isinstance(operation.response, type) and issubclass(operation.response, msgspec.Struct):
            assert not operation.response.__struct_config__.forbid_unknown_fields
    assert msgspec.json.decode(b'{"name": "s", "key": "k", "new": 1}', type=Reference) == Reference(name="s", key="k")
