"""The promises of a secrets store as tests, for pytest. Whoever writes a store runs them on it:

    class TestMyStore(SecretsStoreConformance):
        @pytest.fixture
        def harness(self) -> Harness:
            return Harness(open=lambda deployment_id: MyStore(deployment_id, ...))

The harness opens stores at one location, which may be used by other tests at the same time. It may also tell how to provoke
failures; tests of what it cannot provoke are skipped, and say so. Values in these tests are made up; none is shown when one fails.
Needs pytest, which strongroom itself does not: import this module in tests only.
"""

from __future__ import annotations

import secrets
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import uuid4

import pytest

from strongroom.errors import StoreForbidden, StrongroomError, TooLarge, Unavailable, ValuesCorrupt, ValuesMissing
from strongroom.secrets_stores.base import MAX_LOCATOR_LENGTH, About, Found, SecretsStore, size_of

SECONDS = 20.0
"""What calls may take here that are expected to succeed."""

HURRY = 0.3
"""What calls may take on a back end that hangs."""

TOLERANCE = 2.0
"""How much longer a call may seem to take on a busy machine."""

_T = TypeVar("_T")
Meanwhile = Callable[[], AbstractContextManager[object]]

DIFFICULT = {
    "empty": "",
    "blank": " \t ",
    "nul": "a\0b\0",
    "quotes": "'\"`\\'\\\"{{name.key}}${HOME}%s",
    "newlines": "\r\n\n\r\v\f\u0085\u2028\u2029",
    "controls": "".join(map(chr, range(32))) + "\x7f\x80\x9f",
    "right-to-left": "\u05e9\u05dc\u05d5\u05dd \u202eabc\u202c \u0645\u0631\u062d\u0628\u0627",
    "combining": "e\u0301 \u00e9 \ufb01 \U0001f469\u200d\U0001f52c",
    "planes": "".join(chr(plane * 0x10000 + offset) for plane in range(17) for offset in (0x41, 0x1234, 0xFFFD)),
    "last": "\ufeff\uffff\U0010ffff",
    "json": '{"a": [null, 1.0, true]}',
    "number": "007",
    "dotted.key-with_all.sorts": "x",
    ".": "a lone dot",
    "..": "two dots",
    "data": "a word that back ends use themselves",
    "k" * 255: "a long key",
}
"""Keys and values that something on the way may mistake for something else."""


@dataclass(frozen=True, kw_only=True)
class Harness:
    """How the suite gets at stores, and at their failures."""

    open: Callable[[str], SecretsStore]
    """Opens a store at the location for a deployment's id. The suite closes it."""

    other_credential: Callable[[str], SecretsStore] | None = None
    """The same with another credential that has the same rights."""

    unavailable: Meanwhile | None = None
    """Meanwhile the back end cannot be reached."""

    reply_lost: Meanwhile | None = None
    """Meanwhile the back end does what it is asked, and its answers are lost."""

    hanging: Meanwhile | None = None
    """Meanwhile the back end takes requests and does not answer them."""

    forbidden: Meanwhile | None = None
    """Meanwhile the credential may not do anything."""

    damage: Callable[[str], None] | None = None
    """Replaces what lies at a locator by something that is no values."""


