"""The reference of a secrets store keeps the promises, and fails as it is told."""

from __future__ import annotations

from functools import partial

import pytest

from strongroom.errors import Unavailable, ValuesMissing
from strongroom.secrets_stores.base import About
from strongroom.secrets_stores.conformance import Harness, SecretsStoreConformance
from strongroom.secrets_stores.memory import MemorySecretsStore, Shelf, Trouble
from tests.canary import CANARY

ABOUT = About(deployment_id="d", secret_id="s", name="n", scope="workspace", workspace="default")


class TestMemory(SecretsStoreConformance):
    """All of the suite: the reference can provoke everything."""

    value_prefix = CANARY

    @pytest.fixture
    def harness(self) -> Harness:
        """Stores on one shelf."""
        shelf = Shelf()
        return Harness(
            open=lambda deployment_id: MemorySecretsStore(deployment_id, shelf),
            other_credential=lambda deployment_id: MemorySecretsStore(deployment_id, shelf),
            unavailable=partial(shelf.trouble, Trouble.UNAVAILABLE),
            reply_lost=partial(shelf.trouble, Trouble.REPLY_LOST),
            hanging=partial(shelf.trouble, Trouble.HANGS),
            forbidden=partial(shelf.trouble, Trouble.FORBIDDEN),
            damage=shelf.damage,
        )


def test_no_answer_has_two_meanings() -> None:
    """After `UNAVAILABLE` nothing was done, after `REPLY_LOST` it was: what uses stores is tested against both."""
    shelf = Shelf()
    store = MemorySecretsStore("d", shelf)
    locator = store.new_locator("s")
    with shelf.trouble(Trouble.UNAVAILABLE), pytest.raises(Unavailable):
        store.put(locator, {"k": CANARY}, ABOUT, seconds=1)
    with pytest.raises(ValuesMissing):
        store.get(locator, seconds=1)
    with shelf.trouble(Trouble.REPLY_LOST), pytest.raises(Unavailable):
        store.put(locator, {"k": CANARY}, ABOUT, seconds=1)
    assert store.get(locator, seconds=1) == {"k": CANARY}


def test_a_name_replaces_the_location() -> None:
    """An operator's name keeps a store's identity."""
    assert MemorySecretsStore("d", name="old-vault").store_id == "old-vault"
