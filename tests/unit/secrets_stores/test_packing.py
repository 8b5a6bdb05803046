"""Values of the full size fit into objects of the same size, whatever they are made of."""

from __future__ import annotations

import json
import random

import pytest

from strongroom.errors import TooLarge, ValuesCorrupt
from strongroom.secrets_stores.base import size_of
from strongroom.secrets_stores.packing import pack, unpack

LIMIT = 65_536


def dense(seed: int, alphabet: list[str], pairs: int) -> dict[str, str]:
    """Values of exactly the limit, made of random characters."""
    chance = random.Random(seed)
    values = {f"{number:04}": "" for number in range(pairs)}
    room = (LIMIT - size_of(values)) // pairs
    for key in values:
        text = ""
        picked = iter(chance.choices(alphabet, k=room))
        size = 0
        for character in picked:
            if (size := size + len(character.encode())) > room:
                break
            text += character
        values[key] = text
    values["0000"] += "x" * (LIMIT - size_of(values))
    return values


ASCII = list(map(chr, range(128)))
TWO = list(map(chr, range(0x80, 0x800)))
ALPHABETS = {
    "ascii": ASCII,
    "controls": ASCII[:32],
    "two bytes": TWO,
    "densest": ASCII * 50 + TWO,
    "three bytes": list(map(chr, range(0x800, 0xD800))),
    "four bytes": list(map(chr, range(0x10000, 0x110000, 7))),
    "keyboard": list(map(chr, range(32, 127))),
}


@pytest.mark.parametrize("pairs", [1, 7, 3_000])
@pytest.mark.parametrize("name", ALPHABETS)
def test_values_of_the_full_size_fit(name: str, pairs: int) -> None:
    """65,536 bytes of keys and values go into 65,536 bytes."""
    values = dense(7, ALPHABETS[name], pairs)
    packed = pack(values, LIMIT)
    assert len(packed if isinstance(packed, bytes) else packed.encode()) <= LIMIT
    assert unpack(packed) == values


def test_what_fits_is_json() -> None:
    """Other tools read it."""
    values = {"user": "admin", "text": "é\n"}
    assert json.loads(pack(values, LIMIT)) == values
    assert unpack(pack(values, LIMIT)) == values
    assert unpack(str(pack(values, LIMIT)).encode()) == values


def test_what_does_not_fit_is_refused() -> None:
    """Also when it is packed."""
    with pytest.raises(TooLarge, match="100"):
        pack(dense(7, ALPHABETS["ascii"], 1), 100)


@pytest.mark.parametrize(
    "data", ["", "[]", '{"a": 1}', b"\xff", b'{"a": "\xff"}', b"strongroom-packed-1\0", b"strongroom-packed-1\0x"]
)
def test_what_is_not_ours_is_corrupt(data: str | bytes) -> None:
    """And so is what was cut off or went on, or unpacks to more than was ever packed."""
    with pytest.raises(ValuesCorrupt):
        unpack(data)
    packed = pack(dense(7, ALPHABETS["controls"], 1), LIMIT)
    assert isinstance(packed, bytes)
    for damaged in (packed[:-1], packed + b"x", packed[:500] + b"?" + packed[501:]):
        with pytest.raises(ValuesCorrupt):
            unpack(damaged)
