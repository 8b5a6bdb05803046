"""A custom secrets store that keeps values in files, for commands and servers in processes of their own."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from strongroom.errors import ValuesCorrupt, ValuesMissing
from strongroom.secrets_stores.base import MARKER_ID, About, Capabilities, Found
from strongroom.secrets_stores.custom import BaseSecretsStore, SecretsStoreConfiguration, SecretsStoreType

ROOT = Path(__file__).parents[2]


class FolderStoreConfiguration(SecretsStoreConfiguration):
    """Where the files are. While there is a file `gate`, puts are drafted and go no further, and gets leave a file `gate.get`."""

    folder: str
    gate: str = ""


class FolderStore(BaseSecretsStore):
    """Describes what a scan finds."""

    TYPE = SecretsStoreType.CUSTOM
    CONFIG_TYPE = FolderStoreConfiguration
    config: FolderStoreConfiguration

    def _initialize(self) -> None:
        self._folder = Path(self.config.folder) / self.deployment_id
        self._folder.mkdir(parents=True, exist_ok=True)

    @property
    def store_id(self) -> str:
        return f"folder:{Path(self.config.folder).name}"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(max_bytes=65_536)

    def new_locator(self, secret_id: str) -> str:
        return super().new_locator(secret_id).replace("/", "+")

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        draft = self._folder / f".{uuid.uuid4()}"
        draft.write_text(json.dumps({"values": dict(values), "about": asdict(about), "written": datetime.now(UTC).isoformat()}))
        try:
            self._wait(seconds)
            os.link(draft, self._folder / locator)
        except FileExistsError:
            if self.get(locator, seconds=seconds) != values:
                raise ValuesCorrupt("other values are there already") from None
        finally:
            draft.unlink()

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.config.gate and Path(self.config.gate).exists():
            if time.monotonic() > end:
                raise TimeoutError

    def get(self, locator: str, *, seconds: float) -> dict[str, str]:
        if self.config.gate and Path(self.config.gate).exists():
            Path(f"{self.config.gate}.get").touch()
            self._wait(seconds)
        try:
            text = (self._folder / locator).read_text()
        except FileNotFoundError:
            raise ValuesMissing(f"there is no file {locator}") from None
        try:
            values: dict[str, str] = json.loads(text)["values"]
        except ValueError:
            values = {}
        if not values:
            raise ValuesCorrupt(f"the file {locator} was damaged")
        return values

    def delete(self, locator: str, *, seconds: float) -> None:
        (self._folder / locator).unlink(missing_ok=True)

    def scan(self, *, seconds: float) -> Iterator[Sequence[Found]]:
        found = []
        for path in self._folder.glob("[!.]*"):
            try:
                data = json.loads(path.read_text())
            except ValueError:
                found.append(Found(locator=path.name))
            else:
                about = About(**data["about"])
                found.append(Found(locator=path.name, about=about, written=datetime.fromisoformat(data["written"])))
        if found:
            yield found


def folder_variables(folder: Path, role: str = "SECRETS_STORE", gate: Path | None = None) -> dict[str, str]:
    """The variables, without their prefix, of a store in this folder. Its module is found where `python_path()` says."""
    options = {"TYPE": "custom", "CLASS_PATH": f"{__name__}:FolderStore", "FOLDER": str(folder), "GATE": str(gate or "")}
    return {f"{role}_{name}": text for name, text in options.items() if text}


def python_path() -> str:
    """A value of PYTHONPATH with which other processes find these tests."""
    return os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), str(ROOT)]))


def is_marker_file(path: Path) -> bool:
    """Whether the file belongs to the deployment itself and to no secret."""
    return path.name.split("+")[1] == MARKER_ID
