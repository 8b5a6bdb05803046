"""Experiment trackers: a step's metrics and parameters go to a server of their own."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from urllib.parse import urlsplit

from strongroom.errors import ConfigurationError, StrongroomError, Unauthenticated, Unavailable
from strongroom.models.flavor import ComponentType
from strongroom.stacks.component import Component


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

    MLflow takes credentials from the environment alone: they are set there for the block, so one block at a time and process.
    """

    flavor = "mlflow"

    @contextmanager
    def track(self, run_name: str, experiment: str) -> Iterator[Any]:
        """Within the block `mlflow.log_metric(...)` and the like log to the run. Gives the `mlflow.ActiveRun`."""
        mlflow = self.needed("mlflow")
        with mlflow_environment(self, mlflow):
            with mlflow_errors(self, mlflow):
                mlflow.set_experiment(self.config.experiment_name or experiment)
                run = mlflow.start_run(run_name=run_name)
            status = "FAILED"
            try:
                yield run
                status = "FINISHED"
            finally:
                with mlflow_errors(self, mlflow):
                    mlflow.end_run(status)


@contextmanager
def mlflow_environment(component: Component, mlflow: Any) -> Iterator[None]:
    """Within the block MLflow speaks to the component's server with the component's credentials; afterwards as before."""
    config = component.config
    if config.tracking_uri and "@" in urlsplit(config.tracking_uri).netloc:
        raise ConfigurationError(
            f"the tracking_uri of {component.title} holds credentials, which MLflow would show in its errors",
            hint="use tracking_username and tracking_password",
        )
    insecure = config.get("tracking_insecure_tls")
    wanted = {
        "MLFLOW_TRACKING_USERNAME": config.tracking_username,
        "MLFLOW_TRACKING_PASSWORD": config.tracking_password,
        "MLFLOW_TRACKING_TOKEN": config.tracking_token,
        "MLFLOW_TRACKING_INSECURE_TLS": "true" if insecure else None,
        # MLflow's own bounds let a dead server cost several minutes.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"),
        "MLFLOW_HTTP_REQUEST_TIMEOUT": os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "30"),
    }
    former = {name: os.environ.get(name) for name in wanted}
    former_uri = mlflow.get_tracking_uri()
    _set_environment(wanted)
    try:
        if config.tracking_uri:
            mlflow.set_tracking_uri(config.tracking_uri)
        yield
    finally:
        _set_environment(former)
        mlflow.set_tracking_uri(former_uri)


def _set_environment(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def mlflow_errors(component: Component, mlflow: Any) -> Iterator[None]:
    """Turns MLflow's errors into ours, without their text: it may quote what was sent."""
    try:
        yield
    except mlflow.exceptions.MlflowException as error:
        raise _mlflow_error(component, error) from error


def _mlflow_error(component: Component, error: Any) -> StrongroomError:
    said = str(error)
    if error.get_http_status_code() in (401, 403):
        return Unauthenticated(
            f"{component.title}: the MLflow server refused the credentials",
            hint="check tracking_username and tracking_password, and the secrets they refer to",
        )
    if "Max retries exceeded" in said or "Failed to resolve" in said or "timed out" in said:
        return Unavailable(f"{component.title}: the MLflow server does not answer", hint="check tracking_uri, and whether it is up")
    return Unavailable(f"{component.title}: the MLflow server refused the request ({error.error_code})", hint="look at its log")


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
        except wandb.errors.UsageError as error:
            raise Unauthenticated(f"{self.title}: Weights & Biases refused the API key", hint="check api_key") from error
        except wandb.errors.Error as error:
            raise Unavailable(f"{self.title}: Weights & Biases does not answer ({type(error).__name__})") from error
        failed = True
        try:
            yield run
            failed = False
        finally:
            run.finish(exit_code=int(failed))
