"""The artifact store in S3, with a key from a secret."""

from __future__ import annotations

import socket

import boto3
import pytest

from strongroom.client import Client
from strongroom.errors import ConfigurationError, NotFound, Unauthenticated, Unavailable
from strongroom.models.run import RunStatus
from strongroom.pipelines import pipeline
from strongroom.steps import step
from tests.canary import CANARY, holds_canary
from tests.integration.stack import add_to_stack, failing
from tests.servers.s3 import S3Server


def register(
    client: Client, server: S3Server, bucket: str, *, secret: str | None = None, key: str | None = None, **changes: str
) -> None:
    """A stack with an artifact store in this bucket, whose key and secret key are in a secret."""
    client.create_secret("s3", {"key": key or server.access_key_id, "secret": secret or server.secret_access_key})
    configuration = {
        "path": f"s3://{bucket}/artifacts",
        "key": "{{s3.key}}",
        "secret": "{{s3.secret}}",
        "endpoint_url": server.url,
        "region": server.region,
        **changes,
    }
    add_to_stack(client, "artifact_store", "s3", configuration, "bucket")


def objects(server: S3Server, bucket: str) -> dict[str, int]:
    """The keys in a bucket with their sizes, as boto3 sees them."""
    client = boto3.client("s3", endpoint_url=server.url, region_name=server.region, aws_access_key_id=server.access_key_id,
                          aws_secret_access_key=server.secret_access_key)  # fmt: skip
    try:
        return {item["Key"]: item["Size"] for item in client.list_objects_v2(Bucket=bucket).get("Contents", [])}
    finally:
        client.close()


def delete(server: S3Server, bucket: str, key: str) -> None:
    client = boto3.client("s3", endpoint_url=server.url, region_name=server.region, aws_access_key_id=server.access_key_id,
                          aws_secret_access_key=server.secret_access_key)  # fmt: skip
    client.delete_object(Bucket=bucket, Key=key)
    client.close()


@step
def weights() -> bytes:
    return bytes(range(256)) * 1000


@step
def size(data: bytes) -> int:
    return len(data)


@pipeline
def measuring() -> None:
    size(weights())


def test_a_pipeline_with_its_artifacts_in_a_bucket(client: Client, s3_server: S3Server) -> None:
    """Outputs are objects in the bucket and go from step to step; the second run takes them from there, until one is gone."""
    bucket = s3_server.bucket("test-pipeline")
    register(client, s3_server, bucket)
    run = measuring()
    assert run.output("size") == 256_000
    assert run.output("weights") == weights()
    assert objects(s3_server, bucket) == {
        f"artifacts/{run.id}/weights/output.bin": 256_000,
        f"artifacts/{run.id}/size/output.json": 6,
    }
    assert run.steps["weights"].outputs[0].uri == f"s3://{bucket}/artifacts/{run.id}/weights/output.bin"
    assert {(read.secret, read.key) for read in run.record.reads} == {("s3", "key"), ("s3", "secret")}
    again = measuring()
    assert {one.status for one in again.steps.values()} == {RunStatus.CACHED}
    assert again.output("size") == 256_000
    delete(s3_server, bucket, f"artifacts/{run.id}/weights/output.bin")
    third = measuring()
    assert [one.status for one in third.steps.values()] == [RunStatus.COMPLETED, RunStatus.COMPLETED]


@pytest.mark.parametrize("wrong", [{"secret": f"{CANARY}-wrong"}, {"key": "AKIANOSUCHKEY0000000"}], ids=["secret", "key"])
def test_wrong_credentials(client: Client, s3_server: S3Server, wrong: dict[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    """A wrong secret key or key id is told from everything else, says what to look at, and is not shown."""
    bucket = s3_server.bucket("test-wrong")
    register(client, s3_server, bucket, **wrong)
    with failing(Unauthenticated, "artifact store 'bucket' refused to write: access denied", "the secrets they refer to"):
        measuring()
    assert objects(s3_server, bucket) == {}
    out, err = capfd.readouterr()
    assert not holds_canary(out + err)


def test_a_key_that_has_become_wrong(client: Client, s3_server: S3Server) -> None:
    """A key that was good in an earlier run and is no longer fails as clearly when former outputs are looked for."""
    register(client, s3_server, s3_server.bucket("test-became-wrong"))
    run = measuring()
    client.update_secret("s3", add_or_update_values={"secret": f"{CANARY}-revoked"})
    with failing(Unauthenticated, "artifact store 'bucket' refused to look: access denied", "the secrets they refer to"):
        measuring()
    store = client.active_stack.artifact_store
    with failing(Unauthenticated, "artifact store 'bucket' refused to read: access denied"):
        store.read(run.steps["size"].outputs[0].uri)


def test_a_missing_bucket(client: Client, s3_server: S3Server) -> None:
    """A bucket that is not there is an error that names the attribute; nobody makes a bucket because of a typing mistake."""
    register(client, s3_server, "test-missing")
    with failing(NotFound, "artifact store 'bucket' has no such artifact or bucket", "'path'"):
        measuring()
    with pytest.raises(Exception, match="NoSuchBucket"):
        objects(s3_server, "test-missing")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_a_service_that_is_down(client: Client, s3_server: S3Server) -> None:
    """An address that nobody listens at is `Unavailable`, with what to look at."""
    once = {"config_kwargs": {"retries": {"max_attempts": 0}}}
    register(client, s3_server, "test-down", endpoint_url=f"http://127.0.0.1:{free_port()}", options=once)
    with failing(Unavailable, "artifact store 'bucket' failed to write (EndpointConnectionError)", "address"):
        measuring()


def test_an_artifact_of_elsewhere(client: Client, s3_server: S3Server) -> None:
    """The store reads what lies below its path and nothing else, and says what is not there."""
    bucket = s3_server.bucket("test-elsewhere")
    register(client, s3_server, bucket)
    store = client.active_stack.artifact_store
    uri = store.write("a/b", b"data")
    assert store.read(uri) == b"data"
    assert store.exists(uri)
    assert not store.exists(f"s3://{bucket}/artifacts/a/c")
    assert not store.exists(f"s3://{bucket}/artifacts/a")
    for other in (
        f"s3://{bucket}/artifacts/a/c",
        f"s3://{bucket}/other/b",
        f"s3://{bucket}/artifacts/../a/b",
        "s3://else/artifacts/a/b",
    ):
        with pytest.raises(NotFound, match="artifact store 'bucket' has no"):
            store.read(other)


@pytest.mark.parametrize(
    "changes", [{"options": {"nothing": "{{s3.secret}}"}}, {"endpoint_url": "no address"}], ids=["options", "endpoint_url"]
)
def test_attributes_that_make_no_sense(client: Client, s3_server: S3Server, changes: dict[str, object]) -> None:
    """Wrong options, or an address that is none, are an error of the configuration that repeats no value."""
    register(client, s3_server, s3_server.bucket("test-options"), **changes)
    with failing(ConfigurationError, "artifact store 'bucket' cannot be used", "attributes"):
        measuring()
