"""Putting other values in the place of all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from strongroom.errors import InvalidInput, NotFound, StaleVersion
from strongroom.models.secret import ReplaceSecret, Secret
from strongroom.operations.secret import REPLACE
from strongroom.redaction import SecretText
from tests.canary import CANARY
from tests.people import Person

ONE, TWO = f"{CANARY}-one", f"{CANARY}-two"


def replace(person: Person, secret_id: str, values: dict[str, str], if_version: int | None = None) -> Secret:
    texts = {key: SecretText(value) for key, value in values.items()}
    return person.service.dispatcher.call(REPLACE, ReplaceSecret(id=secret_id, values=texts, if_version=if_version), person.actor)


def test_the_new_values_are_all_there_is(alice: Person) -> None:
    """Former keys are gone, metadata stays, the former version is kept; the same values once more make no version."""
    made = alice.create("s", {"a": ONE, "b": ONE}, description="d", labels={"l": "x"})
    done = replace(alice, made.id, {"b": TWO, "c": ONE}, if_version=1)
    assert (done.version, done.description, done.labels) == (2, "d", {"l": "x"})
    assert alice.get(made.id).secret_values == {"b": TWO, "c": ONE}
    assert alice.get(made.id, 1).secret_values == {"a": ONE, "b": ONE}
    assert replace(alice, made.id, {"c": ONE, "b": TWO}).version == 2


def test_what_is_refused_changes_nothing(alice: Person) -> None:
    """No values at all, a bad key, a stale version, no such secret."""
    made = alice.create("s", {"a": ONE})
    for values in ({}, {"bad key": ONE}):
        with pytest.raises(InvalidInput):
            replace(alice, made.id, values)
    with pytest.raises(StaleVersion):
        replace(alice, made.id, {"a": TWO}, if_version=2)
    with pytest.raises(NotFound):
        replace(alice, "00000000-0000-7000-8000-000000000000", {"a": TWO})
    assert alice.get(made.id).secret_values == {"a": ONE}


def test_the_last_of_many_wins_as_a_whole(alice: Person) -> None:
    """Of eight replacements at once each is a version of its own; values never mix."""
    made = alice.create("s", {"a": ONE})

    def work(number: int) -> int:
        return replace(alice, made.id, {f"k{number}": ONE, "n": str(number)}).version

    with ThreadPoolExecutor(8) as pool:
        versions = sorted(pool.map(work, range(8)))
    assert versions == list(range(2, 10))
    for version in versions:
        values = alice.get(made.id, version).secret_values
        assert values == {f"k{values['n']}": ONE, "n": values["n"]}
