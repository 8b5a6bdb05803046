"""The `azure` secrets store keeps its promises on a fake of Key Vault that speaks as the real one does."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from azure.identity import ClientSecretCredential
from azure.keyvault.secrets import SecretClient

from strongroom.config import StoreSettings
from strongroom.connectors.azure import Endpoint, connect
from strongroom.connectors.azure_methods import AccessTokenMethod, ImplicitMethod, ServicePrincipalMethod
from strongroom.errors import ConfigurationError, StoreForbidden, StrongroomError, Unavailable, ValuesCorrupt, ValuesMissing
from strongroom.redaction import SecretText
from strongroom.secrets_stores.azure import AzureSecretsStore, Options, open_store
from strongroom.secrets_stores.base import About
from strongroom.secrets_stores.conformance import Harness, SecretsStoreConformance
from strongroom.secrets_stores.opening import open_external
from tests.canary import CANARY, holds_canary
from tests.fakes.azure import RIGHTS, TENANT, Application, Azure, TricklingServer
from tests.fakes.loopback import Answer
from tests.fakes.relay import Fault, Relay

ABOUT = About(deployment_id="d", secret_id="s", name="my_secret", scope="workspace", workspace="default")
VALUES = {"username": f"{CANARY}-user", "password": f"{CANARY}-é"}
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "store-values-in-azure.md"
SECONDS = 20


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """A Key Vault and its Entra. Tests use deployments of their own."""
    azure = Azure(tmp_path_factory.mktemp("azure"))
    yield azure
    azure.stop()


def store_of(
    azure: Azure, application: Application | None = None, deployment_id: str = "d", url: str | None = None, **options: object
) -> AzureSecretsStore:
    """A store that logs in by a client secret."""
    application = application or azure.entra.new_application()
    endpoint = Endpoint(**azure.options(**({"vault_url": url} if url else {})))
    method = ServicePrincipalMethod(
        tenant_id=TENANT, client_id=application.client_id, client_secret=SecretText(application.client_secret)
    )
    return open_store(connect(endpoint, method), Options(**options), deployment_id)  # type: ignore[arg-type]


class TestAzure(SecretsStoreConformance):
    """All of the suite."""

    value_prefix = CANARY

    @pytest.fixture
    def azure(self, tmp_path: Path) -> Iterator[Azure]:
        """One of its own for each test."""
        azure = Azure(tmp_path)
        yield azure
        azure.stop()

    @pytest.fixture
    def harness(self, azure: Azure) -> Iterator[Harness]:
        """Stores behind a relay that can lose replies."""
        relay = Relay(azure.vault.port)
        url = f"https://127.0.0.1:{relay.port}"
        application, other = azure.entra.new_application(), azure.entra.new_application()

        @contextmanager
        def forbidden() -> Iterator[None]:
            application.rights = frozenset()
            yield
            application.rights = RIGHTS

        yield Harness(
            open=lambda deployment_id: store_of(azure, application, deployment_id, url),
            other_credential=lambda deployment_id: store_of(azure, other, deployment_id, url),
            unavailable=azure.unavailable,
            reply_lost=partial(relay.fault, Fault.LOST),
            hanging=azure.hanging,
            forbidden=forbidden,
            damage=lambda locator: azure.vault.replace(f"strongroom-{locator}", '{"a": {"nested": 1}}'),
        )
        relay.stop()


def name_of(locator: str, prefix: str = "strongroom") -> str:
    """Of the secret in Key Vault."""
    return f"{prefix}-{locator}"


def bare_client(azure: Azure) -> SecretClient:
    """Microsoft's own."""
    application, file = azure.entra.new_application(), str(azure.authority.file)
    credential = ClientSecretCredential(
        TENANT,
        application.client_id,
        application.client_secret,
        authority=azure.entra.url,
        disable_instance_discovery=True,
        connection_verify=file,
    )
    return SecretClient(azure.vault.url, credential, verify_challenge_resource=False, connection_verify=file)


def put(store: AzureSecretsStore, values: dict[str, str] = VALUES) -> str:
    """Values at a fresh locator."""
    locator = store.new_locator("s")
    store.put(locator, values, ABOUT, seconds=SECONDS)
    return locator


