"""Model registries: named models and their versions."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from strongroom.errors import InvalidInput
from strongroom.models.flavor import ComponentType
from strongroom.stacks.component import Component
from strongroom.stacks.mlflow_environment import mlflow_environment, mlflow_errors


@dataclass(frozen=True)
class ModelVersion:
    """One version of a model; `source` is the URI of its artifact."""

    name: str
    version: str
    source: str
    description: str


class ModelRegistry(Component):
    """Registers versions of models and finds them again."""

    type = ComponentType.MODEL_REGISTRY

    @abstractmethod
    def register(self, name: str, source: str, description: str = "") -> ModelVersion:
        """Adds a version of a model, which is made if there is none of that name."""

    @abstractmethod
    def versions(self, name: str) -> list[ModelVersion]:
        """All versions of a model, newest first; none if there is no such model."""


class MLflowModelRegistry(ModelRegistry):
    """The registry of an MLflow server."""

    flavor = "mlflow"

    def register(self, name: str, source: str, description: str = "") -> ModelVersion:
        """Adds a version that points at the URI."""
        mlflow = self.needed("mlflow")
        with mlflow_environment(self, mlflow), mlflow_errors(self, mlflow):
            client = mlflow.MlflowClient()
            try:
                client.create_registered_model(name)
            except mlflow.exceptions.MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            made = client.create_model_version(name, source, description=description)
            return ModelVersion(made.name, str(made.version), made.source, made.description or "")

    def versions(self, name: str) -> list[ModelVersion]:
        """All versions of the model."""
        mlflow = self.needed("mlflow")
        with mlflow_environment(self, mlflow), mlflow_errors(self, mlflow):
            found = mlflow.MlflowClient().search_model_versions(f"name = {_quoted(name)}")
            versions = [ModelVersion(item.name, str(item.version), item.source, item.description or "") for item in found]
        return sorted(versions, key=lambda version: int(version.version), reverse=True)


def _quoted(name: str) -> str:
    """The name in MLflow's filters, which know no escapes."""
    if '"' in name and "'" in name:
        raise InvalidInput("the name of a model cannot have both kinds of quotation marks")
    return f'"{name}"' if "'" in name else f"'{name}'"
