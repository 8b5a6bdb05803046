"""Pipelines."""

from strongroom.pipelines import pipeline

__all__ = ["pipeline"]
