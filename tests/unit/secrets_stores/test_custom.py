"""Custom stores: both shapes keep the promises of a store, and what is wrong with a class is told at the start."""

from __future__ import annotations

import logging
import subprocess
import sys
import traceback
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest

from strongroom.config import PREFIX, StoreSettings
from strongroom.errors import ConfigurationError, Unavailable, ValuesCorrupt
from strongroom.secrets_stores.base import About, SecretsStore
from strongroom.secrets_stores.conformance import Harness, SecretsStoreConformance
from strongroom.secrets_stores.custom import CustomSecretsStore
from strongroom.secrets_stores.memory import Shelf, Trouble
from strongroom.secrets_stores.opening import open_external
from strongroom.secrets_stores.whole_secrets import SecretFilterModel
from tests.canary import CANARY, holds_canary
from tests.unit.secrets_stores import custom_stores
from tests.unit.secrets_stores.custom_stores import DRAWERS, SHELVES, Drawer

ROOT = Path(__file__).parents[3]
MODULE = "tests.unit.secrets_stores.custom_stores"
ABOUT = About(deployment_id="d", secret_id="s", name="n", scope="workspace", workspace="default")


def opened(class_path: str, deployment_id: str = "d", **options: str) -> SecretsStore:
    """The store as the settings say."""
    return open_external(StoreSettings("custom", options=tuple({"class_path": class_path, **options}.items())), deployment_id)


class TestVersions(SecretsStoreConformance):
    """The small shape."""

    value_prefix = CANARY

    @pytest.fixture
    def harness(self) -> Harness:
        """On a shelf of its own."""
        name = uuid.uuid4().hex
        shelf = SHELVES[name] = Shelf(name)
        return Harness(
            open=lambda deployment_id: opened(f"{MODULE}:Versions", deployment_id, shelf=name),
            other_credential=lambda deployment_id: opened(f"{MODULE}:Versions", deployment_id, shelf=name, token="other"),
            unavailable=lambda: shelf.trouble(Trouble.UNAVAILABLE),
            reply_lost=lambda: shelf.trouble(Trouble.REPLY_LOST),
            hanging=lambda: shelf.trouble(Trouble.HANGS),
            forbidden=lambda: shelf.trouble(Trouble.FORBIDDEN),
            damage=shelf.damage,
        )


class TestWholeSecrets(SecretsStoreConformance):
    """The shape of the guide, through the adapter."""

    value_prefix = CANARY

    @pytest.fixture
    def harness(self) -> Harness:
        """In a drawer of its own."""
        name = uuid.uuid4().hex
        drawer = DRAWERS[name] = Drawer()

        def damage(locator: str) -> None:
            for secret in drawer.secrets.values():
                if secret.name == locator:
                    secret.values = {"k": None}

        return Harness(
            open=lambda deployment_id: opened(f"{MODULE}.MySecretsStore", deployment_id, drawer=name),
            other_credential=lambda deployment_id: opened(f"{MODULE}.MySecretsStore", deployment_id, drawer=name),
            unavailable=lambda: drawer.in_trouble(Trouble.UNAVAILABLE),
            reply_lost=lambda: drawer.in_trouble(Trouble.REPLY_LOST),
            hanging=lambda: drawer.in_trouble(Trouble.HANGS),
            forbidden=lambda: drawer.in_trouble(Trouble.FORBIDDEN),
            damage=damage,
        )


