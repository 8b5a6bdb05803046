"""An answer that is all there before it is sent."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send


class Answer:
    """A status, headers in lower case, and a body. What Starlette's response is, made in a fraction of the time; sent as one, too."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})
