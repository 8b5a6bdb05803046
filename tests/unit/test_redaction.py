"""SecretText shows its text through `reveal()` alone."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import yaml

from strongroom.redaction import MASK, SecretText
from tests.canary import CANARY, holds_canary

TEXT = f"{CANARY}-redaction"


@pytest.mark.parametrize(
    "show",
    [
        str,
        repr,
        ascii,
        "{}".format,
        "{!r}".format,
        "{:>30}".format,
        lambda text: f"{text}",
        lambda text: "%s %r" % (text, text),  # noqa: UP031
        lambda text: str([text]),
        lambda text: str({"key": text}),
        lambda text: repr((text,)),
        lambda text: str(ValueError(text)),
        lambda text: str(text.__dir__()),
        lambda text: json.dumps({"key": text}, default=str),
        lambda text: msgspec.json.encode({"key": text}, enc_hook=str).decode(),
    ],
)
def test_it_is_masked_wherever_it_is_shown(show: Callable[[Any], str]) -> None:
    """Every way of turning a value into text gives the mask."""
    shown = show(SecretText(TEXT))
    assert not holds_canary(shown)
    assert "dir" in shown or MASK in shown


def test_the_mask_does_not_tell_the_length() -> None:
    """Short and long values look alike."""
    assert str(SecretText("")) == str(SecretText("x" * 1000)) == MASK
    with pytest.raises(TypeError):
        len(SecretText("abc"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "leave",
    [pickle.dumps, json.dumps, msgspec.json.encode, msgspec.msgpack.encode, yaml.safe_dump],
)
def test_it_does_not_slip_into_a_serialised_form(leave: Callable[[Any], Any]) -> None:
    """Whatever would write the value down without asking fails instead, without showing it."""
    with pytest.raises((TypeError, yaml.representer.RepresenterError)) as caught:
        leave(SecretText(TEXT))
    assert not holds_canary("".join(traceback.format_exception(caught.value)))


def test_it_cannot_be_changed() -> None:
    """A SecretText is immutable and has no room for other attributes."""
    text = SecretText(TEXT)
    for name in ("_text", "other"):
        with pytest.raises(AttributeError) as caught:
            setattr(text, name, "x")
        assert not holds_canary(str(caught.value))
    assert text.reveal() == text.get_secret_value() == TEXT


def test_it_compares_by_content_with_its_own_kind_only() -> None:
    """Equal texts are equal and hash alike; plain text is never equal, so a guess cannot pass for the value."""
    assert SecretText("a") == SecretText("a") != SecretText("b")
    assert len({SecretText("a"), SecretText("a"), SecretText("b")}) == 2
    assert SecretText("a") != "a"
    assert hash(SecretText("a")) != hash("a")


def test_an_unhandled_exception_does_not_show_it() -> None:
    """A traceback through code that holds a value, with local variables, shows the mask."""

    def fail(value: SecretText) -> None:
        raise RuntimeError(f"cannot use {value!r}")

    with pytest.raises(RuntimeError) as caught:
        fail(SecretText(TEXT))
    detailed = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert not holds_canary("".join(detailed.format()))


def test_a_copy_is_the_object_itself() -> None:
    """A value cannot be changed, so copies of any depth, as dataclasses and models make them, are the value itself."""

    @dataclasses.dataclass
    class Settings:
        token: SecretText
        all: dict[str, SecretText]

    value = SecretText(CANARY)
    settings = Settings(value, {"k": value})
    assert copy.copy(value) is value
    assert copy.deepcopy(settings).all["k"] is value
    found = dataclasses.asdict(settings)
    assert found["token"] is value
    assert found["all"]["k"] is value
