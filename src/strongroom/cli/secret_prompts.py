"""Asking for the keys and values of a secret."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from strongroom.cli.output import say
from strongroom.cli.prompts import ask_hidden, ask_until_good, confirm

if TYPE_CHECKING:
    from strongroom.client import Client
    from strongroom.redaction import SecretText


def refuse_taken(client: Client, name: str, scope: str) -> None:
    """Says that a name is taken before somebody types values for it."""
    from strongroom.errors import AlreadyExists

    if client.list_secrets(name=f"equals:{name}", scope=scope).total:
        raise AlreadyExists(f"a secret '{name}' already exists in the {scope} scope", hint=f"strongroom secret update {name} -i")


def ask_new_keys(values: dict[str, str | None], existing: tuple[str, ...] = ()) -> None:
    """Asks for further keys and their values until there are enough."""

    def bad(key: str) -> str | None:
        from strongroom.errors import InvalidInput
        from strongroom.models.secret import check_key

        try:
            check_key(key)
        except InvalidInput as error:
            return f"{error}; try another key"
        return f"the key '{key}' is there already; try another one" if key in values or key in existing else None

    while True:
        key = ask_until_good("Key", bad)
        values[key] = ask_value(f"Value of '{key}' (hidden)")
        if not confirm("Another key?"):
            return


def ask_changed_keys(known: Sequence[str], values: dict[str, str | None], removed: list[str]) -> None:
    """Asks for a new value of each key that is not changed already, then for new keys."""
    for key in known:
        if key not in values and key not in removed:
            answer = ask_value(f"New value of '{key}' (hidden, Enter keeps it)")
            if answer:
                values[key] = answer
    if confirm("Add a key?"):
        ask_new_keys(values, (*known, *removed))


def ask_value(question: str) -> str:
    """A hidden value that can be stored; asked again if it is no Unicode text."""
    from strongroom.errors import InvalidInput
    from strongroom.models.secret import check_values

    while True:
        try:
            answer = ask_hidden(question, counted=True)
            check_values(secret_texts({"value": answer}))
        except InvalidInput as error:
            say(f"  {error}")
        else:
            return answer


def secret_texts(values: dict[str, str]) -> dict[str, SecretText]:
    """The values as they travel through the program."""
    from strongroom.redaction import SecretText

    return {key: SecretText(value) for key, value in values.items()}
