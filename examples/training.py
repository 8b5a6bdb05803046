"""A small pipeline: load data, train with an experiment tracker that wants a login, sign the model with a key from a secret.

`make demo` runs it; no credential stands in the code.
"""

from __future__ import annotations

import base64
import json
import urllib.request
from typing import Annotated

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from strongroom.client import Client
from strongroom.pipelines import pipeline
from strongroom.steps import StepContext, step


@step
def load(rows: int) -> list[float]:
    """Make some data."""
    return [row * 0.5 for row in range(rows)]


@step
def train(data: list[float], context: StepContext) -> Annotated[bytes, "model"]:
    """Fit a mean, and report it to the stack's experiment tracker, which asks for a user name and a password."""
    mean = sum(data) / len(data)
    tracker = context.stack.experiment_tracker.config
    login = base64.b64encode(f"{tracker.tracking_username}:{tracker.tracking_password}".encode()).decode()
    request = urllib.request.Request(f"{tracker.tracking_uri}/metrics", json.dumps({"mean": mean}).encode())
    request.add_header("Authorization", f"Basic {login}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        context.log_metadata({"mean": mean, "tracker answered": answer.status})
    print(f"  (a careless step prints: {tracker.tracking_password}, {login})")
    return repr(mean).encode()


@step
def sign(model: bytes) -> Annotated[bytes, "signature"]:
    """Sign the model with the key that a secret holds."""
    secret = Client().get_secret("signing")
    key = serialization.load_pem_private_key(secret.secret_values["key"].encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.sign(model, ec.ECDSA(hashes.SHA256()))


@pipeline
def training(rows: int = 9) -> None:
    """Load, train, sign."""
    sign(train(load(rows)))
