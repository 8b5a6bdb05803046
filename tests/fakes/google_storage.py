"""Google Cloud Storage, as far as whole objects go: its JSON API, for whoever has a token of the fake identity that is good."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any
from urllib.parse import unquote

from tests.fakes.google_identity import GoogleIdentity
from tests.fakes.loopback import Answer, LoopbackServer, Request


class GoogleStorage(LoopbackServer):
    """One server with any buckets. `callers` has who asked, request by request; None for a token that is not good."""

    def __init__(self, identity: GoogleIdentity) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.callers: list[str | None] = []
        self._identity = identity
        super().__init__()
        self.url = f"http://{self.address}"

    def answer(self, request: Request) -> Answer:
        """An upload, a download, or what is known of an object or of a folder."""
        self.callers.append(self._identity.principal(request.bearer_token()))
        if self.callers[-1] is None:
            return Answer(401, {"error": {"code": 401, "message": "Invalid Credentials"}})
        kind, bucket, name = re.fullmatch(r"/(upload/|download/)?storage/v1/b/([^/]+)(?:/o/?(.*))?", request.path).groups()  # type: ignore[union-attr]
        if kind == "upload/":
            return self._upload(bucket, request)
        if name is None:
            return Answer(200, {"name": bucket, "location": "EU"})
        if not name:
            return Answer(200, {"items": self._listed(bucket, request.query.get("prefix", [""])[0])})
        data = self.objects.get((bucket, unquote(name)))
        if data is None:
            return Answer(404, {"error": {"code": 404, "message": "No such object"}})
        if kind == "download/" or request.query.get("alt") == ["media"]:
            return Answer(200, data, {"Content-Type": "application/octet-stream", "X-Goog-Hash": f"md5={_md5(data)}"})
        return Answer(200, _described(bucket, unquote(name), data))

    def _upload(self, bucket: str, request: Request) -> Answer:
        boundary = re.search(r'boundary="?([^";]+)', request.headers["content-type"])
        assert boundary is not None
        _, head, body, _ = request.body.split(f"--{boundary[1]}".encode(), 3)
        name = json.loads(head.partition(b"\n\n")[2])["name"]
        data = self.objects[bucket, name] = body.partition(b"\n\n")[2].removesuffix(b"\n")
        return Answer(200, _described(bucket, name, data))

    def _listed(self, bucket: str, prefix: str) -> list[dict[str, Any]]:
        return [_described(*key, data) for key, data in self.objects.items() if key[0] == bucket and key[1].startswith(prefix)]


def _described(bucket: str, name: str, data: bytes) -> dict[str, Any]:
    return {
        "bucket": bucket, "name": name, "size": str(len(data)), "generation": "1", "md5Hash": _md5(data),
        "contentType": "application/octet-stream", "timeCreated": "2026-01-01T00:00:00.000Z", "updated": "2026-01-01T00:00:00.000Z",
    }  # fmt: skip


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()
