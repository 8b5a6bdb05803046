"""Syncing files while the event loop goes on."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from strongroom.server.syncing import Syncer
from tests.unit.server.conftest import Run


def outcomes_of(run: Run, files: list[int], *, by_kernel: bool) -> list[OSError | None]:
    """What is told of a sync of each of these, all of them at once."""

    async def main() -> list[OSError | None]:
        loop = asyncio.get_running_loop()
        syncer = Syncer(loop, by_kernel=by_kernel)
        assert (syncer._kernel is not None) is (by_kernel and sys.platform == "linux")
        waiting = [loop.create_future() for _ in files]
        for file, future in zip(files, waiting, strict=True):
            syncer.sync(file, future.set_result)
        outcomes = await asyncio.gather(*waiting)
        syncer.close()
        return outcomes

    found: list[OSError | None] = run(main())
    return found


@pytest.mark.parametrize("by_kernel", [True, False], ids=["kernel", "thread"])
def test_whoever_waits_is_told_when_it_is_done(run: Run, tmp_path: Path, by_kernel: bool) -> None:
    """Many files at once, also more than the kernel takes at once."""
    files = [os.open(tmp_path / str(number), os.O_CREAT | os.O_WRONLY) for number in range(20)]
    for file in files:
        os.write(file, b"x")
    assert outcomes_of(run, files, by_kernel=by_kernel) == [None] * 20
    for file in files:
        os.close(file)


@pytest.mark.parametrize("by_kernel", [True, False], ids=["kernel", "thread"])
def test_what_cannot_be_synced_is_told(run: Run, by_kernel: bool) -> None:
    """An error is never taken for durability."""
    reading, writing = os.pipe()
    [error] = outcomes_of(run, [writing], by_kernel=by_kernel)
    assert isinstance(error, OSError)
    os.close(reading)
    os.close(writing)
