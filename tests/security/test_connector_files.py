"""What a secrets store takes from the database never makes this process use a file, a profile or an identity of its machine.

The cases are made from what the connectors declare: all connectors, all methods of authentication, all options.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from strongroom.client import Client
from strongroom.config import Settings, StoreSettings
from strongroom.connectors.machine import Role, names_with, options_of, takes_identity
from strongroom.errors import ConfigurationError
from strongroom.models.flavor import ComponentType
from strongroom.service.placements import ConfiguredStore
from strongroom.service.wiring import Service

KINDS = ("aws", "azure", "gcp", "vault")
SAMPLES = {
    "project_id": "a-project",
    "vault_addr": "https://vault.example.com",
    "role_arn": "arn:aws:iam::123456789012:role/a-role",
    "target_principal": "trainer@a-project.iam.gserviceaccount.com",
}
REFUSED = "and that is not taken from the database"


@dataclass(frozen=True)
class Case:
    """A method of a connector, and one of its options that has a role for the machine."""

    kind: str
    method: str
    option: str
    role: Role

    def __str__(self) -> str:
        return f"{self.kind}-{self.method}-{self.option}"


def types_of(kind: str, method: str) -> Sequence[type[Any]]:
    connector = importlib.import_module(f"strongroom.connectors.{kind}")
    return connector.Endpoint, connector.METHODS[method]


def methods() -> list[tuple[str, str]]:
    return [(kind, method) for kind in KINDS for method in importlib.import_module(f"strongroom.connectors.{kind}").METHODS]


def cases(*roles: Role) -> list[Case]:
    return [
        Case(kind, method, option, role)
        for kind, method in methods()
        for role in roles
        for option in sorted(names_with(role, types_of(kind, method)))
    ]


def needed(kind: str, method: str, but: str = "") -> dict[str, str]:
    """Options that make the method whole. Credentials are references to the secret `s`, files are none of this machine's."""
    options = {}
    for type_ in types_of(kind, method):
        for field in fields(type_):
            is_secret = "SecretText" in str(field.type)
            if field.name == but:
                continue
            if field.default is MISSING and field.default_factory is MISSING:
                options[field.name] = "{{s.text}}" if is_secret else SAMPLES.get(field.name, "text")
    if (kind, method) == ("azure", "service-principal") and but != "client_certificate_path":
        options["client_secret"] = "{{s.text}}"
    if (kind, method) == ("vault", "jwt") and but != "jwt_path":
        options["jwt"] = "{{s.text}}"
    return options


