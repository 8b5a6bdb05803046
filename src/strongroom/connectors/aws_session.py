"""A session of AWS's asynchronous SDK, as s3fs takes it, that signs with the keys of a connection of ours."""

from __future__ import annotations

import asyncio
from typing import Any

from strongroom.connectors.aws import AwsConnection
from strongroom.connectors.deadline import Deadline
from strongroom.connectors.options import import_extra

_LOGIN_SECONDS = 20.0


def aio_session(connection: AwsConnection) -> Any:
    """A session of aiobotocore. Each request is signed with keys that are alive, so it outlasts all of them. `MissingExtra`.

    Requests fail as the connection's login does: `StoreForbidden`, `Unavailable`.
    """
    module, credentials = import_extra("aiobotocore.session", "aws"), import_extra("aiobotocore.credentials", "aws")
    read_only = import_extra("botocore.credentials", "aws").ReadOnlyCredentials

    class Credentials(credentials.AioCredentials):  # type: ignore[misc, name-defined]
        """The SDK asks for the frozen ones at each request."""

        async def get_frozen_credentials(self) -> Any:
            keys = await asyncio.to_thread(connection.keys, Deadline(_LOGIN_SECONDS))
            token = keys.session_token.reveal() if keys.session_token else None
            return read_only(keys.access_key_id, keys.secret_access_key.reveal(), token)

    class Provider:
        """In place of the SDK's own chain."""

        async def load_credentials(self) -> Any:
            return Credentials("", "")

    session = module.AioSession()
    session.register_component("credential_provider", Provider())
    return session
