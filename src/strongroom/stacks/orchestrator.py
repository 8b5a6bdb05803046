"""Orchestrators: they decide where and when the steps of a run are executed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn, Protocol

from strongroom.models.flavor import ComponentType
from strongroom.stacks.component import Component


@dataclass(frozen=True)
class Task:
    """A step of a run by its name, and the names of those that have to be done before it."""

    name: str
    after: tuple[str, ...]


@dataclass(frozen=True)
class ShippedStep:
    """A step for another process: `strongroom.pipelines.remote.execute_shipped(cargo)` there gives the reply.

    The cargo holds the run's token: it is for nobody's eyes, and not shown.
    """

    name: str
    cargo: bytes
    version: str

    def __repr__(self) -> str:
        return f"ShippedStep({self.name!r})"


class StepRunner(Protocol):
    """What an orchestrator executes the steps of one run with. For one thread."""

    def __call__(self, name: str) -> None:
        """Executes a step here. `StepFailed`."""

    def ship(self, name: str, server: str | None = None) -> ShippedStep | None:
        """A step for another process, when those that it depends on are done; None if a former run's result takes its place.

        `server` is the address of strongroom's server, if it is another one over there. `StepFailed`.
        """

    def settle(self, name: str, reply: bytes) -> None:
        """Takes note of how a shipped step ended. `StepFailed`."""

    def fail(self, name: str, reason: str, hint: str | None = None) -> NoReturn:
        """Puts on record that a shipped step failed without a reply. Raises `StepFailed`."""

    def begun(self) -> set[str]:
        """The shipped steps that are being executed, as the run's record says."""


class Orchestrator(Component):
    """Executes the steps of a run."""

    type = ComponentType.ORCHESTRATOR

    @contextmanager
    def ready(self, server: str | None) -> Iterator[None]:
        """Within the block it can execute steps. What it raises at the beginning keeps the run from beginning.

        `server` is the URL of the server that the run is recorded at; None for the embedded store.
        """
        yield

    @abstractmethod
    def execute(self, tasks: Sequence[Task], run_step: StepRunner) -> None:
        """Sees to it that every step is executed once, each after those it depends on; `run_step(name)` does it here.

        The tasks come in an order in which they could be executed. When a step fails none is begun any more, and its error is raised
        when those under way have ended.
        """
