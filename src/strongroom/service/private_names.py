"""Hides the names of private secrets from everybody but their owners, where administrators see what others did.

Names are on record in full. Readers get the id in their place: of secrets that are private to another user now, or were when
the event happened. See docs/decisions/0056.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from strongroom.auth.actor import Actor
from strongroom.metadata import private_name as rows
from strongroom.models.job import Job, JobFailure
from strongroom.operations.secret import SECRET_OPERATIONS
from strongroom.service.facts import Facts

if TYPE_CHECKING:
    from sqlalchemy import Connection

_HIDDEN = "(private)"
_MOST_NAMES = 5_000
_NAMES = re.compile(r"""(?<=['"{ ])[A-Za-z0-9_-]+(?=['".}])""")
_OF_SECRETS = frozenset(each.name for each in SECRET_OPERATIONS)


def hide_in_events(connection: Connection, viewer: Actor, events: Sequence[Facts]) -> list[Facts]:
    """The events as the viewer may see them. Two queries for a page."""
    known = rows.private_to(connection, {each.target_id for each in events if each.target and each.target_id})
    guesses = [each for each in events if each.target and not each.target_id and each.operation in _OF_SECRETS]
    users = {each.actor_id for each in guesses} - {viewer.user_id, ""}
    right = rows.private_names(connection, users, {each.target for each in guesses})
    return [
        msgspec.structs.replace(each, target=each.target_id or f"a private secret of {each.actor}")
        if _is_hidden(viewer, each, known, right)
        else each
        for each in events
    ]


def _is_hidden(viewer: Actor, event: Facts, known: Mapping[str, str], right: Collection[tuple[str, str]]) -> bool:
    if not event.target:
        return False
    if event.is_private and event.actor_id != viewer.user_id:
        return True
    if event.target_id in known:
        return known[event.target_id] not in ("", viewer.user_id)
    if event.operation not in _OF_SECRETS:
        return False
    if event.target_id:  # it is gone; of an event without a scope, nobody knows any more whose it was
        return not event.scope
    return (event.actor_id, event.target) in right


def hide_in_jobs(connection: Connection, viewer: Actor, jobs: Sequence[Job]) -> list[Job]:
    """The jobs as the viewer may see them: names of secrets that are gone are hidden, too, since nobody knows whose they were."""
    known = rows.private_to(connection, {each.id for job in jobs for each in job.report.failures if each.id})
    return [_hide_in_job(viewer, job, known) for job in jobs]


def _hide_in_job(viewer: Actor, job: Job, known: Mapping[str, str]) -> Job:
    failures: list[JobFailure] = []
    error = job.error
    for each in job.report.failures:
        if not each.id or known.get(each.id) in ("", viewer.user_id):
            failures.append(each)
            continue
        failures.append(JobFailure(name=each.id, id=each.id, error=_without(each.error, each)))
        error = None if error is None else _without(error, each)
    return msgspec.structs.replace(job, report=msgspec.structs.replace(job.report, failures=failures), error=error)


def hide_in_texts(connection: Connection, viewer: Actor, texts: Sequence[tuple[str, str | None]]) -> list[str | None]:
    """Texts without the private names of their authors, who are given by id; authors see their own. One query.

    Names are found where messages have them: in quotes or in a reference.
    """
    others = [(author, text) for author, text in texts if text and author != viewer.user_id]
    names = {name for _, text in others for name in _NAMES.findall(text)}
    private = rows.private_names(connection, {author for author, _ in others}, sorted(names)[:_MOST_NAMES])

    def shown(author: str, text: str) -> str:
        return _NAMES.sub(lambda found: _HIDDEN if (author, found[0]) in private else found[0], text)

    return [text if not text or author == viewer.user_id else shown(author, text) for author, text in texts]


def _without(text: str, failure: JobFailure) -> str:
    """The text with the id in place of the name, which messages put in quotes."""
    return text.replace(f"'{failure.name}'", failure.id)
