"""Which text gives a value away, and masking it."""

from __future__ import annotations

import base64
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NoReturn, Protocol, TypeVar

from strongroom import forking
from strongroom.redaction.secret_text import MASK, SecretText
from strongroom.redaction.sensitive import SHORTEST, WHITE, is_common, is_number, sensitive_parts
from strongroom.redaction.views import WRAPPED, View, complete_sequence, views_of

_FEW = 80
"""Up to so many different beginnings, searching each with `str.find` is faster than looking at each position; measured."""

_MOST_BITS = 4096
_NUMBER = 6
"""Numbers with fewer characters are not masked in nested data: they are ports and counts more often than values."""

T = TypeVar("T")
Span = tuple[int, int]


class Finder(Protocol):
    """Finds values in text."""

    @property
    def version(self) -> object:
        """Another one whenever other values are looked for than before."""

    def places(
        self, text: str, since: int = 0, begun: Iterable[int] = (), *, before: str = "", last: bool = True
    ) -> tuple[list[Span], list[int]]:
        """Where values are (start and end, in any order, possibly overlapping), and each place from which on the rest of the text
        could be the beginning of a value. Only values that start at `begun` places or not before `since` need be looked for.

        `before` is the end of what goes before the text. With `last` nothing follows it, so that what stands at its end stands alone.
        """


class Masking(ABC):
    """What can be done with a `Finder`, for those that are one."""

    @abstractmethod
    def places(
        self, text: str, since: int = 0, begun: Iterable[int] = (), *, before: str = "", last: bool = True
    ) -> tuple[list[Span], list[int]]:
        """As in `Finder`."""

    def redact(self, text: str) -> str:
        """The text with one mask in place of each value, or of values that overlap."""
        found, _ = self.places(text)
        if not found:
            return text
        parts: list[str] = []
        position = 0
        for start, end in merged(found):
            parts += (text[position:start], MASK)
            position = end
        return "".join((*parts, text[position:]))

    def redact_bytes(self, data: bytes) -> bytes:
        """The same for UTF-8; bytes that are not UTF-8 pass unharmed."""
        return self.redact(data.decode(errors="surrogateescape")).encode(errors="surrogateescape")

    def redact_key(self, key: str) -> str:
        """As `redact`, for a key of nested data."""
        return self.redact(key)

    def holds_value(self, data: Any) -> bool:
        """Whether texts, bytes or numbers in the data hold a value, common ones such as `admin` left aside."""
        return self.redact_nested(data) is not data

    def redact_nested(self, value: T, keep: Callable[[str], bool] | None = None) -> T:
        """`redact` for all strings, bytes and numbers in dicts, lists, tuples and sets. Gives the same object if nothing is masked.

        Texts that `keep` is true for stay. Numbers of six digits and more are masked if they are a value.

        What is rebuilt becomes a plain dict, list, tuple or set; a container that holds itself becomes the text `...` within itself.
        """
        changed: T = self._nested(value, keep, ())
        return changed

    def _nested(self, value: Any, keep: Callable[[str], bool] | None, around: tuple[int, ...]) -> Any:
        if isinstance(value, str):
            if keep is not None and keep(value):
                return value
            redacted = self.redact(value)
            return value if redacted == value else redacted
        if isinstance(value, bytes | bytearray):
            changed = self.redact_bytes(bytes(value))
            return value if changed == value else changed
        if isinstance(value, int | float) and not isinstance(value, bool):
            if isinstance(value, int) and value.bit_length() > _MOST_BITS:
                return value  # Python writes no longer ones
            number = str(value)
            return MASK if len(number) >= _NUMBER and MASK in self.redact(number) else value
        if not isinstance(value, dict | list | tuple | set | frozenset):
            return value
        if id(value) in around:
            return "..."
        around = (*around, id(value))
        if isinstance(value, dict):
            before = list(value.items())
            pairs = [
                (self.redact_key(key) if isinstance(key, str) else self._nested(key, None, around), self._nested(item, keep, around))
                for key, item in before
            ]
            same = all(new[0] == old[0] and new[1] is old[1] for new, old in zip(pairs, before, strict=True))
            return value if same else dict(pairs)
        members = list(value)
        items = [self._nested(item, keep, around) for item in members]
        if all(new is old for new, old in zip(items, members, strict=True)):
            return value
        return next(kind for kind in (list, tuple, set, frozenset) if isinstance(value, kind))(items)


