"""Settings from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.config import PREFIX, STORE_VARIABLES, VARIABLES, Settings, StoreSettings, ValidationLevel, debug, read_settings
from strongroom.errors import ConfigurationError
from tests.canary import CANARY, holds_canary


def test_defaults_are_local_and_touch_no_disk(tmp_path: Path) -> None:
    """Without settings there is an SQLite database in the platform's folder, which is not made yet."""
    settings = read_settings({})
    assert settings.folder.name == "strongroom"
    assert settings.folder.is_relative_to(tmp_path / "home")
    assert settings.is_local_database
    assert (settings.encryption_key, settings.encryption_key_file, settings.encryption_key_store) == (None, None, "file")
    assert settings.keep_versions == 10
    assert settings.database_timeout == 10
    assert not (tmp_path / "home").exists()


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without an argument, the environment of the process counts."""
    monkeypatch.setenv("STRONGROOM_CONFIG_PATH", str(tmp_path / "here"))
    assert read_settings().folder == tmp_path / "here"


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("STRONGROOM_ENCRYPTION_KEYS", "STRONGROOM_ENCRYPTION_KEY"),
        ("STRONGROOM_DATABSE_URL", "STRONGROOM_DATABASE_URL"),
        ("STRONGROOM_CONFIGPATH", "STRONGROOM_CONFIG_PATH"),
        ("STRONGROOM_KEEP_VERSION", "STRONGROOM_KEEP_VERSIONS"),
        ("STRONGROOM_SECRET_STORE_TYPE", "STRONGROOM_SECRETS_STORE_TYPE"),
        ("STRONGROOM_SECRETS_STORES_AUTH_CONFIG", "STRONGROOM_SECRETS_STORE_AUTH_CONFIG"),
        ("STRONGROOM_BACKUP_SECRET_STORE_AUTH_METHOD", "STRONGROOM_BACKUP_SECRETS_STORE_AUTH_METHOD"),
        ("STRONGROOM_SECRETS_STORE_", "STRONGROOM_SECRETS_STORE_TYPE"),
        ("STRONGROOM_XYZ", None),
        ("STRONGROOM_", None),
    ],
)
@pytest.mark.parametrize("text", ["x", ""])
def test_unknown_settings_are_refused(name: str, guess: str | None, text: str) -> None:
    """A typo in a setting's name, even of an empty one, is an error that names the nearest setting."""
    with pytest.raises(ConfigurationError) as caught:
        read_settings({name: text})
    assert name in str(caught.value)
    assert caught.value.hint == (f"did you mean {guess}?" if guess else "unset it")


def test_foreign_variables_are_none_of_our_business() -> None:
    """Variables without our prefix are ignored."""
    assert read_settings({"PATH": "/bin", "MY_STRONGROOM_X": "1", "strongroom_x": "1"}) == read_settings({})


def test_every_variable_is_accepted(tmp_path: Path) -> None:
    """Each documented variable can be set, and an empty one counts as unset."""
    given = {
        "ACTIVE_STACK": "a-stack",
        "ACTIVE_WORKSPACE": "a-workspace",
        "ADMIN_PASSWORD": "a-password",
        "ADMIN_USERNAME": "a-name",
        "API_KEY": "a-key",
        "AUDIT": "all",
        "AUDIT_ANCHOR": "/a/folder",
        "CA_CERT": "/a/file",
        "CLIENT_TIMEOUT": "75",
        "CONFIG_FILE": str(tmp_path / "config.yaml"),
        "CONFIG_PATH": str(tmp_path),
        "CONNECTOR_FOLDERS": "/a/folder",
        "DATABASE_TIMEOUT": "20",
        "DATABASE_URL": "postgresql://host/database",
        "DEBUG": "1",
        "ENCRYPTION_KEY": "a-key",
        "ENCRYPTION_KEY_FILE": "/a/file",
        "ENCRYPTION_KEY_STORE": "keyring",
        "INSECURE": "1",
        "KEEP_VERSIONS": "3",
        "RUN_TOKEN": "a-token",
        "SECRET_VALIDATION_LEVEL": "NONE",
        "SERVER_URL": "https://a-host",
        "SERVER_WAIT": "60",
        "TRUSTED_PROXIES": "10.0.0.0/20",
    }
    assert set(given) == set(VARIABLES)
    (tmp_path / "config.yaml").touch()
    both = {"STRONGROOM_ADMIN_PASSWORD": "a-password", "STRONGROOM_ADMIN_USERNAME": "a-name"}
    for name, text in given.items():
        read_settings({f"STRONGROOM_{name}": text} | (both if name.startswith("ADMIN") else {}))
    assert read_settings({f"STRONGROOM_{name}": "" for name in given}) == read_settings({})


