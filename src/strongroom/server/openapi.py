"""The API as an OpenAPI 3.1 document, and as a page to read, both from the table of operations."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from html import escape
from typing import Any

import msgspec

import strongroom
from strongroom.operations.operation import Operation, Repeat
from strongroom.redaction import SecretText

_ROOT = "/api/v1"
_REFERENCE = "#/components/schemas/{name}"
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "hint": {"type": "string"}},
        }
    },
}
_PROBLEM = {
    "description": "An error; `code` is stable.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}


def describe_api(operations: Sequence[Operation[Any, Any]]) -> dict[str, Any]:
    """The OpenAPI document."""
    replies = [operation.response for operation in operations if operation.response is not type(None)]
    kinds = [*(operation.request for operation in operations), *dict.fromkeys(replies)]
    found, components = msgspec.json.schema_components(kinds, schema_hook=_schema_of, ref_template=_REFERENCE)
    schemas = dict(zip(map(str, kinds), found, strict=True))
    paths: dict[str, Any] = {}
    for operation in operations:
        request = components[schemas[str(operation.request)]["$ref"].rpartition("/")[2]]
        reply = None if operation.response is type(None) else schemas[str(operation.response)]
        paths.setdefault(_ROOT + operation.path, {})[operation.method.lower()] = _describe(operation, request, reply)
    for operation in operations:  # requests are described where they are sent
        components.pop(operation.request.__name__, None)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "strongroom",
            "version": strongroom.__version__,
            "description": "Secrets for machine-learning pipelines.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR, **components},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _describe(operation: Operation[Any, Any], request: dict[str, Any], reply: dict[str, Any] | None) -> dict[str, Any]:
    in_path = re.findall(r"{(\w+)}", operation.path)
    fields, required = request.get("properties", {}), request.get("required", [])
    parameters = [{"name": name, "in": "path", "required": True, "schema": fields[name]} for name in in_path]
    others = {name: schema for name, schema in fields.items() if name not in in_path}
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": _summary(operation),
        "tags": [operation.name.partition(".")[0]],
    }
    if operation.method in ("GET", "DELETE"):
        parameters += [
            {"name": name, "in": "query", "required": name in required, "schema": schema} for name, schema in others.items()
        ]
    else:
        schema = {
            "type": "object",
            "properties": others,
            "required": [name for name in required if name in others],
            "additionalProperties": False,
        }
        content = {"application/json": {"schema": schema}}
        if operation.name == "user.login":
            content["application/x-www-form-urlencoded"] = {"schema": schema}
        described["requestBody"] = {"required": bool(schema["required"]), "content": content}
        if "if_version" in others:
            parameters.append({"name": "If-Match", "in": "header", "schema": {"type": "string"}})
        if operation.repeatable is Repeat.WITH_KEY:
            parameters.append({"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 255}})
    if operation.permission is None:
        described["security"] = []
    else:
        described["description"] = f"Needs the permission `{operation.permission}`." + (
            " Open to run tokens, within what their run was granted." if operation.for_runs else ""
        )
        parameters.append({"name": "workspace", "in": "query", "schema": {"type": "string"}})
    described["parameters"] = parameters
    if reply is None:
        described["responses"] = {"204": {"description": "Done."}, "default": _PROBLEM}
    else:
        done = {"description": "Done.", "content": {"application/json": {"schema": reply}}}
        described["responses"] = {
            "202" if operation.begins_job else "200" if operation.creates is None else "201": done,
            "default": _PROBLEM,
        }
    return described


def _summary(operation: Operation[Any, Any]) -> str:
    return (inspect.getdoc(operation.request) or "").split("\n\n")[0].replace("\n", " ")


def _schema_of(kind: type) -> dict[str, Any]:
    if kind is SecretText:
        return {"type": "string", "format": "password"}
    raise NotImplementedError(kind)


def page(operations: Sequence[Operation[Any, Any]]) -> str:
    """A page that lists the operations. It loads nothing."""
    rows = "\n".join(
        f"<tr><td><code>{operation.method}</code></td><td><code>{escape(_ROOT + operation.path)}</code></td>"
        f"<td>{escape(_summary(operation))}</td><td><code>{escape(_fields(operation))}</code></td>"
        f"<td>{escape(operation.permission or 'nobody in particular')}</td></tr>"
        for operation in sorted(operations, key=lambda each: (each.path, each.method))
    )
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>strongroom {strongroom.__version__}: API</title>
<style>
body {{ font-family: system-ui, sans-serif; margin: 2rem; line-height: 1.4 }}
table {{ border-collapse: collapse }}
td, th {{ border-bottom: 1px solid #ccc; padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top }}
</style>
<h1>strongroom {strongroom.__version__}</h1>
<p>The whole API as an OpenAPI document: <a href="/openapi.json">/openapi.json</a>.
Send <code>Authorization: Bearer TOKEN</code>. Errors are <code>{{"error": {{"code", "message", "hint"}}}}</code>.</p>
<table>
<tr><th>Method</th><th>Path</th><th></th><th>Fields</th><th>Needs</th></tr>
{rows}
</table>
</html>
"""


def _fields(operation: Operation[Any, Any]) -> str:
    in_path = re.findall(r"{(\w+)}", operation.path)
    return " ".join(name for name in operation.request.__struct_fields__ if name not in in_path)
