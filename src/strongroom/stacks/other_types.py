"""Types of components that have no built-in flavor: bases for custom ones.

A stack hands such a component to steps like any other, with its attributes resolved; what it does is its author's.
"""

from __future__ import annotations

from strongroom.models.flavor import ComponentType
from strongroom.stacks.component import Component


class ModelDeployer(Component):
    """Serves models."""

    type = ComponentType.MODEL_DEPLOYER


class StepOperator(Component):
    """Runs code elsewhere than the orchestrator does."""

    type = ComponentType.STEP_OPERATOR
