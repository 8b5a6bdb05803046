"""Binds the rows that a former version wrote, once, when the database is upgraded.

The digest key is sealed for another place from then on. So a row without a mark, or with a digest of the former kind, is taken for a
former one only as long as the deployment's own row is: it cannot be made to look like that without the encryption key.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select, update

from strongroom.crypto.binding import Binding
from strongroom.crypto.keyring import Keyring
from strongroom.db.tables import secrets, versions
from strongroom.metadata import deployment as rows
from strongroom.metadata.deployment import Deployment
from strongroom.service.encryption_keys import seal_digest_key, unwrap_former_digest_key

_BATCH = 1_000
_POINTER = (
    secrets.c.id,
    secrets.c.workspace_id,
    secrets.c.private_to,
    secrets.c.name,
    secrets.c.current_version,
    secrets.c.last_version,
    secrets.c.updated,
)
_POINTERS = select(*_POINTER).where(secrets.c.id > bindparam("after")).order_by(secrets.c.id).limit(_BATCH)
_DIGESTS = (
    select(versions.c.secret_id, versions.c.number, versions.c.digest)
    .where(
        versions.c.secret_id >= bindparam("after"),
        (versions.c.secret_id > bindparam("after")) | (versions.c.number > bindparam("number")),
    )
    .order_by(versions.c.secret_id, versions.c.number)
    .limit(_BATCH)
)
_MARK = update(secrets).where(secrets.c.id == bindparam("of")).values(pointer_mark=bindparam("mark"))
_BIND = (
    update(versions)
    .where(versions.c.secret_id == bindparam("of"), versions.c.number == bindparam("at"))
    .values(digest=bindparam("bound"))
)


def bind_former_rows(connection: Connection, keyring: Keyring, row: Deployment) -> None:
    """Binds all rows of secrets and versions if the deployment is a former one, in the caller's transaction: all of them or none.

    No value is read. Takes some seconds for a hundred thousand versions.
    """
    digest_key = unwrap_former_digest_key(keyring, row)
    if digest_key is None:
        return
    binding = Binding(digest_key)
    after, number = "", 0
    while found := connection.execute(_DIGESTS, {"after": after, "number": number}).all():
        connection.execute(
            _BIND,
            [
                {"of": each.secret_id, "at": each.number, "bound": binding.version_digest(each.digest, each.secret_id, each.number)}
                for each in found
            ],
        )
        after, number = found[-1].secret_id, found[-1].number
    after = ""
    while pointers := connection.execute(_POINTERS, {"after": after}).all():
        connection.execute(_MARK, [{"of": each[0], "mark": binding.pointer_mark(*each)} for each in pointers])
        after = pointers[-1][0]
    rows.adopt_deployment(connection, row.id, *seal_digest_key(keyring, digest_key, row.id))
