"""Documents that hold values."""

from __future__ import annotations

import pytest

from strongroom.errors import InvalidInput, TooLarge
from strongroom.models.document import MAX_PASTED, parse_pasted
from tests.canary import CANARY


def test_pasted_texts() -> None:
    """An object in JSON is known by its brace; all else is lines of a .env file. Values are text, and null stands for itself."""
    document = parse_pasted(f' {{"a": "{CANARY}", "b": 1.10, "c": true, "d": null}}')
    assert {key: value and value.reveal() for key, value in document.items()} == {"a": CANARY, "b": "1.10", "c": "true", "d": None}
    lines = parse_pasted(f"# a comment\nexport A={CANARY}\nB='two\nlines'\nC=\n")
    assert {key: value and value.reveal() for key, value in lines.items()} == {"A": CANARY, "B": "two\nlines", "C": ""}


@pytest.mark.parametrize(
    "text",
    ['{"a": {"b": "?"}}', '{"a": ["?"]}', '{"a": "?"', '{"a": "1", "a": "?"}', "? ?", "A=1\nA=?", "A", '{"a b": "?"}'],
)
def test_refused_texts(text: str) -> None:
    """What cannot be read is refused without being repeated."""
    with pytest.raises(InvalidInput) as caught:
        parse_pasted(text.replace("?", CANARY))
    assert CANARY not in f"{caught.value} {caught.value.hint}"


def test_the_limit_of_what_is_pasted() -> None:
    """Whoever pastes a library is told; YAML, which takes long to read, is not tried."""
    with pytest.raises(TooLarge):
        parse_pasted("A=" + "x" * MAX_PASTED)
    assert len(parse_pasted("A=" + "x" * (MAX_PASTED - 2))) == 1
    with pytest.raises(InvalidInput):
        parse_pasted("{a: " + CANARY + "}")