@pytest.mark.parametrize("text", ["1", "2", "10000"])
def test_kept_versions_within_bounds(text: str) -> None:
    """One to ten thousand versions can be kept."""
    assert read_settings({"STRONGROOM_KEEP_VERSIONS": text}).keep_versions == int(text)


@pytest.mark.parametrize("text", ["0", "10001", "-1", "1.5", "many", " 5", "+5", "1e3", "٣", "²", "9" * 5000])
def test_kept_versions_out_of_bounds(text: str) -> None:
    """Anything else is refused by name."""
    with pytest.raises(ConfigurationError, match="STRONGROOM_KEEP_VERSIONS is a number from 1 to 10000"):
        read_settings({"STRONGROOM_KEEP_VERSIONS": text})


def test_trusted_proxies_are_networks() -> None:
    """Addresses and networks of both families, with blanks around them; anything else is refused."""
    given = read_settings({"STRONGROOM_TRUSTED_PROXIES": "10.1.2.3, 192.168.17.7/20,::1 ,fd00:0:0:1::/64"})
    assert given.trusted_proxies == ("10.1.2.3/32", "192.168.16.0/20", "::1/128", "fd00:0:0:1::/64")
    for text in ("*", "10.0.0.0/8,", "proxy.example.com", "10.0.0.0/33", " "):
        with pytest.raises(ConfigurationError, match="STRONGROOM_TRUSTED_PROXIES is a list"):
            read_settings({"STRONGROOM_TRUSTED_PROXIES": text})


@pytest.mark.parametrize(
    "network", [*(f"10.0.0.0/{bits}" for bits in range(20)), *(f"fd00::/{bits}" for bits in range(64)), "::ffff:10.0.0.0/115"]
)
def test_wide_networks_are_no_trusted_proxies(network: str) -> None:
    """More than 4096 addresses, or one subnet of IPv6, are refused in one line that names the network, also among others."""
    for text in (network, f"10.1.2.3,{network}", f"{network},fd00::1"):
        with pytest.raises(ConfigurationError) as caught:
            read_settings({"STRONGROOM_TRUSTED_PROXIES": text})
        assert network.rpartition("/")[2] in str(caught.value)
        assert "wide" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_connector_folders_are_absolute() -> None:
    """Absolute paths, with blanks around them; relative ones, none at all and the root of everything are refused."""
    given = read_settings({"STRONGROOM_CONNECTOR_FOLDERS": "/run/secrets, /etc/certificates "})
    assert given.connector_folders == (Path("/run/secrets"), Path("/etc/certificates"))
    for text in ("here", "/run/secrets,", "~/x", "/", " ", "//"):
        with pytest.raises(ConfigurationError, match="STRONGROOM_CONNECTOR_FOLDERS is a list"):
            read_settings({"STRONGROOM_CONNECTOR_FOLDERS": text})


@pytest.mark.parametrize("name", ["CLIENT_TIMEOUT", "DATABASE_TIMEOUT"])
@pytest.mark.parametrize("text", ["0", "601", "2.5", "-1", "long"])
def test_patience_is_bounded(name: str, text: str) -> None:
    """It is a number of seconds up to ten minutes."""
    assert read_settings({f"STRONGROOM_{name}": "600"}) != read_settings({})
    with pytest.raises(ConfigurationError, match=f"STRONGROOM_{name} is a number from 1 to 600"):
        read_settings({f"STRONGROOM_{name}": text})


@pytest.mark.parametrize("text", ["601", "2.5", "-1", "long"])
def test_waiting_for_a_server_is_bounded(text: str) -> None:
    """It is a number of seconds up to ten minutes, 10 unless it is set; 0 tries once."""
    assert [read_settings(given).server_wait for given in ({}, {"STRONGROOM_SERVER_WAIT": "0"})] == [10, 0]
    with pytest.raises(ConfigurationError, match="STRONGROOM_SERVER_WAIT is a number from 0 to 600"):
        read_settings({"STRONGROOM_SERVER_WAIT": text})


@pytest.mark.parametrize("level", ["NONE", "SECRET_EXISTS", "SECRET_AND_KEY_EXISTS"])
def test_levels_of_validation(level: str) -> None:
    """The three levels of the guide are taken as they are written there."""
    assert read_settings({"STRONGROOM_SECRET_VALIDATION_LEVEL": level}).secret_validation_level is ValidationLevel(level)


