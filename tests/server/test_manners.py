"""How the API behaves over HTTP, whatever the operation."""

from __future__ import annotations

import json
import socket
from datetime import datetime
from typing import Any

import pytest

from strongroom.models.secret import MAX_SECRET_BYTES
from tests.callers import Caller
from tests.canary import CANARY, holds_canary

ONE, TWO = f"{CANARY}-one", f"{CANARY}-two"
ABSENT = "00000000-0000-7000-8000-000000000000"


def test_a_secret_is_created(admin: Caller) -> None:
    """201 with metadata and no values, where the secret is, and its version; the times are RFC 3339 in UTC."""
    answer = admin.call("POST", "/secrets", {"name": "s", "values": {"k": ONE}})
    assert answer.status == 201
    assert answer.headers["Location"] == f"/api/v1/secrets/{answer.data['id']}"
    assert answer.headers["ETag"] == '"1"'
    assert not holds_canary(answer.body)
    assert set(answer.data) == {
        *("id", "name", "scope", "workspace", "owner", "description", "labels", "keys", "version"),
        *("created", "updated", "created_by", "expires_at"),
    }
    assert answer.data["created"].endswith("Z")
    assert datetime.fromisoformat(answer.data["created"]).tzinfo is not None
    again = admin.call("POST", "/secrets", {"name": "s", "values": {"k": TWO}})
    assert (again.status, again.error["code"]) == (409, "already_exists")


def test_a_secret_is_read_with_its_values(admin: Caller) -> None:
    """By id and by name in one round trip, with the version as ETag, also a former version."""
    made = admin.create("s", {"k": ONE})
    admin.call("PATCH", f"/secrets/{made['id']}", {"values": {"k": TWO}})
    for path in (f"/secrets/{made['id']}", "/secrets/by-name/s", "/secrets/by-name/s?scope=workspace"):
        answer = admin.call("GET", path)
        assert (answer.status, answer.headers["ETag"]) == (200, '"2"')
        assert answer.data["values"] == {"k": TWO}
    older = admin.call("GET", f"/secrets/{made['id']}?version=1")
    assert (older.headers["ETag"], older.data["values"]) == ('"1"', {"k": ONE})
    for path in (f"/secrets/{made['id']}/metadata", "/secrets/by-name/s/metadata", "/secrets"):
        assert not holds_canary(admin.call("GET", path).body)
    assert admin.call("HEAD", f"/secrets/{made['id']}").headers["ETag"] == '"2"'


def test_values_are_merged_or_replaced(admin: Caller) -> None:
    """PATCH merges and `null` removes, PUT replaces all values; both reply metadata alone, with the new ETag."""
    secret = f"/secrets/{admin.create('s', {'a': ONE, 'b': ONE})['id']}"
    merged = admin.call("PATCH", secret, {"values": {"a": TWO, "b": None, "c": ONE}})
    assert (merged.status, merged.headers["ETag"], merged.data["keys"]) == (200, '"2"', ["a", "c"])
    replaced = admin.call("PUT", secret, {"values": {"d": ONE, "a": ONE}})
    assert (replaced.status, replaced.headers["ETag"], sorted(replaced.data["keys"])) == (200, '"3"', ["a", "d"])
    assert not holds_canary(merged.body + replaced.body)
    assert admin.call("GET", secret).data["values"] == {"a": ONE, "d": ONE}
    assert admin.call("PUT", secret, {"values": {}}).status == 422
    assert admin.call("PUT", secret, {"values": {"a": None}}).status == 422


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_if_match_guards_against_others(admin: Caller, method: str) -> None:
    """With `If-Match` a change is made at that version only; a stale or strange tag is 412 and changes nothing."""
    secret = f"/secrets/{admin.create('s', {'k': ONE})['id']}"
    assert admin.call(method, secret, {"values": {"k": TWO}}, If_Match='"1"').status == 200
    for tag in ('"1"', '"9"', 'W/"2"', "2", '"2", "3"', '"x"'):
        answer = admin.call(method, secret, {"values": {"k": ONE}}, If_Match=tag)
        assert (answer.status, answer.error["code"]) == (412, "stale_version")
    assert admin.call("GET", secret).data["values"] == {"k": TWO}
    assert admin.call(method, secret, {"values": {"k": ONE}}, If_Match="*").status == 200
    assert admin.call(method, secret, {"values": {"k": ONE}, "if_version": 3}, If_Match='"3"').status == 422