class TestTheGuide(SecretsStoreConformance):
    """The class that the guide shows."""

    value_prefix = "not the canary: these values are in files"

    @pytest.fixture
    def harness(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Harness:
        """In a folder of its own."""
        guide = (ROOT / "docs/guides/write-a-custom-secrets-store.md").read_text()
        name = f"my_store_{uuid.uuid4().hex}"
        (tmp_path / f"{name}.py").write_text(guide.partition("<<'EOF'\n")[2].partition("\nEOF\n")[0])
        monkeypatch.syspath_prepend(tmp_path)
        folder = str(tmp_path / "values")
        return Harness(open=lambda deployment_id: opened(f"{name}:FolderStore", deployment_id, folder=folder))


@pytest.mark.parametrize(
    ("class_path", "text"),
    [
        ("", "needs the option 'class_path'"),
        ("no.such.module:Class", "cannot be loaded: there is no module 'no'"),
        (f"{MODULE}:Missing", "the module has no class 'Missing'"),
        ("Versions", "cannot be loaded"),
        (":", "cannot be loaded"),
        (f"{MODULE}:SHELVES", "the module has no class 'SHELVES'"),
        (f"{MODULE}:NotAStore", "does not inherit from BaseSecretsStore"),
        (f"{MODULE}:WithoutType", "does not say TYPE"),
        (f"{MODULE}:Half", "lacks the methods: list_secrets, delete_secret"),
        (f"{MODULE}:Nothing", "lacks the methods: put, get, delete, scan"),
        (f"{MODULE}:OddConfig", "CONFIG_TYPE of the custom secrets store OddConfig"),
        (f"{MODULE}:Failing", "cannot be initialized: RuntimeError"),
        (f"{MODULE}:Refusing", "cannot be initialized: the shelf is not there"),
        (f"{MODULE}:Long", "the store id of"),
    ],
)
def test_what_is_wrong_is_told(class_path: str, text: str) -> None:
    """No class path, no module or class, another base class, a bad option or a failing `_initialize`: each in its own words."""
    with pytest.raises(ConfigurationError, match=text) as caught:
        opened(class_path, shelf="s", token=f"{CANARY}-token")
    assert not holds_canary("".join(traceback.format_exception(caught.value)))


@pytest.mark.parametrize(
    ("options", "text", "hint"),
    [
        ({"shelv": "x"}, "has no option 'shelv'", "did you mean 'shelf'?"),
        ({}, "needs the option 'shelf'", None),
        ({"shelf": "x", "loud": f"{CANARY}"}, "the option 'loud' of the secrets store Versions is true or false", None),
    ],
)
def test_bad_options_are_told(options: Mapping[str, str], text: str, hint: str | None) -> None:
    """By their names, with what was probably meant; never what was given."""
    with pytest.raises(ConfigurationError, match=text) as caught:
        opened(f"{MODULE}:Versions", **options)
    assert hint is None or caught.value.hint == hint
    assert not holds_canary(f"{caught.value}{caught.value.hint}")


def test_options_are_typed() -> None:
    """As the class says, whatever the order of its attributes; credentials are masked."""
    store = opened(f"{MODULE}:Versions", shelf="s", loud="true", token=f"{CANARY}-t", name="mine")
    assert isinstance(store, CustomSecretsStore)
    config = store._inner.config
    assert (config.region, config.shelf, config.loud, config.token.reveal()) == ("eu", "s", True, f"{CANARY}-t")
    assert not holds_canary(repr(config))
    assert store.store_id == "mine"


def test_no_value_in_errors_of_others(caplog: pytest.LogCaptureFixture) -> None:
    """What somebody else's code says in an error is not shown, nor kept as its cause."""
    caplog.set_level(logging.DEBUG)
    store = opened(f"{MODULE}:Careless", shelf="s")
    with pytest.raises(Unavailable, match="failed to put: RuntimeError") as caught:
        store.put(store.new_locator("s"), {"k": f"{CANARY}-v"}, ABOUT, seconds=5)
    assert not holds_canary("".join(traceback.format_exception(caught.value)))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_class_that_hangs_costs_no_more_than_the_time_of_a_call() -> None:
    """The call is given up, and the next ones are made all the same."""
    store = opened(f"{MODULE}:Stuck", shelf="s")
    for _ in range(3):
        with pytest.raises(Unavailable, match="in time"):
            store.get("x", seconds=0.05)
    assert store.get("x", seconds=20) == {}
    store.close()


def test_the_adapter_leaves_other_secrets_alone() -> None:
    """A store of whole secrets may hold some that are not ours: they are neither found nor touched."""
    name = uuid.uuid4().hex
    store = opened(f"{MODULE}:MySecretsStore", drawer=name)
    drawer = DRAWERS[name]
    mine = custom_stores.SecretRequestModel(name="by hand", values={"k": custom_stores.SecretText("v")})
    inner = custom_stores.MySecretsStore(custom_stores.MyStoreConfiguration(drawer=name), "d")
    inner.create_secret(mine)
    assert list(store.scan(seconds=5)) == []
    locators = [store.new_locator("s") for _ in range(250)]
    for locator in locators:
        store.put(locator, {"k": locator}, ABOUT, seconds=5)
    assert sorted(found.locator for page in store.scan(seconds=5) for found in page) == sorted(locators)
    for locator in locators:
        store.delete(locator, seconds=5)
    assert [each.name for each in drawer.secrets.values()] == ["by hand"]
    assert inner.list_secrets(SecretFilterModel()).total == 1


def test_a_secret_that_somebody_changed_is_corrupt() -> None:
    """A put does not take it for its own."""
    name = uuid.uuid4().hex
    store = opened(f"{MODULE}:MySecretsStore", drawer=name)
    locator = store.new_locator("s")
    store.put(locator, {"k": "v"}, ABOUT, seconds=5)
    for secret in DRAWERS[name].secrets.values():
        secret.values = {"k": custom_stores.SecretText("w")}
    with pytest.raises(ValuesCorrupt):
        store.put(locator, {"k": "v"}, ABOUT, seconds=5)


def test_the_command_line_keeps_values_there(tmp_path: Path) -> None:
    """With the class on the path of Python, and the variables of the guide."""
    (tmp_path / "my_store.py").write_text(
        "import json, pathlib\n"
        "from strongroom.secrets_stores.custom import BaseSecretsStore, SecretsStoreConfiguration, SecretsStoreType\n"
        "from strongroom.errors import ValuesMissing\n"
        "class Config(SecretsStoreConfiguration):\n"
        "    folder: str\n"
        "class FolderStore(BaseSecretsStore):\n"
        "    TYPE, CONFIG_TYPE = SecretsStoreType.CUSTOM, Config\n"
        "    def _file(self, locator): return pathlib.Path(self.config.folder) / locator.replace('/', '+')\n"
        "    def put(self, locator, values, about, *, seconds): self._file(locator).write_text(json.dumps(dict(values)))\n"
        "    def get(self, locator, *, seconds):\n"
        "        try: return json.loads(self._file(locator).read_text())\n"
        "        except FileNotFoundError: raise ValuesMissing('no file') from None\n"
        "    def delete(self, locator, *, seconds): self._file(locator).unlink(missing_ok=True)\n"
        "    def scan(self, *, seconds): return iter(())\n"
    )
    (tmp_path / "values").mkdir()
    variables = {
        "CONFIG_PATH": str(tmp_path / "state"),
        "SECRETS_STORE_TYPE": "custom",
        "SECRETS_STORE_CLASS_PATH": "my_store:FolderStore",
        "SECRETS_STORE_FOLDER": str(tmp_path / "values"),
    }

    def run(*words: str) -> str:
        environment = {"PYTHONPATH": str(tmp_path), **{f"{PREFIX}{name}": text for name, text in variables.items()}}
        done = subprocess.run(
            [sys.executable, "-m", "strongroom", *words], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("secret", "create", "s", "--k=v")
    assert run("secret", "get", "s", "--key", "k") == "v"

    def stored() -> list[str]:
        texts = [path.read_text() for path in (tmp_path / "values").iterdir()]
        return [text for text in texts if "strongroom-marker" not in text]

    assert stored() == ['{"k": "v"}']
    run("secret", "delete", "s", "-y")
    assert stored() == []
    assert "custom at custom:my_store:FolderStore" in run("server", "check-stores")
