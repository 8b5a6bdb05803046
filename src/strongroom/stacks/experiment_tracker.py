"""Experiment trackers: a step's metrics and parameters go to a server of their own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from strongroom.errors import ConfigurationError, Unauthenticated, Unavailable
from strongroom.models.flavor import ComponentType
from strongroom.stacks.component import Component
from strongroom.stacks.mlflow_environment import mlflow_environment, mlflow_errors


class ExperimentTracker(Component):
    """Tracks what happens within a block. A step that says `@step(experiment_tracker=NAME)` runs within such a block."""

    type = ComponentType.EXPERIMENT_TRACKER

    @abstractmethod
    def track(self, run_name: str, experiment: str) -> AbstractContextManager[Any]:
        """A block during which the tracker's own library logs to a run of this name in this experiment; gives that run.

        The run ends with the block, as failed if that raises. `Unauthenticated`, `Unavailable`.
        """


class MLflowTracker(ExperimentTracker):
    """An MLflow server.

    MLflow takes credentials from the environment alone, where they are set for the block. So steps in several threads of a process
    are tracked one after another.
    """

    flavor = "mlflow"

    @contextmanager
    def track(self, run_name: str, experiment: str) -> Iterator[Any]:
        """Within the block `mlflow.log_metric(...)` and the like log to the run. Gives the `mlflow.ActiveRun`."""
        mlflow = self.needed("mlflow")
        name = self.config.experiment_name or experiment
        with mlflow_environment(self, mlflow, name):
            with mlflow_errors(self, mlflow):
                run = mlflow.start_run(run_name=run_name, experiment_id=_experiment_id(mlflow, name))
            status = "FAILED"
            try:
                yield run
                status = "FINISHED"
            finally:
                with mlflow_errors(self, mlflow):
                    mlflow.end_run(status)


def _experiment_id(mlflow: Any, name: str) -> str:
    """The id of the experiment, which is made if there is none. (`mlflow.set_experiment` would choose it for the whole process.)"""
    client = mlflow.MlflowClient()
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except mlflow.exceptions.MlflowException as error:
            found = client.get_experiment_by_name(name) if error.error_code == "RESOURCE_ALREADY_EXISTS" else None
            if found is None:
                raise
    return str(found.experiment_id)


class WandbTracker(ExperimentTracker):
    """Weights & Biases."""

    flavor = "wandb"

    @contextmanager
    def track(self, run_name: str, experiment: str) -> Iterator[Any]:
        """Within the block `wandb.log(...)` logs to the run. Gives the `wandb` run."""
        wandb = self.needed("wandb")
        config = self.config
        if config.mode not in ("online", "offline", "disabled"):
            raise ConfigurationError(f"the mode of {self.title} is online, offline or disabled")
        given = {"api_key": config.api_key, "base_url": config.base_url}
        settings = wandb.Settings(**{name: value for name, value in given.items() if value})
        try:
            run = wandb.init(
                project=config.project_name or experiment,
                entity=config.entity,
                name=run_name,
                mode=config.mode,
                dir=config.folder,
                settings=settings,
            )
        except (wandb.errors.AuthenticationError, wandb.errors.UsageError) as error:
            raise Unauthenticated(f"{self.title}: Weights & Biases refused the API key", hint="check api_key") from error
        except wandb.errors.Error as error:
            raise Unavailable(f"{self.title}: Weights & Biases does not answer ({type(error).__name__})") from error
        failed = True
        try:
            yield run
            failed = False
        finally:
            run.finish(exit_code=int(failed))
