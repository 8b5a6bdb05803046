"""What a run leaves behind, in Python."""

from __future__ import annotations

from typing import Any

from strongroom.errors import NotFound, printable
from strongroom.models.run import ArtifactRecord, Run, RunStatus, RunStep
from strongroom.pipelines import artifact
from strongroom.stacks.artifact_store import ArtifactStore


class PipelineRun:
    """A run that has ended: its record, and its outputs to load."""

    def __init__(self, record: Run, artifact_store: ArtifactStore) -> None:
        self.record, self._artifact_store = record, artifact_store

    @property
    def id(self) -> str:
        """The run's id."""
        return self.record.id

    @property
    def name(self) -> str:
        """The run's name."""
        return self.record.name

    @property
    def status(self) -> RunStatus:
        """How it ended."""
        return self.record.status

    @property
    def steps(self) -> dict[str, RunStep]:
        """The records of its steps, by name, in order."""
        return {step.name: step for step in self.record.steps or ()}

    def output(self, step: str, name: str | None = None) -> Any:
        """Loads an output of a step; `name` may be left out where there is one. `NotFound`."""
        found = self.steps.get(step)
        if found is None:
            raise NotFound(f"run '{self.name}' has no step '{printable(step)}'", hint=f"its steps are: {', '.join(self.steps)}")
        return artifact.load(self._artifact_store, self._choose(found, name))

    @staticmethod
    def _choose(step: RunStep, name: str | None) -> ArtifactRecord:
        matching = [record for record in step.outputs if name in (None, record.name)]
        if len(matching) != 1:
            names = ", ".join(record.name for record in step.outputs) or "none"
            raise NotFound(f"step '{step.name}' has no single such output", hint=f"its outputs are: {names}")
        return matching[0]

    def __repr__(self) -> str:
        return f"PipelineRun({self.name!r}, {self.status})"
