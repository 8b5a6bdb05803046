"""Pages, filters and orders of the list of secrets agree with a naive model, on every database."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from datetime import datetime
from operator import itemgetter
from typing import Any

import pytest
from sqlalchemy import insert, select

from strongroom.db.identifiers import new_id
from strongroom.db.tables import secrets, versions
from strongroom.metadata import secret_count
from strongroom.models.secret import Scope, Secret
from strongroom.service.wiring import Service
from tests.people import Person, add_person

NAMES = ["a", "A", "ab", "aB", "a_b", "aXb", "a-b", "b", "ba", "Z", "_", "-", "0", "a" * 255]
SHARED = ["same", "ab"]  # names that both scopes have


def populate(service: Service, alice: Person) -> list[Secret]:
    """Secrets in both scopes, some of them changed, of two owners; and others' secrets that are never to be seen."""
    bob = add_person(service, "bob")
    stranger = add_person(service, "stranger", workspace="elsewhere")
    ids = []
    for number, name in enumerate(NAMES + SHARED[:1]):
        person = bob if number % 5 == 0 else alice
        labels = {"team": "ml" if number % 2 else "ops", "n": str(number % 3)} if number % 4 else {}
        ids.append(person.create(name, {"k": "v"}, labels=labels).id)
        if number % 3 == 0:
            ids.append(alice.create(f"own{number}", {"k": "v"}, Scope.USER, labels={"team": "ml", "blank": "x y"}).id)
            bob.create(f"own{number}", {"k": "v"}, Scope.USER, labels={"team": "ml"})
            stranger.create(name, {"k": "v"}, labels={"team": "ml"})
    ids += [alice.create(name, {"k": "v"}, Scope.USER, labels={"team": "ML"}).id for name in SHARED]
    for secret_id in ids[3:12:2]:
        alice.update(secret_id, {"k": "w"})
    alice.update(ids[1], scope=Scope.WORKSPACE)
    alice.update(ids[2], scope=Scope.USER) if alice.get(ids[2]).owner == "alice" else None
    return [alice.get_metadata(secret_id) for secret_id in ids]


def ordered(secrets: Iterable[Secret], sort_by: str, owner_id: str) -> list[Secret]:
    """The naive order: by the field, then by creation."""
    direction, field = sort_by.split(":")
    keys: dict[str, Callable[[Secret], Any]] = {
        "created": lambda secret: secret.id,
        "updated": lambda secret: (secret.updated, secret.id),
        "name": lambda secret: (secret.name, secret.id),
        "scope": lambda secret: (owner_id if secret.scope is Scope.USER else "", secret.id),
    }
    return sorted(secrets, key=keys[field], reverse=direction == "desc")


SORTS = [f"{direction}:{field}" for field in ("created", "updated", "name", "scope") for direction in ("asc", "desc")]