def test_if_match_is_never_ignored(admin: Caller) -> None:
    """An operation that cannot keep the promise of `If-Match` refuses it."""
    secret = f"/secrets/{admin.create('s', {'k': ONE})['id']}"
    assert admin.call("DELETE", secret, If_Match='"1"').status == 422
    assert admin.call("POST", f"{secret}/rollback", {"version": 1}, If_Match='"1"').status == 422
    assert admin.call("GET", secret).status == 200


def test_a_secret_is_deleted(admin: Caller) -> None:
    """204 without a body; then it is gone."""
    secret = f"/secrets/{admin.create('s', {'k': ONE})['id']}"
    answer = admin.call("DELETE", secret)
    assert (answer.status, answer.body) == (204, b"")
    assert admin.call("DELETE", secret).status == 404


def test_versions_and_rollback(admin: Caller) -> None:
    """History is a page; a rollback moves the ETag back."""
    secret = f"/secrets/{admin.create('s', {'k': ONE})['id']}"
    admin.call("PATCH", secret, {"values": {"k": TWO}})
    assert [item["version"] for item in admin.call("GET", f"{secret}/versions").data["items"]] == [2, 1]
    assert admin.call("POST", f"{secret}/rollback", {"version": 1}).headers["ETag"] == '"1"'


@pytest.mark.parametrize("number", [0, -1, 2**31, 2**63, 2**70])
def test_versions_that_there_cannot_be(admin: Caller, number: int) -> None:
    """They are not there, however large the number."""
    secret = f"/secrets/{admin.create('s', {'k': ONE})['id']}"
    assert admin.call("GET", f"{secret}?version={number}").status == 404
    assert admin.call("GET", f"/secrets/by-name/s/metadata?version={number}").status == 404
    assert admin.call("POST", f"{secret}/rollback", {"version": number}).status == 404
    assert admin.call("GET", f"{secret}/usage?version={number}").status == 422
    assert admin.call("PATCH", secret, {"values": {"k": TWO}, "if_version": number}).status == 412


def test_many_references_in_one_call(admin: Caller) -> None:
    """References are resolved together, each with its own outcome; checking tells the same without values."""
    admin.create("s", {"k": ONE})
    wanted = {"references": [{"name": "s", "key": "k"}, {"name": "s", "key": "x"}, {"name": "absent", "key": "k"}]}
    resolved, checked = admin.call("POST", "/secrets/resolve", wanted), admin.call("POST", "/secrets/check", wanted)
    for answer in (resolved, checked):
        assert [item["status"] for item in answer.data["items"]] == ["ok", "no_key", "no_secret"]
    assert [item.get("value") for item in resolved.data["items"]] == [ONE, None, None]
    assert not holds_canary(checked.body)


def test_absent_and_invisible_read_alike(admin: Caller) -> None:
    """Another one's private secret and one that never was give the same answer, byte for byte but for the id asked for."""
    other = admin.add(f"o-{admin.workspace}", "admin")
    hidden = admin.create("hidden", {"k": ONE}, scope="user")["id"]
    for method, path, fields in (
        ("GET", "/secrets/{}", None),
        ("GET", "/secrets/{}/metadata", None),
        ("GET", "/secrets/{}/versions", None),
        ("PATCH", "/secrets/{}", {"values": {"k": TWO}}),
        ("PUT", "/secrets/{}", {"values": {"k": TWO}}),
        ("DELETE", "/secrets/{}", None),
        ("POST", "/secrets/{}/rollback", {"version": 1}),
    ):
        seen, absent = other.call(method, path.format(hidden), fields), other.call(method, path.format(ABSENT), fields)
        assert (seen.status, absent.status) == (404, 404)
        assert seen.body.replace(hidden.encode(), ABSENT.encode()) == absent.body
    assert other.call("GET", "/secrets/by-name/hidden").body == other.call("GET", "/secrets/by-name/hiddem").body.replace(
        b"hiddem", b"hidden"
    )
    assert admin.call("GET", f"/secrets/{hidden}").data["values"] == {"k": ONE}


