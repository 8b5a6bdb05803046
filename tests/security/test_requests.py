"""What a request says about itself is not believed where it contradicts itself, or where it leads elsewhere."""

from __future__ import annotations

import itertools
import re
import socket
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

import pytest

from strongroom.errors import InvalidInput
from strongroom.models.filter import from_microseconds, to_microseconds
from strongroom.server.ui.app import PAGES
from tests.callers import Caller
from tests.servers.strongroom import StrongroomServer

LENGTHS = (b"Content-Length: 5", b"Transfer-Encoding: chunked")
EXTREMES = [
    edge.replace(tzinfo=timezone(sign * timedelta(hours=hours, minutes=59)))
    for edge in (datetime.min, datetime.max, datetime(1, 1, 1, 23), datetime(9999, 12, 31))
    for sign, hours in itertools.product((1, -1), (0, 11, 22))
]


def exchange(server: StrongroomServer, request: bytes) -> bytes:
    """Sends bytes; returns what comes back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


@pytest.mark.parametrize("order", [LENGTHS, LENGTHS[::-1]], ids=["length first", "coding first"])
@pytest.mark.parametrize("target", [b"POST /api/v1/login", b"GET /api/v1/info", b"POST /sign-in", b"GET /healthz"], ids=bytes.decode)
def test_two_lengths_are_refused(strongroom_server: StrongroomServer, target: bytes, order: tuple[bytes, bytes]) -> None:
    """A request with both headers is answered with 411, and nothing behind it on the connection is answered.

    So is one with a coding alone: the server cannot tell the two apart.
    """
    for headers in (order, LENGTHS[1:]):
        head = b"\r\n".join([target + b" HTTP/1.1", b"Host: x", *headers])
        request = head + b"\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        assert re.findall(rb"HTTP/1\.1 (\d{3})", exchange(strongroom_server, request)) == [b"411"]


@pytest.mark.parametrize(
    "path", sorted({re.sub(r"{\w+(:\w+)?}", "x", path) for _, path, _, _ in PAGES} | {"/static/style.css", "/docs"})
)
def test_no_page_redirects_to_where_a_request_says(nobody: Caller, path: str) -> None:
    """With and without a slash, whatever the headers say: each redirect stays on this server."""
    for asked in (path, f"{path}/", f"/{path}", f"{path}?next=https://evil.example", f"{path}?next={quote('//evil.example')}"):
        answer = nobody.call("GET", asked, root="", Host="evil.example", X_Forwarded_Host="evil.example", Accept="text/html")
        target = answer.headers.get("Location", "/")
        assert target.startswith("/"), (asked, target)
        assert not target.startswith(("//", "/\\")), (asked, target)


@pytest.mark.parametrize("moment", EXTREMES, ids=lambda moment: moment.isoformat())
def test_the_ends_of_the_calendar(moment: datetime) -> None:
    """A moment is kept exactly, or refused; never is it one that cannot be shown."""
    try:
        kept = to_microseconds(moment)
    except InvalidInput:
        return
    assert from_microseconds(kept) == moment
    assert from_microseconds(kept).astimezone(timezone(timedelta(hours=14))) == moment


def test_a_time_without_a_zone_is_refused() -> None:
    """Nobody knows which moment it is."""
    with pytest.raises(InvalidInput):
        to_microseconds(datetime(2027, 1, 1))
    assert to_microseconds(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)) == 1_000_000


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+23:59"])
def test_operations_refuse_times_beyond_the_calendar(admin: Caller, text: str) -> None:
    """Every operation that takes a time: 422, and no other error."""
    account = f"m-{admin.workspace}"
    assert admin.call("POST", "/service-accounts", {"name": account, "role": "viewer"}).status == 201
    secret = {"name": "s", "values": {"k": "v"}}
    made = admin.call("POST", "/secrets", secret).data["id"]
    quoted = quote(text, safe="")
    answers = [
        admin.call("POST", f"/service-accounts/{account}/api-keys", {"name": "k", "expires_at": text}),
        admin.call("POST", "/secrets", {**secret, "name": "t", "expires_at": text}),
        admin.call("PATCH", f"/secrets/{made}", {"expires_at": text}),
        admin.call("GET", f"/audit?since={quoted}"),
        admin.call("GET", f"/audit?until={quoted}"),
        admin.call("GET", f"/secrets?created=gt:{quoted}"),
        admin.call("GET", f"/secrets?updated=lt:{quoted}"),
    ]
    assert [answer.status for answer in answers] == [422] * len(answers)


def test_the_unit_and_the_server_leave_no_core_dumps(strongroom_server: StrongroomServer) -> None:
    """What is in memory gets into no file when a process crashes."""
    for pid in (strongroom_server.process.pid, *strongroom_server.workers()):
        (line,) = [each for each in Path(f"/proc/{pid}/limits").read_text().splitlines() if each.startswith("Max core file size")]
        assert line.split()[4:6] == ["0", "0"]
    unit = Path(__file__).parents[2] / "deploy" / "systemd" / "strongroom.service"
    assert "LimitCORE=0" in unit.read_text().splitlines()
