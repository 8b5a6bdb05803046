"""Orchestrators: they decide where and when the steps of a run are executed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from strongroom.models.flavor import ComponentType
from strongroom.stacks.component import Component


@dataclass(frozen=True)
class Task:
    """A step of a run by its name, and the names of those that have to be done before it."""

    name: str
    after: tuple[str, ...]


class Orchestrator(Component):
    """Executes the steps of a run."""

    type = ComponentType.ORCHESTRATOR

    @abstractmethod
    def execute(self, tasks: Sequence[Task], run_step: Callable[[str], None]) -> None:
        """Calls `run_step` with every name, each after those it depends on, and stops at the first that raises.

        The tasks come in an order in which they could be executed.
        """
