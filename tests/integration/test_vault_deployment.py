"""A deployment whose values are in a real OpenBao: the command line, a server, and what happens when the line is cut."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.client import Client
from strongroom.config import PREFIX, Settings, StoreSettings
from strongroom.errors import NotFound, Unavailable
from tests.canary import CANARY, holds_canary
from tests.fakes.relay import Relay
from tests.servers.openbao import DurableOpenBaoServer, OpenBaoServer
from tests.servers.strongroom import PASSWORD, StrongroomServer, free_port

ONE, TWO = f"{CANARY}-one", f"{CANARY}-two"


def run(variables: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """The command with these variables."""
    environment = {"PATH": "/usr/bin:/bin", **{f"{PREFIX}{name}": text for name, text in variables.items()}}
    return subprocess.run([sys.executable, "-m", "strongroom", *words], env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def variables(vault_variables: dict[str, str], local_settings: Settings) -> dict[str, str]:
    """The variables of a deployment in a folder of its own."""
    return {"CONFIG_PATH": str(local_settings.folder), **vault_variables}


@pytest.fixture
def relay(openbao: OpenBaoServer) -> Iterator[Relay]:
    """Between strongroom and OpenBao."""
    relay = Relay(openbao.port)
    yield relay
    relay.stop()


@pytest.fixture
def relayed(vault_settings: Settings, relay: Relay) -> Settings:
    """The same deployment through the relay. Its address is another one, so the store keeps its identity by a name."""
    options = dict(vault_settings.secrets_store.options) | {"vault_addr": f"http://127.0.0.1:{relay.port}", "name": "the-vault"}
    return replace(vault_settings, secrets_store=StoreSettings("vault", None, 2, tuple(sorted(options.items()))))


def test_values_are_plain_json_for_other_tools(vault_settings: Settings, openbao: OpenBaoServer) -> None:
    """Vault's own client reads them, at a path that tells whose they are."""
    with Client(vault_settings) as client:
        secret = client.create_secret(name="db", values={"user": "é", "password": "x"})
    prefix = dict(vault_settings.secrets_store.options)["prefix"]
    kv = openbao.admin.secrets.kv.v2
    (deployment,) = kv.list_secrets(prefix)["data"]["keys"]
    (attempt,) = kv.list_secrets(f"{prefix}/{deployment}{secret.id}")["data"]["keys"]
    found = kv.read_secret_version(f"{prefix}/{deployment}{secret.id}/{attempt}", raise_on_deleted_version=True)["data"]
    assert found["data"] == {"user": "é", "password": "x"}
    assert found["metadata"]["custom_metadata"] == {
        "deployment_id": deployment.strip("/"), "secret_id": secret.id, "name": "db", "scope": "workspace", "workspace": "default",
        "version": "1",
    }  # fmt: skip


def test_requests_per_call(relayed: Settings, relay: Relay) -> None:
    """A read makes one request, a create two."""
    with Client(relayed) as client:
        client.create_secret(name="warm-up", values={"k": ONE})
        before = relay.requests
        client.create_secret(name="s", values={"k": ONE})
        assert relay.requests - before == 2
        for _ in range(3):
            before = relay.requests
            assert client.get_secret("s").secret_values == {"k": ONE}
            assert relay.requests - before == 1
        before = relay.requests
        client.update_secret("s", add_or_update_values={"k": TWO})
        assert relay.requests - before == 3  # it reads what it changes


@pytest.mark.parametrize("deliver_last", [False, True])
@pytest.mark.parametrize("after", range(4))
def test_cut_at_any_call_of_a_write(relayed: Settings, relay: Relay, after: int, deliver_last: bool) -> None:
    """The write fails or has happened; the old values stay readable meanwhile, and the next write works."""
    with Client(relayed) as client:
        client.create_secret(name="s", values={"k": ONE})
        with relay.cut_after(after, deliver_last=deliver_last):
            done = after >= 3
            if done:
                client.update_secret("s", add_or_update_values={"k": TWO})
            else:
                with pytest.raises(Unavailable):
                    client.update_secret("s", add_or_update_values={"k": TWO})
        secret = client.get_secret("s")
        assert (secret.version, secret.secret_values) == ((2, {"k": TWO}) if done else (1, {"k": ONE}))
        client.update_secret("s", add_or_update_values={"l": ONE})
        assert client.get_secret("s").secret_values == {"k": TWO if done else ONE, "l": ONE}


