"""What a step may know about where it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom.stacks.stack import ActiveStack


@dataclass(frozen=True)
class StepContext:
    """Given to a step that has a parameter annotated with this class. Such a step is not cached unless it says `enable_cache=True`.

    `stack` holds the components with their attributes resolved: `context.stack.experiment_tracker.config.tracking_username`.
    """

    run_id: str
    run_name: str
    pipeline_name: str
    step_name: str
    stack: ActiveStack = field(repr=False)
    _settings: Callable[[], dict[str, Any]] = field(repr=False)
    _metadata: dict[str, Any] = field(repr=False, default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the pipeline, the step and the run, merged, with references resolved."""
        return self._settings()

    def log_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Adds plain data to the record of this step. Values of secrets in it are masked; it is kept when the step succeeds."""
        self._metadata.update(metadata)
