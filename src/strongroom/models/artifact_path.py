"""Paths and URIs of artifacts: one set of rules for every artifact store, for the records of runs, and for what is loaded.

An artifact lies at `RUN/STEP/OUTPUT.SUFFIX` below the root of its store. Its URI is the root, a slash and that path, and nothing
else: no URI leads to another run or step, or out of the store.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from strongroom.errors import InvalidInput

SUFFIXES = {"json": "json", "bytes": "bin", "pickle": "pkl"}
"""The formats of artifacts, and how the names of their files end."""

MAX_URI = 4096

_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,511}")
_ARTIFACT = re.compile(r"[A-Za-z0-9-]{1,64}/[A-Za-z0-9_-]{1,255}/[A-Za-z_][A-Za-z0-9_]{0,254}\.[a-z]{3,4}")
_FORBIDDEN = re.compile(r"[\\?#\x00-\x20\x7f]")
_DECODINGS = 4


def artifact_path(run_id: str, step: str, name: str, kind: str) -> str:
    """The path of an output. `InvalidInput` when a name or the format cannot be one."""
    path = f"{run_id}/{step}/{name}.{SUFFIXES.get(kind, '')}"
    if not _ARTIFACT.fullmatch(path):
        raise InvalidInput(
            "an output has an identifier of ASCII letters as its name, and a known format", hint=f"formats: {', '.join(SUFFIXES)}"
        )
    return path


def check_path(path: str) -> str:
    """The path itself if it leads to a place below a root, on every file system. `InvalidInput`.

    It has one or more segments of ASCII letters, digits, '_', '-' and '.', none of which begins with a dot.
    """
    if len(path) > MAX_URI or not all(_SEGMENT.fullmatch(segment) for segment in path.split("/")):
        raise InvalidInput("the path of an artifact has names of ASCII letters, digits, '_', '-' and '.' between single slashes")
    return path


def path_below(root: str, uri: str) -> str | None:
    """The path below the root that the URI leads to; None when it is no URI of an artifact below this root."""
    if not uri.startswith(f"{root}/"):
        return None
    try:
        return check_path(uri[len(root) + 1 :])
    except InvalidInput:
        return None


def path_of(uri: str) -> str | None:
    """The path `RUN/STEP/OUTPUT.SUFFIX` at the end of an artifact's URI; None when it is no such URI.

    What is before the path must be normal: no empty or dot segments (also none that are percent-encoded), no backslash, white space,
    query or fragment.
    """
    if len(uri) > MAX_URI:
        return None
    path = "/".join(uri.rsplit("/", 3)[-3:])
    return path if _ARTIFACT.fullmatch(path) and is_normal(uri[: -len(path)].removesuffix("/")) else None


def is_normal(root: str) -> bool:
    """Whether a root has only one spelling: see `path_of`."""
    if not root.isprintable() or _FORBIDDEN.search(root):
        return False
    for _ in range(_DECODINGS):
        _, _, place = root.rpartition("://")
        if any(segment in ("", ".", "..") for segment in place.removeprefix("/").split("/")) and place:
            return False
        decoded = unquote(root, errors="replace")
        if decoded == root:
            return True
        if "\\" in decoded or any(character < " " for character in decoded):
            return False
        root = decoded
    return False
