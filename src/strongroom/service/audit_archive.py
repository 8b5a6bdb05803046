"""Seals the oldest events of the trail into a file, and removes them from the database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.audit import archive as files
from strongroom.audit.archive import Summary
from strongroom.audit.chain import START, Entry, audit_key, base_mark
from strongroom.auth.actor import Actor
from strongroom.errors import ConfigurationError, InvalidInput
from strongroom.metadata import audit as index
from strongroom.models.audit_event import VerifyAudit
from strongroom.models.filter import to_microseconds
from strongroom.service.audit import AuditService, facts_or_none
from strongroom.service.audit_log import AuditLog
from strongroom.service.deployment import Deployment
from strongroom.service.facts import OK, facts_of_administration

if TYPE_CHECKING:
    from sqlalchemy import Connection

OPERATION = "audit.archive"


def archive(deployment: Deployment, log: AuditLog, service: AuditService, actor: Actor, before: datetime, path: Path) -> Summary:
    """Writes all events before the first one at or after this time to a new file, then removes them from the database.

    The file is durable before anything is removed; the removal and its event are one transaction. The chain that remains verifies
    from the archive's end on. `InvalidInput` without such events, if the trail does not verify, or if it was archived meanwhile.
    """
    report = service.verify(actor, VerifyAudit())
    if not report.valid:
        raise InvalidInput("the audit trail was changed: it is not archived", hint="look at it with: strongroom audit verify")
    key, moment = audit_key(deployment.digest_key), to_microseconds(before)
    try:
        with deployment.database.snapshot() as connection:
            base = index.find_base(connection)
            begins, mark = (0, START) if base is None else (base[0], bytes(base[1]))
            summary = files.write(path, key, deployment.id, begins, mark, _entries(connection, moment))
    except FileExistsError:
        raise InvalidInput(f"the file {path} exists", hint="archives are written to new files") from None
    except OSError as error:
        raise ConfigurationError(f"the file {path} cannot be written: {error.strerror}") from None
    if summary.events == 0:
        path.unlink()
        raise InvalidInput("there are no events before this time")
    detail = f"events {begins + 1} to {summary.ends}, sha256 {summary.sha256}, key {summary.key}"
    facts = facts_of_administration(OPERATION, actor, path.name, "", OK, detail)
    with deployment.database.write() as connection:
        index.lock_head(connection)
        now = index.find_base(connection)
        if (0 if now is None else now[0]) != begins:
            path.unlink()
            raise InvalidInput("the audit trail was archived meanwhile", hint="try again")
        last = bytes.fromhex(summary.mark)
        log.chain(connection, [facts])
        index.put_base(connection, summary.ends, last, base_mark(key, summary.ends, last))
    return summary


def _entries(connection: Connection, moment: int) -> Iterator[Entry]:
    for row, _ in index.all_events(connection, 2**62):
        facts = facts_or_none(row)  # one that cannot be read was acknowledged: it is archived as it is
        if facts is not None and facts.moment >= moment:
            return
        yield Entry(row.number, bytes(row.facts), bytes(row.mark))
