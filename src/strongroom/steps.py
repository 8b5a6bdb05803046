"""Steps: the functions of which pipelines are made."""

from strongroom.pipelines.context import StepContext
from strongroom.pipelines.step import step

__all__ = ["StepContext", "step"]