def shows_nothing(error: BaseException | None) -> None:
    """Neither an error nor what led to it holds a value or a credential, or what the other side said."""
    while error is not None:
        assert not holds_canary(f"{error!r}{error}{vars(error)}{getattr(error, 'hint', '')}")
        assert isinstance(error, StrongroomError | OSError)
        error = error.__context__


def test_other_tools_can_read_it(azure: Azure) -> None:
    """Microsoft's client finds plain top-level JSON, its type, and whose it is."""
    store = store_of(azure, tags={"team": "ml"})
    secret_id = str(uuid4())
    locator = store.new_locator(secret_id)
    about = About(deployment_id=str(uuid4()), secret_id=secret_id, name="n" * 255, scope="user", workspace="w" * 255, version=7)
    store.put(locator, VALUES, about, seconds=SECONDS)
    with bare_client(azure) as client:
        secret = client.get_secret(name_of(locator))
    assert json.loads(secret.value or "") == VALUES
    assert secret.properties.content_type == "application/json"
    assert secret.properties.tags == {**vars(about), "version": "7", "locator": locator, "team": "ml"}
    assert locator.startswith(f"d-{secret_id.replace('-', '')}-")


def test_calls(azure: Azure) -> None:
    """A put of a new version, and a get, are one request each; a repetition looks and writes nothing; a delete is two."""
    store = store_of(azure)
    put(store)
    locator = store.new_locator("s")

    def calls(do: Callable[[], object]) -> list[str]:
        with azure.vault.counted() as requests, azure.entra.counted() as logins:
            do()
        assert logins == []
        return [f"{each.method} {each.path.split('/')[1]}" for each in requests]

    assert calls(lambda: store.put(locator, VALUES, ABOUT, seconds=SECONDS)) == ["PUT secrets"]
    assert calls(lambda: store.put(locator, VALUES, ABOUT, seconds=SECONDS)) == ["GET secrets"]
    assert calls(lambda: store.get(locator, seconds=SECONDS)) == ["GET secrets"]
    assert len(azure.vault.secrets[name_of(locator)]) == 1
    assert calls(lambda: store.delete(locator, seconds=SECONDS)) == ["DELETE secrets", "DELETE deletedsecrets"]
    unused = store.new_locator("s")
    assert calls(lambda: store.delete(unused, seconds=SECONDS)) == ["DELETE secrets", "DELETE deletedsecrets"]
    other = store_of(azure)
    with pytest.raises(ValuesMissing):
        other.get(unused, seconds=SECONDS)
    assert calls(lambda: other.put(unused, VALUES, ABOUT, seconds=SECONDS)) == ["GET secrets", "PUT secrets"]


def test_the_first_call_learns_whose_tokens_the_vault_takes(azure: Azure) -> None:
    """It costs one request of the vault more, and two of Entra; values are in none of them before the login."""
    store = store_of(azure)
    with azure.vault.counted() as requests, azure.entra.counted() as logins:
        put(store)
    assert [(each.method, bool(each.body), bool(each.bearer_token())) for each in requests] == [
        ("GET", False, False),
        ("PUT", True, True),
    ]
    assert len(logins) == 2


def test_two_stores_at_one_locator(azure: Azure) -> None:
    """A store that did not make a locator refuses other values there as well, and leaves what is there."""
    one, other = store_of(azure), store_of(azure)
    locator = put(one)
    with pytest.raises(ValuesCorrupt) as refused:
        other.put(locator, VALUES | {"more": "x"}, ABOUT, seconds=SECONDS)
    shows_nothing(refused.value)
    other.put(locator, VALUES, ABOUT, seconds=SECONDS)
    assert len(azure.vault.secrets[name_of(locator)]) == 1


def test_a_put_that_waits_for_another(azure: Azure) -> None:
    """Puts at one locator take turns, within their time."""
    store = store_of(azure)
    put(store)
    locator = store.new_locator("s")
    with azure.vault.hanging(), ThreadPoolExecutor(2) as pool:
        puts = [pool.submit(store.put, locator, VALUES, ABOUT, seconds=seconds) for seconds in (1.0, 0.3)]
        assert [type(each.exception()) for each in puts] == [Unavailable, Unavailable]
    assert azure.vault.secrets.get(name_of(locator)) is None
    store.put(locator, VALUES, ABOUT, seconds=SECONDS)


