"""What the guides to installation say can be done as it stands there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from strongroom.config import PREFIX, read_settings
from tests.deploy.chart import ROOT, Helm, merged

GUIDES = ROOT / "docs" / "guides"


def blocks(guide: str, language: str) -> list[str]:
    """The blocks of a guide in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", (GUIDES / guide).read_text(), re.MULTILINE | re.DOTALL)


def test_all_values_are_values(helm: Helm) -> None:
    """Each piece of a values file is taken by the chart, on top of the first one; so is all of it together with an ingress."""
    guide = "install-on-kubernetes.md"
    first, *others = [yaml.safe_load(each) for each in blocks(guide, "yaml") if each.startswith("# values.yaml")]
    helm.lint(first)
    assert len(others) >= 8
    for each in others:
        rendered = helm.template(each if each.get("replicaCount") == 1 else merged(first, each))
        settings = {name: text for name, text in _plain(rendered.container["env"]).items() if name.startswith(PREFIX)}
        assert read_settings(settings).keep_versions == 10
    for guide in ("use-tls.md", "monitor-a-server.md"):
        for text in blocks(guide, "yaml"):
            if text.startswith("# values.yaml"):
                helm.template(merged(first, yaml.safe_load(text)))


def _plain(variables: list[dict[str, str]]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in variables if "value" in each}


def test_settings_in_files_are_settings(tmp_path: Path) -> None:
    """What is to be put into the file of settings is read as such."""
    texts = [*blocks("install-with-docker.md", "yaml"), *blocks("install-with-systemd.md", "yaml")]
    assert len(texts) == 2
    for text in texts:
        path = tmp_path / "strongroom.yaml"
        path.write_text(text)
        read_settings({f"{PREFIX}CONFIG_FILE": str(path)})


def test_images_of_ones_own_are_without_fault(programs: Path, tmp_path: Path) -> None:
    """hadolint has nothing to say about the Dockerfiles of the guide."""
    texts = blocks("install-with-docker.md", "dockerfile")
    assert len(texts) == 2
    for text in texts:
        (tmp_path / "Dockerfile").write_text(text)
        done = subprocess.run([programs / "hadolint", tmp_path / "Dockerfile"], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("file", ["use-tls.md"])
def test_overrides_of_compose_name_what_there_is(file: str) -> None:
    """A file that is laid over compose.yaml changes services that are there, and keeps the secrets that they have."""
    (text,) = [each for each in blocks(file, "yaml") if each.startswith("services:")]
    override = yaml.safe_load(text)
    compose = yaml.safe_load((ROOT / "deploy" / "docker" / "compose.yaml").read_text())
    for name, service in override["services"].items():
        assert set(compose["services"][name]["secrets"]) <= set(service["secrets"])
        assert set(service["secrets"]) <= {*compose["secrets"], *override["secrets"]}
        for path in re.findall(r"/run/secrets/([\w.-]+)", str(service["command"])):
            assert path in service["secrets"]
