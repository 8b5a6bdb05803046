"""Settings that are flags, all of them: those of strongroom and the options of secrets stores."""

from __future__ import annotations

import importlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest

from strongroom.config import FLAG, PREFIX, VARIABLES, debug, read_settings
from strongroom.connectors.options import fit
from strongroom.errors import ConfigurationError
from strongroom.secrets_stores.custom import SecretsStoreConfiguration
from tests.canary import CANARY, holds_canary

SETTINGS = sorted(name for name, variable in VARIABLES.items() if variable.kind == FLAG)
YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
OTHERS = ("2", "01", "-1", "t", "y", "n", "ja", "enabled", "true;", "t rue", "null", "None", "１", " ", "\n", "a\tb", CANARY)


class Custom(SecretsStoreConfiguration):
    """Flags of a store that others wrote."""

    quiet: bool = False
    perhaps: bool | None = None


def options() -> Iterator[tuple[type, str]]:
    """Each option of a store, an endpoint or a method that is a flag, with its class."""
    for kind in ("aws", "azure", "gcp", "vault"):
        connector = importlib.import_module(f"strongroom.connectors.{kind}")
        store = importlib.import_module(f"strongroom.secrets_stores.{kind}")
        for each in (connector.Endpoint, store.Options, *connector.METHODS.values()):
            hints = get_type_hints(each)
            yield from ((each, field.name) for field in fields(each) if hints[field.name] in (bool, bool | None))
    yield from ((Custom, "quiet"), (Custom, "perhaps"))


OPTIONS = sorted(options(), key=str)


def spellings(words: tuple[str, ...]) -> list[str]:
    """The words in cases of all kinds, with blanks around them."""
    chance = random.Random(7)
    mixed = ["".join(chance.choice((letter.upper(), letter)) for letter in word) for word in words]
    return [*words, *(word.upper() for word in words), *(word.title() for word in words), *mixed, *(f" {word}\n" for word in mixed)]


ALL = [(text, True) for text in spellings(YES)] + [(text, False) for text in spellings(NO)]


def value_of(name: str, monkeypatch: pytest.MonkeyPatch, **environment: str) -> bool:
    """What the setting is in this environment."""
    settings = read_settings(environment)
    if name != "DEBUG":
        value: bool = getattr(settings, name.lower())
        return value
    with monkeypatch.context() as patch:
        for variable in (f"{PREFIX}DEBUG", f"{PREFIX}CONFIG_FILE"):
            patch.delenv(variable, raising=False)
        for variable, text in environment.items():
            patch.setenv(variable, text)
        return debug()


def test_the_flags_are_found() -> None:
    """The tests of this file run on every flag that there is: none is documented as something else."""
    assert {"DEBUG", "INSECURE"} <= set(SETTINGS)
    hints = get_type_hints(type(read_settings({})))
    assert {name.lower() for name in SETTINGS} - {"debug"} == {name for name, hint in hints.items() if hint is bool}
    assert {"insecure", "purge", "quiet"} <= {name for _, name in OPTIONS}


@pytest.mark.parametrize("name", SETTINGS)
def test_flags_mean_what_they_say(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """1, true, yes, on and 0, false, no, off in any case, with blanks around them, in variables and in the file alike."""
    file = tmp_path / "config.yaml"
    for text, expected in ALL:
        assert value_of(name, monkeypatch, **{f"{PREFIX}{name}": text}) is expected, text
        for written in (text.strip(), json.dumps(text)):  # plain and quoted
            file.write_text(f"{name.lower()}: {written}\n")
            assert value_of(name, monkeypatch, STRONGROOM_CONFIG_FILE=str(file)) is expected, written
    assert value_of(name, monkeypatch) is False
    assert value_of(name, monkeypatch, **{f"{PREFIX}{name}": ""}) is False


@pytest.mark.parametrize("name", SETTINGS)
def test_anything_else_refuses_the_start(name: str, tmp_path: Path, allow_values_in: Callable[[Path], Path]) -> None:
    """Any other text is an error that names the setting, and does not repeat the text."""
    file = allow_values_in(tmp_path / "config.yaml")
    for text in OTHERS:
        file.write_text(f"{name.lower()}: {json.dumps(text)}\n")
        for environment in ({f"{PREFIX}{name}": text}, {f"{PREFIX}CONFIG_FILE": str(file)}):
            with pytest.raises(ConfigurationError, match=f"{PREFIX}{name} is a flag") as caught:
                read_settings(environment)
            assert not holds_canary(f"{caught.value}{caught.value.hint}")


def test_a_variable_comes_before_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where one says no and the other says yes, and for what asks for tracebacks."""
    file = tmp_path / "config.yaml"
    for name in SETTINGS:
        file.write_text(f"{name.lower()}: on\n")
        assert value_of(name, monkeypatch, STRONGROOM_CONFIG_FILE=str(file), **{f"{PREFIX}{name}": "off"}) is False


@pytest.mark.parametrize(("owner", "name"), OPTIONS, ids=lambda item: getattr(item, "__name__", item))
def test_flags_of_secrets_stores(owner: type, name: str) -> None:
    """The options of stores and of their logins take flags in the same spellings, as text and from JSON, and nothing else."""

    def parse(value: object) -> object:
        required = {field.name: "x" for field in fields(owner) if field.name != name}
        hints = get_type_hints(owner)
        given = {key: text for key, text in required.items() if hints[key] is str}
        return fit("a store", [owner], {**given, name: value})[0].get(name)

    for text, expected in [*ALL, (True, True), (False, False), (1, True), (0, False)]:
        assert parse(text) is expected, text
    for text in (*OTHERS, 2, 1.5, ["true"]):
        with pytest.raises(ConfigurationError, match=f"'{name}' of a store is true or false") as caught:
            parse(text)
        assert not holds_canary(f"{caught.value}{caught.value.hint}")
