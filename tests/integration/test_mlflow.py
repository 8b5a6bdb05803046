"""The flavors of MLflow: an experiment tracker and a model registry, with credentials from secrets."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from strongroom.client import Client
from strongroom.errors import ConfigurationError, StepFailed, Unauthenticated, Unavailable
from strongroom.pipelines import pipeline
from strongroom.pipelines.pipeline import Pipeline
from strongroom.steps import StepContext, step
from tests.canary import CANARY, holds_canary
from tests.integration.stack import add_to_stack, failing
from tests.servers.mlflow import MLflowServer


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow does not try again for minutes; afterwards its settings are as they were before, for which strongroom has to see."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    import mlflow  # the first import sets variables of its own

    def settings() -> dict[str, str]:
        return {name: text for name, text in os.environ.items() if name.startswith("MLFLOW_")}

    before = settings(), mlflow.get_tracking_uri()
    yield
    assert sorted(settings()) == sorted(before[0])
    assert settings() == before[0]
    assert mlflow.get_tracking_uri() == before[1]


def register(client: Client, server: MLflowServer, kind: str = "experiment_tracker", **changes: str) -> None:
    """A stack with a component of MLflow whose user name and password are in a secret."""
    values = {
        "username": server.user,
        "password": server.password,
        **{name: changes.pop(name) for name in ["password"] if name in changes},
    }
    client.create_secret("mlflow_secret", values)
    configuration = {
        "tracking_uri": server.url,
        "tracking_username": "{{mlflow_secret.username}}",
        "tracking_password": "{{mlflow_secret.password}}",
        **changes,
    }
    add_to_stack(client, kind, "mlflow", configuration)


def rest(server: MLflowServer, path: str, **fields: Any) -> Any:
    """What the server says to whoever knows its password."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{server.url}/api/2.0/mlflow/{path}", json=fields, auth=(server.user, server.password))
        if answer.status_code == 405:
            answer = session.get(f"{server.url}/api/2.0/mlflow/{path}", params=fields, auth=(server.user, server.password))
        answer.raise_for_status()
        return answer.json()


def tracked(server: MLflowServer, experiment: str) -> list[dict[str, Any]]:
    """The runs of an experiment, as the server has them."""
    found = rest(server, "experiments/get-by-name", experiment_name=experiment)["experiment"]["experiment_id"]
    return rest(server, "runs/search", experiment_ids=[found]).get("runs", [])


@step(experiment_tracker="mlflow", enable_cache=False)
def train(loss: float) -> float:
    """Logs as a user does, with MLflow alone."""
    import mlflow

    mlflow.log_metric("loss", loss)
    mlflow.log_param("optimizer", "adam")
    if loss < 0:
        raise ValueError("diverged")
    return loss


def training(name: str, *steps: Any) -> Pipeline:
    """A pipeline of this name, which becomes the experiment's."""
    return Pipeline(lambda: [work() for work in steps] and None, name=name)


def test_metrics_of_a_step(client: Client, mlflow_server: MLflowServer) -> None:
    """What a step logs is on the server, in a run that is named after the step and finished."""
    register(client, mlflow_server)
    run = training("metrics", lambda: train(0.25))()
    [found] = tracked(mlflow_server, "metrics")
    assert found["info"]["status"] == "FINISHED"
    assert found["info"]["run_name"] == f"{run.name}.train"
    assert {metric["key"]: metric["value"] for metric in found["data"]["metrics"]} == {"loss": 0.25}
    assert {param["key"]: param["value"] for param in found["data"]["params"]} == {"optimizer": "adam"}
    assert not holds_canary(repr(found))
    assert {(read.secret, read.key, read.step) for read in run.record.reads} == {
        ("mlflow_secret", "username", "train"),
        ("mlflow_secret", "password", "train"),
    }


def test_a_failing_step_is_a_failed_run(client: Client, mlflow_server: MLflowServer) -> None:
    """A step that raises ends its run at the server as failed, with what it had logged; the next step has a run of its own."""
    register(client, mlflow_server)
    with pytest.raises(StepFailed, match="ValueError: diverged"):
        training("diverging", lambda: train(1.0), lambda: train(-1.0))()
    found = tracked(mlflow_server, "diverging")
    assert sorted(run["info"]["status"] for run in found) == ["FAILED", "FINISHED"]


