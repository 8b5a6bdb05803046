"""Steps."""

from strongroom.steps import StepContext, step

__all__ = ["StepContext", "step"]
