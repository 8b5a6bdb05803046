"""The chart, rendered by the real helm with values of a test's own."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "strongroom"
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Rendered:
    """What `helm template` gave."""

    text: str

    @cached_property
    def resources(self) -> list[dict[str, Any]]:
        """All resources."""
        return [each for each in yaml.safe_load_all(self.text) if each]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Those of a kind."""
        return [each for each in self.resources if each["kind"] == kind]

    def one(self, kind: str) -> dict[str, Any]:
        """The only one of a kind."""
        (found,) = self.of_kind(kind)
        return found

    @property
    def pod(self) -> dict[str, Any]:
        """The specification of the deployment's pods."""
        spec: dict[str, Any] = self.one("Deployment")["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> dict[str, Any]:
        """The server's container."""
        (container,) = self.pod["containers"]
        found: dict[str, Any] = container
        return found

    def variables(self, others: Mapping[str, Mapping[str, str]] | None = None) -> dict[str, str]:
        """The environment that Kubernetes would give the server, with the chart's Secret and others by name and key."""
        secrets = {name: dict(texts) for name, texts in (others or {}).items()}
        for secret in self.of_kind("Secret"):
            texts = {key: base64.b64decode(text).decode() for key, text in secret["data"].items()}
            secrets[secret["metadata"]["name"]] = texts
        variables: dict[str, str] = {}
        for each in self.container["env"]:
            assert each["name"] not in variables, f"{each['name']} is set twice"
            if "value" in each:
                variables[each["name"]] = each["value"]
            else:
                place = each["valueFrom"]["secretKeyRef"]
                variables[each["name"]] = secrets[place["name"]][place["key"]]
        return variables


class Refused(Exception):
    """helm does not render these values."""


class Helm:
    """The program, with an empty home."""

    def __init__(self, program: Path, home: Path) -> None:
        self._program, self._home = program, home

    def template(self, values: Values, release: str = "strongroom") -> Rendered:
        """Raises `Refused`."""
        return Rendered(self._run("template", release, str(CHART), "--namespace=ml", "--values=-", values=values))

    def notes(self, values: Values) -> str:
        """What an installation says in the end. It would need a cluster, so the notes are rendered as a resource, in a copy."""
        with tempfile.TemporaryDirectory(dir=self._home) as folder:
            chart = Path(shutil.copytree(CHART, Path(folder) / "chart"))
            template = chart / "templates" / "NOTES.txt"
            (chart / "templates" / "_notes.tpl").write_text(f'{{{{ define "notes" }}}}{template.read_text()}{{{{ end }}}}')
            (chart / "templates" / "notes.yaml").write_text('{"kind": "Notes", "text": {{ include "notes" . | toJson }}}')
            text = self._run("template", "strongroom", str(chart), "--namespace=ml", "--values=-", values=values)
        notes: str = Rendered(text).one("Notes")["text"]
        return notes

    def lint(self, values: Values) -> str:
        """Raises `Refused`, also for warnings."""
        return self._run("lint", "--strict", "--namespace=ml", "--values=-", str(CHART), values=values)

    def package(self, folder: Path) -> Path:
        """The chart as an archive."""
        self._run("package", str(CHART), f"--destination={folder}", values={})
        (archive,) = folder.glob("*.tgz")
        return archive

    def _run(self, *arguments: str, values: Values) -> str:
        done = subprocess.run(
            [self._program, *arguments],
            input=json.dumps(values, ensure_ascii=False).replace("\u2028", "\\u2028"),  # for YAML that one ends a line
            env={"HOME": str(self._home), "KUBECONFIG": str(self._home / "none")},
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise Refused(done.stderr + done.stdout)
        return done.stdout


def merged(*all_values: Values) -> dict[str, Any]:
    """Values on values, as helm lays them."""
    result: dict[str, Any] = {}
    for values in all_values:
        for name, value in values.items():
            below = result.get(name)
            result[name] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


def texts_in(value: Any) -> Sequence[str]:
    """All texts of a resource, wherever they stand."""
    if isinstance(value, Mapping):
        return [text for pair in value.items() for each in pair for text in texts_in(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts_in(each)]
    return [str(value)]
