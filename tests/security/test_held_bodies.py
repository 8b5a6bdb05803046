"""A request whose body is held back, while its sender loses the right to it, does nothing. On a real server, for every operation."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from strongroom.auth.policy import Role
from strongroom.models.secret import Scope
from strongroom.operations import user as of_user
from strongroom.operations.all import ALL_OPERATIONS
from strongroom.redaction import SecretText
from tests.callers import ROOT, Caller
from tests.example_requests import Example, OverHttp, Row, Somebody, make_secret

WITH_A_BODY = [
    operation
    for operation in ALL_OPERATIONS
    if operation.method in ("POST", "PUT", "PATCH") and operation.permission is not None and operation is not of_user.LOGOUT
]


class Held:
    """A request of which all has been sent but the end."""

    def __init__(self, caller: Caller, operation: Row, fields: dict[str, Any]) -> None:
        path, left = ROOT + operation.path, msgspec.to_builtins(fields, enc_hook=SecretText.reveal)
        for name in operation.request.__struct_fields__:
            if f"{{{name}}}" in path:
                path = path.replace(f"{{{name}}}", quote(str(left.pop(name)), safe=""))
        body = json.dumps(left).encode()
        head = (
            f"{operation.method} {path}?workspace={caller.workspace} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {caller.token}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        self.name, self._rest = operation.name, body[1:]
        self._connection = socket.create_connection(("127.0.0.1", caller.server.port), timeout=30)
        self._connection.sendall(head.encode() + body[:1])

    def finish(self) -> int:
        """Sends the rest; the status of the answer."""
        with self._connection:
            self._connection.sendall(self._rest)
            answer = b"".join(iter(lambda: self._connection.recv(65_536), b""))
        return int(answer.split(b" ", 2)[1])


def deactivate(admin: Caller, who: Somebody) -> None:
    user_id = admin.call("GET", f"/users/{who.name}").data["id"]
    assert admin.call("POST", f"/users/{user_id}/deactivate", {}).status < 300


def log_out(admin: Caller, who: Somebody) -> None:
    assert who.handle.call("POST", "/logout", {}).status == 204


def reset_password(admin: Caller, who: Somebody) -> None:
    user_id = admin.call("GET", f"/users/{who.name}").data["id"]
    assert admin.call("PATCH", f"/users/{user_id}", {"password": "set by an administrator"}).status == 200


@pytest.mark.parametrize("lose", [deactivate, log_out, reset_password])
def test_every_operation_with_a_body(admin: Caller, lose: Callable[[Caller, Somebody], None]) -> None:
    """Each is begun by a user who may do everything, then they lose their session, and the end of the body comes too late."""
    door = OverHttp(admin)
    who, other = door.add(Role.ADMIN, admin=True), door.add(Role.VIEWER).name
    held = []
    for operation in WITH_A_BODY:
        secret = make_secret(door, who, Scope.WORKSPACE) if operation.name.startswith("secret.") else None
        fields = Example(door, who, operation, secret, other).fields(everything=operation.method == "PATCH")
        held.append(Held(who.handle, operation, fields))
    assert len(held) > 20
    lose(admin, who)
    assert {each.name: each.finish() for each in held} == dict.fromkeys([each.name for each in held], 401)
