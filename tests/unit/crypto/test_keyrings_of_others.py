"""Back ends of the library keyring, as systems and third parties have them: only one that keeps the key is used."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail, null
from keyring.backends.chainer import ChainerBackend
from keyring.errors import InitError, KeyringLocked, NoKeyringError, PasswordSetError

from strongroom.crypto.aead import new_key
from strongroom.crypto.key_source import SystemKeyring
from strongroom.crypto.keyring import format_keys
from strongroom.errors import EncryptionKeyError
from tests.fakes.keyring import MemoryKeyring

KEY, OTHER = new_key(), new_key()


class Chain(ChainerBackend):
    """keyring's own chain, around these back ends."""

    backends: Any = ()

    def __init__(self, *backends: KeyringBackend) -> None:
        self.backends = list(backends)


class Wrapper(MemoryKeyring):
    """Passes calls on to another back end."""

    def __init__(self, inner: KeyringBackend) -> None:
        super().__init__()
        self._inner = inner

    def get_password(self, service: str, username: str) -> str | None:
        return self._inner.get_password(service, username)

    def set_password(self, service: str, username: str, password: str) -> None:
        self._inner.set_password(service, username, password)


class Plaintext(MemoryKeyring):
    """As keyrings.alt has it."""

    __module__ = "keyrings.alt.file"


class Renamed(Plaintext):
    """Derived from it elsewhere."""


class ReadOnly(MemoryKeyring):
    """Gives passwords for one service only, as those for package registries do."""

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError


class Forgetful(MemoryKeyring):
    """Takes all and keeps nothing."""

    def set_password(self, service: str, username: str, password: str) -> None:
        pass


class Changing(MemoryKeyring):
    """Keeps something else."""

    def __init__(self, change: Callable[[str], Any]) -> None:
        super().__init__()
        self.change = change

    def get_password(self, service: str, username: str) -> Any:
        text = super().get_password(service, username)
        return None if text is None else self.change(text)


class Raising(MemoryKeyring):
    """Raises what it is told to, with all that it was given."""

    def __init__(self, error: type[BaseException], when: Sequence[str]) -> None:
        super().__init__()
        self.error, self.when = error, when

    def get_password(self, service: str, username: str) -> str | None:
        if "get" in self.when:
            raise self.error("get", service, username)
        return super().get_password(service, username)

    def set_password(self, service: str, username: str, password: str) -> None:
        if "set" in self.when:
            raise self.error("set", username, password) if self.error is not UnicodeDecodeError else unicode_error(password)
        super().set_password(service, username, password)

    def delete_password(self, service: str, username: str) -> None:
        if "delete" in self.when:
            raise self.error("delete", service, username)
        super().delete_password(service, username)


def unicode_error(text: str) -> UnicodeDecodeError:
    """One that holds the text."""
    return UnicodeDecodeError("utf-8", text.encode(), 0, 1, text)


@pytest.fixture
def use() -> Iterator[Callable[[KeyringBackend], SystemKeyring]]:
    """Makes a back end the one of this process, and gives the source that uses it."""
    former = keyring.get_keyring()

    def choose(backend: KeyringBackend) -> SystemKeyring:
        keyring.set_keyring(backend)
        return SystemKeyring("/a")

    yield choose
    keyring.set_keyring(former)


Use = Callable[[KeyringBackend], SystemKeyring]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Chain(Plaintext()),
        lambda: Chain(MemoryKeyring(), Plaintext()),
        lambda: Chain(Plaintext(), MemoryKeyring()),
        lambda: Chain(ReadOnly(), Chain(Renamed())),
        lambda: Wrapper(Plaintext()),
        lambda: Wrapper(Chain(MemoryKeyring(), Renamed())),
        lambda: Renamed(),
        lambda: Chain(null.Keyring(), MemoryKeyring()),
        lambda: Chain(fail.Keyring()),
        lambda: Chain(),
        lambda: Wrapper(null.Keyring()),
    ],
)
def test_unsafe_back_ends_are_found_inside_of_others(make: Callable[[], KeyringBackend], use: Use) -> None:
    """A chain or a wrapper around a back end that keeps nothing, or all in plain text, is refused before it is given a key."""
    backend = make()
    source = use(backend)
    with pytest.raises(EncryptionKeyError, match="no safe keyring"):
        source.add_first(KEY)
    with pytest.raises(EncryptionKeyError, match="no safe keyring"):
        source.load()
    assert not any(getattr(each, "entries", {}) for each in [backend, *getattr(backend, "backends", [])])


