"""Names like one that leads nowhere, for "did you mean ...?"."""

from __future__ import annotations

import _thread  # `threading` takes longer to load
import itertools
from collections.abc import Iterable

from strongroom.errors import StrongroomError

MAX_LENGTH = 64
"""Longer names are neither compared nor suggested: what comparing two of them costs grows with the third power of their length."""

MAX_NAMES = 500
"""So many names are looked at, at most."""

MAX_COMPARED = 10
"""So many names, those with the most letters in common, are compared letter by letter."""


_state = _thread._local()


class NotHere(StrongroomError):
    """This thread must not look for names. The caller makes its call again in another thread."""


def leave_this_thread() -> None:
    """From now on, `near_names` raises `NotHere` in this thread: others wait for it."""
    _state.left = True


def near_names(name: str, known: Iterable[str], count: int = 1, cutoff: float = 0.6) -> list[str]:
    """Returns up to `count` known names that look like `name`, the most similar first.

    `cutoff` is how similar they are at least, from 0 to 1. Takes milliseconds in the worst case, whatever the names are.
    `NotHere` in a thread that was left to others.
    """
    if getattr(_state, "left", False):
        raise NotHere("names like this one are looked for in another thread")
    if not 0 < len(name) <= MAX_LENGTH:
        return []
    from difflib import SequenceMatcher

    matcher: SequenceMatcher[str] = SequenceMatcher(b=name)
    similar = []
    for each in itertools.islice(known, MAX_NAMES):
        matcher.set_seq1(each[: MAX_LENGTH + 1])
        if len(each) <= MAX_LENGTH and matcher.real_quick_ratio() >= cutoff and (ratio := matcher.quick_ratio()) >= cutoff:
            similar.append((ratio, each))
    similar.sort(reverse=True)
    compared = []
    for _, each in similar[:MAX_COMPARED]:
        matcher.set_seq1(each)
        compared.append((matcher.ratio(), each))
    compared.sort(reverse=True)
    return [each for ratio, each in compared[:count] if ratio >= cutoff]
