"""Refuses to be built for an environment that has the real package: one would overwrite files of the other."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class RefuseBesideTheRealPackage(BuildHookInterface):  # type: ignore[type-arg]
    """Looks where the interpreter keeps packages, whether or not the build is isolated from them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before each build."""
        for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
            if any(Path(place).glob("zenml-*.dist-info")):
                raise SystemExit(
                    "strongroom-zenml provides the package 'zenml', and the real one is installed here. "
                    "Uninstall it first (pip uninstall zenml), or use another environment."
                )
