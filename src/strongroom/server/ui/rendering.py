"""Templates, and how they show things. Everything is escaped unless a template says otherwise, and none does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

import jinja2


@cache
def environment() -> jinja2.Environment:
    """The templates, compiled when they are first used."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("strongroom.server.ui"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"moment": moment, "second": second, "words": words, "count": count}
    made.globals |= {"with_query": with_query, "now": now}
    return made


def render(template: str, **context: Any) -> str:
    """The template, filled in."""
    return environment().get_template(template).render(**context)


def moment(time: datetime | None) -> str:
    """A time to read, in UTC, to the minute."""
    return "" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def second(time: datetime) -> str:
    """The same to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def words(name: str) -> str:
    """A name of the program, as words."""
    return str(name).replace("_", " ").replace("-", " ")


def count(number: int, noun: str) -> str:
    """`1 secret`, `2 secrets`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def with_query(path: str, query: Mapping[str, str], **changes: object) -> str:
    """The path with the query as it is, but for these parameters; those that are empty are left out."""
    merged = {**query, **{name: str(text) for name, text in changes.items() if text is not None}}
    kept = {name: text for name, text in merged.items() if text not in ("", "None")}
    return f"{path}?{urlencode(kept)}" if kept else path