@pytest.mark.parametrize("level", ["bogus", "none", "SECRET_EXISTS ", "0", "TRUE"])
def test_other_levels_are_refused(level: str) -> None:
    """Any other level is one readable error that names the three."""
    with pytest.raises(ConfigurationError, match="is one of NONE, SECRET_EXISTS, SECRET_AND_KEY_EXISTS") as caught:
        read_settings({"STRONGROOM_SECRET_VALIDATION_LEVEL": level})
    assert "STRONGROOM_SECRET_VALIDATION_LEVEL" in str(caught.value)


def test_everything_is_validated_by_default() -> None:
    """Without a setting both secret and key have to exist, and the stack is the one that was chosen."""
    settings = read_settings({})
    assert settings.secret_validation_level is ValidationLevel.SECRET_AND_KEY_EXISTS
    assert settings.active_stack is None
    assert read_settings({"STRONGROOM_ACTIVE_STACK": "production"}).active_stack == "production"


def test_two_keys_are_one_too_many() -> None:
    """A key given twice, in the environment and in a file, is refused without showing it."""
    with pytest.raises(ConfigurationError, match="not both") as caught:
        read_settings({"STRONGROOM_ENCRYPTION_KEY": CANARY, "STRONGROOM_ENCRYPTION_KEY_FILE": "/a/file"})
    assert not holds_canary(str(caught.value))


@pytest.mark.parametrize("text", ["files", "FILE", "vault"])
def test_key_stores_are_file_and_keyring(text: str) -> None:
    """Only the two stores for keys are accepted."""
    with pytest.raises(ConfigurationError, match="'file' or 'keyring'"):
        read_settings({"STRONGROOM_ENCRYPTION_KEY_STORE": text})


def test_settings_do_not_show_secrets() -> None:
    """Neither the key nor a password in the database's URL is in the `repr`."""
    settings = read_settings({"STRONGROOM_ENCRYPTION_KEY": CANARY, "STRONGROOM_DATABASE_URL": f"postgresql://u:{CANARY}@host/db"})
    assert not holds_canary(repr(settings))
    assert not holds_canary(str(settings))


def test_equal_settings_are_one_key() -> None:
    """Settings can be keys of a dict, so that clients can share an open store."""
    assert len({read_settings({}), read_settings({}), read_settings({"STRONGROOM_KEEP_VERSIONS": "2"})}) == 2


def test_the_folder_is_absolute_and_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Relative folders hold for where the process is now, and `~` is the home."""
    monkeypatch.chdir(tmp_path)
    assert read_settings({"STRONGROOM_CONFIG_PATH": "a/b"}).folder == tmp_path / "a" / "b"
    assert read_settings({"STRONGROOM_CONFIG_PATH": "~/b"}).folder == tmp_path / "home" / "b"


def test_a_home_that_nobody_has_is_a_clear_error() -> None:
    """`~unknown-user` is refused in words."""
    with pytest.raises(ConfigurationError, match="STRONGROOM_CONFIG_PATH"):
        read_settings({"STRONGROOM_CONFIG_PATH": "~no-such-user-here/x"})


def test_a_database_elsewhere_is_not_local(tmp_path: Path) -> None:
    """Only the file in the folder counts as the local database."""
    local = read_settings({"STRONGROOM_CONFIG_PATH": str(tmp_path)})
    assert local.is_local_database
    other: Settings = read_settings({"STRONGROOM_CONFIG_PATH": str(tmp_path), "STRONGROOM_DATABASE_URL": "sqlite:////other/file.db"})
    assert not other.is_local_database


@pytest.mark.parametrize(("text", "wanted"), [("1", True), ("yes", True), ("0", False), ("", False), (None, False)])
def test_debug_is_asked_for(monkeypatch: pytest.MonkeyPatch, text: str | None, wanted: bool) -> None:
    """`STRONGROOM_DEBUG=1` asks for tracebacks."""
    monkeypatch.delenv("STRONGROOM_DEBUG", raising=False)
    if text is not None:
        monkeypatch.setenv("STRONGROOM_DEBUG", text)
    assert debug() is wanted


STORE = "STRONGROOM_SECRETS_STORE_"


def test_without_settings_values_live_in_the_database() -> None:
    """The store is of type sql, and there is no backup."""
    assert read_settings({}).secrets_store == StoreSettings("sql")
    assert read_settings({}).backup_secrets_store is None


def test_a_store_is_configured_by_variables() -> None:
    """What the method takes comes in a JSON object or one by one; texts stay texts, and all else becomes its JSON."""
    settings = read_settings(
        {
            f"{STORE}TYPE": "aws",
            f"{STORE}AUTH_METHOD": "secret-key",
            f"{STORE}AUTH_CONFIG": f'{{"region": "eu-1", "aws_secret_access_key": "{CANARY}", "deep": {{"a": [1]}}, "n": null}}',
            f"{STORE}PREFIX": "team",
            f"{STORE}TIMEOUT": "3",
            "STRONGROOM_BACKUP_SECRETS_STORE_TYPE": "hashicorp",
        }
    )
    options = (("aws_secret_access_key", CANARY), ("deep", '{"a": [1]}'), ("prefix", "team"), ("region", "eu-1"))
    assert settings.secrets_store == StoreSettings("aws", "secret-key", 3, options)
    assert settings.backup_secrets_store == StoreSettings("hashicorp")
    assert not holds_canary(repr(settings))
    assert hash(settings) == hash(settings)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({f"{STORE}PREFIX": "x"}, f"set {STORE}TYPE"),
        ({f"{STORE}TYPE": "aws", f"{STORE}AUTH_CONFIG": f"{{{CANARY}"}, "AUTH_CONFIG is to be a JSON object"),
        ({f"{STORE}TYPE": "aws", f"{STORE}AUTH_CONFIG": f'["{CANARY}"]'}, "AUTH_CONFIG is to be a JSON object"),
        ({f"{STORE}TYPE": "aws", f"{STORE}AUTH_CONFIG": '{"region": "a"}', f"{STORE}REGION": "b"}, "'region' is set twice"),
        ({f"{STORE}TYPE": "aws", f"{STORE}TIMEOUT": "0"}, "TIMEOUT is a number from 1 to 300"),
    ],
)
def test_stores_that_cannot_be_meant(given: dict[str, str], text: str) -> None:
    """Are refused by the setting's name, and what was given is not shown."""
    with pytest.raises(ConfigurationError, match=text) as caught:
        read_settings(given)
    assert not holds_canary(f"{caught.value}{caught.value.hint}")