class SecretsStoreConformance:
    """Subclass it as `Test...`, with a fixture `harness`."""

    value_prefix = f"conformance-{secrets.token_hex(6)}"
    """What most values here begin with; it must not turn up in an error or a `repr`."""

    @pytest.fixture
    def harness(self) -> Harness:
        """To be given by the subclass."""
        raise NotImplementedError("give a fixture `harness`")

    @pytest.fixture
    def deployment_id(self) -> str:
        """One that nobody used before, so that tests can share a location."""
        return str(uuid4())

    @pytest.fixture
    def opened(self) -> Iterator[ExitStack]:
        """Closes stores in the end."""
        with ExitStack() as stack:
            yield stack

    @pytest.fixture
    def store(self, harness: Harness, deployment_id: str, opened: ExitStack) -> SecretsStore:
        """The store at work."""
        return _open(harness.open, deployment_id, opened)

    @pytest.fixture
    def about(self, deployment_id: str) -> About:
        """The description of a secret that nobody used before."""
        return About(deployment_id=deployment_id, secret_id=str(uuid4()), name="my_secret-1", scope="workspace", workspace="default")

    def values(self, text: str = "") -> dict[str, str]:
        """Values to put."""
        return {"username": f"{self.value_prefix}-user", "password": f"{self.value_prefix}-{text}"}

    def test_what_is_put_is_what_one_gets(self, store: SecretsStore, about: About) -> None:
        """Any Unicode text under any allowed key comes back as it was, character by character."""
        for values in (self.values(), DIFFICULT, {"only": ""}, {}):
            locator = store.new_locator(about.secret_id)
            store.put(locator, values, about, seconds=SECONDS)
            assert _same(store.get(locator, seconds=SECONDS), values)

    def test_the_limit_of_size_is_exact(self, store: SecretsStore, about: About) -> None:
        """Values of exactly the limit pass, in whatever characters; one byte more is refused, and nothing is written."""
        limit, in_json = store.capabilities.max_bytes, store.capabilities.counts_json
        for character, escaped in (("x", 1), ("é", 2), ("\U0001f512", 4), ("\0", 6)):
            count, rest = divmod(limit - len('{"key":""}' if in_json else "key"), escaped if in_json else len(character.encode()))
            values = {"key": character * count + "x" * rest}
            assert in_json or size_of(values) == limit
            locator = store.new_locator(about.secret_id)
            store.put(locator, values, about, seconds=SECONDS)
            assert _same(store.get(locator, seconds=SECONDS), values)
        locator = store.new_locator(about.secret_id)
        with pytest.raises(TooLarge):
            store.put(locator, {"key": "x" * (limit - 2)}, about, seconds=SECONDS)
        with pytest.raises(ValuesMissing):
            store.get(locator, seconds=SECONDS)

    def test_locators_are_fresh(self, store: SecretsStore, about: About, harness: Harness, opened: ExitStack) -> None:
        """No two calls give the same locator, not in two stores, nor in two threads; all fit into the index."""
        other = _open(harness.open, about.deployment_id, opened)
        with ThreadPoolExecutor(4) as pool:
            locators = list(pool.map(lambda each: each.new_locator(about.secret_id), [store, other] * 200))
        assert len(set(locators)) == len(locators)
        assert all(0 < len(each) <= MAX_LOCATOR_LENGTH and each.isascii() and each.isprintable() for each in locators)

    def test_a_store_is_its_location(
        self, store: SecretsStore, about: About, harness: Harness, opened: ExitStack, deployment_id: str
    ) -> None:
        """Its id is the same each time it is opened, and what one puts another one gets."""
        other = _open(harness.open, deployment_id, opened)
        assert store.store_id == other.store_id
        assert 0 < len(store.store_id) <= MAX_LOCATOR_LENGTH
        assert store.store_id.isascii()
        assert store.store_id.isprintable()
        locator = store.new_locator(about.secret_id)
        store.put(locator, self.values(), about, seconds=SECONDS)
        assert _same(other.get(locator, seconds=SECONDS), self.values())

    def test_a_store_is_not_its_credential(
        self, store: SecretsStore, about: About, harness: Harness, opened: ExitStack, deployment_id: str
    ) -> None:
        """Another credential leads to the same id and the same values."""
        other = _open(_hook(harness.other_credential, "another credential"), deployment_id, opened)
        assert other.store_id == store.store_id
        locator = store.new_locator(about.secret_id)
        store.put(locator, self.values(), about, seconds=SECONDS)
        assert _same(other.get(locator, seconds=SECONDS), self.values())

    def test_the_same_put_again(self, store: SecretsStore, about: About) -> None:
        """Repeating a put succeeds and leaves one locator."""
        locator = store.new_locator(about.secret_id)
        for _ in range(3):
            store.put(locator, self.values(), about, seconds=SECONDS)
        assert _same(store.get(locator, seconds=SECONDS), self.values())
        assert [each.locator for each in _all(store)] == [locator]

    def test_a_put_whose_reply_was_lost(self, store: SecretsStore, about: About, harness: Harness) -> None:
        """It is `Unavailable`, not a failure that promises that nothing happened; repeating it succeeds."""
        reply_lost = _hook(harness.reply_lost, "lost replies")
        locator = store.new_locator(about.secret_id)
        with pytest.raises(ValuesMissing):  # so that logins are done, and the put's own reply is the one that is lost
            store.get(locator, seconds=SECONDS)
        with reply_lost(), pytest.raises(Unavailable):
            store.put(locator, self.values(), about, seconds=SECONDS)
        store.put(locator, self.values(), about, seconds=SECONDS)
        assert _same(store.get(locator, seconds=SECONDS), self.values())

    def test_other_values_at_a_locator_are_refused(self, store: SecretsStore, about: About) -> None:
        """What is at a locator stays: different values are refused, be it one text, one key more or one less."""
        locator = store.new_locator(about.secret_id)
        store.put(locator, self.values(), about, seconds=SECONDS)
        for other in (self.values("other"), self.values() | {"more": ""}, {"username": self.values()["username"]}, {}):
            with pytest.raises(ValuesCorrupt):
                store.put(locator, other, about, seconds=SECONDS)
        assert _same(store.get(locator, seconds=SECONDS), self.values())

    def test_one_of_several_puts_at_a_locator_wins(self, store: SecretsStore, about: About) -> None:
        """Of different puts at the same time at one locator exactly one succeeds, and its values are the ones that are there."""
        locator = store.new_locator(about.secret_id)

        def put(number: int) -> int | None:
            try:
                store.put(locator, self.values(str(number)), about, seconds=SECONDS)
            except ValuesCorrupt:
                return None
            return number

        with ThreadPoolExecutor(4) as pool:
            won = [each for each in pool.map(put, range(4)) if each is not None]
        assert len(won) == 1
        assert _same(store.get(locator, seconds=SECONDS), self.values(str(won[0])))

    def test_puts_side_by_side(self, store: SecretsStore, about: About) -> None:
        """Puts of one secret from many threads do not disturb each other."""

        def put(number: int) -> bool:
            locator = store.new_locator(about.secret_id)
            store.put(locator, self.values(str(number)), about, seconds=SECONDS)
            return _same(store.get(locator, seconds=SECONDS), self.values(str(number)))

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(put, range(min(24, store.capabilities.max_versions or 24))))

    def test_what_was_never_put_is_missing(self, store: SecretsStore, about: About) -> None:
        """A fresh locator is empty, and so is one of a secret that has others."""
        with pytest.raises(ValuesMissing):
            store.get(store.new_locator(about.secret_id), seconds=SECONDS)
        store.put(store.new_locator(about.secret_id), self.values(), about, seconds=SECONDS)
        with pytest.raises(ValuesMissing):
            store.get(store.new_locator(about.secret_id), seconds=SECONDS)

    def test_what_was_deleted_is_gone(self, store: SecretsStore, about: About) -> None:
        """Deleting leaves nothing at the locator and everything elsewhere; deleting again is no error."""
        kept, locator = store.new_locator(about.secret_id), store.new_locator(about.secret_id)
        for each in (kept, locator):
            store.put(each, self.values(), about, seconds=SECONDS)
        for _ in range(2):
            store.delete(locator, seconds=SECONDS)
            with pytest.raises(ValuesMissing):
                store.get(locator, seconds=SECONDS)
        store.delete(store.new_locator(about.secret_id), seconds=SECONDS)
        assert _same(store.get(kept, seconds=SECONDS), self.values())
        assert [each.locator for each in _all(store)] == [kept]

    def test_no_version_is_dropped(self, store: SecretsStore, about: About) -> None:
        """Every version that was put stays readable, however many there are: 30, or as many as the store declares."""
        count = min(30, store.capabilities.max_versions or 30)
        locators = [store.new_locator(about.secret_id) for _ in range(count)]
        for number, locator in enumerate(locators):
            store.put(locator, self.values(str(number)), about, seconds=SECONDS)
        for number, locator in enumerate(locators):
            assert _same(store.get(locator, seconds=SECONDS), self.values(str(number)))

    def test_a_scan_finds_all(self, store: SecretsStore, deployment_id: str) -> None:
        """Each of 120 locators is found exactly once, in pages, with what the store says that it knows about it."""
        puts: list[tuple[str, About]] = []
        for number in range(40):
            secret_id = str(uuid4())
            about = About(deployment_id=deployment_id, secret_id=secret_id, name=f"name_{number}", scope="user", workspace="team-a")
            puts += [(store.new_locator(secret_id), about) for _ in range(3)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda item: store.put(item[0], self.values(), item[1], seconds=SECONDS), puts))
        pages = list(store.scan(seconds=SECONDS))
        assert all(0 < len(page) <= 1000 for page in pages)
        found = [each for page in pages for each in page]
        assert sorted(each.locator for each in found) == sorted(locator for locator, _ in puts)
        if store.capabilities.scan_describes:
            assert {each.locator: each.about for each in found} == dict(puts)
            assert all(each.written is not None and each.written.tzinfo is not None for each in found)
        for each in found[::3]:
            store.delete(each.locator, seconds=SECONDS)
        assert {each.locator for each in _all(store)} == {each.locator for each in found} - {each.locator for each in found[::3]}

    def test_a_scan_tells_versions(self, store: SecretsStore, about: About) -> None:
        """The number of a version comes back with the description, unless the store says that it cannot keep it; so does none."""
        if not store.capabilities.scan_describes:
            pytest.skip("the store does not describe what a scan finds")
        puts = {store.new_locator(about.secret_id): replace(about, version=number) for number in (1, 10, None, 2_000_000_000)}
        for locator, each in puts.items():
            store.put(locator, self.values(), each, seconds=SECONDS)
        numbers = store.capabilities.scan_numbers
        wanted = {locator: each if numbers else replace(each, version=None) for locator, each in puts.items()}
        assert {each.locator: each.about for each in _all(store)} == wanted

    def test_a_scan_finds_only_what_belongs_to_the_deployment(
        self, store: SecretsStore, about: About, harness: Harness, opened: ExitStack
    ) -> None:
        """Another deployment at the same location is not seen; nothing there is an empty scan."""
        assert _all(store) == []
        stranger = str(uuid4())
        other = _open(harness.open, stranger, opened)
        foreign = other.new_locator(about.secret_id)
        other.put(foreign, self.values(), About(**{**vars(about), "deployment_id": stranger}), seconds=SECONDS)
        assert _all(store) == []
        own = store.new_locator(about.secret_id)
        store.put(own, self.values(), about, seconds=SECONDS)
        assert [each.locator for each in _all(store)] == [own]
        assert [each.locator for each in _all(other)] == [foreign]

    def test_out_of_reach(self, store: SecretsStore, about: About, harness: Harness) -> None:
        """A back end that cannot be reached is `Unavailable` for every call, and works when it is back."""
        self._fails(store, about, _hook(harness.unavailable, "an outage"), Unavailable, SECONDS)

    def test_refused(self, store: SecretsStore, about: About, harness: Harness) -> None:
        """A credential without rights is `StoreForbidden` for every call: neither missing nor unavailable."""
        self._fails(store, about, _hook(harness.forbidden, "a refusal"), StoreForbidden, SECONDS)

    def test_no_answer(self, store: SecretsStore, about: About, harness: Harness) -> None:
        """Every call on a back end that hangs ends within its time, as `Unavailable`."""
        self._fails(store, about, _hook(harness.hanging, "a back end that hangs"), Unavailable, HURRY)

    def test_damaged(self, store: SecretsStore, about: About, harness: Harness) -> None:
        """What is no values is `ValuesCorrupt`; other locators are not affected, and it can be deleted."""
        damage = _hook(harness.damage, "damage")
        kept, locator = store.new_locator(about.secret_id), store.new_locator(about.secret_id)
        for each in (kept, locator):
            store.put(each, self.values(), about, seconds=SECONDS)
        damage(locator)
        with pytest.raises(ValuesCorrupt):
            store.get(locator, seconds=SECONDS)
        assert _same(store.get(kept, seconds=SECONDS), self.values())
        store.delete(locator, seconds=SECONDS)
        with pytest.raises(ValuesMissing):
            store.get(locator, seconds=SECONDS)

    def test_errors_and_reprs_show_no_value(self, store: SecretsStore, about: About) -> None:
        """Neither a refused put, nor what explains it, nor the store itself shows a value."""
        locator = store.new_locator(about.secret_id)
        store.put(locator, self.values(), about, seconds=SECONDS)
        with pytest.raises(ValuesCorrupt) as refused:
            store.put(locator, self.values("other"), about, seconds=SECONDS)
        with pytest.raises(TooLarge) as large:
            store.put(locator, self.values("x" * store.capabilities.max_bytes), about, seconds=SECONDS)
        for error in (refused.value, large.value):
            self._shows_nothing(error)
        shown = [repr(store), str(store), store.store_id, repr(vars(store)), repr(_all(store))]
        assert not any(self.value_prefix in each for each in shown), "a value is shown"

    def _fails(self, store: SecretsStore, about: About, trouble: Meanwhile, kind: type[StrongroomError], seconds: float) -> None:
        kept, locator = store.new_locator(about.secret_id), store.new_locator(about.secret_id)
        store.put(kept, self.values(), about, seconds=SECONDS)
        calls: list[Callable[[], object]] = [
            lambda: store.put(locator, self.values(), about, seconds=seconds),
            lambda: store.get(kept, seconds=seconds),
            lambda: store.delete(locator, seconds=seconds),
            lambda: list(store.scan(seconds=seconds)),
        ]
        with trouble():
            for call in calls:
                began = time.monotonic()
                with pytest.raises(kind) as raised:
                    call()
                assert time.monotonic() - began < seconds + TOLERANCE
                self._shows_nothing(raised.value)
        assert _same(store.get(kept, seconds=SECONDS), self.values())

    def _shows_nothing(self, error: BaseException | None) -> None:
        while error is not None:
            text = "".join(traceback.format_exception_only(error)) + repr(error) + repr(vars(error))
            assert self.value_prefix not in text, "an error shows a value"
            error = error.__context__


def _open(opener: Callable[[str], SecretsStore], deployment_id: str, opened: ExitStack) -> SecretsStore:
    store = opener(deployment_id)
    opened.callback(store.close)
    return store


def _all(store: SecretsStore) -> list[Found]:
    return [each for page in store.scan(seconds=SECONDS) for each in page]


def _same(found: dict[str, str], wanted: dict[str, str]) -> bool:
    """Compares without showing either: what an `assert` compares is printed when it fails."""
    return found == wanted


def _hook(hook: _T | None, what: str) -> _T:
    if hook is None:
        pytest.skip(f"the harness cannot provoke {what}")
    return hook
