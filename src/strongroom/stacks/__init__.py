"""Stacks at work: components with their attributes resolved, validation, and what authors of custom flavors build on."""

from strongroom.models.flavor import Attribute, AttributeKind, ComponentType
from strongroom.stacks.alerter import Alerter
from strongroom.stacks.artifact_store import ArtifactStore, FsspecArtifactStore
from strongroom.stacks.component import Component, Config
from strongroom.stacks.container_registry import ContainerRegistry
from strongroom.stacks.experiment_tracker import ExperimentTracker
from strongroom.stacks.model_registry import ModelRegistry
from strongroom.stacks.other_types import ModelDeployer, StepOperator
from strongroom.stacks.secrets_manager import ManagedSecret, SecretsManager

__all__ = [
    "Alerter",
    "ArtifactStore",
    "Attribute",
    "AttributeKind",
    "Component",
    "ComponentType",
    "Config",
    "ContainerRegistry",
    "ExperimentTracker",
    "FsspecArtifactStore",
    "ManagedSecret",
    "ModelDeployer",
    "ModelRegistry",
    "SecretsManager",
    "StepOperator",
]
