"""compose.yaml and the command that starts it, as far as that goes without an engine.

The command runs with a program in docker's place that notes what it was asked. Then a real server starts with what it made: files
where compose would mount them, and a real PostgreSQL in place of the container.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from strongroom.config import PREFIX, Settings
from tests.callers import Caller
from tests.deploy.chart import ROOT
from tests.deploy.dockerfile import moved, read_dockerfile
from tests.servers.strongroom import StrongroomServer

FOLDER = ROOT / "deploy" / "docker"
SERVICE_KEYS = {
    "build", "cap_drop", "command", "depends_on", "environment", "healthcheck", "image", "networks", "ports", "read_only", "restart",
    "secrets", "security_opt", "stop_grace_period", "tmpfs", "volumes",
}  # fmt: skip
"""Of the Compose specification, those that we use. What is misspelt is not among them."""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return found


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command in a copy of the folder, with a docker that only notes its arguments."""
    shutil.copytree(FOLDER, tmp_path / "docker")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "docker").write_text(f'#!/bin/sh\necho "$PWD: $@" >> {tmp_path}/asked\n')
    (programs / "docker").chmod(0o755)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{programs}:{os.defpath}", "HOME": str(tmp_path)}
        return subprocess.run(
            [tmp_path / "docker" / "start", *arguments], env=environment, cwd="/", capture_output=True, text=True, timeout=60
        )

    return run


def test_it_says_what_compose_understands(compose: dict[str, Any]) -> None:
    """Every key is one of Compose's, and every secret, volume and network that a service names is there."""
    assert set(compose) == {"name", "services", "networks", "volumes", "secrets"}
    for service in compose["services"].values():
        assert set(service) <= SERVICE_KEYS
        assert set(service["secrets"]) <= set(compose["secrets"])
        assert set(service["networks"]) <= set(compose["networks"])
        assert {each.partition(":")[0] for each in service["volumes"]} <= set(compose["volumes"])
    assert {each for service in compose["services"].values() for each in service["secrets"]} == set(compose["secrets"])


def test_nothing_sensitive_is_in_it(compose: dict[str, Any]) -> None:
    """Secrets are files, which git does not take; variables name files and nothing that anybody could use."""
    for secret in compose["secrets"].values():
        assert set(secret) == {"file"}
        assert secret["file"].startswith("secrets/")
    ignored = subprocess.run(["git", "check-ignore", "deploy/docker/secrets/x"], cwd=ROOT, capture_output=True, check=False)
    assert ignored.returncode in (0, 128)  # 128: not a checkout
    for service in compose["services"].values():
        for name, text in service["environment"].items():
            if re.search("PASSWORD|KEY|TOKEN|SECRET|URL", name):
                assert name.endswith("_FILE")
                assert text.startswith("/run/secrets/")


def test_services_are_careful(compose: dict[str, Any]) -> None:
    """Only this machine reaches the server, nobody the database; the server waits for it, drains, and can write to volumes alone."""
    server, postgres = compose["services"]["server"], compose["services"]["postgres"]
    assert all(each.startswith("127.0.0.1:") for each in server["ports"])
    assert "ports" not in postgres
    assert compose["networks"]["back"] == {"internal": True}
    assert postgres["networks"] == ["back"]
    assert server["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert postgres["healthcheck"]["test"][:2] == ["CMD", "pg_isready"]
    assert server["read_only"] is True
    assert server["cap_drop"] == ["ALL"]
    assert int(server["stop_grace_period"].removesuffix("s")) > 30
    assert all(each["security_opt"] == ["no-new-privileges:true"] for each in (server, postgres))
    shipped = read_dockerfile(FOLDER / "Dockerfile")[1]
    assert "HEALTHCHECK" in dict(shipped.instructions)
    written = {*server["tmpfs"], *(each.partition(":")[2] for each in server["volumes"])}
    assert written == set(shipped.words("VOLUME"))


def test_one_command_starts_it(
    compose: dict[str, Any],
    start: Callable[..., subprocess.CompletedProcess[str]],
    new_postgresql_settings: Settings,
    tmp_path: Path,
) -> None:
    """It makes secrets of its own, starts the services, and a server with these variables and files lets the administrator in."""
    done = start("--quiet-pull")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "docker" / "secrets"
    assert (tmp_path / "asked").read_text() == f"{folder.parent}: compose up --build --detach --wait --quiet-pull\n"
    password = (folder / "admin-password").read_text()
    assert password not in done.stdout
    assert f"< {folder}/admin-password" in done.stdout

    places = {f"/run/secrets/{name}": tmp_path / "docker" / secret["file"] for name, secret in compose["secrets"].items()}
    given = yaml.safe_load((folder / "strongroom.yaml").read_text())
    database_password = (folder / "postgres-password").read_text()
    assert given["database_url"] == f"postgresql://strongroom:{database_password}@postgres/strongroom"
    (folder / "strongroom.yaml").chmod(0o600)
    (folder / "strongroom.yaml").write_text(yaml.safe_dump(given | {"database_url": new_postgresql_settings.database_url}))
    service = compose["services"]["server"]
    variables = {name.removeprefix(PREFIX): moved(text, places) for name, text in service["environment"].items()}
    assert service["command"][:6] == ["server", "start", "--host", "0.0.0.0", "--port", "8200"]
    server = StrongroomServer(variables | {"CONFIG_PATH": str(tmp_path / "state")}, *service["command"][6:])
    try:
        with server.connections() as pool:
            admin = Caller(server, pool).log_in("admin", password)
            assert admin.call("GET", "/info").data["database"] == "postgresql"
    finally:
        server.stop()


def test_secrets_are_random_kept_and_ours(start: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """Nobody else enters their folder, each is as long as it should be, and starting again changes none of them."""
    from strongroom.crypto.keyring import parse_keys

    assert start().returncode == 0
    folder = tmp_path / "docker" / "secrets"
    before = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(before) == {"encryption-key", "postgres-password", "admin-password", "strongroom.yaml"}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o444 for path in folder.iterdir())
    assert len(parse_keys(before["encryption-key"], "the file")[0]) == 32
    assert len(before["postgres-password"]) == 43
    assert re.fullmatch("[A-Za-z0-9_-]+", before["postgres-password"])  # it stands in a URL
    assert start().returncode == 0
    assert {path.name: path.read_text() for path in folder.iterdir()} == before
    assert len({*before.values()}) == 4
