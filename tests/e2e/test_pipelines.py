"""Scripts with pipelines, as a user runs them: in processes of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from strongroom.client import Client
from strongroom.models.run import RunStatus
from tests.canary import CANARY, holds_canary

from .conftest import CommandLine

MASK = "********"

LOADER = '''
from strongroom.client import Client
from strongroom.pipelines import pipeline
from strongroom.steps import step

def authenticate_to_some_api(username, password):
    print("user", username, "has a password of", len(password))

@step
def secret_loader() -> None:
    """Load the example secret from the server."""
    # Fetch the secret from Strongroom.
    secret = Client().get_secret("api")

    # `secret.secret_values` will contain a dictionary with all key-value
    # pairs within your secret.
    authenticate_to_some_api(
        username=secret.secret_values["username"],
        password=secret.secret_values["password"],
    )

@pipeline
def loading():
    secret_loader()

loading()
'''

TRACKER = """
from strongroom.pipelines import pipeline
from strongroom.steps import StepContext, step

@step(enable_cache=True)
def my_step(context: StepContext):
    # Direct reference to MLflow config within the step
    print("user", context.stack.experiment_tracker.config.tracking_username)

@pipeline
def tracking():
    my_step()

if __name__ == "__main__":
    tracking()
"""


@pytest.fixture
def api(store: Path) -> None:
    """The secret of the guide."""
    with Client() as client:
        client.create_secret("api", {"username": f"{CANARY}-user", "password": f"{CANARY}-password"})


def run(script: str, code: int = 0, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs a script from a file; what it wrote holds no value."""
    path = Path("script.py")
    path.write_text(script)
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, str(path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert not holds_canary(done.stdout + done.stderr), "a value was shown"
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.usefixtures("api")
def test_secrets_in_a_step(strongroom: CommandLine) -> None:
    """The guide's `secret_loader` gets its values and shows none; the run and the secret tell who read what."""
    done = run(LOADER)
    assert done.stdout == f"user {MASK} has a password of {len(CANARY) + len('-password')}\n"
    assert re.fullmatch(
        r"Run 'loading-\S+' on stack 'default' begins\.\n  secret_loader: completed after \S+ s\n"
        r"Run 'loading-\S+' completed after \S+ s\.\n",
        done.stderr,
    )
    with Client() as client:
        record = client.get_run(client.list_runs().items[0].id)
        usage = client.list_secret_usage(client.get_secret("api").id).items
    assert {(read.secret, read.key, read.step) for read in record.reads} == {
        ("api", "username", "secret_loader"),
        ("api", "password", "secret_loader"),
    }
    assert {(use.run, use.step) for use in usage} == {(record.name, "secret_loader")}


def test_attributes_in_a_step(strongroom: CommandLine) -> None:
    """The guide's way from the command line to a step: secret, component, stack, the attribute within the step; cached if asked."""
    for line in (
        f"secret create mlflow_secret --username={CANARY}-user --password={CANARY}-password",
        "experiment-tracker register mlflow --flavor=mlflow --tracking_username={{mlflow_secret.username}} "
        "--tracking_password={{mlflow_secret.password}}",
        "stack register tracked -o default -a default -e mlflow --set",
    ):
        assert strongroom(*line.split()).code == 0
    assert run(TRACKER).stdout == f"user {MASK}\n"
    again = run(TRACKER)
    assert again.stdout == ""
    assert "  my_step: cached after " in again.stderr


def test_missing_secrets_stop_a_script(strongroom: CommandLine) -> None:
    """The script ends before its first step with all that is missing; registering it is enough."""
    for line in (
        "experiment-tracker register mlflow --flavor=mlflow --tracking_username={{mlflow_secret.username}} "
        "--tracking_password={{mlflow_secret.password}}",
        "stack register tracked -o default -a default -e mlflow --set",
    ):
        assert strongroom(*line.split()).code == 0
    done = run(TRACKER, 1)
    assert done.stdout == ""
    last, hint = done.stderr.splitlines()[-2:]
    assert last.startswith("strongroom.errors.Unresolved: no step was started: 2 references cannot be resolved on stack 'tracked': ")
    assert hint == "hint: strongroom stack register-secrets tracked"
    assert "{{mlflow_secret.username}} (experiment tracker 'mlflow', tracking_username): there is no secret" in last
    assert "{{mlflow_secret.password}} (experiment tracker 'mlflow', tracking_password): there is no secret" in last
    assert strongroom("secret", "create", "mlflow_secret", f"--username={CANARY}-user", f"--password={CANARY}-pass").code == 0
    assert run(TRACKER).stdout == f"user {MASK}\n"


FAILING = """
import sys
from strongroom.client import Client
from strongroom.pipelines import pipeline
from strongroom.steps import step

@step
def connect():
    password = Client().get_secret("api").secret_values["password"]
    try:
        raise ConnectionError(f"cannot connect with {password}")
    except ConnectionError as error:
        END

@pipeline
def failing():
    connect()

failing()
"""


@pytest.mark.usefixtures("api")
def test_an_uncaught_error() -> None:
    """The traceback that Python prints for a failed step shows the way to the line that failed, and no value."""
    done = run(FAILING.replace("END", 'raise RuntimeError({"password": password}) from error'), 1)
    assert f"ConnectionError: cannot connect with {MASK}" in done.stderr
    assert f"RuntimeError: {{'password': '{MASK}'}}" in done.stderr
    assert 'raise ConnectionError(f"cannot connect with {password}")' in done.stderr
    assert f"strongroom.errors.StepFailed: step 'connect' failed: RuntimeError: {{'password': '{MASK}'}}" in done.stderr


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(("end", "code"), [("sys.exit(f'no: {password}')", 1), ("sys.exit(7)", 7)], ids=["message", "code"])
def test_an_exit_within_a_step(end: str, code: int) -> None:
    """`sys.exit` within a step ends the script with its code, its message is masked, and the run is recorded as stopped."""
    done = run(FAILING.replace("END", end), code)
    assert (f"no: {MASK}\n" in done.stderr) == (code == 1)
    with Client() as client:
        assert client.list_runs().items[0].status is RunStatus.STOPPED


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("option", ["-Werror::DeprecationWarning", "-Xdev"])
def test_a_run_leaves_nothing_open(option: str) -> None:
    """In Python's development mode a script with a pipeline gets no warning, as for files that were left open."""
    assert "Warning" not in run(LOADER, 0, option).stderr


TERMINAL = """
import os, shutil, sys
from strongroom.client import Client
from strongroom.pipelines import pipeline
from strongroom.steps import step

@step
def show():
    password = Client().get_secret("api").secret_values["password"]
    print("terminals:", sys.stdout.isatty(), sys.stderr.isatty(), os.isatty(sys.stdout.fileno()), sys.stdout.encoding)
    print("size:", os.get_terminal_size(sys.stdout.fileno()).columns)
    print("password", password)
    sys.stdout.write("no end of line")
    sys.stdout.flush()
    print("", password, file=sys.stderr)
    answer = input("Go on? ")
    print("answer:", answer)

@pipeline
def showing():
    show()

showing()
print("afterwards:", sys.stdout.isatty(), type(sys.stdout).__name__)
"""


@pytest.fixture
def terminal(store: Path):
    """Starts a script on a pseudo-terminal."""
    started: list[pexpect.spawn] = []

    def start(script: str) -> pexpect.spawn:
        Path("script.py").write_text(script)
        environment = {**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
        child = pexpect.spawn(sys.executable, ["script.py"], env=environment, encoding="utf-8", timeout=60, dimensions=(24, 77))
        started.append(child)
        return child

    yield start
    for child in started:
        child.close(force=True)


@pytest.mark.usefixtures("api")
def test_a_terminal_stays_one(terminal) -> None:
    """On a terminal a step's streams say that they are one, questions are asked in time, and values are masked."""
    child = terminal(TERMINAL)
    child.expect_exact("Go on? ")
    shown = child.before
    child.sendline("yes")
    child.expect(pexpect.EOF)
    child.close()
    shown += child.before
    assert not holds_canary(shown)
    assert child.exitstatus == 0
    lines = shown.replace("\r", "").splitlines()
    assert "terminals: True True True utf-8" in lines
    assert "size: 77" in lines
    assert f"password {MASK}" in lines
    assert f"no end of line {MASK}" in lines
    assert "answer: yes" in lines
    assert "afterwards: True TextIOWrapper" in lines


INTERRUPTED = """
import threading
from strongroom.client import Client
from strongroom.pipelines import pipeline
from strongroom.steps import step

@step
def wait():
    password = Client().get_secret("api").secret_values["password"]
    try:
        raise ConnectionError(password)
    except ConnectionError:
        print("waiting", flush=True)
        threading.Event().wait()

@pipeline
def waiting():
    wait()

waiting()
"""


@pytest.mark.usefixtures("api")
def test_ctrl_c(terminal) -> None:
    """Ctrl-C in a step stops the run, the record says so, and the traceback, with what was being handled, shows no value."""
    child = terminal(INTERRUPTED)
    child.expect_exact("waiting\r\n")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert not holds_canary(child.before)
    assert f"ConnectionError: {MASK}" in child.before
    assert child.before.rstrip().endswith("KeyboardInterrupt")
    assert child.signalstatus == signal.SIGINT
    with Client() as client:
        record = client.get_run(client.list_runs().items[0].id)
    assert (record.status, record.steps[0].status) == (RunStatus.STOPPED, RunStatus.STOPPED)