class Deployment:
    """One with a connector in its database, which is opened as a server does."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.opened: list[StoreSettings] = []

    def register(self, kind: str, method: str, options: dict[str, str], **values: str) -> None:
        with Client(self.settings) as client:
            client.create_secret("s", {"text": "text", **values})
            configuration = {"auth_method": method, **options}
            client.create_component("c", type=ComponentType.SERVICE_CONNECTOR, flavor=kind, configuration=configuration)

    def open(self, kind: str, role: str = "primary", folders: Sequence[Path] = (), **own: str) -> None:
        store = StoreSettings(kind, options=tuple({"connector": "c", **own}.items()))
        stores = (store, StoreSettings("sql")) if role == "primary" else (StoreSettings("sql"), store)
        settings = replace(self.settings, secrets_store=stores[0], backup_secrets_store=stores[1], connector_folders=tuple(folders))

        def open_stores(given: Settings, deployment_id: str) -> list[ConfiguredStore]:
            self.opened += [each for each in (given.secrets_store, given.backup_secrets_store) if each and each.type == kind]
            return [ConfiguredStore("primary", "sql", 10, None)]

        Service(settings, open_stores).close()

    def refused(self, kind: str, option: str, **how: Any) -> ConfigurationError:
        opened = len(self.opened)
        with pytest.raises(ConfigurationError, match=REFUSED) as caught:
            self.open(kind, **how)
        assert f"({option})" in caught.value.message
        assert len(self.opened) == opened
        return caught.value


@pytest.fixture
def deployment(local_settings: Settings) -> Deployment:
    return Deployment(local_settings)


@pytest.mark.parametrize("case", cases(Role.FILE), ids=str)
def test_files_come_from_the_settings(deployment: Deployment, tmp_path: Path, case: Case) -> None:
    """A file that the database names is refused, also by a reference, by way of a link, and out of an allowed folder again.

    It is taken in a folder that is allowed, and when the settings name it. What is refused shows no path.
    """
    allowed, outside = tmp_path / "allowed", tmp_path / "outside"
    allowed.mkdir()
    outside.mkdir()
    (allowed / "token").write_text("t")
    (outside / "key").write_text("k")
    (allowed / "link").symlink_to(outside / "key")
    (tmp_path / "way").symlink_to(allowed)
    options = needed(case.kind, case.method, but=case.option)
    others = {each.name for each in options_of(*types_of(case.kind, case.method), options) if each.role is Role.FILE} - {case.option}
    own = dict.fromkeys(others, "/a/file")
    refused = [str(outside / "key"), str(allowed / "link"), f"{allowed}/../outside/key", f"{allowed}-not/token", "token", "\0"]
    deployment.register(case.kind, case.method, {**options, case.option: "{{s.path}}"}, path="-")
    for path in refused:
        with Client(deployment.settings) as client:
            client.update_secret("s", add_or_update_values={"path": path})
        error = deployment.refused(case.kind, case.option, folders=[allowed], **own)
        assert path == "token" or path not in f"{error}{error.hint}"
        assert "STRONGROOM_CONNECTOR_FOLDERS" in str(error.hint)
    for path, folder in ((allowed / "token", allowed), (allowed / "token", tmp_path / "way"), (tmp_path / "way/token", allowed)):
        with Client(deployment.settings) as client:
            client.update_secret("s", add_or_update_values={"path": str(path)})
        deployment.open(case.kind, folders=[folder], **own)
    error = deployment.refused(case.kind, case.option, role="backup", **own)
    assert f"STRONGROOM_BACKUP_SECRETS_STORE_{case.option.upper()}" in str(error.hint)
    deployment.open(case.kind, **own, **{case.option: str(outside / "key")})
    assert [dict(each.options)[case.option] for each in deployment.opened[-2:]] == [str(tmp_path / "way/token"), str(outside / "key")]


DEFAULTS = [
    (kind, method, option.name)
    for kind, method in methods()
    for option in options_of(*types_of(kind, method), {})
    if option.role is Role.FILE
]


@pytest.mark.parametrize(("kind", "method", "option"), DEFAULTS)
def test_default_files_are_files(deployment: Deployment, kind: str, method: str, option: str) -> None:
    """A method that reads a file of its own choice, such as a pod's token, is refused when the database chooses the method."""
    deployment.register(kind, method, needed(kind, method))
    deployment.refused(kind, option)
    default = next(each.value for each in options_of(*types_of(kind, method), {}) if each.name == option)
    deployment.open(kind, folders=[Path(default).parent])


@pytest.mark.parametrize("case", cases(Role.PROFILE), ids=str)
def test_profiles_come_from_the_settings(deployment: Deployment, case: Case) -> None:
    """A profile may name any file or program, so the database does not choose one."""
    deployment.register(case.kind, case.method, {**needed(case.kind, case.method), case.option: "p"})
    deployment.refused(case.kind, case.option, folders=[Path("/tmp")])


SOURCES = {
    "a file": {"file": "/etc/hostname"},
    "a program": {"executable": {"command": "/bin/true"}},
    "a program beside a file": {"file": "ALLOWED", "executable": {"command": "/bin/true"}},
    "variables": {"environment_id": "aws1"},
    "an address": {"url": "http://169.254.169.254/"},
    "a certificate": {"certificate": {"use_default_certificate_config": True}},
    "a certificate's file": {"certificate": {"certificate_config_location": "/etc/hostname"}},
    "no text": {"file": ["/etc/hostname"]},
    "a text": "file",
    "what nobody knows": {"file": "ALLOWED", "newer": "x"},
}


