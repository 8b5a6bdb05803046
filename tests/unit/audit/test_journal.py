"""Journals: what was written can be read from any position, by anybody; what was changed, or broke off, shows."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.audit import journal as module
from strongroom.audit.journal import JOURNAL_BYTES, Journal, Position, Read, journals, read, remove, set_aside, start_of, taken_over

KEY = b"k" * 32
ALL = 10**9


def written(folder: Path, *entries: list[bytes]) -> Path:
    """A journal that was left behind, with these entries."""
    journal = Journal(folder, KEY)
    for entry in entries:
        journal.write(entry)
    journal.sync()
    journal.close()
    return journal.path


def test_what_is_written_is_read_in_order_and_once(tmp_path: Path) -> None:
    """Reading goes on where the former reading ended; at the end there is nothing more."""
    path = written(tmp_path / "a", [b"1", b"2"], [b"3"], [b"4", b"5"])
    first = read(path, KEY, start_of(path), 2)
    second = read(path, KEY, first.end, 2)
    assert (first.facts, second.facts) == ([b"1", b"2"], [b"3", b"4", b"5"])
    third = read(path, KEY, second.end, 2)
    assert (third.facts, third.end, third.broken) == ([], second.end, False)
    assert [first.broken, second.broken] == [False, False]


_facts = st.binary(min_size=1, max_size=40).map(lambda some: some.hex().encode())


@given(entries=st.lists(st.lists(_facts, min_size=1)), limit=st.integers(1, 5))
def test_nothing_is_lost_or_read_twice_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, entries: list[list[bytes]], limit: int
) -> None:
    """Whatever was written in whatever entries comes out, in pieces of any size."""
    path = written(tmp_path_factory.mktemp("any") / "a", *entries)
    found: list[bytes] = []
    at = start_of(path)
    while (piece := read(path, KEY, at, limit)).facts:
        found += piece.facts
        at = piece.end
    assert found == [fact for entry in entries for fact in entry]


def test_others_read_while_it_is_written(tmp_path: Path) -> None:
    """Whoever reads sees whole entries, before they are synced, too."""
    journal = Journal(tmp_path / "a", KEY)
    journal.write([b"1"])
    at = read(journal.path, KEY, start_of(journal.path), ALL).end
    journal.write([b"2"])
    assert read(journal.path, KEY, at, ALL).facts == [b"2"]
    journal.close()


@pytest.mark.parametrize("kept", [1, 3, 4, 20, 36, 40])
def test_an_entry_that_broke_off_is_no_entry(tmp_path: Path, kept: int) -> None:
    """What a crash left of the last entry is told, and what was written before is there."""
    path = written(tmp_path / "a", [b"first"])
    end = read(path, KEY, start_of(path), ALL).end
    whole = written(tmp_path / "b", [b"first"], [b"second"]).read_bytes()
    with path.open("r+b") as file:
        file.seek(end.offset)
        file.write(whole[end.offset : end.offset + kept])
    found = read(path, KEY, start_of(path), ALL)
    assert found.facts == [b"first"]
    assert found.broken is any(whole[end.offset : end.offset + kept])


def test_a_changed_entry_shows(tmp_path: Path) -> None:
    """Edited, cut out, or put elsewhere: the reading ends before it."""
    path = written(tmp_path / "a", [b"first"], [b"other"], [b"third"])
    whole = path.read_bytes()
    size = read(path, KEY, start_of(path), 1).end.offset
    for changed in (
        whole.replace(b"other", b"OTHER"),
        whole[:size] + whole[2 * size :] + bytes(size),
        whole[:size] + whole[2 * size : 3 * size] + whole[size : 2 * size] + whole[3 * size :],
    ):
        path.write_bytes(changed)
        found = read(path, KEY, start_of(path), ALL)
        assert (found.facts, found.broken) == ([b"first"], True)


def test_entries_of_another_journal_or_key_are_no_entries(tmp_path: Path) -> None:
    """A journal cannot be put in the place of another one, nor be made without the key."""
    one, two = written(tmp_path / "a", [b"1"]), written(tmp_path / "a", [b"2"])
    two.write_bytes(one.read_bytes())
    assert read(two, KEY, start_of(two), ALL).facts == []
    assert read(one, b"x" * 32, start_of(one), ALL).broken


def test_a_length_that_was_changed_reads_no_more_than_there_is(tmp_path: Path) -> None:
    """Memory is bounded, whatever the file says."""
    path = written(tmp_path / "a", [b"1"])
    with path.open("r+b") as file:
        file.write(b"\xff\xff\xff\xff")
    assert read(path, KEY, start_of(path), ALL).broken


def test_a_journal_belongs_to_its_process_until_it_ends(tmp_path: Path) -> None:
    """Nobody takes over what is being written; what was left behind is taken over by one at a time, and removed once."""
    journal = Journal(tmp_path / "a", KEY)
    with taken_over(journal.path) as ours:
        assert not ours
    journal.close()
    with taken_over(journal.path) as first, taken_over(journal.path) as second:
        assert (first, second) == (True, False)
        remove(journal.path)
    with taken_over(journal.path) as ours:
        assert not ours
    assert journals(tmp_path / "a") == []


def test_journals_are_for_their_user_alone(tmp_path: Path) -> None:
    """The folder has mode 0700, the file 0600; nothing else is left in it."""
    journal = Journal(tmp_path / "a", KEY)
    assert [path.name for path in (tmp_path / "a").iterdir()] == [journal.path.name]
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    journal.close()


def test_a_file_is_used_again(tmp_path: Path) -> None:
    """Nothing of what was in it before is read, at whatever place the new entries end; what broke off still shows."""
    folder = tmp_path / "a"
    for number in range(1, 6):
        spare = set_aside(written(folder, *[[b"former event"]] * 5))
        assert journals(folder) == []
        journal = Journal(folder, KEY, spare)
        assert read(journal.path, KEY, start_of(journal.path), ALL) == Read([], start_of(journal.path), broken=False)
        for _ in range(number):
            journal.write([b"another one"])
        journal.close()
        found = read(journal.path, KEY, start_of(journal.path), ALL)
        assert (found.facts, found.broken) == ([b"another one"] * number, False)
        with journal.path.open("r+b") as file:
            file.seek(found.end.offset)
            file.write(b"\0\0\0\x09")
        assert read(journal.path, KEY, found.end, ALL).broken
        remove(journal.path)
    assert list(folder.iterdir()) == []


def test_a_spare_file_that_is_gone_is_not_needed(tmp_path: Path) -> None:
    """A new one is made then."""
    journal = Journal(tmp_path / "a", KEY, tmp_path / "a" / ".gone.journal")
    journal.write([b"1"])
    journal.close()
    assert read(journal.path, KEY, start_of(journal.path), ALL).facts == [b"1"]


def test_what_was_never_finished_is_cleared_away(tmp_path: Path) -> None:
    """A process that ended while it made a journal leaves its place on the disk for some time, not for ever."""
    written(tmp_path / "a")
    old, new = (tmp_path / "a" / f".{name}.journal" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"\0" * 100)
    os.utime(old, (0, 0))
    written(tmp_path / "a")
    assert (old.exists(), new.exists()) == (False, True)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """It is told at once, and nothing stays open."""
    (tmp_path / "a").write_text("no folder")
    with pytest.raises(OSError, match="Not a directory"):
        Journal(tmp_path / "a", KEY)
    assert journals(tmp_path / "nothing") == []


def test_a_full_journal_says_so(tmp_path: Path) -> None:
    """It takes more all the same."""
    journal = Journal(tmp_path / "a", KEY)
    journal.write([b"x" * JOURNAL_BYTES])
    assert journal.is_full
    journal.write([b"last"])
    journal.close()
    assert read(journal.path, KEY, start_of(journal.path), ALL).facts[-1] == b"last"
    assert module.SUPPORTED
    assert isinstance(start_of(journal.path), Position)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_nothing_is_written_into_a_journal_that_is_gone(tmp_path: Path, what: str) -> None:
    """An event that nobody would find is not taken: the caller makes another journal."""
    journal = Journal(tmp_path / "a", KEY)
    journal.write([b"x"])
    if what == "file":
        journal.path.unlink()
    else:
        (tmp_path / "a").rename(tmp_path / "b")
    with pytest.raises(FileNotFoundError):
        journal.write([b"y"])
    journal.close()
