"""One page of a longer list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from strongroom.errors import InvalidInput, TooLarge

Item = TypeVar("Item")

DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 1000
MAX_PAGE_BYTES = 8 * 1_048_576
"""Of what the items of a page hold in free texts: attributes, for example."""

_FURTHEST = 2**62


class Page(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """`items` of page number `page` (from 1) of `total_pages`, each of up to `size`; iterable, with a length.

    A page past the end is empty and keeps the true `total`.
    """

    items: list[Item]
    total: int
    page: int
    size: int
    total_pages: int

    @classmethod
    def of(cls, items: list[Item], *, total: int, page: int, size: int) -> Page[Item]:
        """A page with its number of pages worked out."""
        return cls(items=items, total=total, page=page, size=size, total_pages=-(-total // size))

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def check_page(page: int, size: int) -> None:
    """Refuses page numbers and sizes that make no sense."""
    if page < 1:
        raise InvalidInput("pages are counted from 1")
    if not 1 <= size <= MAX_PAGE_SIZE:
        raise InvalidInput(f"a page has 1 to {MAX_PAGE_SIZE} items")


def check_page_bytes(size: int | None) -> None:
    """`TooLarge` for a page whose items hold more than fits into one."""
    if size is not None and size > MAX_PAGE_BYTES:
        raise TooLarge(f"this page has more than {MAX_PAGE_BYTES} bytes", hint="ask for fewer items at once")


def offset_of(page: int, size: int) -> int:
    """How many items lie before a page; further than any database can count there are none anyway."""
    return min((page - 1) * size, _FURTHEST)
