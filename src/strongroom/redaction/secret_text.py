"""The type that carries values through the program."""

from __future__ import annotations

from typing import NoReturn

MASK = "********"


class SecretText:
    """A value of a secret. Shows itself as a mask everywhere; `reveal()` is the only exit, `get_secret_value()` another name of it.

    Immutable, hashable, comparable with other `SecretText`s; a copy of any depth is the object itself. Refuses to be
    pickled, so that it cannot slip into a cache or a queue.
    """

    __slots__ = ("_text",)
    _text: str

    def __init__(self, text: str) -> None:
        object.__setattr__(self, "_text", text)

    def reveal(self) -> str:
        """The text itself. Whoever calls this answers for where it goes."""
        return self._text

    def get_secret_value(self) -> str:
        """As `reveal`, by the name that pydantic's `SecretStr` has for it."""
        return self._text

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("SecretText cannot be changed")

    def __repr__(self) -> str:
        return f"SecretText('{MASK}')"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, SecretText) else NotImplemented

    def __hash__(self) -> int:
        return hash((SecretText, self._text))

    def __copy__(self) -> SecretText:
        return self

    def __deepcopy__(self, _memo: object) -> SecretText:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SecretText is not pickled; call reveal() if its text really has to travel")
