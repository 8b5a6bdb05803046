"""What starting costs: which modules are loaded, and what is touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.cli.main import main

BIN = Path(sys.executable).parent
HEAVY = ("sqlalchemy", "alembic", "cryptography", "starlette", "granian", "boto3", "google", "azure", "hvac", "yaml", "dotenv",
         "keyring", "msgspec", "rich", "prometheus_client", "structlog", "urllib3",
         "sqlite3", "asyncio", "urllib", "http")  # fmt: skip


def commands() -> list[list[str]]:
    """Every command of the program."""
    found: list[list[str]] = [[]]

    def add(group: object, path: list[str]) -> None:
        for name in group.list_commands(None):
            found.append([*path, name])
            command = group.get_command(None, name)
            if hasattr(command, "list_commands"):
                add(command, [*path, name])

    add(main, [])
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_help_loads_nothing_heavy(command: list[str]) -> None:
    """`--help` at any level loads click and our own command modules, and opens no file outside Python's own."""
    script = f"""
import sys
opened = []
sys.addaudithook(lambda event, arguments: opened.append(arguments[0]) if event in ("open", "socket.connect") else None)
from strongroom.cli.main import execute
code = execute({[*command, "--help"]!r})
heavy = [name for name in sys.modules if name.split(".")[0] in {HEAVY!r}]
outside = [name for name in opened if isinstance(name, str) and "strongroom" in name and not name.endswith((".py", ".pyc"))]
assert (code, heavy, outside) == (0, [], []), (code, heavy, outside)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_of_groups_is_the_help_of_commands() -> None:
    """The lines that the top level shows without loading a command are what the command itself says."""
    for name, (_, line) in main.lazy.items():
        command = main.get_command(None, name)
        assert command is not None
        assert command.get_short_help_str(200) == line, name


def test_importing_the_package_is_nearly_free() -> None:
    """`import strongroom` loads nothing but itself; the client loads no database library before its first call."""
    script = """
import sys
import strongroom
assert [name for name in sys.modules if name.startswith("strongroom")] == ["strongroom"]
from strongroom import Client
Client()
assert not {"sqlalchemy", "cryptography", "click", "sqlite3"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_reading_loads_no_migrations() -> None:
    """A command on an existing store loads neither Alembic nor the keyring library nor a web stack."""
    script = """
import sys, tempfile, os
from strongroom.cli.main import execute
os.environ["STRONGROOM_CONFIG_PATH"] = sys.argv[1]
assert execute(["secret", sys.argv[2], "s", *sys.argv[3:]]) == 0
if sys.argv[2] == "get":
    assert not {"alembic", "keyring", "yaml", "dotenv", "rich"} & set(sys.modules)
"""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for arguments in (["create", "--k=v"], ["get"]):
            done = subprocess.run([sys.executable, "-c", script, folder, *arguments], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr


LAZY = (*(name for name in HEAVY if name != "msgspec"), "click", "typeguard", "fsspec", "mlflow", "platformdirs", "logging",
        "hashlib", "pickle", "socket", "ssl", "subprocess", "tempfile", "threading", "pathlib", "shutil")  # fmt: skip
MINE = {"client", "service", "db", "metadata", "secrets_stores", "crypto", "auth", "operations", "stacks", "cli"}

STEPS = """
from strongroom.steps import StepContext, step
from strongroom.pipelines import pipeline

@step(enable_cache=True, settings={"token": "{{a.b}}"})
def train(context: StepContext, rate: float = 0.1) -> dict[str, float]:
    return {"rate": rate}

@pipeline(enable_cache=False)
def training(rate: float) -> None:
    train(rate)

configured = training.with_options(run_name="a", settings={"b": "c"})
"""


def test_defining_steps_loads_nothing_heavy() -> None:
    """A module that defines steps and a pipeline loads the decorators and no more: neither client nor stacks nor their libraries."""
    script = f"""
import sys
before = set(sys.modules)
{STEPS}
loaded = set(sys.modules) - before
heavy = sorted(name for name in loaded if name.split(".")[0] in {LAZY!r})
mine = sorted(name for name in loaded if name.startswith("strongroom.") and name.split(".")[1] in {MINE!r})
assert (heavy, mine) == ([], []), (heavy, mine)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_defining_steps_is_cheap() -> None:
    """Defining steps and a pipeline takes at most 100 ms of processor time more than starting Python; the best of several times."""

    def best(script: str) -> float:
        measured = f"import time\n{script}\nprint(time.process_time())"
        runs = [subprocess.run([sys.executable, "-c", measured], capture_output=True, text=True, check=True) for _ in range(7)]
        return min(float(done.stdout) for done in runs)

    assert best(STEPS) - best("") < 0.1


def test_running_a_pipeline_loads_no_migrations() -> None:
    """A run on an existing store, on the default stack, loads neither Alembic nor the libraries of flavors that it does not use."""
    script = f"""
import os, sys
os.environ["STRONGROOM_CONFIG_PATH"] = sys.argv[1]
from strongroom.client import Client
if sys.argv[2] == "create":
    with Client() as client:
        client.create_secret("s", {{"k": "v"}})
    sys.exit()
{STEPS.replace("{{a.b}}", "{{s.k}}")}
training(0.5)
assert not {{"alembic", "keyring", "yaml", "rich", "click", "fsspec", "mlflow", "boto3", "wandb", "slack_sdk"}} & set(sys.modules)
"""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for word in ("create", "run"):
            done = subprocess.run([sys.executable, "-c", script, folder, word], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
