"""A server that speaks S3, by moto.

The module is also the program that runs as the server: `S3Server` starts this file.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import boto3

ACCESS_KEY_ID = "AKIASTRONGROOMTESTS1"
REGION = "us-east-1"
ROLE = "arn:aws:iam::123456789012:role/trainer"
"""What the key may assume; it may do everything in S3, too."""

_SECRET_VARIABLE = "TESTS_S3_SECRET_ACCESS_KEY"


class S3Server:
    """One server in a process of its own, which keeps everything in memory.

    It checks the signature of each request, as AWS does: the access key id and the secret access key here are the only credentials
    that it takes, and they may do everything in S3.
    """

    def __init__(self, secret_access_key: str) -> None:
        self.access_key_id = ACCESS_KEY_ID
        self.secret_access_key = secret_access_key
        self.region = REGION
        environment = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", __file__],
            env={**environment, _SECRET_VARIABLE: secret_access_key},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        assert port, "moto's server does not start"
        self.url = f"http://127.0.0.1:{port}"

    def bucket(self, name: str) -> str:
        """Creates a bucket; its name. Creating one anew is no error, as with AWS in this region."""
        client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=self.region,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
        )
        with contextlib.closing(client):
            client.create_bucket(Bucket=name)
        return name

    def stop(self) -> None:
        """Ends the server. It also ends by itself when this process is gone."""
        self._process.terminate()
        self._process.communicate(timeout=30)


def _serve() -> None:
    """Runs until the standard input ends."""
    from moto import settings
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.iam.models import iam_backends
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not each request
    backend = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
    user = backend.create_user(REGION, "tests")
    key = backend.create_access_key(user.name)
    key.access_key_id = ACCESS_KEY_ID
    key.secret_access_key = os.environ.pop(_SECRET_VARIABLE)
    statement = {"Effect": "Allow", "Action": ["s3:*", "sts:*"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    backend.put_user_policy(user.name, "everything", document)
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole", "Resource": "*"}
    role = backend.create_role("trainer", json.dumps({"Version": "2012-10-17", "Statement": [trust]}), "/", None, "", [], "3600")
    backend.put_role_policy(role.name, "everything", document)
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0  # from now on every request is checked

    application = _refuse_anonymous(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.port, flush=True)
    sys.stdin.read()


def _refuse_anonymous(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """As AWS does; moto crashes while it looks for the signature."""

    def refuse(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        if "HTTP_AUTHORIZATION" in environ or "X-Amz-Signature=" in environ["QUERY_STRING"]:
            return application(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "application/xml")])
        return [b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"]

    return refuse


if __name__ == "__main__":
    _serve()