@pytest.mark.parametrize("deliver_last", [False, True])
@pytest.mark.parametrize("after", range(2))
def test_cut_at_any_call_of_a_create(relayed: Settings, relay: Relay, after: int, deliver_last: bool) -> None:
    """A create that failed left no secret, and its name is free."""
    with Client(relayed) as client:
        client.create_secret(name="warm-up", values={"k": ONE})
        with relay.cut_after(after, deliver_last=deliver_last), pytest.raises(Unavailable):
            client.create_secret(name="s", values={"k": ONE})
        with pytest.raises(NotFound):
            client.get_secret("s")
        client.create_secret(name="s", values={"k": TWO})
        assert client.get_secret("s").secret_values == {"k": TWO}


def test_check_stores_shows_what_works(variables: dict[str, str], openbao: OpenBaoServer) -> None:
    """And what is refused, with the policy that allows it; its exit status tells too. It leaves nothing behind."""
    fine = run(variables, "server", "check-stores")
    assert (fine.returncode, fine.stderr) == (0, "")
    assert [line.strip() for line in fine.stdout.splitlines()[2:]] == ["write: ok", "read: ok", "list: ok", "delete: ok"]
    assert "with the policies default" in fine.stdout
    prefix = variables["SECRETS_STORE_PREFIX"]
    kv = openbao.admin.secrets.kv.v2
    (deployment,) = kv.list_secrets(prefix)["data"]["keys"] if _exists(openbao, prefix) else [None]
    assert deployment is None
    reader = openbao.new_token(f'path "secret/data/{prefix}/*" {{ capabilities = ["read"] }}')
    refused = run(variables | {"SECRETS_STORE_VAULT_TOKEN": reader}, "server", "check-stores", "-o", "json")
    (found,) = json.loads(refused.stdout)
    assert refused.returncode == 1
    assert found["rights"] == {"write": False, "read": True, "list": False, "delete": False}
    assert 'capabilities = ["create", "read"]' in found["policy"]
    assert openbao.new_token(run(variables, "server", "check-stores", "--policy").stdout)
    assert not holds_canary(f"{fine.stdout}{refused.stdout}")


def _exists(openbao: OpenBaoServer, prefix: str) -> bool:
    import hvac.exceptions

    try:
        openbao.admin.secrets.kv.v2.list_secrets(prefix)
    except hvac.exceptions.InvalidPath:
        return False
    return True


def test_four_ways_not_to_start(variables: dict[str, str], openbao: OpenBaoServer) -> None:
    """A typo, a wrong credential, an address where nobody is and a missing right: one line each, and what to do."""
    prefix, nowhere = variables["SECRETS_STORE_PREFIX"], free_port()
    reader = openbao.new_token(f'path "secret/data/{prefix}/*" {{ capabilities = ["read"] }}')
    server = {**variables, "ENCRYPTION_KEY_FILE": "", "SECRETS_STORE_TIMEOUT": "2"}
    ways = [
        ({"SECRETS_STORE_MOUNT_PIONT": "x"}, "has no option 'mount_piont'", "did you mean 'mount_point'?"),
        ({"SECRETS_STORE_VAULT_TOKEN": f"{CANARY}-t"}, "does not take the token", "give a new one"),
        ({"SECRETS_STORE_VAULT_ADDR": f"http://127.0.0.1:{nowhere}"}, "is out of reach", "check its address"),
        ({"SECRETS_STORE_VAULT_TOKEN": reader}, "lacks the right to 'create'", "extend the policy"),
    ]
    said = []
    for change, error, hint in ways:
        done = run({**server, **change}, "server", "start", "--port", str(free_port()))
        first, second = done.stderr.splitlines()
        assert done.returncode == 1
        assert first.startswith("Error: ")
        assert error in first
        assert second.startswith("hint: ")
        assert hint in second
        assert not holds_canary(done.stderr)
        said.append(first)
    assert len(set(said)) == 4


