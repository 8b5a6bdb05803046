"""Pipelines: steps that are run together, recorded, with the secrets they need."""

from strongroom.pipelines.context import StepContext
from strongroom.pipelines.pipeline import pipeline
from strongroom.pipelines.step import step

__all__ = ["StepContext", "pipeline", "step"]