class _Forms:
    """Texts that are looked for, by their first characters. Threads may look while one adds."""

    def __init__(self) -> None:
        self.by_beginning: dict[str, tuple[str, ...]] = {}
        """By their first `SHORTEST` characters; the longest form first."""
        self.beginnings: set[str] = set()
        """Their beginnings that are shorter."""
        self.longest = 0

    def add(self, form: str, *, from_first: bool = True) -> None:
        """One more; with `from_first` already its first characters, at the end of a text, may be its beginning."""
        same = self.by_beginning.get(form[:SHORTEST], ())
        if form not in same:
            if from_first:
                self.beginnings.update(form[:length] for length in range(1, SHORTEST))
            self.longest = max(self.longest, len(form))
            # A new tuple: others may be walking through the old one.
            self.by_beginning[form[:SHORTEST]] = tuple(sorted((*same, form), key=len, reverse=True))

    def starts(self, text: str, since: int, within: Iterable[range] | None = None) -> Iterator[int]:
        """Where one of them may start; of those before `since`, or outside of `within`, some are left out."""
        forms = self.by_beginning
        if len(forms) > _FEW:
            for places in [range(since, len(text) - SHORTEST + 1)] if within is None else within:
                for start in places:
                    if text[start : start + SHORTEST] in forms:
                        yield start
            return
        for beginning in tuple(forms):
            start = text.find(beginning, since)
            while start >= 0:
                yield start
                start = text.find(beginning, start + 1)


@dataclass(slots=True)
class _Search:
    """What is asked of `places`, and what was found."""

    since: int = 0
    begun: Iterable[int] = ()
    before: str = ""
    last: bool = True
    common: bool = True
    """Whether common texts count."""
    found: list[Span] = field(default_factory=list)
    open_ends: set[int] = field(default_factory=set)


