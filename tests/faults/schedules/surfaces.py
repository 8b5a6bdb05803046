"""The ways in which the workload reaches a deployment. Each answers with what was seen, or raises what the client knows then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import urllib3

from strongroom.client import Client
from strongroom.errors import (
    AlreadyExists,
    InvalidInput,
    StaleVersion,
    StrongroomError,
    Unauthenticated,
    Unavailable,
    UnderWay,
)
from strongroom.models.reference import Reference, ReferenceStatus, ResolveReferences
from strongroom.models.secret import Secret
from strongroom.operations import secret as operations
from tests.callers import Answer, Caller
from tests.faults.schedules.history import Outcome, Seen, label, value
from tests.people import Person

LIST_SIZE = 1_000


class Told(Exception):
    """An operation was not acknowledged."""

    def __init__(self, outcome: Outcome, code: str) -> None:
        super().__init__(code)
        self.outcome, self.code = outcome, code


class Surface(Protocol):
    """What the workload does. Ids, names and labels; no values. Each may raise `Told`."""

    repeats: bool
    """Whether calls without an answer are sent again, below."""

    def create(self, name: str, labels: Mapping[str, str]) -> Seen: ...
    def read(self, secret: str, version: int | None = None) -> Seen: ...
    def read_by_name(self, name: str) -> Seen: ...
    def update(self, secret: str, labels: Mapping[str, str | None], new_name: str | None, if_version: int | None) -> Seen: ...
    def rollback(self, secret: str, version: int) -> Seen: ...
    def delete(self, secret: str) -> None: ...
    def list(self) -> Sequence[Seen]: ...
    def resolve(self, references: Sequence[tuple[str, str]]) -> Sequence[Seen]: ...


def seen(secret: Secret) -> Seen:
    """What an answer shows."""
    values = None if not isinstance(secret.values, dict) else {key: label(each.reveal()) for key, each in secret.values.items()}
    return Seen(secret.id, secret.name, secret.version, values, frozenset(secret.keys))


def _values(labels: Mapping[str, str | None]) -> dict[str, str | None]:
    return {key: None if each is None else value(each) for key, each in labels.items()}


def _resolved(items: Sequence[Any]) -> list[Seen]:
    return [
        Seen(item.secret_id, item.name, item.version, {item.key: label(item.value.reveal())}, whole=False)
        for item in items
        if item.status is ReferenceStatus.OK
    ]


class InProcess:
    """Straight into a service. A call that raises has changed nothing: there is no line that could break."""

    repeats = False

    def __init__(self, person: Person) -> None:
        self._person = person

    def create(self, name: str, labels: Mapping[str, str]) -> Seen:
        return self._ask(lambda: seen(self._person.create(name, {key: value(each) for key, each in labels.items()})))

    def read(self, secret: str, version: int | None = None) -> Seen:
        return self._ask(lambda: seen(self._person.get(secret, version)))

    def read_by_name(self, name: str) -> Seen:
        return self._ask(lambda: seen(self._person.get_by_name(name)))

    def update(self, secret: str, labels: Mapping[str, str | None], new_name: str | None, if_version: int | None) -> Seen:
        fields = {} if new_name is None else {"name": new_name}
        changes = _values(labels) if labels else None
        return self._ask(lambda: seen(self._person.update(secret, changes, if_version=if_version, **fields)))

    def rollback(self, secret: str, version: int) -> Seen:
        return self._ask(lambda: seen(self._person.rollback(secret, version)))

    def delete(self, secret: str) -> None:
        self._ask(lambda: self._person.delete(secret))

    def list(self) -> Sequence[Seen]:
        return self._ask(lambda: [seen(each) for each in self._person.list(size=LIST_SIZE)])

    def resolve(self, references: Sequence[tuple[str, str]]) -> Sequence[Seen]:
        wanted = ResolveReferences(references=[Reference(*each) for each in references])
        return self._ask(lambda: _resolved(self._person.ask(operations.RESOLVE, wanted).items))

    def _ask(self, call: Any) -> Any:
        try:
            return call()
        except StrongroomError as error:
            raise Told(Outcome.REFUSED, error.code) from None


class ByClient:
    """The client library, which sends calls again. Whatever it could not get done may have happened.

    So may what is refused because of the state it meets: a call that is sent again may meet its own work (decision 0012).
    """

    repeats = True

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, name: str, labels: Mapping[str, str]) -> Seen:
        return self._ask(lambda: seen(self._client.create_secret(name, {key: value(each) for key, each in labels.items()})))

    def read(self, secret: str, version: int | None = None) -> Seen:
        return self._ask(lambda: seen(self._client.get_secret(secret, version=version)))

    def read_by_name(self, name: str) -> Seen:
        return self._ask(lambda: seen(self._client.get_secret(name)))

    def update(self, secret: str, labels: Mapping[str, str | None], new_name: str | None, if_version: int | None) -> Seen:
        given = {key: value(each) for key, each in labels.items() if each is not None}
        gone = [key for key, each in labels.items() if each is None]
        return self._ask(
            lambda: seen(
                self._client.update_secret(
                    secret, add_or_update_values=given, remove_values=gone, new_name=new_name, if_version=if_version
                )
            )
        )

    def rollback(self, secret: str, version: int) -> Seen:
        return self._ask(lambda: seen(self._client.rollback_secret(secret, version)))

    def delete(self, secret: str) -> None:
        self._ask(lambda: self._client.delete_secret(secret))

    def list(self) -> Sequence[Seen]:
        return self._ask(lambda: [seen(each) for each in self._client.list_secrets(size=LIST_SIZE)])

    def resolve(self, references: Sequence[tuple[str, str]]) -> Sequence[Seen]:
        wanted = ResolveReferences(references=[Reference(*each) for each in references])
        return self._ask(lambda: _resolved(self._client.transport.call(operations.RESOLVE, wanted).items))

    def _ask(self, call: Any) -> Any:
        try:
            return call()
        except (Unavailable, UnderWay, Unauthenticated, AlreadyExists, StaleVersion, InvalidInput) as error:
            raise Told(Outcome.UNKNOWN, error.code) from None
        except StrongroomError as error:
            raise Told(Outcome.REFUSED, error.code) from None


class OverTheWire:
    """HTTP without any repetition. An answer that says *unavailable* has changed nothing, unless it says otherwise."""

    repeats = False

    def __init__(self, caller: Caller, *, index_may_be_silent: bool = False) -> None:
        """With `index_may_be_silent` the database is one that may fail while it commits: then *unavailable* tells nothing."""
        self._caller, self._doubtful = caller, index_may_be_silent

    def create(self, name: str, labels: Mapping[str, str]) -> Seen:
        return self._seen(self._ask("POST", "/secrets", {"name": name, "values": _values(labels)}))

    def read(self, secret: str, version: int | None = None) -> Seen:
        return self._seen(self._ask("GET", f"/secrets/{secret}" + ("" if version is None else f"?version={version}")))

    def read_by_name(self, name: str) -> Seen:
        return self._seen(self._ask("GET", f"/secrets/by-name/{name}"))

    def update(self, secret: str, labels: Mapping[str, str | None], new_name: str | None, if_version: int | None) -> Seen:
        fields: dict[str, Any] = {"values": _values(labels)} if labels else {}
        fields |= {} if new_name is None else {"name": new_name}
        match = {} if if_version is None else {"If_Match": f'"{if_version}"'}
        return self._seen(self._ask("PATCH", f"/secrets/{secret}", fields, **match))

    def rollback(self, secret: str, version: int) -> Seen:
        return self._seen(self._ask("POST", f"/secrets/{secret}/rollback", {"version": version}))

    def delete(self, secret: str) -> None:
        self._ask("DELETE", f"/secrets/{secret}")

    def list(self) -> Sequence[Seen]:
        return [self._seen_in(each) for each in self._ask("GET", f"/secrets?size={LIST_SIZE}").data["items"]]

    def resolve(self, references: Sequence[tuple[str, str]]) -> Sequence[Seen]:
        wanted = [{"name": name, "key": key} for name, key in references]
        items = self._ask("POST", "/secrets/resolve", {"references": wanted}).data["items"]
        return [
            Seen(each["secret_id"], each["name"], each["version"], {each["key"]: label(each["value"])}, whole=False)
            for each in items
            if each["status"] == ReferenceStatus.OK.value
        ]

    def _seen(self, answer: Answer) -> Seen:
        return self._seen_in(answer.data)

    @staticmethod
    def _seen_in(data: Mapping[str, Any]) -> Seen:
        values = data.get("values")
        labels = None if values is None else {key: label(each) for key, each in values.items()}
        return Seen(data["id"], data["name"], data["version"], labels, frozenset(data["keys"]))

    def _ask(self, method: str, path: str, fields: Any = None, **headers: str) -> Answer:
        try:
            answer = self._caller.call(method, path, fields, **headers)
        except urllib3.exceptions.NewConnectionError:
            raise Told(Outcome.REFUSED, "nobody listens") from None
        except (urllib3.exceptions.HTTPError, OSError):
            raise Told(Outcome.UNKNOWN, "no answer") from None
        if 200 <= answer.status < 300:
            return answer
        error = answer.error
        doubtful = answer.status == 503 and (self._doubtful or "the change was made" in error["message"])
        raise Told(Outcome.UNKNOWN if doubtful or answer.status == 401 else Outcome.REFUSED, error["code"])
