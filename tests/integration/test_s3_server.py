"""The S3 server in the tests, and how fsspec behaves towards it."""

from __future__ import annotations

import traceback
from typing import Any

import fsspec
import pytest
from fsspec import AbstractFileSystem

from tests.canary import CANARY
from tests.servers.s3 import S3Server


def connect(server: S3Server, **changes: Any) -> AbstractFileSystem:
    """A file system on the server, with its credentials unless others are given."""
    options = {"key": server.access_key_id, "secret": server.secret_access_key, "endpoint_url": server.url, **changes}
    return fsspec.filesystem("s3", client_kwargs={"region_name": server.region}, skip_instance_cache=True, **options)


def test_files_are_written_read_and_listed(s3_server: S3Server) -> None:
    """What was written, in one piece or in several, is read and listed with the right credentials."""
    bucket = s3_server.bucket("test-written")
    files = connect(s3_server)
    files.pipe_file(f"{bucket}/models/small", b"weights")
    with files.open(f"{bucket}/models/large", "wb", block_size=5 << 20) as file:
        file.write(bytes(11 << 20))
    again = connect(s3_server)
    assert again.cat_file(f"{bucket}/models/small") == b"weights"
    assert again.info(f"{bucket}/models/large")["size"] == 11 << 20
    assert sorted(again.ls(f"{bucket}/models", detail=False)) == [f"{bucket}/models/large", f"{bucket}/models/small"]


@pytest.mark.parametrize("changes", [{"secret": f"{CANARY}-wrong"}, {"key": "AKIANOSUCHKEY0000000"}], ids=["secret", "key"])
def test_wrong_credentials_are_refused(s3_server: S3Server, changes: dict[str, str]) -> None:
    """A wrong secret key, or an unknown key id, is a `PermissionError` for reading and writing, which holds no secret key."""
    bucket = s3_server.bucket("test-refused")
    files = connect(s3_server, **changes)
    for use in (lambda: files.ls(bucket), lambda: files.cat_file(f"{bucket}/x"), lambda: files.pipe_file(f"{bucket}/x", b"")):
        with pytest.raises(PermissionError) as caught:
            use()
        assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_nobody_is_refused(s3_server: S3Server) -> None:
    """Without credentials nothing is listed."""
    bucket = s3_server.bucket("test-nobody")
    with pytest.raises(PermissionError):
        fsspec.filesystem("s3", anon=True, endpoint_url=s3_server.url, skip_instance_cache=True).ls(bucket)
