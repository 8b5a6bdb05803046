"""What a process that was just forked must make again.

The child of `os.fork` has one thread, and a copy of everything else: locks that another thread of the parent held stay
locked for ever, thread pools have no threads, and connections are the parent's. Objects register here what must be made
again in the child, and what has to be quiet while the process forks. Processes that are started otherwise
(`subprocess`, multiprocessing's `spawn`) inherit nothing.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from itertools import count
from typing import Any, TypeVar

T = TypeVar("T")

_numbers = count()
_attributes: dict[int, tuple[weakref.ref[Any], str, Callable[[], Any]]] = {}
_renewals: dict[int, weakref.WeakMethod[Callable[[], None]]] = {}
_functions: list[Callable[[], None]] = []
_holds: list[tuple[Callable[[], None], Callable[[], None]]] = []
_left_alone: list[object] = []


def renewed(owner: Any, name: str, make: Callable[[], T]) -> T:
    """Returns `make()`, which the caller assigns to the owner's attribute; each forked child makes it again.

    For locks, and for all that belongs to a thread or to a process. Knows the owner (an object or a module) by a weak reference.
    """
    number = next(_numbers)
    _attributes[number] = weakref.ref(owner, lambda _: _attributes.pop(number, None)), name, make
    return make()


def renew_by(method: Callable[[], None]) -> None:
    """Calls this bound method in each forked child, after attributes were renewed, as long as its object lives."""
    number = next(_numbers)
    _renewals[number] = weakref.WeakMethod(method, lambda _: _renewals.pop(number, None))


def in_each_child(function: Callable[[], None]) -> None:
    """Calls this function in each forked child, after attributes were renewed."""
    _functions.append(function)


def hold_while_forking(before: Callable[[], None], after: Callable[[], None]) -> None:
    """Calls `before` in a process that is about to fork, and `after` in that process when it has forked."""
    _holds.append((before, after))


def leave_alone(*inherited: object) -> None:
    """Keeps what is the parent's for as long as this process lives: to close it here would end it there."""
    _left_alone.extend(inherited)


def _before() -> None:
    for before, _ in _holds:
        before()


def _in_parent() -> None:
    for _, after in reversed(_holds):
        after()


def _in_child() -> None:
    for owner, name, make in list(_attributes.values()):
        found = owner()
        if found is not None:
            object.__setattr__(found, name, make())
    for reference in list(_renewals.values()):
        method = reference()
        if method is not None:
            method()
    for function in _functions:
        function()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