@pytest.mark.parametrize("edit", ["not JSON", '{"password": "edited"}', '{"a": 1}', ""])
def test_an_edit_by_hand_changes_nothing(azure: Azure, edit: str) -> None:
    """Whatever somebody writes over it, one gets what was put: Key Vault keeps all versions. So does a repetition of the put."""
    store = store_of(azure)
    locator = put(store)
    for _ in range(30):  # more than one answer of Key Vault lists
        azure.vault.edit(name_of(locator), edit)
    assert store.get(locator, seconds=SECONDS) == VALUES
    store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    with pytest.raises(ValuesCorrupt):
        store.put(locator, {"password": "edited"}, ABOUT, seconds=SECONDS)
    assert [each.locator for page in store.scan(seconds=SECONDS) for each in page if each.locator == locator] == [locator]


def test_deleted_by_hand(azure: Azure) -> None:
    """It is missing, the error says how to recover it, and recovered it is there; a put does not take its place meanwhile."""
    store = store_of(azure)
    locator = put(store)
    with bare_client(azure) as client:
        client.begin_delete_secret(name_of(locator))
    with pytest.raises(ValuesMissing) as missing:
        store.get(locator, seconds=SECONDS)
    assert f"recover --name {name_of(locator)}" in str(missing.value.hint)
    with pytest.raises(ValuesCorrupt, match="deleted there"):
        store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    azure.vault.secrets[name_of(locator)] = azure.vault.deleted.pop(name_of(locator))
    assert store.get(locator, seconds=SECONDS) == VALUES


def test_deletes_are_purged(azure: Azure) -> None:
    """Nothing is left in the vault, also when Key Vault takes its time: if it takes too long, a later delete purges it."""
    store = store_of(azure)
    azure.vault.busy_deleting = 2
    try:
        locator = put(store)
        store.delete(locator, seconds=SECONDS)
        assert name_of(locator) not in azure.vault.deleted
        azure.vault.busy_deleting = 1000
        slow = [put(store) for _ in range(3)]
        for each in slow:
            store.delete(each, seconds=0.3)
            with pytest.raises(ValuesMissing):
                store.get(each, seconds=SECONDS)
        assert all(name_of(each) in azure.vault.deleted for each in slow)
        azure.vault.finish_deleting()
        with azure.vault.meddling(lambda request: Answer(503, {}) if name_of(slow[0]) in request.path else None):
            store.delete(store.new_locator("s"), seconds=SECONDS)
        store.delete(store.new_locator("s"), seconds=SECONDS)
        assert not any(name_of(each) in azure.vault.deleted for each in slow)
    finally:
        azure.vault.busy_deleting = 0


def test_a_delete_that_was_cut_off(azure: Azure) -> None:
    """When the line is cut between deleting and purging, it is `Unavailable`, and the next delete purges it."""
    store = store_of(azure)
    locator = put(store)
    cut = azure.vault.meddling(lambda request: Answer(503, {}) if "deletedsecrets" in request.path else None)
    with cut, pytest.raises(Unavailable):
        store.delete(locator, seconds=SECONDS)
    store.delete(locator, seconds=SECONDS)
    assert name_of(locator) not in azure.vault.deleted


@pytest.mark.parametrize("reason", ["protection", "right", "option"])
def test_what_may_not_be_purged_is_out_of_sight(azure: Azure, reason: str) -> None:
    """With purge protection, without that right, and with `purge=false` it is deleted, recoverable, and in nobody's way."""
    application = azure.entra.new_application(rights=RIGHTS - {"purge"} if reason == "right" else RIGHTS)
    store = store_of(azure, application, purge=reason != "option")
    azure.vault.purge_protection = reason == "protection"
    try:
        locator = put(store)
        with azure.vault.counted() as requests:
            store.delete(locator, seconds=SECONDS)
        assert len(requests) == (2 if reason == "right" else 1)
        with pytest.raises(ValuesMissing):
            store.get(locator, seconds=SECONDS)
        assert name_of(locator) in azure.vault.deleted
        store.delete(locator, seconds=SECONDS)
        assert put(store) != locator
    finally:
        azure.vault.purge_protection = False


