"""Where Google's tokens come from: OAuth2, the exchange of foreign tokens (STS), impersonation (IAM), and a machine's metadata.

Every token starts with the canary, and so does whatever a refusal says: none of it has any business in an error of ours.
"""

from __future__ import annotations

import base64
import functools
import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.canary import CANARY
from tests.fakes.loopback import Answer, LoopbackServer, Request

AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/provider"
MACHINE = "machine@fake-project-1.iam.gserviceaccount.com"
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
IAM = "https://www.googleapis.com/auth/iam"
_FLAVOR = {"Metadata-Flavor": "Google"}


@functools.cache
def _key(number: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2048)


class GoogleIdentity(LoopbackServer):
    """Knows service accounts with keys, one user, one foreign identity, and the machine that it runs on."""

    refresh_token = f"{CANARY}-refresh"
    client_secret = f"{CANARY}-client"
    subject_token = f"{CANARY}-subject"

    def __init__(self) -> None:
        self.life = 3600.0
        self.seen: list[str] = []
        """The paths of all requests."""
        self.authorizations: list[str | None] = []
        """The headers of that name."""
        self.may_impersonate: set[tuple[str, str]] = set()
        self.trouble: Answer | None = None
        self._keys: dict[str, rsa.RSAPublicKey] = {}
        self._tokens: dict[str, tuple[str, float]] = {}
        self._calm = threading.Event()
        self._calm.set()
        super().__init__()
        self.url = f"http://{self.address}"

    def new_service_account(self, name: str, number: int = 0) -> dict[str, str]:
        """The JSON of its key."""
        key, email = _key(number), f"{name}@fake-project-1.iam.gserviceaccount.com"
        self._keys[email] = key.public_key()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return {
            "type": "service_account", "project_id": "fake-project-1", "private_key_id": f"{CANARY}-id", "private_key": pem,
            "client_email": email, "client_id": "1", "token_uri": f"{self.url}/token",
        }  # fmt: skip

    def user_account(self, **other: str) -> dict[str, str]:
        """The JSON of the user's login."""
        return {
            "type": "authorized_user", "client_id": "client", "client_secret": self.client_secret, "account": "ann@example.com",
            "refresh_token": self.refresh_token, "token_uri": f"{self.url}/token", **other,
        }  # fmt: skip

    def external_account(self, source: Mapping[str, Any], **other: str) -> dict[str, Any]:
        """The JSON of the foreign identity, whose token comes from such a source."""
        return {
            "type": "external_account", "audience": AUDIENCE, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{self.url}/v1/token", "credential_source": source, **other,
        }  # fmt: skip

    def issue(self, principal: str, life: float | None = None) -> str:
        """A token that is good for a while."""
        token = f"{CANARY}-token-{uuid.uuid4().hex}"
        self._tokens[token] = (principal, time.monotonic() + (self.life if life is None else life))
        return token

    def revoke_all(self) -> None:
        """No token that was given is good any more."""
        self._tokens.clear()

    def forget(self, email: str) -> None:
        """The service account's key is deleted."""
        del self._keys[email]

    def principal(self, token: str | None, scope: str = CLOUD_PLATFORM) -> str | None:
        """Whose token it is, be it one that was issued or one that a service account signed itself; None if it is not good."""
        principal, end = self._tokens.get(token or "", ("", 0.0))
        if time.monotonic() < end:
            return principal
        claims = self._claims(token or "")
        return claims["iss"] if claims and claims["sub"] == claims["iss"] and claims.get("scope") == scope else None

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Meanwhile nothing is answered."""
        self._calm.clear()
        try:
            yield
        finally:
            self._calm.set()

    @contextmanager
    def failing(self, status: int, location: str | None = None) -> Iterator[None]:
        """Meanwhile every answer has this status, and may lead elsewhere."""
        self.trouble = replace(_refusal(status, "unavailable"), headers={"Location": location} if location else {})
        try:
            yield
        finally:
            self.trouble = None

    def stop(self) -> None:
        """Closes the port."""
        self._calm.set()
        super().stop()

    def answer(self, request: Request) -> Answer:
        """Any of the services, by its path."""
        self.seen.append(request.path)
        self.authorizations.append(request.headers.get("authorization"))
        if not self._calm.wait(20) or self.trouble is not None:
            return self.trouble or _refusal(503, "unavailable")
        if request.path == "/token":
            return self._oauth2(request.form())
        if request.path == "/v1/token":
            return self._exchange(request.form())
        if request.path.endswith(":generateAccessToken"):
            return self._impersonate(request)
        if request.path == "/subject" and request.headers.get("x-key") == CANARY:
            return Answer(200, {"id_token": self.subject_token})
        if request.headers.get("metadata-flavor") == "Google":
            return self._metadata(request)
        return _refusal(404, "not_found")

    def _oauth2(self, form: Mapping[str, str]) -> Answer:
        if form.get("grant_type") == "refresh_token":
            if form.get("client_secret") != self.client_secret:
                return _refusal(401, "invalid_client")
            if form.get("refresh_token") != self.refresh_token:
                return _refusal(400, "invalid_grant")
            return self._given("ann@example.com")
        claims = self._claims(form.get("assertion", ""))
        if not claims or claims["aud"] != "https://oauth2.googleapis.com/token":
            return _refusal(400, "invalid_grant")
        return self._given(claims["iss"])

    def _exchange(self, form: Mapping[str, str]) -> Answer:
        if form.get("audience") != AUDIENCE:
            return _refusal(400, "invalid_target")
        if form.get("subject_token") != self.subject_token or form["scope"] not in (CLOUD_PLATFORM, IAM):
            return _refusal(400, "invalid_grant")
        return self._given(f"principal:{AUDIENCE}")

    def _impersonate(self, request: Request) -> Answer:
        target = request.path.rpartition("/")[2].removesuffix(":generateAccessToken")
        caller = self.principal(request.bearer_token())
        if caller is None:
            return Answer(401, {"error": {"status": "UNAUTHENTICATED", "message": CANARY}})
        if (caller, target) not in self.may_impersonate:
            return Answer(403, {"error": {"status": "PERMISSION_DENIED", "message": CANARY}})
        assert request.form()["scope"] == [CLOUD_PLATFORM]
        end = datetime.now(UTC) + timedelta(seconds=self.life)
        return Answer(200, {"accessToken": self.issue(target), "expireTime": end.strftime("%Y-%m-%dT%H:%M:%SZ")})

    def _metadata(self, request: Request) -> Answer:
        match request.path:
            case "/":
                return Answer(200, {}, _FLAVOR)
            case "/computeMetadata/v1/instance/service-accounts/default/":
                return Answer(200, {"email": MACHINE, "scopes": [CLOUD_PLATFORM]}, _FLAVOR)
            case "/computeMetadata/v1/instance/service-accounts/default/token":
                return self._given(MACHINE)
        return _refusal(404, "not_found")

    def _given(self, principal: str) -> Answer:
        return Answer(200, {"access_token": self.issue(principal), "expires_in": int(self.life), "token_type": "Bearer"})

    def _claims(self, token: str) -> dict[str, Any] | None:
        """What a service account says of itself, if it signed that and the time is right."""
        try:
            head, body, signature = token.split(".")
            claims: dict[str, Any] = json.loads(_decoded(body))
            self._keys[claims["iss"]].verify(_decoded(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), SHA256())
        except (ValueError, KeyError, InvalidSignature):
            return None
        return claims if claims["iat"] <= time.time() + 1 < claims["exp"] <= claims["iat"] + 3600 else None


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _refusal(status: int, code: str) -> Answer:
    return Answer(status, {"error": code, "error_description": f"what was sent holds {CANARY}"})
