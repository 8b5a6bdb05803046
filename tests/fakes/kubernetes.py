"""The part of Kubernetes that Vault asks whether a pod's token is genuine."""

from __future__ import annotations

from tests.fakes.loopback import Answer, LoopbackServer, Request


class Kubernetes(LoopbackServer):
    """Knows one token, of the service account `training` in the namespace `ml`."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._token = token

    def answer(self, request: Request) -> Answer:
        """A review of a token."""
        if (request.method, request.path) != ("POST", "/apis/authentication.k8s.io/v1/tokenreviews"):
            return Answer(404, {"kind": "Status", "status": "Failure"})
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
        if request.form()["spec"]["token"] != self._token:
            return Answer(201, {**review, "status": {"authenticated": False, "error": "invalid bearer token"}})
        groups = ["system:serviceaccounts", "system:serviceaccounts:ml", "system:authenticated"]
        user = {"username": "system:serviceaccount:ml:training", "uid": "1", "groups": groups}
        return Answer(201, {**review, "status": {"authenticated": True, "user": user, "audiences": ["vault"]}})