@pytest.mark.parametrize("by_access_policy", [True, False])
@pytest.mark.parametrize("right", ["get", "set", "list", "delete"])
def test_each_right_is_needed_and_named(azure: Azure, right: str, by_access_policy: bool) -> None:
    """Without one of the policy's rights the call that needs it is forbidden, and the error names it as both kinds of policies do."""
    application = azure.entra.new_application()
    store = store_of(azure, application)
    kept = put(store)
    calls: dict[str, Callable[[], object]] = {
        "get": lambda: store.get(kept, seconds=SECONDS),
        "set": lambda: put(store),
        "list": lambda: list(store.scan(seconds=SECONDS)),
        "delete": lambda: store.delete(kept, seconds=SECONDS),
    }
    application.rights, azure.vault.by_access_policy = RIGHTS - {right}, by_access_policy
    with pytest.raises(StoreForbidden, match=f"'{right}' secrets") as refused:
        calls[right]()
    action = re.search(r"Microsoft\.KeyVault/vaults/secrets/\S+", str(refused.value.hint))
    assert action
    assert action[0] in store.policy
    shows_nothing(refused.value)
    application.rights = frozenset({right})
    calls[right]()


def test_the_policy_is_the_guides() -> None:
    """It names the vault and five rights, or four if nothing is to be purged; the guide has it in full."""
    connection = connect(Endpoint(key_vault_name="my-vault"), ImplicitMethod())
    role, _, command = open_store(connection, Options(), "d").policy.partition("\n\n")
    guide = GUIDE.read_text()
    assert role in guide
    assert command in guide
    assert "purge" not in open_store(connection, Options(purge=False), "d").policy


@pytest.mark.parametrize("code", ["ForbiddenByFirewall", "ForbiddenByConnection"])
def test_a_firewall_is_told_from_a_missing_right(azure: Azure, code: str) -> None:
    """The hint is about networks."""
    store = store_of(azure)
    locator = put(store)
    azure.vault.firewall = code
    try:
        with pytest.raises(StoreForbidden, match="firewall") as refused:
            store.get(locator, seconds=SECONDS)
        shows_nothing(refused.value)
    finally:
        azure.vault.firewall = None


def test_a_disabled_secret(azure: Azure) -> None:
    """What an operator has disabled is forbidden until it is enabled, and can be deleted."""
    store = store_of(azure)
    locator = put(store)
    azure.vault.secrets[name_of(locator)][0].enabled = False
    with pytest.raises(StoreForbidden, match="disabled"):
        store.get(locator, seconds=SECONDS)
    azure.vault.secrets[name_of(locator)][0].enabled = True
    assert store.get(locator, seconds=SECONDS) == VALUES
    store.delete(locator, seconds=SECONDS)


ODD_ANSWERS: list[tuple[Answer, type[StrongroomError], str]] = [
    (Answer(429, {"error": {"code": "Throttled", "message": CANARY}}, {"Retry-After": "9"}), Unavailable, "how often .* 9 seconds"),
    (Answer(429, {}, {"Retry-After": f"9; {CANARY}"}), Unavailable, "how often"),
    (Answer(503, {"error": {"code": CANARY}}), Unavailable, "status 503"),
    (Answer(500, {}), Unavailable, "status 500"),
    (Answer(404, {"detail": CANARY}), Unavailable, "does not speak"),
    (Answer(403, {"detail": CANARY}), Unavailable, "does not speak"),
    (Answer(302, {}, {"Location": "https://example.com/"}), Unavailable, "does not speak"),
    (Answer(200, cast(Any, [CANARY])), Unavailable, "does not speak"),
    (Answer(404, {"error": {"code": "VaultNotFound", "message": CANARY}}), Unavailable, "VaultNotFound"),
    (Answer(400, {"error": {"code": "BadParameter", "message": CANARY}}), StoreForbidden, "BadParameter"),
    (Answer(409, {"error": {"code": "Conflict", "innererror": {"code": "ObjectIsBeingRecovered"}}}), Unavailable, "Recovered"),
    (Answer(403, {"error": {"code": "Forbidden", "innererror": {"code": f"New\n{'x' * 500}"}}}), StoreForbidden, "New"),
]


