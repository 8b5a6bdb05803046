"""How MLflow's library gets at a server: by variables of the environment, one set at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from strongroom import forking
from strongroom.errors import ConfigurationError, StrongroomError, Unauthenticated, Unavailable
from strongroom.stacks.component import Component


@contextmanager
def mlflow_environment(component: Component, mlflow: Any, experiment: str | None = None) -> Iterator[None]:
    """Within the block MLflow speaks to the component's server with the component's credentials; afterwards as before.

    The environment belongs to the whole process: whoever wants another one than another thread has now waits until that thread is
    done. In one thread blocks may be nested.
    """
    config = component.config
    if config.tracking_uri and "@" in urlsplit(config.tracking_uri).netloc:
        raise ConfigurationError(
            f"the tracking_uri of {component.title} holds credentials, which MLflow would show in its errors",
            hint="use tracking_username and tracking_password",
        )
    wanted: dict[str, str | None] = {
        "MLFLOW_TRACKING_USERNAME": config.tracking_username,
        "MLFLOW_TRACKING_PASSWORD": config.tracking_password,
        "MLFLOW_TRACKING_TOKEN": config.tracking_token,
        "MLFLOW_TRACKING_INSECURE_TLS": "true" if config.get("tracking_insecure_tls") else None,
        # MLflow's own bounds let a dead server cost several minutes.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"),
        "MLFLOW_HTTP_REQUEST_TIMEOUT": os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "30"),
    }
    if config.tracking_uri:
        wanted[_URI] = config.tracking_uri
    if experiment is not None:  # for runs that the step begins within its own
        wanted |= {"MLFLOW_EXPERIMENT_NAME": experiment, "MLFLOW_EXPERIMENT_ID": None}
    _environments.enter(wanted, mlflow)
    try:
        yield
    finally:
        _environments.leave(mlflow)


@contextmanager
def mlflow_errors(component: Component, mlflow: Any) -> Iterator[None]:
    """Turns MLflow's errors into ours, without their text: it may quote what was sent."""
    try:
        yield
    except mlflow.exceptions.MlflowException as error:
        raise _translated(component, error) from error


def _translated(component: Component, error: Any) -> StrongroomError:
    if error.get_http_status_code() in (401, 403):
        return Unauthenticated(
            f"{component.title}: the MLflow server refused the credentials",
            hint="check tracking_username and tracking_password, and the secrets they refer to",
        )
    said = str(error)
    if "Max retries exceeded" in said or "Failed to resolve" in said or "timed out" in said:
        return Unavailable(f"{component.title}: the MLflow server does not answer", hint="check tracking_uri, and whether it is up")
    return Unavailable(f"{component.title}: the MLflow server refused the request ({error.error_code})", hint="look at its log")


_URI = "MLFLOW_TRACKING_URI"


@dataclass
class _Level:
    """Variables that were set, what they were before, and the threads that rely on them, as often as they do."""

    wanted: Mapping[str, str | None] = field(repr=False)
    former: Mapping[str, str | None] = field(repr=False)
    threads: list[int]


class _Environments:
    """Environments laid over one another. Thread-safe."""

    def __init__(self) -> None:
        self._condition = forking.renewed(self, "_condition", threading.Condition)
        self._levels: list[_Level] = []

    def enter(self, wanted: Mapping[str, str | None], mlflow: Any) -> None:
        """Sets the variables, when no other thread relies on other ones."""
        thread = threading.get_ident()
        with self._condition:
            self._condition.wait_for(lambda: self._suits(wanted) or self._has_no_other_user(thread))
            if self._suits(wanted):
                self._levels[-1].threads.append(thread)
                return
            former = {name: os.environ.get(name) for name in {*wanted, _URI}}
            self._levels.append(_Level(wanted, former, [thread]))
            if uri := wanted.get(_URI):
                mlflow.set_tracking_uri(uri)
            _set(wanted)

    def leave(self, mlflow: Any) -> None:
        """Puts back what was there before, as soon as nobody relies on it any more."""
        thread = threading.get_ident()
        with self._condition:
            next(level for level in reversed(self._levels) if thread in level.threads).threads.remove(thread)
            while self._levels and not self._levels[-1].threads:
                level = self._levels.pop()
                if _URI in level.wanted:
                    mlflow.set_tracking_uri(None)  # from now on the variable counts, which MLflow keeps in step
                _set(level.former)
            self._condition.notify_all()

    def _suits(self, wanted: Mapping[str, str | None]) -> bool:
        return bool(self._levels) and wanted.items() <= self._levels[-1].wanted.items()

    def _has_no_other_user(self, thread: int) -> bool:
        return all(other == thread for level in self._levels for other in level.threads)


_environments = _Environments()


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
