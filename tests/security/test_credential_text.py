"""Credentials with line ends, blanks and byte order marks around or inside of them: stripped, or refused in words."""

from __future__ import annotations

import base64
import importlib
import json
import traceback
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from strongroom.client.transports.remote import RemoteTransport
from strongroom.config import PREFIX, read_settings
from strongroom.connectors.options import build, read_credential
from strongroom.credential_text import strip_credential
from strongroom.crypto.key_source import GivenKeys, KeyFile
from strongroom.errors import ConfigurationError, EncryptionKeyError, InvalidInput, StoreForbidden, StrongroomError
from strongroom.models.flavor import ComponentType
from strongroom.models.user import WhoAmI, check_password
from strongroom.operations import user as of_user
from strongroom.redaction import SecretText
from strongroom.stacks.component import Config
from tests.canary import CANARY, holds_canary

AROUND = (
    *("{}\n", "{}\r\n", "\n{}", " {} ", "\t{}", "\ufeff{}", "\ufeff{}\r\n", "\ufeff {}\n\n"),
    *("\xa0{}\u3000", "{}\x0b\x0c", "\u200b{}\x85"),
)
INSIDE = ("a\n{}", "a\r\n{}", "a\x00{}", "a\x1b[2J{}", "a\u2028{}", "a\udce9{}")
IN_HEADERS = (*INSIDE, "a {}", "a\ufeff{}", "ä{}", "€{}")


def text_of(error: BaseException) -> str:
    """All that a traceback shows of it."""
    return "".join(traceback.format_exception(error))


def methods() -> Iterator[tuple[str, type[Any], str]]:
    """Each credential that a login of a secrets store or of a service connector takes."""
    for kind in ("aws", "azure", "gcp", "vault"):
        connector = importlib.import_module(f"strongroom.connectors.{kind}")
        for method in connector.METHODS.values():
            hints = get_type_hints(method)
            for field in fields(method):
                if hints[field.name] in (SecretText, SecretText | None):
                    yield kind, method, field.name


CREDENTIALS = sorted(methods(), key=str)
TEXTS = {"role_arn": "arn:aws:iam::123456789012:role/x", "target_principal": "a@b.example", "aws_access_key_id": "AKIA"}


def build_with(method: type[Any], name: str, value: str) -> Any:
    """The method with this credential, and with something in all other options that it needs."""
    hints = get_type_hints(method)
    given = {name: value}
    for field in fields(method):
        if field.name != name and (field.default is MISSING or field.name in ("aws_access_key_id", "aws_secret_access_key")):
            given[field.name] = TEXTS.get(field.name, "x") if hints[field.name] is not bool else "true"
    if name == "client_certificate_password":
        given["client_certificate_path"] = "/x"
    variables = {f"{PREFIX}SECRETS_STORE_{key.upper()}": text for key, text in given.items() if key != "name"}
    settings = read_settings({f"{PREFIX}SECRETS_STORE_TYPE": "aws", **variables})
    return build("a store", [method], dict(settings.secrets_store.options))[0]


def ids(item: object) -> str:
    """Names for parameters that hold no value."""
    return item if isinstance(item, str) else getattr(item, "__name__", str(item))


@pytest.mark.parametrize(("kind", "method", "name"), CREDENTIALS, ids=ids)
def test_credentials_of_stores_are_stripped(kind: str, method: type[Any], name: str) -> None:
    """What stands around a credential in a variable or in a file is not part of it."""
    for around in AROUND:
        built = build_with(method, name, around.format(CANARY))
        assert getattr(built, name).reveal() == CANARY, repr(around)


@pytest.mark.parametrize(("kind", "name"), [("vault", "vault_token"), ("aws", "aws_session_token"), ("azure", "token")])
def test_what_goes_into_headers_is_refused_in_words(kind: str, name: str) -> None:
    """A token that no header can hold is refused before a library shows it."""
    for _, method, option in CREDENTIALS:
        if option != name or not method.__module__.endswith(f"{kind}_methods"):
            continue
        for inside in IN_HEADERS:

            def use(method: type[Any] = method, inside: str = inside) -> None:
                built = build_with(method, name, inside.format(CANARY))
                assert kind != "aws" or built.base()

            with pytest.raises(ConfigurationError, match=f"'?{name}'?") as caught:
                use()
            assert not holds_canary(text_of(caught.value)), repr(inside)


@pytest.mark.parametrize("name", ["ADMIN_PASSWORD", "API_KEY", "DATABASE_URL", "ENCRYPTION_KEY", "RUN_TOKEN", "SERVER_URL"])
def test_credentials_in_settings(name: str, tmp_path: Path, allow_values_in: Callable[[Path], Path]) -> None:
    """In variables and in the configuration file; blank is not unset, and what cannot be sent is refused in words."""
    both = {f"{PREFIX}ADMIN_USERNAME": " root\n", f"{PREFIX}ADMIN_PASSWORD": "x"}
    file = allow_values_in(tmp_path / "config.yaml")

    def read(text: str) -> list[Any]:
        file.write_text(json.dumps({name.lower(): text}))
        in_file = {f"{PREFIX}CONFIG_FILE": str(file)} | {key: each for key, each in both.items() if not key.endswith(name)}
        every = [read_settings({**both, f"{PREFIX}{name}": text}), read_settings(in_file)]
        assert {each.admin_username for each in every} == {"root"}
        return [getattr(each, name.lower()) for each in every]

    for around in AROUND:
        assert read(around.format(CANARY)) == [CANARY, CANARY]
    for blank in (" ", "\n", "\ufeff", "\ufeff\r\n"):
        with pytest.raises(ConfigurationError, match=f"{PREFIX}{name} is blank"):
            read(blank)
    for inside in IN_HEADERS if name in ("API_KEY", "RUN_TOKEN") else ():
        with pytest.raises(ConfigurationError, match=f"{PREFIX}{name} ") as caught:
            read_settings({f"{PREFIX}{name}": inside.format(CANARY)})
        assert not holds_canary(text_of(caught.value))


