"""The distribution `strongroom-zenml`: names, and nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.documents.conftest import ROOT, System

COMPAT = ROOT / "compat" / "zenml"
NAMES = """
from zenml.client import Client
from zenml.config.secrets_store_config import SecretsStoreConfiguration
from zenml.enums import SecretScope, SecretsStoreType, StackComponentType
from zenml.models import Page, SecretFilterModel, SecretRequestModel, SecretResponseModel, SecretUpdateModel
from zenml.pipelines import pipeline
from zenml.steps import StepContext, step
from zenml.zen_stores.secrets_stores.base_secrets_store import BaseSecretsManager, BaseSecretsStore, SecretsStoreType
from zenml.zen_stores.secrets_stores.secrets_store_interface import SecretsStoreInterface
for each in (Client, SecretRequestModel, SecretsStoreInterface, BaseSecretsManager, StepContext, SecretsStoreConfiguration):
    assert each.__module__.startswith("strongroom."), each
assert BaseSecretsManager is BaseSecretsStore
"""


def run(python: Path | str, code: str, *path: Path | str) -> subprocess.CompletedProcess[str]:
    """Runs code with these folders on the path."""
    environment = {"PYTHONPATH": ":".join(map(str, path)), "HOME": "/nonexistent"}
    return subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False, env=environment, timeout=60)


@pytest.fixture
def real_one(tmp_path: Path) -> Path:
    """The Python of an environment in which a package called zenml is installed."""
    venv.create(tmp_path / "environment", symlinks=True)
    python = tmp_path / "environment" / "bin" / "python"
    place = run(python, "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    about = Path(place) / "zenml-0.40.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: zenml\nVersion: 0.40.0\n")
    return python


def test_all_names_are_strongrooms(installed: Path) -> None:
    """Every name that the documents use leads to strongroom's own object."""
    done = run(sys.executable, NAMES, installed)
    assert done.returncode == 0, done.stderr


def test_there_is_no_logic() -> None:
    """Its modules import and list names; only the package itself looks whether the real one is there."""
    files = sorted((COMPAT / "src").rglob("*.py"))
    assert len(files) > 8
    for path in files:
        kinds = {type(node) for node in ast.parse(path.read_text()).body}
        if path.parts[-2:] != ("zenml", "__init__.py"):
            assert kinds <= {ast.Expr, ast.Import, ast.ImportFrom, ast.Assign}, path


def test_it_is_not_installed_beside_the_real_package(real_one: Path) -> None:
    """Where the real package is, the build that installs it ends with an explanation."""
    code = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("hatch_build", {str(COMPAT / "hatch_build.py")!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
hook = module.RefuseBesideTheRealPackage({str(COMPAT)!r}, {{}}, None, None, {str(COMPAT)!r}, "wheel")
hook.initialize("standard", {{}})
"""
    packages = sysconfig.get_path("purelib")
    refused = run(real_one, code, packages)
    assert refused.returncode == 1
    assert "the real one is installed here. Uninstall it first (pip uninstall zenml)" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert run(sys.executable, code).returncode == 0


def test_it_is_not_imported_beside_the_real_package(real_one: Path, installed: Path) -> None:
    """Whoever has installed both in spite of that is told what to do."""
    refused = run(real_one, "import zenml", installed, sysconfig.get_path("purelib"), ROOT / "src")
    assert refused.returncode == 1
    assert "ImportError: the real package 'zenml' is installed beside 'strongroom-zenml'" in refused.stderr


def test_variables(system: System) -> None:
    """Variables of either name count; strongroom's own come first, and what only the other system knows is let be."""
    if not system.is_compat:
        return
    system.variables = {
        "ZENML_ANALYTICS_OPT_IN": "false",
        "ZENML_DEBUG": "0",
        "ZENML_STORE_URL": "http://127.0.0.1:1",
        "ZENML_STORE_API_KEY": "x",
        "ZENML_ACTIVE_STACK": "theirs",
    }
    assert "127.0.0.1:1" in system.run("zenml secret list").stderr
    system.variables = {"ZENML_ACTIVE_STACK": "theirs", "STRONGROOM_ACTIVE_STACK": "ours"}
    assert "there is no stack 'ours'" in system.run("zenml stack describe").stderr
    system.variables = {"ZENML_SECRET_VALIDATION_LEVEL": "bogus"}
    assert "SECRET_VALIDATION_LEVEL is one of" in system.run("zenml stack validate").stderr
