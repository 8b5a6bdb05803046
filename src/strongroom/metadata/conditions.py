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


def text_condition(column: ColumnElement[str], wanted: TextFilter, dialect: str) -> ColumnElement[bool]:
    """The condition on a column of ASCII text."""
    values = [value for value in wanted.values if value.isascii() and "\0" not in value]
    if not values:  # no such text is ever stored, and not every database takes the question
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