def test_every_page_in_every_order(service: Service, alice: Person) -> None:
    """Without filters, each page of each size in each order, of each scope, is what a sorted list would give."""
    every = populate(service, alice)
    for scope, sort_by in itertools.product((None, Scope.USER, Scope.WORKSPACE), SORTS):
        wanted = ordered((secret for secret in every if scope in (None, secret.scope)), sort_by, alice.actor.user_id)
        for size in (1, 4, len(wanted) - 1, len(wanted), 1000):
            pages = -(-len(wanted) // size)
            for number in range(1, pages + 2):
                page = alice.list(scope=scope, sort_by=sort_by, page=number, size=size)
                assert page.items == wanted[(number - 1) * size : number * size], (scope, sort_by, number, size)
                assert (page.total, page.total_pages, page.size, page.page) == (len(wanted), pages, size, number)
    assert alice.list(sort_by="name").items == alice.list(sort_by="asc:name").items


TEXTS = [
    *NAMES[:-1],
    *SHARED,
    "",
    "%",
    "_%",
    "a%",
    "a_",
    "own",
    "own0",
    "b ",
    " ",
    "ä",
    "\0",
    "\ud800",
    "\x7f",
    "~",
    "B",
    "alice",
    "'",
]


def naive_texts() -> list[tuple[str, Callable[[str], bool]]]:
    """Filters on a text, with what they mean."""
    filters: list[tuple[str, Callable[[str], bool]]] = []
    for text in TEXTS:
        filters += [
            (f"equals:{text}", lambda given, text=text: given == text),
            (f"notequals:{text}", lambda given, text=text: given != text),
            (f"startswith:{text}", lambda given, text=text: given.startswith(text)),
            (f"contains:{text}", lambda given, text=text: text in given),
            (f"endswith:{text}", lambda given, text=text: given.endswith(text)),
        ]
    filters += [
        ("a", lambda given: given == "a"),
        ("oneof:a, b,nothing", lambda given: given in ("a", "b")),
        ('oneof:["a_b", "b ", "ä"]', lambda given: given == "a_b"),
        ("oneof:[]", lambda given: False),
        ('oneof:["ä"]', lambda given: False),
    ]
    return filters


@pytest.mark.parametrize("field", ["name", "owner", "id"])
def test_every_text_filter(service: Service, alice: Person, field: str) -> None:
    """Each operator on each text finds what Python's own string methods would; `%`, `_`, case and blanks count as they are."""
    every = populate(service, alice)
    filters = naive_texts()
    if field == "id":
        one = every[3].id
        filters = [
            (one, lambda given: given == one),
            (f"notequals:{one}", lambda given: given != one),
            (f"startswith:{one[:8]}", lambda given: given.startswith(one[:8])),
            (f"startswith:{one[:-1]}", lambda given: given.startswith(one[:-1])),
            (f"contains:{one[14:23]}", lambda given: one[14:23] in given),
            (f"endswith:{one[-5:]}", lambda given: given.endswith(one[-5:])),
            (f"oneof:{one},{every[0].id}", lambda given: given in (one, every[0].id)),
            (f"{one} ", lambda given: False),
            (one.upper(), lambda given: False),
        ]
    for (text, holds), sort_by in zip(filters, itertools.cycle(SORTS), strict=False):
        wanted = ordered((secret for secret in every if holds(getattr(secret, field))), sort_by, alice.actor.user_id)
        found = alice.list(**{field: text}, sort_by=sort_by, size=1000)
        assert [secret.name for secret in found] == [secret.name for secret in wanted], (text, sort_by)
        assert found.total == len(wanted)


LABELS: list[dict[str, str]] = [
    {"team": "ml"},
    {"team": "ops"},
    {"team": "ML"},
    {"team": ""},
    {"Team": "ml"},
    {"team": "m%"},
    {"team": "ml", "n": "1"},
    {"team": "ml", "n": "9"},
    {"blank": "x y"},
    {"blank": "x y "},
    {"blank ": "x y"},
    {"absent": "x"},
    {"ä": "x"},
    {"team": "\0"},
    {"team": "\ud800"},
    {"": ""},
]


def test_label_filters(service: Service, alice: Person) -> None:
    """All given labels have to be there, exactly."""
    every = populate(service, alice)
    for labels in LABELS:
        wanted = [secret.id for secret in every if labels.items() <= secret.labels.items()]
        found = alice.list(label=[f"{key}={value}" for key, value in labels.items()], size=1000)
        assert [secret.id for secret in found] == sorted(wanted), ascii(labels)
        assert found.total == len(wanted)


def test_time_filters(service: Service, alice: Person) -> None:
    """Each comparison with moments on, just before and just after those of the secrets holds to the microsecond."""
    every = populate(service, alice)
    comparisons: dict[str, Callable[[datetime, datetime], bool]] = {
        "": datetime.__eq__,
        "equals:": datetime.__eq__,
        "notequals:": datetime.__ne__,
        "gt:": datetime.__gt__,
        "gte:": datetime.__ge__,
        "lt:": datetime.__lt__,
        "lte:": datetime.__le__,
    }
    for field, (operator, holds) in itertools.product(("created", "updated"), comparisons.items()):
        for other in (every[0], every[7], every[-1]):
            moment: datetime = getattr(other, field)
            wanted = {secret.id for secret in every if holds(getattr(secret, field), moment)}
            found = alice.list(**{field: [f"{operator}{moment.isoformat()}"]}, size=1000)
            assert {secret.id for secret in found} == wanted
    low, high = every[2].created, every[9].created
    found = alice.list(created=[f"gt:{low.isoformat()}", f"lte:{high.isoformat()}"], size=1000)
    assert {secret.id for secret in found} == {secret.id for secret in every if low < secret.created <= high}


def test_filters_page_too(service: Service, alice: Person) -> None:
    """Filtered lists have exact pages in every order, and several filters hold together."""
    every = populate(service, alice)
    for sort_by in SORTS:
        for query, holds in (
            ({"name": "contains:a"}, lambda secret: "a" in secret.name),
            ({"owner": "alice", "label": ["team=ml"]}, lambda secret: secret.owner == "alice" and secret.labels.get("team") == "ml"),
            (
                {"name": "startswith:own", "scope": Scope.USER},
                lambda secret: secret.name.startswith("own") and secret.scope == "user",
            ),
        ):
            wanted = ordered(filter(holds, every), sort_by, alice.actor.user_id)
            for size in (1, 3):
                found = [
                    alice.list(**query, sort_by=sort_by, page=number, size=size) for number in range(1, -(-len(wanted) // size) + 2)
                ]
                assert [secret.id for page in found for secret in page] == [secret.id for secret in wanted]
                assert {page.total for page in found} == {len(wanted)}


def test_an_empty_store_lists_nothing(alice: Person) -> None:
    """An empty list is an empty page, in every order and with every filter."""
    for sort_by in SORTS:
        assert alice.list(sort_by=sort_by).items == []
    page = alice.list(name="contains:a", label=["a=b"], created=["gt:2000-01-01T00:00:00Z"])
    assert (page.items, page.total, page.total_pages) == ([], 0, 0)


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_long_lists(service: Service, alice: Person) -> None:
    """In a list of thousands, far pages of every order are as exact as near ones, in one scope and in both."""
    count = 3 * secret_count.LONGEST
    private = [number % 7 == 0 for number in range(count)]
    made = alice.create("first", {"k": "v"})
    with service.deployment.database.write() as connection:
        row = dict(connection.execute(select(secrets).where(secrets.c.id == made.id)).mappings().one())
        version = dict(connection.execute(select(versions).where(versions.c.secret_id == made.id)).mappings().one())
        rows = []
        for number in range(count):
            namespace = alice.actor.user_id if private[number] else ""
            times = {"created": row["created"] + number, "updated": row["updated"] + number * 7919 % count}
            rows.append(row | times | {"id": new_id(), "name": f"s{number * 31 % count:05}", "private_to": namespace})
        connection.execute(insert(secrets), rows)
        connection.execute(insert(versions), [version | {"secret_id": each["id"]} for each in rows])
        for each in rows:
            secret_count.add(connection, each["workspace_id"], each["private_to"], each["id"])
    rows.insert(0, row)
    fields = {"created": ("id",), "updated": ("updated", "id"), "name": ("name", "id"), "scope": ("private_to", "id")}
    for scope, sort_by in itertools.product((None, Scope.USER, Scope.WORKSPACE), SORTS):
        direction, field = sort_by.split(":")
        visible = [each for each in rows if scope is None or (each["private_to"] != "") == (scope is Scope.USER)]
        ordered_rows = sorted(visible, key=itemgetter(*fields[field]), reverse=direction == "desc")
        size = 97
        last = -(-len(visible) // size)
        for number in {1, 2, last // 3, last // 2, last // 2 + 1, last - 1, last, last + 1}:
            page = alice.list(scope=scope, sort_by=sort_by, page=number, size=size)
            wanted = [each["id"] for each in ordered_rows[(number - 1) * size : number * size]]
            assert [secret.id for secret in page] == wanted, (scope, sort_by, number)
            assert page.total == len(visible)