def test_a_file_holds_the_same_settings(tmp_path: Path) -> None:
    """By their names in lower case, the stores as mappings; variables come before it."""
    file = tmp_path / "config.yaml"
    file.write_text(
        """
        database_url: postgresql://host/database
        keep_versions: 3
        insecure: true
        admin_username:
        secrets_store:
          type: vault
          auth_method: app-role
          auth_config: {app_role_id: x, app_secret_id: y}
          vault_addr: https://vault
          insecure: false
        backup_secrets_store_type: sql
        """
    )
    settings = read_settings(
        {"STRONGROOM_CONFIG_FILE": str(file), "STRONGROOM_KEEP_VERSIONS": "4", f"{STORE}VAULT_ADDR": "https://other"}
    )
    assert (settings.database_url, settings.keep_versions, settings.insecure) == ("postgresql://host/database", 4, True)
    options = (("app_role_id", "x"), ("app_secret_id", "y"), ("insecure", "false"), ("vault_addr", "https://other"))
    assert settings.secrets_store == StoreSettings("vault", "app-role", 10, options)
    assert settings.backup_secrets_store == StoreSettings("sql")


@pytest.mark.parametrize(
    ("content", "text", "hint"),
    [
        ("database_uri: x", "unknown setting 'database_uri'", "did you mean database_url?"),
        ("DATABASE_URL: x", "unknown setting 'DATABASE_URL'", None),
        ("secret_store: {type: sql}", "unknown setting 'secret_store'", None),
        ("a: [", "is not YAML in line 1", None),
        ("- a", "must be a mapping", None),
        ("\x00", "is not YAML", None),
    ],
)
def test_files_that_cannot_be_meant(tmp_path: Path, content: str, text: str, hint: str | None) -> None:
    """A typo in a file is an error as in the environment; so is what is no YAML, or no file."""
    file = tmp_path / "config.yaml"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=text) as caught:
        read_settings({"STRONGROOM_CONFIG_FILE": str(file)})
    assert hint is None or caught.value.hint == hint
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_settings({"STRONGROOM_CONFIG_FILE": str(tmp_path / "nowhere")})


def test_the_reference_tells_the_truth() -> None:
    """Examples are accepted, and the defaults that are told are those of the settings."""
    sensitive = {"ENCRYPTION_KEY", "ENCRYPTION_KEY_FILE", "CONFIG_FILE"}
    examples = {f"{PREFIX}{name}": each.example for name, each in VARIABLES.items() if name not in sensitive}
    stores = {f"{PREFIX}SECRETS_STORE_{name}": each.example for name, each in STORE_VARIABLES.items()}
    assert all(examples.values())
    read_settings(examples | stores)
    settings, store = read_settings({}), StoreSettings()
    for name, variable in VARIABLES.items():
        value = getattr(settings, name.lower(), None)
        if isinstance(value, bool | int):
            assert variable.default == str(int(value)), name
        elif isinstance(value, str) and name != "DATABASE_URL":
            assert variable.default == value, name
    assert STORE_VARIABLES["TIMEOUT"].default == str(store.timeout)
