"""Pages."""

from __future__ import annotations

import pytest

from strongroom.errors import InvalidInput
from strongroom.models.page import Page, check_page, offset_of


@pytest.mark.parametrize(("total", "size", "pages"), [(0, 20, 0), (1, 20, 1), (20, 20, 1), (21, 20, 2), (5, 1, 5)])
def test_pages_are_counted(total: int, size: int, pages: int) -> None:
    """The number of pages follows from the total and the size."""
    page = Page.of(["x"] * min(total, size), total=total, page=1, size=size)
    assert page.total_pages == pages


def test_a_page_is_a_small_sequence() -> None:
    """A page can be iterated and has the length of its items."""
    page = Page.of(["a", "b"], total=7, page=1, size=2)
    assert list(page) == ["a", "b"]
    assert len(page) == 2


@pytest.mark.parametrize(("page", "size"), [(0, 1), (-1, 1), (1, 0), (1, 1001), (1, 2**70)])
def test_pages_that_there_are_not(page: int, size: int) -> None:
    """Numbers that make no sense, are refused."""
    with pytest.raises(InvalidInput):
        check_page(page, size)


def test_where_a_page_begins() -> None:
    """Far pages begin where databases can still count to."""
    assert [offset_of(page, 20) for page in (1, 2, 1001)] == [0, 20, 20_000]
    assert offset_of(10**30, 1000) < 2**63
