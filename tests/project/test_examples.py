"""The examples work, as their documents say."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.canary import CANARY

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "webhook_alerter"
BIN = Path(sys.executable).parent

SCRIPT = """
from strongroom.pipelines import pipeline
from strongroom.steps import StepContext, step

@step
def alert(context: StepContext) -> None:
    context.stack.alerter.post("trained")
    print(context.stack.alerter.config.token)

@pipeline
def alerting() -> None:
    alert()

alerting()
"""


class Webhook:
    """A webhook on loopback, and what was posted to it: path, authorization and body."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, str | None, bytes]] = []
        posted = self.posted

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                posted.append((self.path, self.headers["Authorization"], body))
                self.send_response(403 if self.path == "/closed" else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def stop(self) -> None:
        """Ends the server."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """A webhook."""
    webhook = Webhook()
    yield webhook
    webhook.stop()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of somebody who has never used strongroom."""
    return {"HOME": str(tmp_path), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "LANG": "C.UTF-8"}


def run(command: list[str | Path], environment: dict[str, str], folder: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env=environment, cwd=folder, timeout=120)


def strongroom(environment: dict[str, str], folder: Path, *arguments: str, stdin: str = "") -> str:
    done = run([BIN / "strongroom", *arguments], environment, folder, stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_webhook_alerter_by_its_import_path(environment: dict[str, str], webhook: Webhook) -> None:
    """The flavor is registered by its import path; a component of it posts with the token of a secret, which nobody sees."""
    strongroom(environment, EXAMPLE, "alerter", "flavor", "register", "webhook_alerter:WebhookAlerter")
    strongroom(environment, EXAMPLE, "secret", "create", "hooks", "--token=-", stdin=f"{CANARY}-hook")
    strongroom(
        environment, EXAMPLE, "alerter", "register", "ops", "--flavor=webhook", f"--url={webhook.url}/x", "--token={{hooks.token}}"
    )
    strongroom(environment, EXAMPLE, "stack", "register", "s", "-o", "default", "-a", "default", "-al", "ops", "--set")
    # The description is in the index: another folder, where the class cannot be imported, is enough to change the component.
    strongroom(environment, Path(environment["HOME"]), "alerter", "update", "ops", "--timeout=5")

    done = run([sys.executable, "-W", "error", "-c", SCRIPT], environment, EXAMPLE)
    assert done.returncode == 0, done.stderr
    assert webhook.posted == [("/x", f"Bearer {CANARY}-hook", b'{"text": "trained"}')]
    assert done.stdout == "********\n"

    strongroom(environment, EXAMPLE, "alerter", "update", "ops", f"--url={webhook.url}/closed")
    done = run([sys.executable, "-W", "error", "-c", SCRIPT], environment, EXAMPLE)
    assert done.returncode == 1
    assert "alerter 'ops': the webhook refused the token" in done.stderr
    assert CANARY not in done.stderr + done.stdout


def test_webhook_alerter_as_an_entry_point(environment: dict[str, str], tmp_path: Path) -> None:
    """Installed as a package, the flavor is known without being registered."""
    packages = tmp_path / "packages"
    build = [BIN / "uv", "pip", "install", "--offline", "--no-deps", "--no-build-isolation", "--target", packages, EXAMPLE]
    done = run([*build, "--python", sys.executable], {**environment, "UV_CACHE_DIR": str(tmp_path / "cache")}, tmp_path)
    assert done.returncode == 0, done.stderr
    environment = {**environment, "PYTHONPATH": str(packages)}
    assert "webhook_alerter:WebhookAlerter (installed)" in strongroom(environment, tmp_path, "alerter", "flavor", "list")
    strongroom(environment, tmp_path, "alerter", "register", "ops", "--flavor=webhook", "--url=http://127.0.0.1:9/")
    assert "webhook" in strongroom(environment, tmp_path, "alerter", "list")