class Redactor(Masking):
    """Masks the values that were added to it, however programs commonly show them. Thread-safe.

    A value is looked for in the text and in the views of it (`views.py`): without the sequences that colour a terminal, and decoded
    from JSON, Python's `repr`, URLs and HTML, also one within another. There it is found itself and by its sensitive parts
    (`sensitive.py`), in base64 of both alphabets (also in the middle of something longer, and over line breaks), and in hexadecimal.
    Common texts, such as `admin` or `5432`, are found only where they stand alone: not within a word or a number, and not encoded.

    White space around a value stays visible. In the middle of longer base64, up to four bits of a value remain on each side.
    A value that is added is masked from then on and cannot be removed.
    """

    def __init__(self) -> None:
        self._lock = forking.renewed(self, "_lock", threading.Lock)
        self._values: set[str] = set()
        self._forms = _Forms()
        self._coded = _Forms()
        """Those in base64 and hexadecimal, and their ends from a possible line break on."""
        self._ends: dict[str, tuple[str, ...]] = {}
        """For such an end, what may stand before it."""
        self._common: frozenset[str] = frozenset()
        self._has_spaces = self._has_escapes = self._starts_encoded = False

    def add(self, value: str | SecretText) -> None:
        """Masks this value from now on. Shorter ones than `SHORTEST` are left alone: they would mask half of every text."""
        text = (value.reveal() if isinstance(value, SecretText) else value).strip(WHITE)
        if len(text) < SHORTEST or text.isspace() or text in self._values:
            return
        texts = {text, *(part.strip(WHITE) for part in sensitive_parts(text))}
        texts = {part for part in texts if len(part) >= SHORTEST and not part.isspace()}
        with self._lock:
            for part in texts:
                for form in _line_ends(part):
                    # Else a stream would hold back the end of every other line.
                    self._forms.add(form, from_first=not is_common(part))
                    self._starts_encoded = self._starts_encoded or not form[0].isalnum()
                    self._has_escapes = self._has_escapes or "\x1b" in form
                    if is_common(part):
                        self._common |= {form}
                    else:
                        for coded in _coded(form):
                            self._forms.add(coded, from_first=False)
                            self._add_coded(coded)
                    self._has_spaces = self._has_spaces or " " in form
            self._values.add(text)

    def _add_coded(self, form: str) -> None:
        self._coded.add(form)
        if len(form) >= 3 * WRAPPED:
            end, start = form[WRAPPED:], form[:WRAPPED]
            self._coded.add(end)
            self._ends[end] = (*self._ends.get(end, ()), start)

    @property
    def version(self) -> int:
        """As in `Finder`."""
        return len(self._values)

    def places(
        self, text: str, since: int = 0, begun: Iterable[int] = (), *, before: str = "", last: bool = True
    ) -> tuple[list[Span], list[int]]:
        """As in `Finder`. The time it takes grows with the text and hardly with the number of values."""
        search = _Search(since, begun, before, last)
        self._search(text, search)
        return search.found, list(search.open_ends)

    def _search(self, text: str, search: _Search) -> None:
        for view in views_of(text, spaces=self._has_spaces):
            if view.is_wrapped:
                self._look_for_coded(view, search)
            else:
                self._look(view, search)

    def _look(self, view: View, search: _Search) -> None:
        text, forms, common = view.text, self._forms.by_beginning, self._common
        length, itself = len(text), view.source is None
        ends = [length - size for size in range(1, min(SHORTEST, length + 1)) if text[length - size :] in self._forms.beginnings]
        within = None if itself else view.joints(self._forms.longest)  # what has none in it was found in the source of the view
        for start in chain(search.begun if itself else (), self._forms.starts(text, search.since if itself else 0, within)):
            for form in forms.get(text[start : start + SHORTEST], ()):
                end = start + len(form)
                if end > length:
                    if form.startswith(text[start:]):
                        ends.append(start)
                elif text.startswith(form, start):
                    if form not in common:
                        search.found.append(view.span(start, end))
                        break
                    if not search.common:
                        continue
                    if not search.last and (end == length or (end == length - 1 and text[end] in _POINTS)):
                        ends.append(start)  # it depends on what follows
                    elif _stands_alone((search.before + text[max(0, start - 2) : start])[-2:], form, text[end : end + 2]):
                        search.found.append(view.span(start, end))
                        break
        if itself and ends and "\x1b" in text and not self._has_escapes:
            upto = complete_sequence(text)  # what sets a colour, or shows the cursor, is passed on as a whole
            ends = [start for start in ends if start <= upto]
        search.open_ends.update(view.span(start, start + 1)[0] for start in ends)
        # A percent sign ends many a line that tells of progress.
        if view.open_at is not None and (ends or self._starts_encoded or not view.ends_in_percent):
            search.open_ends.add(view.open_at)

    def _look_for_coded(self, view: View, search: _Search) -> None:
        text = view.text
        for start in self._coded.starts(text, 0):
            for form in self._coded.by_beginning.get(text[start : start + SHORTEST], ()):
                end = start + len(form)
                if end > len(text):
                    if len(text) - start >= WRAPPED and form.startswith(text[start:]):
                        search.open_ends.add(view.span(start, start + 1)[0])
                elif text.startswith(form, start):
                    before = [_common_end(text, start, former) for former in self._ends.get(form, ())]
                    search.found.append(view.span(start - max(before, default=0), end))
                    break

    def redact_key(self, key: str) -> str:
        """As `redact`, but for common texts: `token` is the name of many a key."""
        return _Uncommon(self).redact(key)

    def holds_value(self, data: Any) -> bool:
        """Whether texts, bytes or numbers in the data hold a value, common ones such as `admin` left aside."""
        return _Uncommon(self).redact_nested(data) is not data

    def renew_locks(self) -> None:
        """For a child process after a fork: the lock may belong to a thread that is not there."""
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._values)} values>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Redactor is not pickled: it holds values")


