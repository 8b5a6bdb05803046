"""What HTTP alone knows to refuse."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from strongroom.errors import ConfigurationError, StrongroomError, TooManyRequests
from strongroom.server.answer import Answer
from strongroom.server.encoding import to_json


class Refusal(StrongroomError):
    """A refusal with a status of its own and headers that belong to it."""

    def __init__(
        self, status: int, code: str, message: str, hint: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, hint)
        self.status = status  # type: ignore[misc]
        self.code = code  # type: ignore[misc]
        self.headers = dict(headers or {})


def error_answer(error: StrongroomError) -> Answer:
    """The error in its one shape. What the operator has to mend is said in the log alone: it may name files."""
    message, hint, headers = error.message, error.hint, getattr(error, "headers", {})
    if isinstance(error, ConfigurationError):
        message, hint = "the server is not set up rightly", "its log says what is wrong"
    if isinstance(error, TooManyRequests):
        headers = {"Retry-After": str(error.retry_after)}
    if error.status == 401:
        headers = {"WWW-Authenticate": "Bearer"}
    return error_body(error.status, error.code, message, hint, headers)


def error_body(status: int, code: str, message: str, hint: str | None, headers: Mapping[str, str]) -> Answer:
    """An error as an answer."""
    body = to_json({"error": {"code": code, "message": message} | ({"hint": hint} if hint else {})})
    more = [(name.lower().encode(), text.encode("latin-1")) for name, text in headers.items()]
    return Answer(status, [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json"), *more], body)


def error_response(error: StrongroomError) -> Response:
    """The same as Starlette has it."""
    answer = error_answer(error)
    response = Response(answer.body, answer.status)
    response.raw_headers = answer.headers
    return response
