"""The form of a secret: what was typed, as a request, and what a form shows. Values go one way only: from the form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from msgspec import UNSET

from strongroom.errors import AlreadyExists, Forbidden, InvalidInput, StaleVersion, TooLarge, Unavailable
from strongroom.models.document import parse_pasted
from strongroom.models.secret import CreateSecret, Scope, Secret, UpdateSecret, check_key
from strongroom.redaction import SecretText
from strongroom.server.ui.visit import Form

REFUSALS = (AlreadyExists, Forbidden, InvalidInput, StaleVersion, TooLarge, Unavailable)
"""What leaves the form as it is, so that it can be mended and sent again."""

NEW_ROWS = 5
"""Rows for keys and values where no script adds more."""


@dataclass(frozen=True)
class Fields:
    """What the fields of a form show. `new_keys` are keys in rows whose values have to be typed again."""

    name: str = ""
    scope: str = Scope.WORKSPACE.value
    description: str = ""
    labels: str = ""
    expires: str = ""
    if_version: str = ""
    keys: list[str] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    new_keys: list[str] = field(default_factory=list)
    was: dict[str, str] = field(default_factory=dict)


EMPTY = Fields(new_keys=[""] * NEW_ROWS)
_COMPARED = ("name", "scope", "description", "labels", "expires")


def fields_of(secret: Secret) -> Fields:
    """A form for a secret as it is."""
    shown: dict[str, Any] = {
        "name": secret.name,
        "scope": secret.scope.value,
        "description": secret.description,
        "labels": "\n".join(f"{key}={text}" for key, text in secret.labels.items()),
        "expires": _expires(secret.expires_at),
    }
    return Fields(**shown, if_version=str(secret.version), keys=secret.keys, new_keys=[""] * NEW_ROWS, was=shown)


def typed(form: Form, secret: Secret | None = None) -> Fields:
    """A form with what was typed into another one, but for values. It is for the secret as it is now."""
    new_keys = [key for key in form.all("key") if key]
    return Fields(
        **{name: _lines(form.get(name)) for name in _COMPARED},
        if_version=str(secret.version) if secret else "",
        keys=secret.keys if secret else [],
        remove=form.all("remove"),
        new_keys=[*new_keys, *[""] * max(0, NEW_ROWS - len(new_keys))],
        was={name: _lines(form.get(f"was.{name}")) for name in _COMPARED},
    )


def wanted(form: Form) -> CreateSecret:
    """A new secret as it was typed. `InvalidInput`."""
    values = _values(form)
    empty = [key for key, value in values.items() if value is None]
    if empty:
        raise InvalidInput(f"the value of '{empty[0]}' is null; a value has to be text", hint="leave the key out")
    return CreateSecret(
        name=form.get("name").strip(),
        scope=_scope(form.get("scope")),
        description=_lines(form.get("description")).strip(),
        labels=_labels(form.get("labels")),
        expires_at=_moment(form.get("expires")),
        values={key: value for key, value in values.items() if value is not None},
    )


def change(secret_id: str, form: Form) -> UpdateSecret:
    """What was typed in the form of a secret. What looks as it was stays as it is by now."""
    is_new = {name: _lines(form.get(name)) != _lines(form.get(f"was.{name}")) for name in _COMPARED}
    values = _values(form)
    for key in form.all("remove"):
        if key in values:
            raise InvalidInput(f"the key '{check_key(key)}' is both to be set and to be removed")
        values[key] = None
    return UpdateSecret(
        id=secret_id,
        values=values or UNSET,
        name=form.get("name").strip() if is_new["name"] else UNSET,
        scope=_scope(form.get("scope")) if is_new["scope"] else UNSET,
        description=_lines(form.get("description")).strip() if is_new["description"] else UNSET,
        labels=_labels(form.get("labels")) if is_new["labels"] else UNSET,
        expires_at=_moment(form.get("expires")) if is_new["expires"] else UNSET,
        if_version=version_of(form),
    )


def version_of(form: Form) -> int | None:
    """The version that the form was made for."""
    return number(form.get("if_version"))


def number(text: str) -> int | None:
    """A number of a version; None for what is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def pasted(text: str) -> dict[str, SecretText | None]:
    """The keys and values of a pasted text. `InvalidInput`."""
    return parse_pasted(_lines(text)) if text.strip() else {}


def _values(form: Form) -> dict[str, SecretText | None]:
    """All values of a form: those of keys that are there, those in rows, those that were pasted. A key is given once."""
    values: dict[str, SecretText | None] = {}
    for key, value in [*_kept(form), *_rows(form), *pasted(form.get("paste")).items()]:
        check_key(key)
        if key in values:
            raise InvalidInput(f"the key '{key}' is given twice")
        values[key] = value
    return values


def _kept(form: Form) -> Iterator[tuple[str, SecretText]]:
    """Values typed for keys that are there. An empty field keeps the value."""
    for name, text in form.pairs:
        kind, _, key = name.partition(".")
        if kind in ("value", "json") and key and text:
            yield key, _text(kind, text)


def _rows(form: Form) -> Iterator[tuple[str, SecretText]]:
    """Rows of a key and a value, in their order. Rows with nothing in them do not count."""
    key = ""
    for name, text in form.pairs:
        if name == "key":
            key = text.strip()
        elif name in ("value", "json") and (key or text):
            if not key:
                raise InvalidInput("a value has no key", hint="give each value a key, or remove its row")
            yield key, _text(name, text)
            key = ""


def _text(kind: str, text: str) -> SecretText:
    """What was typed; or a text as a JSON text, which the script makes of a file so that its line ends stay as they are."""
    if kind == "value":
        return SecretText(_lines(text))
    try:
        decoded = json.loads(text)
    except (ValueError, RecursionError):
        decoded = None
    if not isinstance(decoded, str):
        raise InvalidInput("the content of a file did not arrive as text", hint="choose the file again")
    return SecretText(decoded)


def _lines(text: str) -> str:
    """A text as it was typed: browsers send its line breaks as two characters."""
    return text.replace("\r\n", "\n")


def _scope(text: str) -> Scope:
    if text not in list(Scope):
        raise InvalidInput("a scope is 'workspace' or 'user'")
    return Scope(text)


def _labels(text: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            raise InvalidInput("a label is written key=value, one on each line")
        if key in labels:
            raise InvalidInput("a label is given twice")
        labels[key] = value
    return labels


def _expires(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")


def _moment(text: str) -> datetime | None:
    if not text.strip():
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInput("an expiry is a date and a time", hint="for example: 2030-01-31T12:00, in UTC") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
