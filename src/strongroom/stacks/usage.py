"""Which components refer to a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.models.page import MAX_PAGE_SIZE
from strongroom.stacks.resolution import Place, places_in

if TYPE_CHECKING:
    from strongroom.client import Client


def references_to(client: Client, name: str) -> list[Place]:
    """All places in components that the caller sees where a secret of this name is referred to. Settings in code are not known."""
    found: list[Place] = []
    number, pages = 0, 1
    while number < pages:
        number += 1
        page = client.list_components(page=number, size=MAX_PAGE_SIZE)
        pages = page.total_pages
        for component in page:
            places = places_in(f"{component.type.words} '{component.name}'", component.configuration)
            found += [place for place in places if place.reference.name == name]
    return found
