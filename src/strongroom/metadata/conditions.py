"""Filters as SQL conditions that mean the same on every database: exact, with case, and without wildcards."""

from __future__ import annotations

import operator
from typing import Any

from sqlalchemy import ColumnElement, false, func, not_, or_, true

from strongroom.models.filter import TextFilter, TimeFilter

_PADDING = ("mysql", "mariadb")
_COMPARISONS = {
    "equals": operator.eq,
    "notequals": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def can_be_stored(text: str) -> bool:
    """Whether there can be such a text in a column of names, ids or keys. Not every database takes the question otherwise."""
    return text.isascii() and "\0" not in text


def text_condition(column: ColumnElement[str], wanted: TextFilter, dialect: str) -> ColumnElement[bool]:
    """The condition on a column of ASCII text."""
    values = [value for value in wanted.values if can_be_stored(value)]
    if not values:
        return true() if wanted.operator == "notequals" else false()
    value = values[0]
    match wanted.operator:
        case "oneof":
            return or_(*(exactly(column, each, dialect) for each in values))
        case "notequals":
            return not_(exactly(column, value, dialect))
        case "startswith":
            from_here = (column >= value) & (column < value + "\x7f")
            return from_here if dialect not in _PADDING else from_here & (func.char_length(column) >= len(value))
        case "endswith":
            length = func.length(column)
            return (length >= len(value)) & (func.substr(column, length - len(value) + 1) == value)
        case "contains":
            if not value:
                return true()
            return (func.strpos if dialect == "postgresql" else func.instr)(column, value) > 0
        case _:
            return exactly(column, value, dialect)


def exactly(column: ColumnElement[str], value: str, dialect: str) -> ColumnElement[bool]:
    """Equality that sees blanks at the end, which MySQL and MariaDB overlook."""
    equal = column == value
    return equal if dialect not in _PADDING else equal & (func.char_length(column) == len(value))


def time_condition(column: ColumnElement[int], wanted: TimeFilter) -> ColumnElement[bool]:
    """The condition on a column of microseconds."""
    return comparison(column, wanted.operator, wanted.moment)


def comparison(column: ColumnElement[Any], name: str, value: Any) -> ColumnElement[bool]:
    """`column (=, <>, >, ...) value`."""
    result: ColumnElement[bool] = _COMPARISONS[name](column, value)
    return result
