"""Reads through secrets stores beside the vendors' own libraries, in one process: what does strongroom add?

    make .venv/test && .venv/bin/python -m bench.stores

One client of strongroom on an embedded index, one of the vendor's library, both on connections that are kept, asked in turns for
values of the same size: two keys. `vault` is a real OpenBao, `aws` is moto's server in a process of its own. A column says how long
one call takes, as the median of its rounds; the ratios are what matters. `store` is the store alone, `client` is
`Client.get_secret`, with the look-up in the index, the check of the digest and the audit trail that a client has.

    --backup N   also copies N secrets from the database to OpenBao by `backup_secrets`, beside a loop of hvac with as many threads
"""

from __future__ import annotations

import argparse
import json
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from strongroom.client import Client
from strongroom.config import PREFIX, read_settings
from strongroom.secrets_stores.base import About
from strongroom.secrets_stores.opening import open_external
from strongroom.service.transfers import AT_ONCE

ROUNDS, STEPS = 15, 60
VALUES = {"username": "somebody", "password": "a password of the usual length"}
ABOUT = About(deployment_id="bench", secret_id="bench", name="bench", scope="workspace", workspace="default")


def main() -> None:
    """Prints the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--backup", type=int, metavar="N", default=0, help="also back up N secrets")
    wanted = parser.parse_args()
    print(f"{'':24}{'library':>12}{'store':>12}{'client':>12}   store/library   client/library")
    with openbao() as (url, token):
        compare("read from vault", *of_vault(url, token))
    with moto() as url:
        compare("read from aws", *of_aws(url))
    if wanted.backup:
        with openbao() as (url, token):
            back_up(wanted.backup, url, token)


def compare(what: str, library: Callable[[], object], variables: dict[str, str]) -> None:
    """One line: the library, the store and the client, in turns."""
    settings = read_settings({f"{PREFIX}{name}": text for name, text in variables.items()})
    store = open_external(settings.secrets_store, "bench")
    locator = store.new_locator("bench")
    store.put(locator, VALUES, ABOUT, seconds=10)
    with Client(settings) as client:
        client.create_secret("bench", VALUES)
        calls = [library, lambda: store.get(locator, seconds=10), lambda: client.get_secret("bench").secret_values]
        for call in calls:
            call()
        rounds = [[one_round(call) for call in calls] for _ in range(ROUNDS)]
    store.close()
    times = [statistics.median(each) for each in zip(*rounds, strict=True)]
    ratios = [statistics.median(row[column] / row[0] for row in rounds) for column in (1, 2)]
    print(f"{what:24}{times[0]:9.0f} µs{times[1]:9.0f} µs{times[2]:9.0f} µs{ratios[0]:16.2f}{ratios[1]:17.2f}")


def one_round(call: Callable[[], object]) -> float:
    """Microseconds per call."""
    started = time.perf_counter()
    for _ in range(STEPS):
        call()
    return (time.perf_counter() - started) / STEPS * 1e6


def of_vault(url: str, token: str) -> tuple[Callable[[], object], dict[str, str]]:
    """A read of hvac's, and what strongroom is told."""
    import hvac

    kv = hvac.Client(url, token=token).secrets.kv.v2
    kv.create_or_update_secret("bench", VALUES)
    variables = {"CONFIG_PATH": tempfile.mkdtemp(), "SECRETS_STORE_TYPE": "vault", "SECRETS_STORE_VAULT_ADDR": url}
    return lambda: kv.read_secret_version("bench", raise_on_deleted_version=True), variables | {"SECRETS_STORE_VAULT_TOKEN": token}


def of_aws(url: str) -> tuple[Callable[[], object], dict[str, str]]:
    """A read of boto3's, and what strongroom is told."""
    import boto3

    keys = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench"}
    sdk = boto3.client("secretsmanager", endpoint_url=url, region_name="eu-central-1", **keys)
    sdk.create_secret(Name="bench", SecretString=json.dumps(VALUES))
    method = json.dumps({**keys, "region": "eu-central-1", "endpoint_url": url})
    variables = {"CONFIG_PATH": tempfile.mkdtemp(), "SECRETS_STORE_TYPE": "aws", "SECRETS_STORE_AUTH_METHOD": "secret-key"}
    return lambda: sdk.get_secret_value(SecretId="bench", VersionStage="AWSCURRENT"), variables | {
        "SECRETS_STORE_AUTH_CONFIG": method
    }


def back_up(number: int, url: str, token: str) -> None:
    """Copies so many secrets, beside a loop of hvac, and says how much memory grew meanwhile."""
    import hvac

    folder = tempfile.mkdtemp()
    with Client(read_settings({f"{PREFIX}CONFIG_PATH": folder})) as client:
        for position in range(number):
            client.create_secret(f"s{position}", VALUES)
    client = hvac.Client(url, token=token)
    started = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda each: client.secrets.kv.v2.create_or_update_secret(f"bare/{each}", VALUES, cas=0), range(number)))
    bare = number / (time.perf_counter() - started)
    variables = {"CONFIG_PATH": folder, "BACKUP_SECRETS_STORE_TYPE": "vault", "BACKUP_SECRETS_STORE_VAULT_ADDR": url}
    settings = read_settings(
        {f"{PREFIX}{name}": text for name, text in (variables | {"BACKUP_SECRETS_STORE_VAULT_TOKEN": token}).items()}
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    with Client(settings) as ours:
        report = ours.backup_secrets()
    rate = number / (time.perf_counter() - started)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"\nbackup of {report.done} secrets, {AT_ONCE} at once: {rate:.0f}/s, hvac alone {bare:.0f}/s, ratio {rate / bare:.2f};")
    print(f"the most memory grew by {grown:.1f} MiB meanwhile; {report.failed} failed")


@contextmanager
def openbao() -> Iterator[tuple[str, str]]:
    """A server for development: its address, and a token that may do everything."""
    with openbao_process() as (url, token, _):
        yield url, token


@contextmanager
def openbao_process() -> Iterator[tuple[str, str, subprocess.Popen[bytes]]]:
    """The same with its process."""
    port, token = free_port(), "bench"
    binary = str(Path(sys.executable).parent / "bao")
    words = ["server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={token}", f"-dev-listen-address=127.0.0.1:{port}"]
    with running([binary, *words], port) as process:
        import hvac

        client = hvac.Client(f"http://127.0.0.1:{port}", token=token)
        wait_for(lambda: client.secrets.kv.v2.create_or_update_secret("ready", VALUES))
        yield f"http://127.0.0.1:{port}", token, process


@contextmanager
def moto() -> Iterator[str]:
    """Moto's server."""
    port = free_port()
    with running([str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)], port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def running(command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server that listens."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close())
        yield process
    finally:
        process.terminate()
        process.wait(30)


def wait_for(attempt: Callable[[], Any]) -> None:
    """Returns when the attempt succeeds, within 30 seconds."""
    end = time.monotonic() + 30
    while True:
        try:
            attempt()
        except Exception:  # whatever a library raises until its server is ready; the last one is shown
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
