"""`strongroom server start --demo`."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.callers import Caller
from tests.servers.strongroom import StrongroomServer, free_port


def test_demonstration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It serves made-up secrets, a stack and a run to whoever has the printed password, and leaves nothing behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    server = StrongroomServer({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}, "--demo")
    try:
        password = re.search(r"password: +(\S+)", server.log)
        assert password is not None
        with server.connections() as pool:
            caller = Caller(server, pool).log_in("demo", password[1])
            secrets = caller.call("GET", "/secrets").data["items"]
            assert {each["name"] for each in secrets} == {"tracking", "registry", "warehouse"}
            references = {"references": [{"name": "tracking", "key": "password"}]}
            assert caller.call("POST", "/secrets/check", references).status == 200
            assert caller.call("GET", "/stacks/by-name/vision").status == 200
            tracking = next(each for each in secrets if each["name"] == "tracking")
            assert caller.call("GET", f"/secrets/{tracking['id']}/usage").data["total"] == 2
            assert replace(caller, token=None).call("GET", "/secrets").status == 401
        assert list(tmp_path.iterdir())
    finally:
        server.stop()
    assert list(tmp_path.iterdir()) == []


def test_for_this_machine_alone() -> None:
    """It listens nowhere but at loopback addresses."""
    command = [sys.executable, "-m", "strongroom", "server", "start", "--demo", "--host", "0.0.0.0", "--port", str(free_port())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "--demo serves this machine alone" in done.stderr