def test_a_token_that_cannot_be_sent_is_not_shown() -> None:
    """The client refuses it, wherever it comes from, before the HTTP library quotes it."""
    for inside in (*IN_HEADERS, *(around for around in AROUND)):
        transport = RemoteTransport("http://127.0.0.1:9", lambda inside=inside: SecretText(inside.format(CANARY)), wait_seconds=0)  # type: ignore[misc]
        with pytest.raises(ConfigurationError, match=r"the token for http://127.0.0.1:9 has a blank") as caught:
            transport.call(of_user.WHO_AM_I, WhoAmI())
        assert not holds_canary(text_of(caught.value))


@pytest.mark.parametrize("source", ["variable", "file", "own file"])
def test_encryption_keys(source: str, tmp_path: Path, allow_values_in: Callable[[Path], Path]) -> None:
    """Keys are found among blanks and marks; what is none is refused without being shown."""
    key, other = base64.b64encode(b"k" * 32).decode(), base64.b64encode(CANARY.encode()[:31].ljust(31)).decode()
    file = allow_values_in(tmp_path / "encryption.key")
    file.touch(0o600)

    def load(data: bytes) -> list[bytes]:
        if source == "variable":
            return GivenKeys(read_settings({f"{PREFIX}ENCRYPTION_KEY": data.decode()})).load()
        file.write_bytes(data)
        if source == "own file":
            return KeyFile(file).load()
        return GivenKeys(read_settings({f"{PREFIX}ENCRYPTION_KEY_FILE": str(file)})).load()

    for around in AROUND[:-1]:
        assert load(around.format(key).encode()) == [b"k" * 32]
    assert load(f"\ufeff{key}\r\n\ufeff{key},\n{key}\r\n".encode()) == [b"k" * 32]
    for inside in ("{}", *INSIDE[:-1]):
        with pytest.raises(EncryptionKeyError) as caught:
            load(inside.format(other).encode())
        assert other not in text_of(caught.value)
    if source != "variable":
        for encoding in ("utf-16", "utf-16-le", "latin-1"):
            with pytest.raises(EncryptionKeyError) as caught:
                load(f"{other}é".encode(encoding))
            assert other not in text_of(caught.value)


def test_tokens_in_files(tmp_path: Path, allow_values_in: Callable[[Path], Path]) -> None:
    """Tokens that Kubernetes, a CI system or an editor writes are read without what stands around them."""
    file = allow_values_in(tmp_path / "token")
    for around in AROUND:
        file.write_bytes(around.format(CANARY).encode())
        assert read_credential(str(file), "token") == CANARY
    file.write_bytes(f"{CANARY}€".encode("utf-16"))
    with pytest.raises(StoreForbidden, match=r"the token for the login cannot be read from .*: UnicodeDecodeError") as caught:
        read_credential(str(file), "token")
    assert not holds_canary(text_of(caught.value))


def test_passwords_begin_and_end_with_what_all_ways_keep() -> None:
    """A password that a pipe or a setting would change is refused when it is chosen."""
    for around in AROUND:
        with pytest.raises(InvalidInput, match="begin or end with a blank") as caught:
            check_password(SecretText(around.format(CANARY)))
        assert not holds_canary(text_of(caught.value))
    assert check_password(SecretText(f"a {CANARY} b")) == f"a {CANARY} b"


def builtin() -> Iterator[tuple[Any, str]]:
    """Each sensitive attribute of a built-in flavor."""
    from strongroom.flavors import BUILTIN_FLAVORS

    for flavor in BUILTIN_FLAVORS:
        if flavor.type is not ComponentType.SECRETS_MANAGER:
            yield from ((flavor, each.name) for each in flavor.attributes if each.sensitive and each.kind.value == "text")


class Values:
    """In place of a resolver: what a secret holds."""

    def __init__(self, value: str) -> None:
        self.value = value

    def resolve(self, _: object) -> str:
        return self.value


@pytest.mark.parametrize(("flavor", "name"), sorted(builtin(), key=str), ids=ids)
def test_credentials_of_components(flavor: Any, name: str) -> None:
    """What MLflow's, Slack's and other libraries are given is stripped, or refused: they show what they cannot send."""
    for around in AROUND:
        assert Config(flavor, {name: "{{a.b}}"}, Values(around.format(CANARY)))[name] == CANARY  # type: ignore[arg-type]
    for inside in INSIDE:
        with pytest.raises(ConfigurationError, match=f"the attribute '{name}' of the {flavor.name}") as caught:
            print(len(Config(flavor, {name: "{{a.b}}"}, Values(inside.format(CANARY)))[name]))  # type: ignore[arg-type]
        assert isinstance(caught.value, StrongroomError)
        assert not holds_canary(text_of(caught.value))
    for document in ('{"a":\n1}', "-----BEGIN KEY-----\nabc\n-----END KEY-----"):
        assert Config(flavor, {name: "{{a.b}}"}, Values(f"{document}\n"))[name] == document  # type: ignore[arg-type]


def test_stripping_takes_nothing_from_inside() -> None:
    """Documents keep their line ends, and a text of nothing but blanks is empty."""
    assert strip_credential('\ufeff{"a":\r\n "b"}\r\n') == '{"a":\r\n "b"}'
    assert strip_credential("\n \ufeff") == ""
