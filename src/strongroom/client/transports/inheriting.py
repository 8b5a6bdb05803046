"""Threads, pools and processes that a step starts act for its run, like the step itself.

Python gives neither a new thread nor a new process the context of the code that starts it. From the first step on that acts for its
run, the few functions of the standard library that start one hand on whom it acts for. Outside of such steps they do what they did.
This is no sandbox: code of a step can read whatever its process can.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

from strongroom import forking
from strongroom.client.transports.base import Transport
from strongroom.config import PREFIX

_KEY = "strongroom.acting"
_lock = forking.renewed(sys.modules[__name__], "_lock", threading.RLock)
_installed = False
_opened: dict[tuple[str, ...], Transport] = {}


def hand_on(acting: ContextVar[Transport | None]) -> None:
    """Makes what is started from now on inherit the variable, which holds the transport of the run. Does it once for a process.

    - A thread, also one that a pool starts, has the value of the thread that started it, to its end.
    - A call that is submitted to a `ThreadPoolExecutor` has the value of the thread that submitted it.
    - A process of `multiprocessing` has it whatever its start method, and so have its children.
    - A program that is started with `subprocess` finds the token of the run in its environment.
    """
    global _installed
    with _lock:
        if not _installed:
            _hand_to_threads(acting)
            _hand_to_calls(acting)
            _hand_to_processes(acting)
            _hand_to_programs(acting)
            _installed = True


def inherited() -> Transport | None:
    """The transport that this process was given when `multiprocessing` started it for a step; None in all other processes."""
    module = sys.modules.get("multiprocessing.process")
    found: _Variables | None = None if module is None else module.current_process()._config.get(_KEY)
    if found is None:
        return None
    variables = found.variables
    known = tuple(variables.values())
    with _lock:
        if known not in _opened:
            from strongroom.client.transports.chosen import open_transport
            from strongroom.config import read_settings

            _opened[known] = open_transport(read_settings(_environment(os.environ, variables)))
        return _opened[known]


def _within(acting: ContextVar[Transport | None], transport: Transport | None, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, called with this value of the variable."""

    def call(*arguments: Any, **named: Any) -> Any:
        token = acting.set(transport)
        try:
            return function(*arguments, **named)
        finally:
            acting.reset(token)

    return call


def _hand_to_threads(acting: ContextVar[Transport | None]) -> None:
    import _thread

    start = threading.Thread.start

    @functools.wraps(start)
    def start_thread(self: threading.Thread) -> None:
        if (transport := acting.get()) is not None:
            self.run = _within(acting, transport, self.run)  # type: ignore[method-assign]
        start(self)

    begin = _thread.start_new_thread

    @functools.wraps(begin)
    def start_bare_thread(function: Callable[..., Any], *further: Any) -> int:
        transport = acting.get()
        return begin(function if transport is None else _within(acting, transport, function), *further)

    threading.Thread.start = start_thread  # type: ignore[method-assign]
    _thread.start_new_thread = _thread.start_new = start_bare_thread


def _hand_to_calls(acting: ContextVar[Transport | None]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    submit: Any = ThreadPoolExecutor.submit

    @functools.wraps(submit)
    def submit_call(self: ThreadPoolExecutor, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        # Also where the value is None: a step may have started the thread that is going to make this call.
        return submit(self, _within(acting, acting.get(), function), *arguments, **named)

    ThreadPoolExecutor.submit = submit_call  # type: ignore[method-assign, assignment]


def _hand_to_processes(acting: ContextVar[Transport | None]) -> None:
    from multiprocessing.process import BaseProcess

    start = BaseProcess.start

    @functools.wraps(start)
    def start_process(self: Any) -> None:
        if (transport := acting.get()) is not None:
            self._config = {
                **self._config,
                _KEY: _Variables(transport.for_children()),
            }
        start(self)

    BaseProcess.start = start_process  # type: ignore[method-assign]


class _Variables:
    """The environment variables of a run, on their way to a child process, where they are set: programs find them there."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = dict(variables)

    def __repr__(self) -> str:
        return "_Variables()"

    def __reduce__(self) -> tuple[Callable[..., _Variables], tuple[dict[str, str]]]:
        return _arrive, (self.variables,)


def _arrive(variables: dict[str, str]) -> _Variables:
    changed = _environment(os.environ, variables)
    os.environ.clear()
    os.environ.update(changed)
    return _Variables(variables)


def _hand_to_programs(acting: ContextVar[Transport | None]) -> None:
    import subprocess

    make = subprocess.Popen.__init__

    @functools.wraps(make)
    def make_process(self: Any, arguments: Any, *further: Any, **named: Any) -> None:
        transport = acting.get() or inherited()
        if transport is not None:
            if len(further) > _ENVIRONMENT:
                changed = list(further)
                changed[_ENVIRONMENT] = _environment(further[_ENVIRONMENT] or os.environ, transport.for_children())
                further = tuple(changed)
            else:
                given = named.get("env")
                named["env"] = _environment(os.environ if given is None else given, transport.for_children())
        make(self, arguments, *further, **named)

    subprocess.Popen.__init__ = make_process  # type: ignore[method-assign, assignment]


_ENVIRONMENT = 9
"""Where `env` is among the positional arguments of `Popen`, after the first."""


def _environment(given: Mapping[Any, Any], variables: Mapping[str, str]) -> dict[Any, Any]:
    """An environment with the variables of a run, and without a login of its owner."""
    names = {f"{PREFIX}{name}" for name in ("API_KEY", "ACTIVE_WORKSPACE", "RUN_TOKEN")}
    return {**{name: text for name, text in given.items() if os.fsdecode(name) not in names}, **variables}
