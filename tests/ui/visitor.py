"""Somebody's requests for pages, below the browser: what goes over the wire and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from strongroom.server.ui.visit import SESSION, WORKSPACE, csrf_of
from tests.callers import Answer, Caller

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Visitor:
    """Whoever has this caller's session; a stranger if the caller has no token."""

    caller: Caller

    def get(self, path: str, **headers: str) -> Answer:
        """Asks for a page."""
        return self._ask("GET", path, None, **headers)

    def post(self, path: str, fields: Mapping[str, str] | None = None, *, csrf: str | None = None, **headers: str) -> Answer:
        """Sends a form; with the session's own `csrf` unless another one is given."""
        carried = csrf_of(self.caller.token or "") if csrf is None else csrf
        body = urlencode({**(fields or {}), **({"csrf": carried} if carried else {})}).encode()
        return self._ask("POST", path, body, Content_Type=FORM, **headers)

    def _ask(self, method: str, path: str, body: bytes | None, **headers: str) -> Answer:
        cookies = {SESSION: self.caller.token, WORKSPACE: self.caller.workspace} if self.caller.token else {}
        if cookies:
            headers["Cookie"] = "; ".join(f"{name}={text}" for name, text in cookies.items())
        return replace(self.caller, token=None, workspace="").call(method, path, body=body, root="", **headers)