@pytest.mark.parametrize(
    ("role", "reads", "writes"), [(None, 403, 403), ("viewer", 403, 403), ("reader", 200, 403), ("editor", 200, 200)]
)
def test_roles_decide(admin: Caller, role: str | None, reads: int, writes: int) -> None:
    """Metadata, values and changes need different roles; who does not belong to the workspace has none there."""
    secret = f"/secrets/{admin.create('s', {'k': ONE})['id']}"
    person = admin.add(f"p-{admin.workspace}", role)
    assert person.call("GET", f"{secret}/metadata").status == (403 if role is None else 200)
    assert person.call("GET", secret).status == reads
    answer = person.call("PATCH", secret, {"values": {"k": TWO}})
    assert answer.status == writes
    assert not holds_canary(answer.body)


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer ", "Bearer nonsense", "Basic eDp5", "nonsense", "Bearer a b"], ids=range(7)
)
def test_without_a_token_nothing_is_told(admin: Caller, nobody: Caller, header: str | None) -> None:
    """401 with `WWW-Authenticate`, the same for a secret that is there and one that is not."""
    made = admin.create("s", {"k": ONE})["id"]
    headers = {} if header is None else {"Authorization": header}
    answers = [nobody.call("GET", f"/secrets/{each}", **headers) for each in (made, ABSENT)]
    assert answers[0].body == answers[1].body
    for answer in answers:
        assert (answer.status, answer.headers["WWW-Authenticate"], answer.error["code"]) == (401, "Bearer", "unauthenticated")


def test_a_token_in_the_query_is_no_token(admin: Caller, nobody: Caller) -> None:
    """Queries land in logs of proxies: a token there is not taken, and not repeated."""
    answer = nobody.call("GET", f"/secrets?access_token={admin.token}")
    assert answer.status == 401
    assert admin.token is not None
    assert admin.token.encode() not in answer.body


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/", 404),
        ("GET", "/secrets/", 404),
        ("GET", "/secrets/a/b/c/d", 404),
        ("PUT", "/secrets", 405),
        ("DELETE", "/login", 405),
        ("TRACE", "/secrets", 405),
        ("OPTIONS", "/secrets", 405),
    ],
)
def test_unknown_paths_and_methods(admin: Caller, method: str, path: str, status: int) -> None:
    """404 and 405 have the shape of all errors; 405 says which methods there are."""
    answer = admin.call(method, path)
    assert answer.status == status
    assert answer.error["code"] in ("no_such_operation", "method_not_allowed", "not_found")
    assert ("Allow" in answer.headers) is (status == 405)


def test_other_paths_have_the_shape_of_errors(nobody: Caller) -> None:
    """Outside of the API too."""
    assert nobody.call("GET", "/elsewhere", root="").error["code"] == "no_such_operation"
    assert nobody.call("POST", "/healthz", root="").error["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    "name", ["a/b", "..", ".", "a b", "%2F", "é", "'; DROP TABLE secrets; --", "a\nb", "\0", "by-name", "metadata", "?", "#"]
)
def test_any_text_can_be_asked_for_by_name(admin: Caller, name: str) -> None:
    """What no secret can be called is simply not there, however it is written."""
    from strongroom.client.transports.remote import _segment

    answer = admin.call("GET", f"/secrets/by-name/{_segment(name)}")
    assert (answer.status, answer.error["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"name": "s", "values": {"k": "CANARY"',
        b'{"name": "s", "values": "CANARY"}',
        b'{"name": "s", "values": ["CANARY"]}',
        b'{"name": "s", "values": {"k": ["CANARY"]}}',
        b'{"name": "s", "values": {"k": {"CANARY": 1}}}',
        b'{"name": "s", "values": {"k": null}}',
        b'{"name": "s", "values": {"k": "\\ud800CANARY"}}',
        b'{"name": "s", "values": {"bad key": "CANARY"}}',
        b'{"name": {"CANARY": 1}, "values": {"k": "v"}}',
        b'{"name": "s", "values": {"k": "CANARY"}, "scope": "CANARY"}',
        b'{"name": "s", "values": {"k": "CANARY"}, "labels": {"CANARY": ["CANARY"]}}',
        b'{"name": "s", "values": {"k": "CANARY"}, "labels": "CANARY"}',
        b'{"name": "s", "values": {"k": "CANARY"}, "expires_at": "CANARY"}',
        b'{"name": "s", "values": {"k": "CANARY"}, "expires_at": "2030-01-01T00:00:00"}',
        b'{"name": "s", "values": {"k": "CANARY"}, "secret": "CANARY"}',
        b'{"values": {"k": "CANARY"}}',
        b'{"name": "s"}',
        b"[" * 100_000,
        b'{"name": "s", "labels": ' + b"[" * 100_000 + b"}",
    ],
    ids=range(25),
)
def test_a_bad_body_is_refused_and_not_repeated(admin: Caller, body: bytes) -> None:
    """422 in words of ours: nothing of the body comes back, and nothing is stored."""
    answer = admin.call("POST", "/secrets", body=body.replace(b"CANARY", CANARY.encode()), Content_Type="application/json")
    assert answer.status == 422
    assert answer.error["message"]
    assert not holds_canary(answer.body)
    assert admin.call("GET", "/secrets").data["total"] == 0


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": "s", "values": {"k": "v"}, "valeus": 1}, "valeus"),
        ({"name": "s", "values": {"k": [1]}}, "'k'"),
        ({"name": "s", "values": {"k": None}}, "'k'"),
        ({"name": "s"}, "values"),
        ({"name": 1, "values": {"k": "v"}}, "name"),
        ({"name": "s", "values": {"k": "v"}, "scope": "x"}, "scope"),
        ({"name": "s", "values": {"k": "v"}, "id": "x"}, "id"),
    ],
)
def test_a_refusal_names_the_field(admin: Caller, fields: Any, named: str) -> None:
    """Which field is wrong is said."""
    assert named in admin.call("POST", "/secrets", fields).error["message"]