@pytest.mark.parametrize(
    "make",
    [
        lambda: MemoryKeyring(),
        lambda: Wrapper(MemoryKeyring()),
        lambda: Chain(MemoryKeyring()),
        lambda: Chain(ReadOnly(), MemoryKeyring()),
        lambda: Chain(Wrapper(Chain(ReadOnly(), MemoryKeyring()))),
    ],
)
def test_back_ends_that_keep_the_key_pass(make: Callable[[], KeyringBackend], use: Use) -> None:
    """Whatever package they are from, and however deep they lie: what was written is read back."""
    source = use(make())
    assert source.load() == []
    assert source.add_first(KEY) == [KEY] == source.load()
    source.replace([OTHER, KEY])
    assert source.load() == [OTHER, KEY]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Forgetful(),
        lambda: Chain(ReadOnly()),
        lambda: Chain(ReadOnly(), ReadOnly()),
        lambda: Changing(lambda text: text[:20]),
        lambda: Changing(lambda text: text.replace("\n", "")),
        lambda: Changing(lambda text: ""),
        lambda: Changing(str.upper),
        lambda: Changing(str.encode),
    ],
)
def test_what_does_not_give_the_key_back_is_refused(make: Callable[[], KeyringBackend], use: Use) -> None:
    """No secret is written with a key that is lost, cut off or changed."""
    source = use(make())
    with pytest.raises(EncryptionKeyError, match=r"does not give back|gives no text"):
        source.add_first(KEY)


def test_a_failed_replacement_leaves_the_former_key(use: Use) -> None:
    """A back end that takes short texts only still has the key that it had."""
    backend = MemoryKeyring()
    use(backend).add_first(KEY)
    short = Changing(lambda text: text[: len(format_keys([KEY]))])
    short.entries = backend.entries
    with pytest.raises(EncryptionKeyError, match="does not give back"):
        use(short).replace([OTHER, KEY])
    assert use(backend).load() == [KEY]


@pytest.mark.parametrize(
    "error",
    [
        *(InitError, KeyringLocked, NoKeyringError, PasswordSetError, NotImplementedError, RuntimeError, OSError, ValueError),
        *(
            KeyError,
            ImportError,
            AttributeError,
            TypeError,
            UnicodeDecodeError,
            AssertionError,
            EOFError,
            TimeoutError,
            RecursionError,
        ),
    ],
)
def test_whatever_they_raise_is_an_error_of_ours(error: type[Exception], use: Use) -> None:
    """By the name of what was raised and without its text, which may hold the key."""
    if error is not UnicodeDecodeError:
        with pytest.raises(EncryptionKeyError, match=f"refused: {error.__name__}"):
            use(Raising(error, ["get"])).load()
        source = use(Raising(error, ["delete"]))
        source.add_first(KEY)
        with pytest.raises(EncryptionKeyError, match=f"refused: {error.__name__}"):
            source.clear()
    with pytest.raises(EncryptionKeyError, match=f"refused: {error.__name__}") as caught:
        use(Raising(error, ["set"])).add_first(KEY)
    shown = "".join(traceback.format_exception(caught.value))
    assert format_keys([KEY]).strip() not in shown


def test_ctrl_c_stays_ctrl_c(use: Use) -> None:
    """A prompt of the keyring that the user cancels with Ctrl-C ends the command as any other does."""
    with pytest.raises(KeyboardInterrupt):
        use(Raising(KeyboardInterrupt, ["get"])).load()


def test_a_library_that_cannot_choose_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one whose configuration names a back end that is not installed."""

    def choose() -> KeyringBackend:
        raise ModuleNotFoundError("No module named 'keyrings.gone'")

    monkeypatch.setattr(keyring, "get_keyring", choose)
    with pytest.raises(EncryptionKeyError, match="refused: ModuleNotFoundError"):
        SystemKeyring("/a").load()
