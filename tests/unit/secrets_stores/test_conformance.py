"""The suite finds stores that break their promises: each of these does so in one way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack

import pytest

from strongroom.errors import StrongroomError, ValuesCorrupt
from strongroom.secrets_stores.base import About, Found
from strongroom.secrets_stores.conformance import Harness, SecretsStoreConformance
from strongroom.secrets_stores.memory import MemorySecretsStore
from tests.canary import CANARY


class Forgetful(MemorySecretsStore):
    """Keeps ten versions of a secret, as Vault does with one path per secret."""

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        super().put(locator, values, about, seconds=seconds)
        for page in list(self.scan(seconds=seconds)):
            for found in page[:-10]:
                self.delete(found.locator, seconds=seconds)


class Overwriting(MemorySecretsStore):
    """The last put wins."""

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        self.delete(locator, seconds=seconds)
        super().put(locator, values, about, seconds=seconds)


class Once(MemorySecretsStore):
    """Refuses also what it has itself."""

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        if any(found.locator == locator for page in self.scan(seconds=seconds) for found in page):
            raise ValuesCorrupt("taken")
        super().put(locator, values, about, seconds=seconds)


class Numbering(MemorySecretsStore):
    """Makes locators from what is there."""

    def new_locator(self, secret_id: str) -> str:
        return f"{super().new_locator(secret_id)[:-36]}{sum(map(len, self.scan(seconds=1))) + 1}"


class Trimming(MemorySecretsStore):
    """Takes values for lines."""

    def get(self, locator: str, *, seconds: float) -> dict[str, str]:
        return {key: text.strip() for key, text in super().get(locator, seconds=seconds).items()}


class FirstPage(MemorySecretsStore):
    """Never asks for the next page."""

    def scan(self, *, seconds: float) -> Iterator[Sequence[Found]]:
        yield from list(super().scan(seconds=seconds))[:1]


class Undescribed(MemorySecretsStore):
    """Declares that it describes, and does not."""

    def scan(self, *, seconds: float) -> Iterator[Sequence[Found]]:
        for page in super().scan(seconds=seconds):
            yield [Found(locator=found.locator) for found in page]


class Undeleting(MemorySecretsStore):
    """Minds when there is nothing to delete."""

    def delete(self, locator: str, *, seconds: float) -> None:
        self.get(locator, seconds=seconds)
        super().delete(locator, seconds=seconds)


class Talkative(MemorySecretsStore):
    """Says what it refuses."""

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        try:
            super().put(locator, values, about, seconds=seconds)
        except ValuesCorrupt:
            raise ValuesCorrupt(f"not {values}") from None


class Narrow(MemorySecretsStore):
    """Takes less than it declares."""

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        super().put(locator, {key: text[:60_000] for key, text in values.items()}, about, seconds=seconds)


suite = SecretsStoreConformance
FAULTS: list[tuple[type[MemorySecretsStore], Callable[..., None]]] = [
    (Forgetful, suite.test_no_version_is_dropped),
    (Overwriting, suite.test_other_values_at_a_locator_are_refused),
    (Once, suite.test_the_same_put_again),
    (Trimming, suite.test_what_is_put_is_what_one_gets),
    (FirstPage, suite.test_a_scan_finds_all),
    (Undescribed, suite.test_a_scan_finds_all),
    (Undeleting, suite.test_what_was_deleted_is_gone),
    (Talkative, suite.test_errors_and_reprs_show_no_value),
    (Narrow, suite.test_the_limit_of_size_is_exact),
]


@pytest.mark.parametrize(("store", "test"), FAULTS, ids=lambda each: each.__name__)
def test_a_broken_promise_is_found(store: type[MemorySecretsStore], test: Callable[..., None]) -> None:
    """The test that is about the promise fails, and shows no value."""
    about = About(deployment_id="d", secret_id="s", name="n", scope="user", workspace="w")
    arguments = {"store": store("d"), "about": about, "deployment_id": "d"}
    names = test.__code__.co_varnames[1 : test.__code__.co_argcount]
    broken = SecretsStoreConformance()
    broken.value_prefix = CANARY
    with pytest.raises((AssertionError, pytest.fail.Exception, StrongroomError)) as found:
        test(broken, **{name: arguments[name] for name in names})
    assert CANARY not in str(found.value)


def test_locators_that_are_not_fresh_are_found() -> None:
    """Locators that are made from a number repeat themselves."""
    about = About(deployment_id="d", secret_id="s", name="n", scope="user", workspace="w")
    with ExitStack() as opened, pytest.raises(AssertionError):
        SecretsStoreConformance().test_locators_are_fresh(Numbering("d"), about, Harness(open=Numbering), opened)
