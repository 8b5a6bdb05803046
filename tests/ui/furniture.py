"""Things to look at: a workspace with a stack, runs, a service account and a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.callers import Answer, Caller
from tests.canary import CANARY

HOSTILE = "\"'><img src=x onerror=alert(1)><script>alert(2)</script>{{1111*1111}}<!--"
"""A text that would show if it were not escaped."""

PLAIN = "plain-text-in-a-sensitive-attribute"


@dataclass(frozen=True)
class Furniture:
    """Ids and names of what there is."""

    secret_id: str
    stack: str
    run: str
    service_account: str
    user: str
    job_id: str


def furnish(admin: Caller, user: str) -> Furniture:
    """Puts one of everything into the caller's workspace. The server has no other job when this is done."""
    secret = admin.create("tracker", {"username": f"{CANARY}-u", "password": f"{CANARY}-p"})
    done(admin.call("POST", "/components", component("tracker", tracking_username="{{tracker.username}}", tracking_uri=HOSTILE)))
    parts = {"orchestrator": "default", "artifact_store": "default", "experiment_tracker": "tracker"}
    done(admin.call("POST", "/stacks", {"name": "production", "components": parts}))
    run = record_run(admin, "training-1", secret["id"])
    done(admin.call("POST", "/service-accounts", {"name": f"ci-{admin.workspace}", "role": "reader"}))
    done(admin.call("POST", f"/service-accounts/ci-{admin.workspace}/api-keys", {"name": "github"}))
    job = admin.call("POST", "/secrets/verify", {})
    busy = job.status == 409  # with that of another test
    job_id = admin.call("GET", "/jobs").data["items"][0]["id"] if busy else done(job)["id"]
    return Furniture(secret["id"], "production", run, f"ci-{admin.workspace}", user, job_id)


def component(name: str, **attributes: Any) -> dict[str, Any]:
    """A request for an experiment tracker."""
    return {
        "name": name,
        "type": "experiment_tracker",
        "flavor": "mlflow",
        "configuration": {"tracking_uri": "http://x", **attributes},
    }


def record_run(caller: Caller, name: str, secret_id: str) -> str:
    """A run that failed, with all that a record can hold; its texts are hostile. Its name."""
    run = done(
        caller.call(
            "POST",
            "/runs",
            {
                "pipeline": "training",
                "stack": "production",
                "name": name,
                "parameters": {"epochs": 3, HOSTILE: HOSTILE, "deep": {"list": [1, {"x": None}]}},
                "steps": [
                    {"name": "load", "parameters": {HOSTILE: HOSTILE}},
                    {"name": "train", "inputs": {"data": "load.output"}, "settings": {"token": "{{tracker.password}}"}},
                ],
                "needs": [{"name": "tracker", "key": "username"}],
            },
        )
    )
    uri = f"javascript://{run['id']}/{run['id']}/load/output.json"
    output = {"name": "output", "uri": uri, "format": "json", "type": HOSTILE, "size": 12_345, "digest": "0" * 64}
    for step, fields in (
        ("load", {"status": "running"}),
        ("load", {"status": "completed", "outputs": [output], "metadata": {HOSTILE: HOSTILE}}),
        ("train", {"status": "running"}),
        ("train", {"status": "failed", "error": f"ValueError: {HOSTILE}"}),
    ):
        done(caller.call("PATCH", f"/runs/{run['id']}/steps/{step}", fields))
    reads = [{"secret_id": secret_id, "secret": "tracker", "version": 1, "key": "username", "step": step} for step in ("train", None)]
    done(caller.call("POST", f"/runs/{run['id']}/reads", {"reads": reads}))
    done(caller.call("POST", f"/runs/{run['id']}/finish", {"status": "failed", "error": f"step 'train' failed: {HOSTILE}"}))
    return name


def done(answer: Answer) -> Any:
    """What was answered to something that has to succeed."""
    assert answer.status < 300, (answer.status, answer.error)
    return answer.data if answer.body else None
