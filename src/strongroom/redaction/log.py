"""Masking one log record."""

from __future__ import annotations

import logging
from contextlib import suppress

from strongroom.redaction.exception import holds_values
from strongroom.redaction.redactor import Masking

_FORMATTER = logging.Formatter()


def redact_record(record: logging.LogRecord, redactor: Masking) -> None:
    """Masks values in everything the record holds: message, arguments, exception, stack, and attributes that came with `extra`.

    A message with a value is formatted for good; an exception with one becomes its text (`exc_text`), because a handler could show
    anything of the exception itself. A record without values is not touched. Objects are left alone, but for those in the message.
    """
    # A message that does not fit its arguments raises anything; the handler tells, on sys.stderr.
    with suppress(Exception):
        message = record.getMessage()
        redacted = redactor.redact(message)
        if redacted != message:
            record.msg, record.args = redacted, ()
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    if record.exc_info and error is not None:
        text = record.exc_text or _FORMATTER.formatException(record.exc_info)
        if redactor.redact(text) != text or holds_values(error, redactor):
            record.exc_text, record.exc_info = text, None
    for name, value in list(record.__dict__.items()):
        if not isinstance(value, int | float | None):
            changed = redactor.redact_nested(value)
            if changed is not value:
                record.__dict__[name] = changed
