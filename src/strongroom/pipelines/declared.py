"""Declared secrets: what the code of steps reads by itself, written as `name` or `name.key`."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom.errors import InvalidInput
from strongroom.models.reference import Need
from strongroom.models.secret import check_key, check_name


def parse_declared(secrets: Iterable[str] | None, what: str) -> tuple[Need, ...] | None:
    """What was declared, or None where nothing was said. `InvalidInput` for what no secret can be called."""
    if secrets is None:
        return None
    if isinstance(secrets, str):
        raise InvalidInput(f"{what} declares secrets as a list of texts", hint=f'for example: secrets=["{secrets[:40]}"]')
    return tuple(dict.fromkeys(_parse(text, what) for text in secrets))


def _parse(text: str, what: str) -> Need:
    if not isinstance(text, str):
        raise InvalidInput(f"{what} declares secrets as a list of texts", hint='for example: secrets=["api", "database.password"]')
    name, dot, key = text.partition(".")
    try:
        return Need(check_name(name), check_key(key) if dot else None)
    except InvalidInput as error:
        raise InvalidInput(f"{what} declares a secret that cannot be: {error.message}", hint="write name or name.key") from None