@pytest.mark.parametrize(
    "query",
    [
        "size=0",
        "size=1001",
        "size=x",
        "size=1.5",
        "page=-1",
        "nmae=x",
        "name=a&name=b",
        "scope=x",
        "sort_by=values",
        "created=x",
        "name=%ff",
    ],
)
def test_a_bad_query_is_refused(admin: Caller, query: str) -> None:
    """422, also for parameters that there are not: a typo does not silently mean everything."""
    assert admin.call("GET", f"/secrets?{query}").status == 422


def test_lists_repeat_their_parameter(admin: Caller) -> None:
    """Filters that can be given more than once are."""
    admin.create("s", {"k": ONE}, labels={"a": "1", "b": "2"})
    admin.create("t", {"k": ONE}, labels={"a": "1"})
    found = admin.call("GET", "/secrets?label=a%3D1&label=b%3D2&size=5&sort_by=desc:name").data
    assert [item["name"] for item in found["items"]] == ["s"]
    assert {key: found[key] for key in ("total", "page", "size", "total_pages")} == {
        "total": 1,
        "page": 1,
        "size": 5,
        "total_pages": 1,
    }


def test_numbers_stay_as_they_are_written(admin: Caller) -> None:
    """Numbers and booleans in JSON become the text that was sent, digit for digit."""
    body = b'{"name": "s", "values": {"a": 1.50, "b": true, "c": 123456789012345678901234567890, "d": -1e400, "e": ""}}'
    assert admin.call("POST", "/secrets", body=body, Content_Type="application/json").status == 201
    values = {"a": "1.50", "b": "true", "c": "123456789012345678901234567890", "d": "-1e400", "e": ""}
    assert admin.call("GET", "/secrets/by-name/s").data["values"] == values


def test_the_limit_of_a_secret_is_exact(admin: Caller) -> None:
    """65,536 bytes pass, also written as escapes; one more is 413."""
    text = CANARY + "\0" * (MAX_SECRET_BYTES - len(CANARY) - 1)
    assert admin.create("s", {"k": text})["version"] == 1
    answer = admin.call("POST", "/secrets", {"name": "t", "values": {"k": f"{text}x"}})
    assert (answer.status, answer.error["code"]) == (413, "too_large")
    assert admin.call("GET", "/secrets/by-name/s").data["values"] == {"k": text}


def test_the_limit_of_a_request(admin: Caller) -> None:
    """A body of more than 1 MiB is 413, and one without an announced length is 411; the server goes on."""
    large = json.dumps({"name": "s", "values": {"k": CANARY}, "description": "x" * 1_048_576}).encode()
    answer = admin.call("POST", "/secrets", body=large, Content_Type="application/json")
    assert (answer.status, answer.error["code"]) == (413, "too_large")
    headers = {"Authorization": f"Bearer {admin.token}", "Content-Type": "application/json"}
    with admin.server.connections() as pool:
        parts = (b"x" * 65_536 for _ in range(20))
        chunked = pool.request("POST", "/api/v1/secrets", body=parts, headers=headers, retries=False)
    assert chunked.status == 411
    assert admin.call("GET", "/secrets").data["total"] == 0


def test_only_json_is_taken(admin: Caller) -> None:
    """415 for anything else; a form is for logging in alone."""
    body = b'{"name": "s", "values": {"k": "v"}}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml"):
        assert admin.call("POST", "/secrets", body=body, Content_Type=kind).status == 415
    assert admin.call("POST", "/secrets", body=body, Content_Type="application/json; charset=utf-8").status == 201


