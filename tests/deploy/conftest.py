"""Programs from the network, once for a machine, and skipped with the reason where they cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.chart import Helm
from tests.deploy.programs import binaries
from tests.environments import NotBuilt


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder of helm and hadolint."""
    try:
        return binaries()
    except NotBuilt as error:
        pytest.skip(f"helm and hadolint cannot be had: {error}")


@pytest.fixture(scope="session")
def helm(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The real one."""
    return Helm(programs / "helm", tmp_path_factory.mktemp("helm"))
