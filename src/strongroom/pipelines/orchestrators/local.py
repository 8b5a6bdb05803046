"""The local orchestrator."""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.stacks.orchestrator import Orchestrator, StepRunner, Task


class LocalOrchestrator(Orchestrator):
    """Executes one step after another, in this process and thread, in the order in which the pipeline called them."""

    flavor = "local"

    def execute(self, tasks: Sequence[Task], run_step: StepRunner) -> None:
        """See `Orchestrator`."""
        for task in tasks:
            run_step(task.name)
