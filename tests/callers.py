"""Callers of a server's API, below the client: what goes over the wire and what comes back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

import urllib3

from tests.servers.strongroom import PASSWORD, StrongroomServer

ROOT = "/api/v1"


@dataclass(frozen=True)
class Answer:
    """What the server answered. It may hold values, so it does not show itself."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def data(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, str]:
        """The error, whose shape is checked."""
        assert self.headers["Content-Type"] == "application/json"
        (name,) = self.data
        assert name == "error"
        error: dict[str, str] = self.data["error"]
        assert {"code", "message"} <= error.keys() <= {"code", "message", "hint"}
        return error


@dataclass(frozen=True)
class Caller:
    """Somebody with a token, at work in a workspace."""

    server: StrongroomServer
    pool: urllib3.HTTPConnectionPool
    token: str | None = field(default=None, repr=False)
    workspace: str = ""

    def call(
        self, method: str, path: str, fields: Any = None, *, body: bytes | None = None, root: str = ROOT, **headers: str
    ) -> Answer:
        """Sends a request; `fields` travel as JSON. Underscores in the names of headers are hyphens."""
        given = {name.replace("_", "-"): text for name, text in headers.items()}
        if self.token is not None:
            given.setdefault("Authorization", f"Bearer {self.token}")
        if fields is not None:
            body = json.dumps(fields).encode()
            given.setdefault("Content-Type", "application/json")
        if self.workspace:
            path += ("&" if "?" in path else "?") + urlencode({"workspace": self.workspace})
        answer = self.pool.request(method, root + path, body=body, headers=given, retries=False, redirect=False)
        return Answer(answer.status, answer.headers, answer.data)

    def create(self, name: str, values: Mapping[str, str], **fields: Any) -> dict[str, Any]:
        """Creates a secret; its metadata."""
        answer = self.call("POST", "/secrets", {"name": name, "values": values, **fields})
        assert answer.status == 201, answer
        data: dict[str, Any] = answer.data
        return data

    def log_in(self, username: str, password: str = PASSWORD) -> Caller:
        """The same with the token of a login."""
        answer = self.call("POST", "/login", {"username": username, "password": password})
        assert answer.status == 200, answer
        return replace(self, token=answer.data["access_token"])

    def add(self, name: str, role: str | None = None) -> Caller:
        """Adds a user, with a role in this caller's workspace, and logs in as them."""
        assert self.call("POST", "/users", {"name": name, "password": PASSWORD}).status == 201
        if role is not None:
            assert self.call("PUT", f"/workspaces/{self.workspace}/members/{name}", {"role": role}).status == 200
        return replace(self, token=None).log_in(name)
