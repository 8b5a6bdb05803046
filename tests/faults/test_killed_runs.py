"""A run that is killed at any moment leaves a record that can be read, and stands in nobody's way."""

from __future__ import annotations

import random

import pytest

from strongroom.client import Client
from strongroom.config import PREFIX, Settings
from strongroom.models.run import Run, RunStatus
from tests import children
from tests.canary import CANARY
from tests.faults.test_crash import spin
from tests.processes import Child

ROUNDS = 15


@pytest.fixture
def client(local_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A client of the store in which the runs are."""
    monkeypatch.setenv(f"{PREFIX}CONFIG_PATH", str(local_settings.folder))
    client = Client()
    client.create_secret("counted", {"k": f"{CANARY}-counted"})
    client.close()
    return client


def all_runs(client: Client) -> list[Run]:
    return [client.get_run(run.id) for run in client.list_runs(size=1000)]


def test_killed_within_a_step(client: Client, local_settings: Settings) -> None:
    """The record of a run that was killed within a step says how far it came and what it had read; the next run works."""
    child = Child(children.stay_in_a_step, local_settings)
    assert child.receive() == "within"
    child.kill()
    child.end()
    [run] = all_runs(client)
    assert (run.status, run.finished) == (RunStatus.RUNNING, None)
    assert {one.name: one.status.value for one in run.steps} == {"first": "completed", "stay": "running", "second": "pending"}
    assert run.steps[0].outputs
    assert [(read.secret, read.step) for read in run.reads] == [("counted", "stay")]
    following = children.counting()
    assert following.status is RunStatus.COMPLETED
    assert following.steps["first"].cached_from == run.id
    client.close()


def test_killed_at_any_moment(client: Client, local_settings: Settings) -> None:
    """Runs that ended before the kill are complete, with artifacts that can be loaded; the one that was cut off is as it was."""
    choose = random.Random(CANARY)
    ended: list[str] = []
    cut_off = 0
    for _ in range(ROUNDS):
        child = Child(children.run_pipelines_until_killed, local_settings)
        messages = [child.receive() for _ in range(1 + choose.choice([0, 1, 2, 3]))]  # the first one says that it is ready
        spin(choose.random() * 0.04)
        child.kill()
        messages += child.receive_all()
        child.end()
        ended += messages[1:]
        unfinished = [run for run in all_runs(client) if run.status is not RunStatus.COMPLETED]
        assert {run.status for run in unfinished} <= {RunStatus.RUNNING}
        assert len(unfinished) - cut_off in (0, 1)
        cut_off = len(unfinished)
        run = children.counting.with_options(enable_cache=False)()
        assert run.output("third") == run.output("second") + 1
        ended.append(run.name)
    runs = {run.name: run for run in all_runs(client)}
    assert set(ended) <= set(runs)
    assert len(ended) > ROUNDS
    assert cut_off > ROUNDS / 4
    for run in runs.values():
        if run.status is RunStatus.COMPLETED:
            assert [one.status for one in run.steps] == [RunStatus.COMPLETED] * 3
            assert {read.step for read in run.reads} == {"second", "third"}
        for one in run.steps:
            for output in one.outputs:
                assert client.active_stack.artifact_store.exists(output.uri)
    client.close()
