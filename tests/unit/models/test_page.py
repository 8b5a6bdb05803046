"""Pages."""

from __future__ import annotations

import pytest

from strongroom.models.page import Page


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