def test_headers_of_every_answer(admin: Caller, nobody: Caller) -> None:
    """Nothing is cached, framed or sniffed; each answer has an id, that of the request if it came with a decent one."""
    for answer in (admin.call("GET", "/secrets"), nobody.call("GET", "/nothing"), nobody.call("GET", "/docs", root="")):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert len(answer.headers["X-Request-Id"]) == 16
    assert admin.call("GET", "/secrets", X_Request_Id="my-request-1").headers["X-Request-Id"] == "my-request-1"
    assert admin.call("GET", "/secrets", X_Request_Id=f"{'x' * 70}").headers["X-Request-Id"] != "x" * 70


def test_headers_cannot_be_injected(admin: Caller) -> None:
    """Line breaks in names never become headers of the answer."""
    for text in ("a%0d%0aX-Injected:%201", "a%0aX-Injected:1"):
        answer = admin.call("GET", f"/secrets/by-name/{text}")
        assert answer.status == 404
        assert "X-Injected" not in answer.headers


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /api/v1/secrets HTTP/9.9\r\nHost: x\r\n\r\n",
        b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=range(8),
)
def test_garbage_on_the_wire(admin: Caller, raw: bytes) -> None:
    """Whatever arrives, the answer is no 500 and the server goes on."""
    with socket.create_connection(("127.0.0.1", admin.server.port), timeout=20) as connection:
        try:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65_536)
        except OSError:  # it hung up before it had heard everything
            answer = b""
    assert not answer.startswith(b"HTTP/1.1 5")
    assert admin.call("GET", "/secrets").status == 200


def test_info_needs_a_token(admin: Caller, nobody: Caller) -> None:
    """What runs here is told to those who are signed in."""
    info = admin.call("GET", "/info").data
    store = {"type": "sql", "role": "primary", "location": "sql", "healthy": True, "behind": 0, "to_delete": 0}
    assert (info["database"], info["stores"]) == ("sqlite", [store])
    assert nobody.call("GET", "/info").status == 401


def test_health_metrics_and_documents(admin: Caller, nobody: Caller) -> None:
    """Probes need no token; measurements name operations, never secrets; all workers are counted together."""
    admin.create("a_telling_name", {"k": ONE})
    assert nobody.call("GET", "/healthz", root="").data == {"status": "alive"}
    assert nobody.call("GET", "/readyz", root="").data == {
        "status": "ready",
        "index": True,
        "reads": True,
        "writes": True,
        "stores": {"primary": True},
    }
    counted = 'strongroom_requests_total{operation="secret.create",status="201"}'
    while counted not in (metrics := nobody.call("GET", "/metrics", root="").body.decode()):
        pass  # another worker counts what it has answered a moment later
    assert 'strongroom_store_up{role="primary",type="sql"} 1.0' in metrics
    assert "a_telling_name" not in metrics
    assert nobody.call("GET", "/openapi.json", root="").data["openapi"] == "3.1.0"
    page = nobody.call("GET", "/docs", root="")
    assert page.headers["Content-Type"].startswith("text/html")
    assert b"/api/v1/secrets/by-name/{name}" in page.body
    assert b"//" not in page.body.replace(b"<!doctype", b"")


def test_the_log_names_operations_and_nothing_else(admin: Caller) -> None:
    """A line per request, as JSON: who, what, how it ended. No path, query, header or body."""
    admin.create("a_telling_name_too", {"k": ONE})
    admin.call("GET", f"/secrets?name={CANARY}", X_Request_Id="for-the-log-1")
    found: list[str] = []
    while not found:  # the line is written when the answer has left
        assert admin.call("GET", "/me").status == 200
        found = [line for line in admin.server.log.splitlines() if '"for-the-log-1"' in line]
    line = json.loads(found[0])
    assert (line["operation"], line["status"], line["method"], line["address"]) == ("secret.list", 200, "GET", "127.0.0.1")
    assert line["actor"]
    assert "a_telling_name_too" not in admin.server.log
    assert admin.token is not None
    assert admin.token not in admin.server.log


@pytest.mark.parametrize(
    "path", ["/secrets", "/stacks", "/components", "/runs", "/users", "/workspaces", "/service-accounts", "/workspaces/{}/members"]
)
def test_far_pages_are_empty(admin: Caller, path: str) -> None:
    """Past the end there is an empty page with the true total, however far."""
    answer = admin.call("GET", f"{path.format(admin.workspace)}?page={10**30}")
    assert (answer.status, answer.data["items"]) == (200, [])