@pytest.mark.parametrize("case", range(len(ODD_ANSWERS)))
def test_odd_answers(azure: Azure, case: int) -> None:
    """Throttling, failures, and what is no Key Vault are told apart, and never taken for missing values; each is asked once."""
    answer, kind, text = ODD_ANSWERS[case]
    store = store_of(azure)
    kept = put(store)
    calls: list[Callable[[], object]] = [
        lambda: store.get(kept, seconds=SECONDS),
        lambda: put(store),
        lambda: store.delete(kept, seconds=SECONDS),
        lambda: list(store.scan(seconds=SECONDS)),
    ]
    for call in calls:
        with azure.vault.meddling(lambda _: answer), azure.vault.counted() as requests, pytest.raises(kind, match=text) as raised:
            call()
        assert len(requests) == 1
        assert "\n" not in str(raised.value)
        assert getattr(raised.value, "retry_after", None) == (9 if "9 seconds" in text else None)
        shows_nothing(raised.value)
    assert store.get(kept, seconds=SECONDS) == VALUES


def test_a_port_that_is_closed(azure: Azure) -> None:
    """It is `Unavailable`, and names the host."""
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1 is out of reach") as raised:
        put(store_of(azure, url="https://127.0.0.1:1"))
    shows_nothing(raised.value)


def test_an_answer_that_trickles(azure: Azure) -> None:
    """A call ends in time also when bytes keep coming, be it those of TLS or those of the answer."""
    relay, trickling = Relay(azure.vault.port), TricklingServer(azure.authority)
    slow = store_of(azure, url=f"https://127.0.0.1:{relay.port}")
    locator = put(slow)
    endpoint = Endpoint(**azure.options(vault_url=f"https://127.0.0.1:{trickling.port}"))
    slower = open_store(connect(endpoint, AccessTokenMethod(token=SecretText("x"))), Options(), "d")
    try:
        for store in (slow, slower):
            began = time.monotonic()
            with relay.fault(Fault.TRICKLES), pytest.raises(Unavailable, match="in time"):
                store.get(locator, seconds=0.5)
            assert time.monotonic() - began < 2
        assert slow.get(locator, seconds=SECONDS) == VALUES
    finally:
        relay.stop()
        trickling.stop()


def test_prefixes_are_apart(azure: Azure) -> None:
    """Where one prefix is the beginning of another, neither sees what the other has."""
    stores = [store_of(azure, prefix=prefix, deployment_id="e") for prefix in ("a", "a-e", "a-e-e")]
    locators = [put(store) for store in stores]
    for store, locator in zip(stores, locators, strict=True):
        assert [each.locator for page in store.scan(seconds=SECONDS) for each in page] == [locator]
        for other in set(locators) - {locator}:
            with pytest.raises(ValuesMissing):
                store.get(other, seconds=SECONDS)


def test_a_vault_that_others_use(azure: Azure) -> None:
    """A scan passes over what is not strongroom's, however much it is, and tells what lost its tags by its name alone."""
    store = store_of(azure, prefix="crowded", deployment_id="f")
    for number in range(60):
        azure.vault.edit(f"crowded-other-{number}", "x")
    locator, edited = put(store), put(store)
    azure.vault.edit(name_of(edited, "crowded"), "x")
    found = {each.locator: each.about for page in store.scan(seconds=SECONDS) for each in page}
    assert found == {locator: ABOUT, edited: None}


def test_the_token_goes_to_the_vault_alone(azure: Azure) -> None:
    """A next page that lies on another host is refused, and that host is not asked."""
    store = store_of(azure)
    put(store)
    link = {"value": [], "nextLink": f"{azure.entra.url}/secrets?api-version=7.4"}
    elsewhere = azure.vault.meddling(lambda _: Answer(200, link))
    with elsewhere, azure.entra.counted() as requests, pytest.raises(Unavailable, match="another host"):
        list(store.scan(seconds=SECONDS))
    assert requests == []


