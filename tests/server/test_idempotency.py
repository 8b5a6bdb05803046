"""A request that arrives twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from strongroom.auth.policy import Role
from strongroom.db.engine import ConstraintViolated
from strongroom.errors import InvalidInput
from strongroom.service.reply import KEPT_SECONDS, Reply
from strongroom.service.wiring import Service
from tests.callers import Caller
from tests.canary import CANARY
from tests.people import add_person

ONE, TWO = f"{CANARY}-one", f"{CANARY}-two"


def test_a_repeated_key_gives_the_first_reply(admin: Caller) -> None:
    """Status, body, Location and ETag are those of the first time, and nothing is done again."""
    wanted = {"name": "s", "values": {"k": ONE}}
    first, second = (admin.call("POST", "/secrets", wanted, Idempotency_Key="key-1") for _ in range(2))
    assert (first.status, second.status) == (201, 201)
    assert first.body == second.body
    for header in ("Location", "ETag"):
        assert first.headers[header] == second.headers[header]
    admin.call("DELETE", f"/secrets/{first.data['id']}")
    assert admin.call("POST", "/secrets", wanted, Idempotency_Key="key-1").body == first.body
    assert admin.call("GET", "/secrets").data["total"] == 0


def test_replies_without_a_body_are_repeated_too(admin: Caller) -> None:
    """204 stays 204."""
    admin.add(f"gone-{admin.workspace}")
    for _ in range(2):
        assert admin.call("POST", f"/users/gone-{admin.workspace}/deactivate", {}, Idempotency_Key="key-2").status == 204


def test_a_key_belongs_to_one_request(admin: Caller) -> None:
    """The same key with another body or path is refused; with another operation or another actor it is another key."""
    assert admin.call("POST", "/secrets", {"name": "s", "values": {"k": ONE}}, Idempotency_Key="key").status == 201
    other = admin.call("POST", "/secrets", {"name": "s", "values": {"k": TWO}}, Idempotency_Key="key")
    assert (other.status, other.error["code"]) == (422, "invalid")
    assert (
        admin.call("POST", "/service-accounts", {"name": f"m-{admin.workspace}", "role": "viewer"}, Idempotency_Key="key").status
        == 201
    )
    person = admin.add(f"i-{admin.workspace}", "editor")
    again = person.call("POST", "/secrets", {"name": "s", "values": {"k": ONE}}, Idempotency_Key="key")
    assert (again.status, again.error["code"]) == (409, "already_exists")


def test_what_failed_may_be_tried_again(admin: Caller) -> None:
    """A refusal changes nothing, so its key stays free."""
    wanted = {"name": "s", "values": {"k": ONE}}
    made = admin.create("s", {"k": TWO})
    assert admin.call("POST", "/secrets", wanted, Idempotency_Key="key").status == 409
    admin.call("DELETE", f"/secrets/{made['id']}")
    assert admin.call("POST", "/secrets", wanted, Idempotency_Key="key").status == 201


def test_of_many_at_once_one_is_done(admin: Caller) -> None:
    """Of eight requests with one key one creates the secret, and the others get its reply."""

    def create(_: int) -> tuple[int, bytes]:
        answer = admin.call("POST", "/secrets", {"name": "s", "values": {"k": ONE}}, Idempotency_Key="key")
        return answer.status, answer.body

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(create, range(8)))
    assert {status for status, _ in answers} == {201}
    assert len({body for _, body in answers}) == 1


def test_fresh_secrets_are_not_kept(admin: Caller) -> None:
    """An operation whose reply holds a secret refuses the header; one that reads does not mind it."""
    account = f"a-{admin.workspace}"
    admin.call("POST", "/service-accounts", {"name": account, "role": "viewer"})
    answer = admin.call("POST", f"/service-accounts/{account}/api-keys", {"name": "k"}, Idempotency_Key="key")
    assert (answer.status, answer.error["code"]) == (422, "invalid")
    admin.create("s", {"k": ONE})
    for _ in range(2):
        resolved = admin.call("POST", "/secrets/resolve", {"references": [{"name": "s", "key": "k"}]}, Idempotency_Key="key")
        assert resolved.data["items"][0]["value"] == ONE


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é"])
def test_strange_keys_are_refused(admin: Caller, key: str) -> None:
    """A key is 1 to 255 visible ASCII characters."""
    assert admin.call("POST", "/secrets", {"name": "s", "values": {"k": ONE}}, Idempotency_Key=key).status == 422


def test_a_reply_is_not_given_to_who_lost_the_right(admin: Caller) -> None:
    """Whoever may not do it any more does not get the reply of when they might."""
    name = f"l-{admin.workspace}"
    person = admin.add(name, "editor")
    wanted = {"name": "s", "values": {"k": ONE}}
    assert person.call("POST", "/secrets", wanted, Idempotency_Key="key").status == 201
    admin.call("PUT", f"/workspaces/{admin.workspace}/members/{name}", {"role": "viewer"})
    assert person.call("POST", "/secrets", wanted, Idempotency_Key="key").status == 403


def test_replies_on_every_database(service: Service) -> None:
    """A reply is known for a day, and to the same request alone; of two that are kept at once, one is."""
    replies, actor = service.replies, add_person(service, "x", role=Role.EDITOR).actor
    ticket, reply = replies.ticket(actor, "secret.create", "key"), Reply(201, '{"é": "😀"}')
    assert replies.find(ticket, b"request") is None
    with service.deployment.database.write() as connection:
        replies.keep(connection, ticket, b"request", reply)
    assert replies.find(ticket, b"request") == reply
    with pytest.raises(InvalidInput):
        replies.find(ticket, b"another")
    with pytest.raises(ConstraintViolated), service.deployment.database.write() as connection:
        replies.keep(connection, ticket, b"request", reply)
    _grow_older(service, KEPT_SECONDS)
    assert replies.find(ticket, b"another") is None


def _grow_older(service: Service, seconds: int) -> None:
    with service.deployment.database.write() as connection:
        connection.execute(text("UPDATE replies SET created = created - :age"), {"age": seconds * 1_000_000})
