"""The pages of secrets stores."""

from __future__ import annotations

from strongroom.server.ui.visit import Handler

PAGES: tuple[tuple[str, str, Handler, bool], ...] = ()