def test_the_store_is_killed_while_somebody_writes(local_settings: Settings) -> None:
    """On an OpenBao that keeps its data as in production: what was acknowledged is there when it is back, and writing goes on."""
    openbao = DurableOpenBaoServer()
    options = {"vault_addr": openbao.url, "vault_token": openbao.admin.token, "ca_cert": str(openbao.ca_cert)}
    settings = replace(local_settings, secrets_store=StoreSettings("vault", None, 2, tuple(sorted(options.items()))))
    acknowledged: list[int] = []
    enough, failed = threading.Event(), threading.Event()

    def write(client: Client) -> None:
        for number in itertools.count(1):
            try:
                client.update_secret("s", add_or_update_values={"k": str(number)})
            except Unavailable:
                failed.set()
                return
            acknowledged.append(number)
            if len(acknowledged) == 20:
                enough.set()

    try:
        with Client(settings) as client:
            client.create_secret("s", {"k": "0"})
            writer = threading.Thread(target=write, args=(client,))
            writer.start()
            assert enough.wait(60)
            openbao.kill()
            assert failed.wait(60)
            writer.join()
            openbao.start()
        with Client(settings) as client:
            assert int(client.get_secret("s").secret_values["k"]) == acknowledged[-1]
            client.update_secret("s", add_or_update_values={"l": "1"})
            assert client.get_secret("s").secret_values == {"k": str(acknowledged[-1]), "l": "1"}
    finally:
        openbao.stop()


@contextmanager
def serving(variables: Mapping[str, str]) -> Iterator[StrongroomServer]:
    """A server of two workers."""
    server = StrongroomServer({**variables, "ADMIN_USERNAME": "default", "ADMIN_PASSWORD": PASSWORD}, "--workers", "2")
    try:
        yield server
    finally:
        log = server.log
        server.stop()
        assert not holds_canary(log)


def test_a_server_whose_store_hangs(variables: dict[str, str], openbao: OpenBaoServer, tmp_path: Path) -> None:
    """Whoever wants values waits no longer than the store may take; everything else goes on; then all is as before."""
    from tests.callers import Caller

    with serving(variables | {"SECRETS_STORE_TIMEOUT": "1"}) as server, server.connections() as pool:
        admin = Caller(server, pool).log_in("default")
        made = admin.create("s", {"k": ONE})
        with openbao.paused():
            for _ in range(6):
                reply = admin.call("GET", f"/secrets/{made['id']}")
                assert (reply.status, reply.data["error"]["code"]) == (503, "unavailable")
            assert admin.call("GET", "/secrets").status == 200
            assert admin.call("POST", "/secrets", {"name": "t", "values": {"k": TWO}}).status == 503
            assert admin.call("GET", "/healthz", root="").status == 200
            (store,) = admin.call("GET", "/info").data["stores"]
            assert (store["type"], store["role"]) == ("vault", "primary")
            while admin.call("GET", "/readyz", root="").status == 200:  # until that worker has seen enough of it
                assert admin.call("GET", f"/secrets/{made['id']}").status == 503
            assert b'strongroom_store_up{role="primary",type="vault"} 0.0' in admin.call("GET", "/metrics", root="").body
        while (reply := admin.call("GET", f"/secrets/{made['id']}")).status != 200:
            assert reply.status == 503  # it is left alone for some seconds
        assert "a secrets store answers again" in server.log
        assert reply.data["values"] == {"k": ONE}
        while (reply := admin.call("POST", "/secrets", {"name": "t", "values": {"k": TWO}})).status != 201:
            assert reply.status == 503
