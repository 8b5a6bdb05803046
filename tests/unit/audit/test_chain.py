"""The chain of marks shows every change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from strongroom.audit.chain import START, Entry, Verification, audit_key, canonical, extend, head_mark

KEY = audit_key(b"k" * 32)


def chain(length: int, key: bytes = KEY) -> list[Entry]:
    return list(extend(key, 0, START, [canonical({"event": number}) for number in range(length)]))


def problems(entries: list[Entry], last: Entry, key: bytes = KEY) -> list[str]:
    verification = Verification(key)
    for entry in entries:
        verification.follow(entry)
    verification.end(last.number, last.mark, head_mark(KEY, last.number, last.mark))
    return [each.reason for each in verification.breaks]


def test_a_whole_chain_holds() -> None:
    """Also an empty one, and one that was made in pieces."""
    entries = chain(5)
    assert problems(entries, entries[-1]) == []
    pieces = [*entries[:2], *extend(KEY, 2, entries[1].mark, [entry.facts for entry in entries[2:]])]
    assert pieces == entries
    verification = Verification(KEY)
    verification.end(0, START, head_mark(KEY, 0, START))
    assert verification.breaks == []


@given(st.integers(1, 12), st.data())
def test_any_change_breaks_it(length: int, data: st.DataObject) -> None:
    """Edited, removed, repeated, swapped or renumbered: one of the events, anywhere."""
    entries = chain(length)
    place = data.draw(st.integers(0, length - 1))
    kind = data.draw(st.sampled_from(["edit", "mark", "remove", "repeat", "swap", "renumber"]))
    changed = list(entries)
    match kind:
        case "edit":
            changed[place] = replace(changed[place], facts=changed[place].facts + b" ")
        case "mark":
            changed[place] = replace(changed[place], mark=bytes(32))
        case "remove":
            del changed[place]
        case "repeat":
            changed.insert(place, changed[place])
        case "swap":
            other = (place + 1) % length
            changed[place], changed[other] = changed[other], changed[place]
        case "renumber":
            changed[place] = replace(changed[place], number=changed[place].number + 1)
    assert (problems(changed, entries[-1]) == []) == (changed == entries)


def test_a_cut_off_end_is_noticed() -> None:
    """Events that are missing at the end leave a head that speaks of more; a head of before cannot be made without the key."""
    entries = chain(5)
    assert problems(entries[:3], entries[-1]) == ["the chain ends here, and 5 events were written"]
    verification = Verification(KEY)
    for entry in entries[:3]:
        verification.follow(entry)
    verification.end(3, entries[2].mark, head_mark(KEY, 5, entries[4].mark))
    assert [each.reason for each in verification.breaks] == ["the end of the chain was changed"]


def test_a_chain_made_anew_without_the_key_is_noticed() -> None:
    """Whoever rewrites all events and marks consistently has another key."""
    forged = chain(5, b"another key")
    assert len(problems(forged, forged[-1])) == 5


@pytest.mark.parametrize("gap", [1, 3])
def test_a_gap_is_told_by_its_numbers(gap: int) -> None:
    """The report says which events are missing."""
    entries = chain(6)
    del entries[2 : 2 + gap]
    said = problems(entries, chain(6)[-1])
    assert said[0] == ("event 3 is missing" if gap == 1 else "event 3 to 5 is missing")