class _Uncommon(Masking):
    """A redactor that leaves common texts alone."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def places(
        self, text: str, since: int = 0, begun: Iterable[int] = (), *, before: str = "", last: bool = True
    ) -> tuple[list[Span], list[int]]:
        """As in `Finder`."""
        search = _Search(since, begun, before, last, common=False)
        self._redactor._search(text, search)
        return search.found, list(search.open_ends)


class Redactors(Masking):
    """Several redactors as one. Which ones changes over time. Thread-safe."""

    def __init__(self) -> None:
        self._lock = forking.renewed(self, "_lock", threading.Lock)
        self._members: tuple[Redactor, ...] = ()

    def join(self, redactor: Redactor) -> None:
        """One more. The same one may join several times."""
        with self._lock:
            self._members = (*self._members, redactor)

    def leave(self, redactor: Redactor) -> None:
        """Undoes one `join`."""
        with self._lock:
            index = next(index for index, member in enumerate(self._members) if member is redactor)
            self._members = self._members[:index] + self._members[index + 1 :]

    def add(self, value: str | SecretText) -> None:
        """To each that is in now; see `Redactor`."""
        for member in dict.fromkeys(self._members):
            member.add(value)

    def renew_locks(self) -> None:
        """As in `Redactor`, and those of the members."""
        self._lock = threading.Lock()
        for member in self._members:
            member.renew_locks()

    def __len__(self) -> int:
        return len(self._members)

    @property
    def version(self) -> tuple[tuple[Redactor, ...], int]:
        """As in `Finder`."""
        members = self._members
        return members, sum(member.version for member in members)

    def holds_value(self, data: Any) -> bool:
        """As in `Masking`."""
        return any(member.holds_value(data) for member in dict.fromkeys(self._members))

    def places(
        self, text: str, since: int = 0, begun: Iterable[int] = (), *, before: str = "", last: bool = True
    ) -> tuple[list[Span], list[int]]:
        """As in `Finder`."""
        found: list[Span] = []
        open_ends: set[int] = set()
        for member in dict.fromkeys(self._members):
            places, ends = member.places(text, since, begun, before=before, last=last)
            found += places
            open_ends.update(ends)
        return found, list(open_ends)


def merged(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, overlapping ones made one. Those that only touch stay two."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _line_ends(text: str) -> set[str]:
    unix = text.replace("\r\n", "\n")
    return {text, unix, unix.replace("\n", "\r\n")}


def _coded(text: str) -> Iterator[str]:
    """The text in hexadecimal and base64; each has at least `SHORTEST` characters."""
    data = _encoded(text)
    yield from (data.hex(), data.hex().upper())
    yield from _base64(data)


def _base64(data: bytes) -> Iterator[str]:
    """At each alignment: what is there if more follows, and what is there at the end, with and without padding."""
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + data).decode()
        begin = (shift * 8 + 5) // 6
        for form in (coded[begin : (shift + len(data)) * 8 // 6], coded[begin:].rstrip("="), coded[begin:]):
            yield form
            yield form.replace("+", "-").replace("/", "_")


def _encoded(text: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


def _stands_alone(before: str, text: str, after: str) -> bool:
    """Whether a text between those characters, of which two on each side are enough, is no part of a word or of 0.5432."""
    if _is_inner(text[0], before[-1:]) or _is_inner(text[-1], after[:1]):
        return False
    if is_number(text):
        return not (before[-1:] in _POINTS and before[:1].isdigit()) and not (after[:1] in _POINTS and after[1:].isdigit())
    return True


def _is_inner(edge: str, neighbour: str) -> bool:
    return _WORDLIKE.match(edge) is not None and _WORDLIKE.match(neighbour) is not None


def _common_end(text: str, end: int, form: str) -> int:
    """How many characters before the place are the last ones of the form."""
    size = 0
    while size < min(len(form), end) and text[end - size - 1] == form[-size - 1]:
        size += 1
    return size


_WORDLIKE = re.compile(r"\w")
_POINTS = (".", ",", ":")
"""What stands within numbers."""
