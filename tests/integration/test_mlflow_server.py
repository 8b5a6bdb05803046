"""MLflow's server in the tests, and how its client behaves towards it."""

from __future__ import annotations

import traceback

import pytest

from tests.canary import CANARY, files_with_canary
from tests.servers.mlflow import MLflowServer


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch, mlflow_server: MLflowServer) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", mlflow_server.user)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", mlflow_server.password)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def test_the_right_password_opens_the_server(mlflow_server: MLflowServer) -> None:
    """With user and password in the environment, the client writes a run and finds it again."""
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_server.url)
    run = client.create_run(client.create_experiment("test_the_right_password_opens_the_server"))
    client.log_metric(run.info.run_id, "loss", 0.5)
    assert client.get_run(run.info.run_id).data.metrics == {"loss": 0.5}


@pytest.mark.parametrize("password", ["wrong", None])
def test_a_wrong_password_is_refused(mlflow_server: MLflowServer, monkeypatch: pytest.MonkeyPatch, password: str | None) -> None:
    """A wrong password, or none, is an `MlflowException` with the code UNAUTHENTICATED, which does not hold the password."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    if password:
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", f"{CANARY}-{password}")
    else:
        monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    with pytest.raises(MlflowException) as caught:
        MlflowClient(mlflow_server.url).search_experiments()
    assert caught.value.error_code == "UNAUTHENTICATED"
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_the_password_is_kept_as_a_hash(mlflow_server: MLflowServer) -> None:
    """No file of the server holds the password."""
    assert (mlflow_server.folder / "basic_auth.db").exists()
    assert files_with_canary(mlflow_server.folder) == []
