"""Programs that look at what is deployed: helm, hadolint and kubernetes-validate, from packages of PyPI, as they are released."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.environments import build_environment

KUBERNETES = ("1.25", "1.37")
"""Versions of Kubernetes that the chart is checked against: the oldest that it takes, and the newest with schemas."""

UNKNOWN_TO_KUBERNETES = {"ServiceMonitor"}
"""Kinds of others, which Kubernetes has no schema of."""

_VALIDATE = """
import json, sys
import kubernetes_validate
versions, resources = json.load(sys.stdin)
for version in versions:
    for resource in resources:
        try:
            kubernetes_validate.validate(resource, version, strict=True)
        except Exception as error:
            print(version, resource["kind"], "/".join(map(str, getattr(error, "path", ()))), error.message)
"""


def binaries() -> Path:
    """The folder with `helm` and `hadolint`. Raises `NotBuilt`."""
    return build_environment("binaries", _take_helm_out) / "bin"


def _take_helm_out(environment: Path) -> None:
    """helm is in an archive in an archive of the package for AWS's CDK, of which nothing else is wanted."""
    (package,) = environment.glob("lib/python*/site-packages/aws_cdk")
    (archive,) = package.glob("*/_jsii/*.tgz")
    with tarfile.open(archive) as outer, outer.extractfile("package/lib/layer.zip") as file:  # type: ignore[union-attr]
        layer = zipfile.ZipFile(io.BytesIO(file.read()))
    helm = environment / "bin" / "helm"
    helm.write_bytes(layer.read("helm/helm"))
    helm.chmod(0o755)
    shutil.rmtree(package)


def complaints_of_kubernetes(resources: Sequence[Any], versions: Sequence[str] = KUBERNETES) -> str:
    """What is wrong with these resources, by the schemas of each version; unknown fields are wrong. Raises `NotBuilt`."""
    python = build_environment("kubernetes-validate") / "bin" / "python"
    known = [each for each in resources if each["kind"] not in UNKNOWN_TO_KUBERNETES]
    done = subprocess.run(
        [python, "-I", "-c", _VALIDATE], input=json.dumps([versions, known]), capture_output=True, text=True, timeout=120
    )
    assert not done.returncode, done.stderr
    return done.stdout
