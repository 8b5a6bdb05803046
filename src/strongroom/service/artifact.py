"""What the server vouches for: which run's step recorded an artifact, with which content, under which cache key.

A mark is an HMAC under a key that is derived from the deployment's own. Clients cannot check it. They rely on the server, which
checks it each time it reads a record, and gives it only to those who may let the artifact run code: the owner of the run, and the
members of a workspace that shares its cache. So nobody who can change records, in the database or by an operation, makes an artifact
out of bytes of theirs.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence

import msgspec

from strongroom.crypto import marks
from strongroom.errors import InvalidInput
from strongroom.models.artifact_path import artifact_path, path_of
from strongroom.models.run import ArtifactRecord
from strongroom.service.deployment import Deployment

MAX_OUTPUTS = 1000
MAX_SIZE = 1 << 62

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_TYPE = 1024


class Place(msgspec.Struct, frozen=True):
    """The step that an artifact is recorded for."""

    workspace_id: str
    owner_id: str
    run_id: str
    step: str
    cache_key: str | None


class ArtifactMarks:
    """Makes and checks the marks of a deployment. Thread-safe."""

    def __init__(self, deployment: Deployment) -> None:
        self._key = marks.mark(deployment.digest_key, b"strongroom artifacts")

    def marked(self, place: Place, records: Sequence[ArtifactRecord]) -> list[ArtifactRecord]:
        """The records with marks for this place."""
        return [msgspec.structs.replace(record, mac=self._mark(place, record)) for record in records]

    def checked(self, place: Place, records: Sequence[ArtifactRecord]) -> list[ArtifactRecord]:
        """The records; those whose mark is not of this place have none."""
        return [
            record if _equal(record.mac, self._mark(place, record)) else msgspec.structs.replace(record, mac="") for record in records
        ]

    def _mark(self, place: Place, record: ArtifactRecord) -> str:
        facts = (place, record.name, record.uri, record.format, record.type, record.size, record.digest)
        return marks.mark(self._key, msgspec.json.encode(facts)).hex()


def check_outputs(run_id: str, step: str, records: Sequence[ArtifactRecord]) -> Sequence[ArtifactRecord]:
    """The records themselves if they are outputs of this step of this run. `InvalidInput`.

    The URI of each must end with `RUN/STEP/OUTPUT.SUFFIX`, and be normal; see `artifact_path`.
    """
    if len(records) > MAX_OUTPUTS:
        raise InvalidInput(f"a step has at most {MAX_OUTPUTS} outputs")
    if len({record.name for record in records}) < len(records):
        raise InvalidInput("two outputs of a step have the same name")
    for record in records:
        if path_of(record.uri) != artifact_path(run_id, step, record.name, record.format):
            raise InvalidInput(
                "an output of a step lies at RUN/STEP/OUTPUT below the root of the artifact store, and its URI says just that"
            )
        if not _DIGEST.fullmatch(record.digest):
            raise InvalidInput("an output is recorded with the SHA-256 of its bytes, in hexadecimal digits")
        if not 0 <= record.size <= MAX_SIZE:
            raise InvalidInput("an output is recorded with its size in bytes")
        if not (len(record.type) <= _MAX_TYPE and record.type.isprintable()):
            raise InvalidInput("an output is recorded with the name of its type")
    return records


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="replace"), other.encode())