@pytest.mark.parametrize(
    "locator", ["../keys/x", "a-b", "d-s-../x", "", f"d-s-{'0' * 31}", f"d-s-{'0' * 32}\n", f"d-s-{'0' * 32}?x=1"]
)
def test_foreign_locators_lead_nowhere(azure: Azure, locator: str) -> None:
    """A locator that no store made cannot lead out of the prefix; nobody is asked."""
    store = store_of(azure)
    with azure.vault.counted() as requests:
        for call in (store.get, store.delete):
            with pytest.raises(ValuesMissing):
                call(locator, seconds=SECONDS)
    assert requests == []


ODD_OPTIONS: list[dict[str, Any]] = [
    *({"prefix": prefix} for prefix in ("", "Strongroom", "a_b", "a--b", "-a", "x" * 29)),
    {"name": "é"},
    {"name": "x" * 256},
    {"tags": {"locator": "x"}},
    {"tags": {str(number): "x" for number in range(9)}},
    {"tags": {"x": "y" * 257}},
    {"deployment_id": "a/b"},
    {"deployment_id": "x" * 33},
]


@pytest.mark.parametrize("options", ODD_OPTIONS, ids=lambda options: next(iter(options)))
def test_options_that_will_not_do(azure: Azure, options: dict[str, Any]) -> None:
    """A prefix, name, tag or id that cannot work is refused at once, without asking anybody."""
    with azure.vault.counted() as requests, pytest.raises(ConfigurationError):
        store_of(azure, **options)
    assert requests == []


def test_options_are_texts(azure: Azure) -> None:
    """As they are in the environment: it opens as any store does."""
    application = azure.entra.new_application()
    texts = {name: str(each).lower() if isinstance(each, bool) else each for name, each in azure.options().items()}
    texts |= {"tenant_id": TENANT, "client_id": application.client_id, "client_secret": application.client_secret}
    texts |= {"prefix": "p", "tags": '{"team": "ml"}', "purge": "false"}
    store = open_external(StoreSettings("azure", "service-principal", 10, tuple(texts.items())), "d")
    locator = store.new_locator("s")
    store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    assert azure.vault.secrets[name_of(locator, "p")][0].tags["team"] == "ml"
    store.close()


def test_the_longest_names_fit(azure: Azure) -> None:
    """The longest prefix leaves room for three ids in the 127 characters of Key Vault."""
    store = store_of(azure, prefix="x" * 28, deployment_id=str(uuid4()), tags={str(number): "y" * 256 for number in range(8)})
    locator = store.new_locator(str(uuid4()))
    store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    assert store.get(locator, seconds=SECONDS) == VALUES
    assert len(name_of(locator, "x" * 28)) == 127


def test_a_name_replaces_the_address(azure: Azure) -> None:
    """An operator's name keeps the identity when the address changes."""
    assert store_of(azure, name="the-vault").store_id == "the-vault"
    assert store_of(azure).store_id == f"azure://127.0.0.1:{azure.vault.port}/strongroom"
    endpoint = Endpoint(key_vault_name="My-Vault")
    assert open_store(connect(endpoint, ImplicitMethod()), Options(), "d").store_id == "azure://my-vault.vault.azure.net/strongroom"


def test_many_locators_are_remembered_as_fresh(azure: Azure) -> None:
    """Locators that nobody puts at cost no memory without end; an old one is looked at first."""
    store = store_of(azure)
    put(store)
    first = store.new_locator("s")
    for _ in range(10_000):
        store.new_locator("s")
    with azure.vault.counted() as requests:
        store.put(first, VALUES, ABOUT, seconds=SECONDS)
    assert [each.method for each in requests] == ["GET", "PUT"]


def test_nothing_is_logged(azure: Azure, caplog: pytest.LogCaptureFixture) -> None:
    """Neither values nor tokens are in what the libraries log, at any level."""
    caplog.set_level("DEBUG")
    store = store_of(azure)
    locator = put(store)
    store.get(locator, seconds=SECONDS)
    store.delete(locator, seconds=SECONDS)
    assert not holds_canary(caplog.text)


def test_closed_is_closed(azure: Azure) -> None:
    """A store that was closed is `Unavailable`."""
    store = store_of(azure)
    locator = put(store)
    store.close()
    with pytest.raises(Unavailable):
        store.get(locator, seconds=SECONDS)