def test_the_experiment_may_have_a_name(client: Client, mlflow_server: MLflowServer) -> None:
    """`experiment_name` decides where runs go; `experiment_tracker=True` means whichever tracker the stack has."""
    register(client, mlflow_server, experiment_name="chosen")
    training("unnamed", lambda: train.with_options(experiment_tracker=True)(0.5))()
    assert len(tracked(mlflow_server, "chosen")) == 1


def test_a_step_without_the_tracker(client: Client, mlflow_server: MLflowServer) -> None:
    """A step that asks for no tracker has no credentials in its environment, and nothing is read for it."""
    register(client, mlflow_server)

    @step
    def look() -> list[str]:
        return [name for name in os.environ if name.startswith("MLFLOW_TRACKING")]

    @step(experiment_tracker="mlflow")
    def look_within() -> list[str]:
        return sorted(name for name in os.environ if name.startswith("MLFLOW_TRACKING"))

    alone = training("alone", look)()
    assert alone.output("look") == []
    assert alone.record.reads == []
    both = training("both", look_within, look)()
    assert both.output("look_within") == ["MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME"]
    assert both.output("look") == []


def test_what_the_user_had_set_is_put_back(client: Client, mlflow_server: MLflowServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user had set before is there again afterwards, and was not used in between."""
    register(client, mlflow_server)
    names = [
        f"MLFLOW_{name}" for name in ("TRACKING_USERNAME", "TRACKING_PASSWORD", "TRACKING_TOKEN", "TRACKING_URI", "EXPERIMENT_ID")
    ]
    with monkeypatch.context() as patch:
        for name in names:
            patch.setenv(name, "the user's own")
        training("restored", lambda: train(0.5))()
        assert {os.environ[name] for name in names} == {"the user's own"}
    assert len(tracked(mlflow_server, "restored")) == 1


def test_runs_within_the_run(client: Client, mlflow_server: MLflowServer) -> None:
    """A step may begin runs of its own within the one that it has; they are in the same experiment."""
    register(client, mlflow_server)

    @step(experiment_tracker="mlflow")
    def search() -> None:
        import mlflow

        for loss in (1.0, 2.0):
            with mlflow.start_run(nested=True):
                mlflow.log_metric("loss", loss)

    training("nested", search)()
    assert len(tracked(mlflow_server, "nested")) == 3


def test_a_wrong_password(client: Client, mlflow_server: MLflowServer, capfd: pytest.CaptureFixture[str]) -> None:
    """A wrong password fails the step before it begins, says what to look at, and is not shown."""
    register(client, mlflow_server, password=f"{CANARY}-wrong-password")
    with failing(Unauthenticated, "experiment tracker 'mlflow': the MLflow server refused the credentials", "tracking_password"):
        training("refused", lambda: train(0.5))()
    out, err = capfd.readouterr()
    assert not holds_canary(out + err)
    record = client.get_run(client.list_runs().items[0].id)
    assert not holds_canary(repr(record))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_a_server_that_is_down(client: Client, mlflow_server: MLflowServer) -> None:
    """A server that nobody reaches is `Unavailable`, soon, with what to look at."""
    register(client, mlflow_server, tracking_uri=f"http://127.0.0.1:{free_port()}")
    with failing(Unavailable, "experiment tracker 'mlflow': the MLflow server does not answer", "tracking_uri"):
        training("down", lambda: train(0.5))()


def test_credentials_in_the_address(client: Client) -> None:
    """An address that holds a password is refused: MLflow would show it. Neither the password nor the address is repeated."""
    client.create_secret("address", {"uri": f"http://{CANARY}:{CANARY}-password@127.0.0.1:{free_port()}"})
    add_to_stack(client, "experiment_tracker", "mlflow", {"tracking_uri": "{{address.uri}}"})
    with failing(ConfigurationError, "the tracking_uri of experiment tracker 'mlflow' holds credentials", "tracking_password"):
        training("address", lambda: train(0.5))()


def test_what_a_step_gets_from_the_server(client: Client, mlflow_server: MLflowServer) -> None:
    """An error of MLflow that a step meets by itself fails it with that error, without values."""
    register(client, mlflow_server)

    @step(experiment_tracker="mlflow")
    def twice() -> None:
        import mlflow

        mlflow.log_param("a", 1)
        mlflow.log_param("a", 2)

    with pytest.raises(StepFailed, match="step 'twice' failed: MlflowException: ") as caught:
        training("twice", twice)()
    assert not holds_canary(str(caught.value))
    [found] = tracked(mlflow_server, "twice")
    assert found["info"]["status"] == "FAILED"


def test_two_runs_at_once(client: Client, mlflow_server: MLflowServer) -> None:
    """Steps of two runs in one process log to the runs that are theirs, and nobody's credentials stay behind."""
    register(client, mlflow_server)
    barrier = threading.Barrier(2, timeout=10)

    def run(name: str, loss: float) -> None:
        barrier.wait()
        training(name, lambda: train(loss))()

    threads = [threading.Thread(target=run, args=(f"side-{number}", float(number))) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(2):
        [found] = tracked(mlflow_server, f"side-{number}")
        assert found["info"]["status"] == "FINISHED"
        assert [metric["value"] for metric in found["data"]["metrics"]] == [float(number)]


@pytest.fixture
def registry(client: Client, mlflow_server: MLflowServer) -> Client:
    register(client, mlflow_server, "model_registry")
    return client


def test_models_are_registered_and_listed(registry: Client, mlflow_server: MLflowServer) -> None:
    """The registry adds versions to a model, which it makes when it is new, and lists them, newest first."""
    models = registry.active_stack.model_registry
    assert models.versions("it's new") == []
    first = models.register("it's new", "s3://bucket/1", "the first")
    second = models.register("it's new", "s3://bucket/2")
    assert (first.version, second.version) == ("1", "2")
    assert [(one.version, one.source, one.description) for one in models.versions("it's new")] == [
        ("2", "s3://bucket/2", ""),
        ("1", "s3://bucket/1", "the first"),
    ]
    found = rest(mlflow_server, "registered-models/get", name="it's new")["registered_model"]
    assert [one["version"] for one in found["latest_versions"]] == ["2"]


def test_many_versions_are_all_listed(registry: Client) -> None:
    """All versions are listed, the tenth before the ninth."""
    models = registry.active_stack.model_registry
    for number in range(11):
        models.register("many", f"s3://bucket/{number}")
    assert [one.version for one in models.versions("many")] == [str(number) for number in range(11, 0, -1)]


def test_a_step_registers_a_model(client: Client, mlflow_server: MLflowServer) -> None:
    """Within a step that is tracked, the stack's registry can be used too; tracking goes on after it."""
    register(client, mlflow_server)
    add_to_stack(
        client,
        "model_registry",
        "mlflow",
        {
            "tracking_uri": mlflow_server.url,
            "tracking_username": "{{mlflow_secret.username}}",
            "tracking_password": "{{mlflow_secret.password}}",
        },
        "models",
    )

    @step(experiment_tracker="mlflow")
    def promote(context: StepContext) -> str:
        import mlflow

        with ThreadPoolExecutor(1) as pool:  # in a thread of its own it does not wait for the step, which waits for it
            pool.submit(context.stack.model_registry.register, "promoted", "s3://bucket/x").result()
        version = context.stack.model_registry.register("promoted", "s3://bucket/x").version
        mlflow.log_metric("version", int(version))
        return version

    @pipeline
    def promoting() -> None:
        promote()

    assert promoting().output("promote") == "2"
    [found] = tracked(mlflow_server, "promoting")
    assert [metric["value"] for metric in found["data"]["metrics"]] == [2.0]


def test_a_registry_with_a_wrong_password(client: Client, mlflow_server: MLflowServer) -> None:
    """The registry's errors are as clear as the tracker's."""
    register(client, mlflow_server, "model_registry", password=f"{CANARY}-wrong-password")
    with failing(Unauthenticated, "model registry 'mlflow': the MLflow server refused the credentials", "tracking_password"):
        client.active_stack.model_registry.register("m", "s3://bucket/x")


def test_a_refusal_of_the_request(registry: Client) -> None:
    """A request that the server does not like is not taken for a wrong password, whatever numbers are in its text."""
    with failing(Unavailable, "model registry 'mlflow': the MLflow server refused the request (INVALID_PARAMETER_VALUE)", "log"):
        registry.active_stack.model_registry.register("resnet/401", "s3://bucket/403")
