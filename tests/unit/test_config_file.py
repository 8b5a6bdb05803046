"""The configuration file: texts as they are written."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.config import Settings, StoreSettings, read_settings
from strongroom.errors import ConfigurationError
from tests.canary import CANARY, holds_canary

WRITTEN = """
    012345670123 1_000 12:34:56 2026-01-31 2026-01-31T12:00:00Z no NO Off y on yes true True TRUE
    false 0x1F 0o17 017 0b11 1.10 1e400 .5 +5 -0 5. 1,000 .inf -.INF .nan
    190:20:30 = 123456789012345678901234567890 685_230.15 N Y <<x 0 00 -12
"""
SCALAR = st.from_regex(r"[A-Za-z0-9_.+][A-Za-z0-9_.:+/=-]{0,12}[A-Za-z0-9_.+=-]", fullmatch=True).filter(
    lambda text: text.lower() != "null" and not text.startswith(("...", "---"))
)


def read(text: str, encoding: str = "utf-8") -> Settings:
    """The settings of such a file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_bytes(text.encode(encoding))
        return read_settings({"STRONGROOM_CONFIG_FILE": str(file)})


def stays(text: str) -> None:
    """Checks that a text stays what it is in all places of the file, with quotes and without."""
    for written in (text, json.dumps(text)):
        settings = read(
            f"""
            api_key: {written}
            active_stack:    {written}   # a comment
            secrets_store:
              type: vault
              vault_token: {written}
              auth_config:
                app_secret_id: {written}
                deep:
                  a:
                  - {json.dumps(text)}
            backup_secrets_store_type: aws
            backup_secrets_store_region: {written}
            """
        )
        assert (settings.api_key, settings.active_stack) == (text, text)
        deep = json.dumps({"a": [text]})
        options = (("app_secret_id", text), ("deep", deep), ("vault_token", text))
        assert settings.secrets_store == StoreSettings("vault", None, 10, options)
        assert settings.backup_secrets_store == StoreSettings("aws", None, 10, (("region", text),))


@pytest.mark.parametrize("text", WRITTEN.split())
def test_scalars_stay_what_was_written(text: str) -> None:
    """Numbers of all kinds, dates, times and truth values are texts, character by character, wherever they stand."""
    stays(text)


@given(SCALAR)
def test_no_scalar_is_anything_but_text(text: str) -> None:
    """Whatever looks like something else in some version of YAML stays text, too."""
    stays(text)


@given(
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.text(st.characters(categories=["L"]), min_size=1)
)
def test_json_in_a_variable_is_read_as_written(value: object) -> None:
    """A number of AUTH_CONFIG keeps its digits."""
    written = json.dumps(value)
    store = read_settings(
        {"STRONGROOM_SECRETS_STORE_TYPE": "vault", "STRONGROOM_SECRETS_STORE_AUTH_CONFIG": f'{{"x": {written}, "y": 1.10}}'}
    ).secrets_store
    assert store.options == (("x", value if isinstance(value, str) else written), ("y", "1.10"))


def test_numbers_deep_inside_are_numbers_if_they_stay_as_written() -> None:
    """JSON that Google or a custom store takes may be written as YAML: only what JSON writes in the same way is no text."""
    file = "secrets_store: {type: custom, info: {a: 5000, b: true, c: 0123, d: 1.10, e: no, f: '7', g: null, h: [0, -1, 1_0]}}"
    options = dict(read(file).secrets_store.options)
    expected = {"a": 5000, "b": True, "c": "0123", "d": "1.10", "e": "no", "f": "7", "g": None, "h": [0, -1, "1_0"]}
    assert json.loads(options["info"]) == expected


@pytest.mark.parametrize("written", ["!!int 0123", "!!timestamp 2026-01-31", "!!bool no", "!!float 1_0.5", "!!binary YWJj"])
def test_tags_do_not_change_a_text(written: str) -> None:
    """Neither do YAML's own tags."""
    assert read(f"active_stack: {written}").active_stack == written.split()[1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_bom_is_no_part_of_the_file(encoding: str) -> None:
    """Editors of Windows write one."""
    assert read("active_stack: größe\r\nkeep_versions: 7\r\n", encoding).active_stack == "größe"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("api_key: VALUE\napi_key: VALUE2", "has a key twice in line 2"),
        ("secrets_store:\n  type: vault\n  type: VALUE", "has a key twice in line 3"),
        ("api_key: !!set {VALUE}", "'api_key' in .* is neither a text nor what JSON can write"),
        ("api_key: &a [*a, VALUE]", "'api_key' in .* is neither a text nor what JSON can write"),
        ("api_key: !!python/object:os.system VALUE", "is not YAML in line 1"),
        ("api_key: 'VALUE", "is not YAML in line 1"),
        ("[" * 3000, "is not YAML"),
        ("? [VALUE]\n: x", "is not YAML"),
    ],
)
def test_files_that_mean_nothing(text: str, reason: str) -> None:
    """Are refused by name and line, without what they say."""
    with pytest.raises(ConfigurationError, match=reason) as caught:
        read(text.replace("VALUE", CANARY))
    assert not holds_canary(f"{caught.value}{caught.value.hint}")


def test_other_encodings_are_refused() -> None:
    """A file in UTF-16 is no YAML to us."""
    with pytest.raises(ConfigurationError, match="is not YAML"):
        read("active_stack: x", "utf-16")
