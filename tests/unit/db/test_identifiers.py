"""Fresh ids."""

from __future__ import annotations

import itertools
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from strongroom.db.identifiers import new_id


def test_ids_are_uuids_of_version_7() -> None:
    """The layout is the one of RFC 9562: time, version and variant where they belong, in lower case."""
    before = time.time_ns() // 1_000_000
    text = new_id()
    after = time.time_ns() // 1_000_000
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert before <= parsed.int >> 80 <= after + 1_000  # ids made in a row may run ahead of the clock


def test_each_id_is_greater_than_the_one_before() -> None:
    """In a process, ids sort in the order in which they were made, as text too."""
    ids = [new_id() for _ in range(20_000)]
    assert all(one < next_one for one, next_one in itertools.pairwise(ids))


def test_threads_never_share_an_id() -> None:
    """Eight threads make different ids, each thread in rising order."""
    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(lambda _: [new_id() for _ in range(1000)], range(8)))
    assert len({text for batch in batches for text in batch}) == 8000
    assert all(batch == sorted(batch) for batch in batches)


def test_ids_cannot_be_guessed_from_their_neighbours() -> None:
    """The last 62 bits are random."""
    tails = {new_id()[20:] for _ in range(1000)}
    assert len(tails) == 1000
