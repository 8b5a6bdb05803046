"""The throw-away data of `strongroom server start --demo`: a few secrets, a stack that refers to them, and a run that read one."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom.config import Settings

USER = "demo"


@contextmanager
def demonstration() -> Iterator[tuple[Settings, str]]:
    """The settings of a server with a store of its own, and the password of its only user. The store is deleted at the end.

    No other setting counts, so nothing that this machine has is touched.
    """
    import tempfile

    from strongroom.config import PREFIX, read_settings

    password = secrets.token_urlsafe(12)
    with tempfile.TemporaryDirectory(prefix="strongroom-demo-") as folder:
        given = {"CONFIG_PATH": f"{folder}/store", "ADMIN_USERNAME": USER, "ADMIN_PASSWORD": password}
        yield read_settings({f"{PREFIX}{name}": text for name, text in given.items()}), password


def fill(settings: Settings) -> None:
    """Puts the data into the store, which is empty."""
    from strongroom.client import Client
    from strongroom.models.run import CreateRun, PlannedStep, RunStatus, SecretRead

    with Client(settings) as client:
        labels = {"team": "vision"}
        tracking = client.create_secret(
            "tracking",
            {"username": "trainer", "password": secrets.token_urlsafe(9)},
            description="The login of the experiment tracker.",
            labels=labels,
        )
        client.update_secret("tracking", add_or_update_values={"password": secrets.token_urlsafe(9)})
        client.create_secret("registry", {"user": "robot", "token": secrets.token_urlsafe(18)}, labels=labels)
        client.create_secret("warehouse", {"host": "db.example.com", "user": "reader", "password": secrets.token_urlsafe(9)})
        client.update_secret("warehouse", add_or_update_values={"port": "5432"})
        client.create_component(
            "tracker",
            type="experiment-tracker",
            flavor="mlflow",
            configuration={
                "tracking_uri": "https://mlflow.example.com",
                "tracking_username": "{{tracking.username}}",
                "tracking_password": "{{tracking.password}}",
            },
        )
        parts = {"orchestrator": "default", "artifact-store": "default", "experiment-tracker": "tracker"}
        client.create_stack("vision", parts, activate=True)
        steps = [PlannedStep(name="load"), PlannedStep(name="train")]
        run = client.create_run(CreateRun(pipeline="training", stack="vision", steps=steps))
        read: dict[str, Any] = {"secret_id": tracking.id, "secret": tracking.name, "version": 2, "step": "train"}
        reads = [SecretRead(key=key, **read) for key in tracking.keys]
        client.record_reads(run.id, reads)
        for step in ("load", "train"):
            client.update_run_step(run.id, step, RunStatus.RUNNING)
            client.update_run_step(run.id, step, RunStatus.COMPLETED)
        client.finish_run(run.id, RunStatus.COMPLETED)
