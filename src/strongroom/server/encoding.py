"""Requests from paths, queries and bodies; replies as JSON.

An error names the field that is wrong and never repeats what was in it.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec

from strongroom.errors import InvalidInput, printable
from strongroom.models.secret import value_text
from strongroom.operations.operation import Operation
from strongroom.redaction import SecretText

WORKSPACE = "workspace"
"""The query parameter that every operation takes: which workspace to work in."""

_WHERE = re.compile(r"`\$\.?([A-Za-z_]*)")
_NUMBER = re.compile(rb"-?[0-9.eE+-]+")


@dataclass(frozen=True)
class _Shape:
    """How the fields of a request travel."""

    fields: frozenset[str]
    lists: frozenset[str]
    texts: frozenset[str]  # mappings of keys to secret texts


@cache
def _shape(operation: Operation[Any, Any]) -> _Shape:
    fields = msgspec.structs.fields(operation.request)
    lists = frozenset(field.name for field in fields if get_origin(field.type) is list)
    texts = frozenset(field.name for field in fields if any(_is_texts(kind) for kind in _alternatives(field.type)))
    return _Shape(frozenset(field.name for field in fields), lists, texts)


def _alternatives(kind: Any) -> Sequence[Any]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _is_texts(kind: Any) -> bool:
    return get_origin(kind) is dict and SecretText in _alternatives(get_args(kind)[1])


def request_of_query(operation: Operation[Any, Any], path: Mapping[str, str | None], query: str) -> Any:
    """The request of an operation whose fields are in the path and in the query; lists repeat their parameter."""
    shape = _shape(operation)
    fields: dict[str, Any] = dict(path)
    for name, text in parse_query(query):
        if name == WORKSPACE:
            continue
        if name not in shape.fields or name in path:
            raise InvalidInput(f"there is no parameter '{printable(name)}'", hint="see /docs")
        if name in shape.lists:
            fields.setdefault(name, []).append(text)
        elif name in fields:
            raise InvalidInput(f"the parameter '{name}' is given twice")
        else:
            fields[name] = text
    return _converted(operation, fields, strict=False)


def request_of_body(operation: Operation[Any, Any], path: Mapping[str, str | None], query: str, body: Mapping[str, Any]) -> Any:
    """The request of an operation whose fields are in the path and in the body; see `fields_of_json`."""
    for name, _ in parse_query(query):
        if name != WORKSPACE:
            raise InvalidInput(f"there is no parameter '{printable(name)}'", hint="the fields belong into the body; see /docs")
    for name in body:
        if name not in _shape(operation).fields or name in path:
            raise InvalidInput(f"there is no field '{printable(name)}'", hint="see /docs")
    for name, kind in _nested(operation):
        _refuse_unknown(kind, body.get(name), name)
    return _converted(operation, {**body, **path}, strict=True)


@cache
def _nested(operation: Operation[Any, Any]) -> Sequence[tuple[str, Any]]:
    """The fields of a request that hold objects with fields of their own."""
    return [(field.name, field.type) for field in msgspec.structs.fields(operation.request) if _structs_in(field.type)]


def _structs_in(kind: Any) -> Sequence[type[msgspec.Struct]]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return [found for each in get_args(kind) for found in _structs_in(each)]


def _refuse_unknown(kind: Any, value: Any, place: str) -> None:
    """Refuses fields that there are not, at any depth. Here and not in the models: replies of a newer server may have more fields."""
    if isinstance(value, list):
        for item in value:
            _refuse_unknown(kind, item, place)
        return
    structs = _structs_in(kind)
    if not isinstance(value, Mapping) or not structs:
        return
    fields = {field.name: field.type for field in msgspec.structs.fields(structs[0])}
    for name, inner in value.items():
        if name not in fields:
            raise InvalidInput(f"there is no field '{printable(name)}' in '{place}'", hint="see /docs")
        _refuse_unknown(fields[name], inner, f"{place}.{name}")


def workspace_of(query: str) -> str:
    """The workspace that the query names; '' without one."""
    found = [text for name, text in parse_query(query) if name == WORKSPACE]
    if len(found) > 1:
        raise InvalidInput(f"the parameter '{WORKSPACE}' is given twice")
    return found[0] if found else ""


def parse_query(text: str) -> list[tuple[str, str]]:
    """The parameters of a query, or the fields of a form, in their order."""
    if not text:
        return []
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=1_000, errors="strict")
    except ValueError:
        raise InvalidInput("the parameters are not valid text, or too many") from None


def fields_of_form(body: bytes) -> dict[str, Any]:
    """The fields of a form."""
    try:
        pairs = parse_query(body.decode("ascii"))
    except UnicodeDecodeError:
        raise InvalidInput("the form is not valid text") from None
    if len(dict(pairs)) < len(pairs):
        raise InvalidInput("a field of the form is given twice")
    return dict(pairs)


_BODY: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY = msgspec.json.Decoder()
_TEXT = msgspec.json.Decoder(str)


def fields_of_json(operation: Operation[Any, Any], body: bytes) -> dict[str, Any]:
    """The fields of a JSON object; nothing is one without fields. Numbers among values of secrets stay as they are written."""
    texts = _shape(operation).texts
    if not body.strip():
        return {}
    try:
        return {name: _texts(raw) if name in texts else _ANY.decode(raw) for name, raw in _BODY.decode(body).items()}
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        pass  # that error may hold a piece of the body: ours is raised outside of it
    raise InvalidInput("the body is not a JSON object", hint="send the fields of the operation; see /docs")


def _texts(raw: msgspec.Raw) -> Any:
    if not bytes(raw).lstrip().startswith(b"{"):
        return _ANY.decode(raw)
    return {key: _text(key, bytes(item).strip()) for key, item in _BODY.decode(raw).items()}


def _text(key: str, raw: bytes) -> SecretText | None:
    if raw.startswith(b'"'):
        return SecretText(_TEXT.decode(raw))
    if raw == b"null":
        return None
    if _NUMBER.fullmatch(raw):
        return SecretText(raw.decode())
    return value_text(printable(key), _ANY.decode(raw))


def _converted(operation: Operation[Any, Any], fields: Mapping[str, Any], *, strict: bool) -> Any:
    try:
        return msgspec.convert(dict(fields), operation.request, strict=strict, dec_hook=_decode)
    except msgspec.ValidationError as error:
        said = str(error)
    if said.startswith("Object missing required field"):
        raise InvalidInput(f"the field '{said.split('`')[1]}' is missing", hint="see /docs")
    found = _WHERE.search(said)
    name = found[1] if found else ""
    reason = said.partition(" - at")[0].replace("`", "'") if said.startswith("Expected ") else "it has a value that is not allowed"
    for field in _shape(operation).texts & {name}:
        for key, item in fields[field].items() if isinstance(fields[field], dict) else ():
            if item is None:
                raise InvalidInput(f"the value of '{printable(key)}' is null; a value has to be text", hint="leave the key out")
    raise InvalidInput(f"the field '{name}' is not right: {reason}", hint="see /docs")


def _decode(kind: type, value: Any) -> Any:
    if kind is SecretText:
        if isinstance(value, SecretText):
            return value
        if isinstance(value, str):
            return SecretText(value)
        raise ValueError("Expected text")
    raise NotImplementedError(kind)


def _reveal(value: Any) -> str:
    """The one place where the server turns values into text."""
    if isinstance(value, SecretText):
        return value.reveal()
    raise NotImplementedError(type(value))


def _refuse(value: Any) -> str:
    raise TypeError("a reply that is to be kept holds a value")


_REPLIES = msgspec.json.Encoder(enc_hook=_reveal)
_METADATA = msgspec.json.Encoder(enc_hook=_refuse)


def to_json(reply: Any) -> bytes:
    """The reply as JSON, with the values that it holds in clear. Times are RFC 3339 in UTC; unset fields are left out."""
    return _REPLIES.encode(reply)


def metadata_to_json(reply: Any) -> bytes:
    """The same for replies that hold no value, which is made sure of."""
    return _METADATA.encode(reply)