@pytest.mark.parametrize("source", SOURCES, ids=str)
@pytest.mark.parametrize("case", cases(Role.DOCUMENT), ids=str)
def test_documents_name_files_only_where_allowed(deployment: Deployment, tmp_path: Path, case: Case, source: str) -> None:
    """A JSON in a secret names no program, variable or address of the machine, and a file only in a folder that is allowed."""
    text = msgspec.json.encode({"type": "external_account", "credential_source": SOURCES[source]}).decode()
    options = {**needed(case.kind, case.method), case.option: "{{s.document}}"}
    deployment.register(case.kind, case.method, options, document=text.replace("ALLOWED", str(tmp_path / "token")))
    deployment.refused(case.kind, case.option, folders=[tmp_path])


@pytest.mark.parametrize("case", cases(Role.DOCUMENT), ids=str)
def test_documents_may_name_an_allowed_file(deployment: Deployment, tmp_path: Path, case: Case) -> None:
    """A JSON may name a file in a folder that is allowed; what is no such JSON reads nothing, and the login refuses it."""
    source = {"file": str(tmp_path / "token"), "format": {"type": "text"}}
    text = msgspec.json.encode({"type": "external_account", "credential_source": source}).decode()
    options = {**needed(case.kind, case.method), case.option: "{{s.document}}"}
    deployment.register(case.kind, case.method, options, document=text)
    deployment.open(case.kind, folders=[tmp_path])
    for other in ("no JSON", "[]", "{}", '{"credential_source": null}'):
        with Client(deployment.settings) as client:
            client.update_secret("s", add_or_update_values={"document": other})
        deployment.open(case.kind)


IDENTITIES = [(kind, method) for kind, method in methods() if takes_identity(types_of(kind, method)[1], {})]


@pytest.mark.parametrize(("kind", "method"), IDENTITIES)
def test_the_machines_own_identity_goes_where_the_settings_say(deployment: Deployment, kind: str, method: str) -> None:
    """A login by what the machine has goes to the vendor, or to an address of the settings, never to one of the database."""
    addresses = sorted(names_with(Role.ADDRESS, types_of(kind, method)))
    assert addresses
    deployment.register(kind, method, needed(kind, method))
    deployment.open(kind)
    for address in addresses:
        with Client(deployment.settings) as client:
            client.update_component(ComponentType.SERVICE_CONNECTOR, "c", configuration={address: "https://evil.example.com"})
        error = deployment.refused(kind, address)
        assert f"STRONGROOM_SECRETS_STORE_{address.upper()}" in str(error.hint)
        deployment.open(kind, **{address: "https://ours.example.com"})
        with Client(deployment.settings) as client:
            client.update_component(ComponentType.SERVICE_CONNECTOR, "c", remove=[address])


SUSPICIOUS = re.compile(r"path|file|cert$|profile|external_account|addr|url|endpoint|authority|folder|command|process|environ")


@pytest.mark.parametrize(("kind", "method"), methods())
def test_every_option_of_such_a_name_has_a_role(kind: str, method: str) -> None:
    """An option whose name speaks of files, programs or addresses says what it means for the machine."""
    for type_ in types_of(kind, method):
        declared = {name for role in Role for name in names_with(role, [type_])}
        named = {field.name for field in fields(type_) if SUSPICIOUS.search(field.name)}
        assert named <= declared


def test_check_stores_says_what_is_needed(local_settings: Settings, tmp_path: Path) -> None:
    """`strongroom server check-stores` names the connector, the option and the settings that would do; it reads no file."""
    Deployment(local_settings).register(
        "vault", "jwt", {"role": "r", "vault_addr": "https://127.0.0.1:1", "jwt_path": "/etc/hostname"}
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "STRONGROOM_CONFIG_PATH": str(local_settings.folder),
        "STRONGROOM_SECRETS_STORE_TYPE": "vault",
        "STRONGROOM_SECRETS_STORE_CONNECTOR": "c",
        "STRONGROOM_BACKUP_SECRETS_STORE_TYPE": "sql",
    }
    command = [str(Path(sys.executable).parent / "strongroom"), "server", "check-stores"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert f"the service connector 'c' names a file (jwt_path), {REFUSED}" in ended.stderr
    assert "set STRONGROOM_SECRETS_STORE_JWT_PATH, or add its folder to STRONGROOM_CONNECTOR_FOLDERS" in ended.stderr
