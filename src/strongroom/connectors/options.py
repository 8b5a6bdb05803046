"""Options as operators write them, made into the frozen dataclasses that say what there is.

An option is text (from the environment, the command line, a file) or what JSON makes of it. Texts and JSON that hold credentials
become `SecretText`. No message shows what was given.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from strongroom.config import parse_flag
from strongroom.credential_text import fits_header, is_unicode, strip_credential
from strongroom.errors import ConfigurationError, MissingExtra, StoreForbidden, printable
from strongroom.models.near import near_names
from strongroom.redaction import SecretText


def build(what: str, types: Sequence[type[Any]], options: Mapping[str, Any]) -> list[Any]:
    """One object of each of the dataclasses, from the options that it has fields for; `what` names the whole in messages.

    A field of one name in several of them is given to each. `ConfigurationError` for an unknown option, with the one that may have
    been meant, for a missing one and for one of the wrong type. Options that are None or empty count as not given.
    """
    return [each(**taken) for each, taken in zip(types, fit(what, types, options), strict=True)]


def fit(what: str, types: Sequence[type[Any]], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `build` makes each of the dataclasses with. The rules that they have of their own are not asked."""
    given = {name: value for name, value in options.items() if value not in (None, "")}
    known = {field.name for each in types for field in fields(each)}
    for name in given:
        if name not in known:
            near = near_names(name, sorted(known), 1)
            hint = f"did you mean '{near[0]}'?" if near else f"it has: {', '.join(sorted(known))}"
            raise ConfigurationError(f"{what} has no option '{printable(name)}'", hint=hint)
    return [_taken(what, each, given) for each in types]


def find_method(what: str, methods: Mapping[str, type[Any]], name: str) -> type[Any]:
    """The class of the authentication method of this name, or `ConfigurationError`."""
    if name in methods:
        return methods[name]
    near = near_names(name, methods, 1)
    hint = f"did you mean '{near[0]}'?" if near else f"one of: {', '.join(methods)}"
    raise ConfigurationError(f"{what} has no authentication method '{printable(name)}'", hint=hint)


def check_header(option: str, text: str | SecretText | None) -> None:
    """`ConfigurationError` if the text of an option cannot stand in a header: libraries would show it in their errors."""
    text = text.reveal() if isinstance(text, SecretText) else text
    if text is not None and not fits_header(text):
        raise ConfigurationError(f"'{option}' has a blank, a line end or another character that cannot be sent")


def read_credential(path: str, what: str) -> str:
    """The credential in a file that others renew, without what stands around it. `StoreForbidden` when it cannot be read."""
    try:
        return strip_credential(Path(path).read_bytes().decode())
    except (OSError, UnicodeDecodeError) as error:
        reason = type(error).__name__  # the message of the latter holds the text
    raise StoreForbidden(f"the {what} for the login cannot be read from {path}: {reason}", hint="check the path and its permissions")


def import_extra(module: str, extra: str) -> Any:
    """A module of an optional package, or `MissingExtra` that names the extra."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not (module == missing or module.startswith(f"{missing}.")):
            raise  # it is there, and something that it imports is not
    raise MissingExtra(f"this needs the package {missing}, which is not installed", hint=f"pip install 'strongroom[{extra}]'")


def _taken(what: str, type_: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(type_)
    taken = {}
    for field in fields(type_):
        if field.name in given:
            taken[field.name] = _convert(what, field, hints[field.name], given[field.name])
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ConfigurationError(f"{what} needs the option '{field.name}'")
    return taken


def _convert(what: str, field: Field[Any], type_: Any, value: Any) -> Any:
    """The value as the field's type wants it. Structures may come as JSON text, and JSON that is wanted as text as a structure."""
    wants_text = type_ in (str, str | None, SecretText, SecretText | None)
    if isinstance(value, str) and not is_unicode(value):
        raise ConfigurationError(f"the option '{field.name}' of {what} is no Unicode text")
    try:
        if wants_text and isinstance(value, Mapping):
            value = msgspec.json.encode(value).decode()
        if isinstance(value, str) and not wants_text and value.lstrip()[:1] in ("{", "["):
            value = msgspec.json.decode(value)
        elif isinstance(value, str) and type_ == tuple[str, ...]:
            value = [each.strip() for each in value.split(",")]
        elif isinstance(value, str | int) and type_ in (bool, bool | None):
            flag = parse_flag(str(value))
            value = "no flag" if flag is None else flag
        return msgspec.convert(value, type_, strict=wants_text, dec_hook=_secret_text)
    except (msgspec.ValidationError, msgspec.DecodeError):
        pass
    raise ConfigurationError(f"the option '{field.name}' of {what} is {_WORDS.get(type_, 'of another type')}")


def _secret_text(type_: type[Any], value: Any) -> Any:
    if type_ is SecretText and isinstance(value, str):
        return SecretText(value)
    raise msgspec.ValidationError


_WORDS: Mapping[Any, str] = {
    bool: "true or false",
    bool | None: "true or false",
    int: "a whole number",
    tuple[str, ...]: "a list of texts, separated by commas",
    dict[str, str]: "a JSON object of texts",
}
_WORDS = {**_WORDS, **dict.fromkeys((str, str | None, SecretText, SecretText | None), "a text")}
