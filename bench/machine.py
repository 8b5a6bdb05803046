"""What the numbers were measured on."""

import os
import platform
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.environments import REPOSITORY


@dataclass(frozen=True)
class Machine:
    """The facts that decide whether two runs can be compared; no host name, no paths."""

    processor: str
    cores: int
    memory_bytes: int
    kernel: str
    python: str
    sqlite: str
    file_system: str
    load_before: float
    taken: str


def machine(state: Path) -> Machine:
    """This machine now; `state` is the folder where the contestants keep their data."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {sys.version.split()[0]}",
        sqlite=sqlite3.sqlite_version,
        file_system=_file_system(state),
        load_before=os.getloadavg()[0],
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def commit() -> str:
    """The commit of this work tree, with `-dirty` when files differ from it; empty where git does not know."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _file_system(folder: Path) -> str:
    """The type of the file system that holds a folder (a durable write costs nothing on tmpfs); unknown off Linux."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    best, kind = "", "unknown"
    for mount in mounts:
        fields = mount.split()
        point, mount_kind = fields[4], fields[fields.index("-") + 1]
        if folder.resolve().is_relative_to(point) and len(point) >= len(best):
            best, kind = point, mount_kind
    return kind
