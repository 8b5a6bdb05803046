"""Filters as SQL conditions that mean the same on every database: exact, with case, and without wildcards."""

from __future__ import annotations

import operator
from typing import Any

from sqlalchemy import ColumnElement, false, func, true

from strongroom.models.filter import TextFilter, TimeFilter

_COMPARISONS = {
    "equals": operator.eq,
    "notequals": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def can_be_stored(text: str) -> bool:
    """Whether there can be such a text in a column of names, ids or keys.

    For others the answer is known without a question, which not every database would take; MySQL overlooks blanks at the end.
    """
    return text.isascii() and text.isprintable() and " " not in text


def text_condition(column: ColumnElement[str], wanted: TextFilter, dialect: str) -> ColumnElement[bool]:
    """The condition on a column of names, ids or keys."""
    values = [value for value in wanted.values if can_be_stored(value)]
    if not values:
        return true() if wanted.operator == "notequals" else false()
    value = values[0]
    match wanted.operator:
        case "oneof":
            return column.in_(values)
        case "startswith":
            return (column >= value) & (column < value + "\x7f")
        case "endswith":
            length = func.length(column)
            return (length >= len(value)) & (func.substr(column, length - len(value) + 1) == value)
        case "contains":
            if not value:
                return true()
            return (func.strpos if dialect == "postgresql" else func.instr)(column, value) > 0
        case _:
            return comparison(column, wanted.operator, value)


def time_condition(column: ColumnElement[int], wanted: TimeFilter) -> ColumnElement[bool]:
    """The condition on a column of microseconds."""
    return comparison(column, wanted.operator, wanted.moment)


def comparison(column: ColumnElement[Any], name: str, value: Any) -> ColumnElement[bool]:
    """`column (=, <>, >, ...) value`."""
    result: ColumnElement[bool] = _COMPARISONS[name](column, value)
    return result
