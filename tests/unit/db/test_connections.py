"""Connections: one per reading thread, none shared with a parent process, all closed in the end."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import pytest

from strongroom.client import Client
from strongroom.config import read_settings

HERE = Path("/proc/self/fd")


@pytest.fixture
def client(tmp_path: Path) -> Client:
    client = Client(read_settings({"STRONGROOM_CONFIG_PATH": str(tmp_path / "state")}))
    client.create_secret("s", {"k": "v"})
    return client


def open_files(folder: Path) -> int:
    """How many files below a folder this process has open."""
    return sum(str(link.readlink()).startswith(str(folder)) for link in HERE.iterdir() if link.is_symlink())


@pytest.mark.skipif(not HERE.exists(), reason="needs /proc")
def test_close_gives_all_connections_back(client: Client, tmp_path: Path) -> None:
    """Threads that read and end leave no connections behind; `close` closes all, and a later call opens anew."""
    for _ in range(5):
        threads = [threading.Thread(target=client.get_secret, args=("s",)) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    client.close()
    gc.collect()
    assert open_files(tmp_path) == 0
    assert client.get_secret("s").name == "s"
    client.close()


def test_as_many_threads_as_one_likes(client: Client) -> None:
    """A hundred threads that all hold a connection do not wait for each other."""
    ready, names = threading.Barrier(100, timeout=60), []

    def read() -> None:
        names.append(client.get_secret("s").name)
        ready.wait()

    threads = [threading.Thread(target=read) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == ["s"] * 100
    client.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_opens_its_own(client: Client) -> None:
    """Parent and child go on reading and writing side by side after a fork."""
    for number in range(5):
        child = os.fork()
        if child == 0:
            try:
                client.create_secret(f"child{number}", {"k": "v"})
                os._exit(0 if client.get_secret("s").secret_values == {"k": "v"} else 1)
            finally:
                os._exit(2)
        client.create_secret(f"parent{number}", {"k": "v"})
        assert client.get_secret("s").name == "s"
        assert os.waitpid(child, 0)[1] == 0
    assert client.list_secrets(size=100).total == 11
    client.close()
