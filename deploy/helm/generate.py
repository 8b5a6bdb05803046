"""Writes what values.schema.json says of secrets stores: `python deploy/helm/generate.py`. A test fails when it is stale.

The options of each type and the names of its authentication methods are those of the code. So a typo in the values is refused before
anything is installed, with no list to keep by hand.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).parent / "strongroom" / "values.schema.json"
TYPES = {"vault": "vault", "hashicorp": "vault", "aws": "aws", "gcp": "gcp", "azure": "azure"}
_COMMON = ("type", "timeout", "existingSecrets")
_TEXT_ONLY = {"account_id": "^[0-9]{12}$"}
"""YAML would take them for numbers, and lose zeros at the beginning."""


def options_of(kind: str) -> tuple[list[str], list[str]]:
    """The authentication methods of a type of stores, and all options that any of them, the endpoint or the store has."""
    connector = importlib.import_module(f"strongroom.connectors.{kind}")
    store = importlib.import_module(f"strongroom.secrets_stores.{kind}")
    classes = [*connector.METHODS.values(), connector.Endpoint, store.Options]
    return sorted(connector.METHODS), sorted({field.name for each in classes for field in fields(each)})


def definitions() -> dict[str, Any]:
    """The schemas that `secretsStore` and `backupSecretsStore` refer to."""
    rules = []
    for kind, module in TYPES.items():
        methods, options = options_of(module)
        allowed: dict[str, Any] = {name: {"$ref": "#/definitions/option"} for name in options}
        allowed |= {name: {"type": "string", "pattern": pattern} for name, pattern in _TEXT_ONLY.items() if name in options}
        allowed |= {"auth_method": {"enum": methods}, "auth_config": {"type": ["object", "string"]}, "connector": {"type": "string"}}
        rules.append(_rule(kind, allowed, [*allowed, *_COMMON]))
    for kind in ("sql", "none", ""):
        rules.append(_rule(kind, {}, list(_COMMON)))
    custom = {"class_path": {"type": "string", "pattern": r"^[A-Za-z_][\w.]*[:.][A-Za-z_]\w*$"}}
    rules.append(_rule("custom", custom, None, required=["class_path"]))
    return {
        "option": {"type": ["string", "number", "boolean", "object", "array", "null"]},
        "place": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name", "key"],
            "properties": {"name": {"type": "string", "minLength": 1}, "key": {"type": "string", "minLength": 1}},
        },
        "store": {
            "type": "object",
            "properties": {
                "type": {"enum": ["", "sql", *TYPES, "custom", "none"]},
                "timeout": {"type": "integer", "minimum": 1, "maximum": 300},
                "existingSecrets": {"type": "object", "additionalProperties": {"$ref": "#/definitions/place"}},
            },
            "propertyNames": {"pattern": "^([a-z][a-z0-9_]*|existingSecrets)$"},
            "allOf": rules,
        },
    }


def _rule(kind: str, properties: dict[str, Any], names: list[str] | None, required: list[str] | None = None) -> dict[str, Any]:
    """What holds for stores of a type. An option in a Secret of the operator's is as good as one that stands here."""
    then: dict[str, Any] = {"properties": dict(properties)}
    if names is not None:
        then["propertyNames"] = {"enum": sorted(names)}
        elsewhere = sorted(set(names) - {*_COMMON, "auth_method"})
        then["properties"]["existingSecrets"] = {"propertyNames": {"enum": elsewhere}} if elsewhere else {"maxProperties": 0}
    if required:
        then["required"] = required
    return {"if": {"properties": {"type": {"const": kind}}, "required": ["type"]}, "then": then}


def schema() -> str:
    """The whole file as it is to be."""
    whole = json.loads(SCHEMA.read_text())
    whole["definitions"] = definitions()
    return json.dumps(whole, indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema())
