"""A container registry: the part of its protocol, version 2, with which a client logs in and lists tags."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Literal

from tests.fakes.loopback import Answer, LoopbackServer, Request

_SERVICE = "tests"


class ContainerRegistry(LoopbackServer):
    """A registry for one user.

    With the scheme `basic` it wants user and password with each request, as registries behind a proxy do. With `bearer` it sends
    clients to its endpoint `/token`, which gives a token for user and password, as Docker Hub, GitHub and GitLab do; a token opens
    the repositories that it was asked for.
    """

    def __init__(
        self,
        user: str,
        password: str,
        scheme: Literal["basic", "bearer"] = "basic",
        repositories: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.user = user
        self.password = password
        self._scheme = scheme
        self._repositories = {"team/model": ["1.0", "latest"]} if repositories is None else repositories
        self._scopes: dict[str, list[str]] = {}
        super().__init__()
        self.url = f"http://{self.address}"

    def answer(self, request: Request) -> Answer:
        """The answer of a registry."""
        if self._scheme == "bearer" and request.path == "/token":
            return self._token(request)
        repository = request.path.removeprefix("/v2/").removesuffix("/tags/list")
        if request.path == "/v2/":
            return self._refusal(request, None) or _answer(200, {})
        if request.path != f"/v2/{repository}/tags/list":
            return _failure(404, "UNSUPPORTED", "no such operation")
        if refusal := self._refusal(request, f"repository:{repository}:pull"):
            return refusal
        if repository not in self._repositories:
            return _failure(404, "NAME_UNKNOWN", "repository name not known to registry")
        return _answer(200, {"name": repository, "tags": list(self._repositories[repository])})

    def _token(self, request: Request) -> Answer:
        if request.basic_credentials() != (self.user, self.password):
            return _failure(401, "UNAUTHORIZED", "incorrect username or password")
        token = secrets.token_hex(16)
        self._scopes[token] = [scope for text in request.query.get("scope", []) for scope in text.split()]
        return _answer(200, {"token": token, "access_token": token, "expires_in": 300, "issued_at": "2026-01-01T00:00:00Z"})

    def _refusal(self, request: Request, scope: str | None) -> Answer | None:
        """What tells the client how to authenticate, unless it did."""
        if self._scheme == "basic":
            if request.basic_credentials() == (self.user, self.password):
                return None
            challenge = f'Basic realm="{_SERVICE}"'
        else:
            token = request.bearer_token() or ""
            if token in self._scopes and (scope is None or any(_covers(given, scope) for given in self._scopes[token])):
                return None
            challenge = f'Bearer realm="{self.url}/token",service="{_SERVICE}"'
            challenge += f',scope="{scope}"' if scope else ""
            if token:
                challenge += f',error="{"insufficient_scope" if token in self._scopes else "invalid_token"}"'
        return _failure(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})


def _covers(given: str, wanted: str) -> bool:
    """Whether a scope, such as `repository:team/model:pull,push`, holds another one that has a single action."""
    place, _, actions = given.rpartition(":")
    wanted_place, _, action = wanted.rpartition(":")
    return place == wanted_place and action in actions.split(",")


def _answer(status: int, body: dict[str, object], headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, body, {"Docker-Distribution-Api-Version": "registry/2.0", **(headers or {})})


def _failure(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    return _answer(status, {"errors": [{"code": code, "message": message, "detail": None}]}, headers)
