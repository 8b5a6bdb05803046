"""A fake of AWS: Secrets Manager (in `aws_secrets_manager.py`) and STS, behind one port of 127.0.0.1.

It checks each request as AWS does: signature and time, session token, expiry, and the policy of the credential. moto is not enough:
it takes a version's own staging labels away when AWSCURRENT moves, and lets puts pass into secrets that are scheduled for deletion.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any
from xml.sax.saxutils import escape

from tests.canary import CANARY
from tests.fakes.aws_secrets_manager import Refusal, SecretsManager
from tests.fakes.loopback import Answer, LoopbackServer, Request

ACCOUNT = "123456789012"
REGION = "eu-west-1"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Credential:
    """Keys that the fake takes. `policy` is a document as of IAM; what it does not allow is denied."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    arn: str = f"arn:aws:iam::{ACCOUNT}:user/strongroom"
    policy: Mapping[str, Any] = field(default_factory=lambda: EVERYTHING)
    expires: datetime | None = None

    def allows(self, action: str, resource: str) -> bool:
        """Whether one statement does."""
        return any(
            any(fnmatchcase(action, each) for each in _list(statement["Action"]))
            and any(fnmatchcase(resource, each) for each in _list(statement["Resource"]))
            for statement in self.policy["Statement"]
        )


class AwsServer(LoopbackServer):
    """One account in one region."""

    def __init__(self) -> None:
        self.secrets_manager = SecretsManager(ACCOUNT, REGION)
        self.credentials: dict[str, Credential] = {}
        self.roles: dict[str, str | None] = {}
        """By ARN, the external id that each wants."""
        self.web_tokens: set[str] = set()
        self.lifetime: timedelta | None = None
        """Of temporary keys, instead of what is asked for."""
        self.calls: list[str] = []
        self.before: Callable[[str, str], Answer | None] | None = None
        """Called with each action and the access key's id. May answer in its place, or raise `ConnectionError`: nothing is done."""
        self.after: Callable[[str, str], None] | None = None
        """Called when the action has taken effect or was refused. May raise `ConnectionError`, to lose the answer."""
        self.clock_is_wrong_by = timedelta()
        self._calm = threading.Event()
        self._calm.set()
        super().__init__()
        self.url = f"http://{self.address}"

    def add(self, **changes: Any) -> Credential:
        """A fresh access key of a user."""
        number = next(_numbers)
        credential = Credential(f"AKIA{number:016}", f"{CANARY}-secret-{number}", **changes)
        self.credentials[credential.access_key_id] = credential
        return credential

    @contextmanager
    def policy(self, credential: Credential, document: Mapping[str, Any]) -> Iterator[None]:
        """Meanwhile the credential may do this."""
        self.credentials[credential.access_key_id] = replace(credential, policy=document)
        try:
            yield
        finally:
            self.credentials[credential.access_key_id] = credential

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Meanwhile it takes requests and does not answer; they are not done afterwards either."""
        self._calm.clear()
        try:
            yield
        finally:
            self._calm.set()

    @contextmanager
    def answering(self, status: int, body: Mapping[str, Any] | bytes, headers: Mapping[str, str] | None = None) -> Iterator[None]:
        """Meanwhile everything is answered like this."""
        self.before = lambda action, who: Answer(status, body, headers or {})
        try:
            yield
        finally:
            self.before = None

    @contextmanager
    def counting(self) -> Iterator[list[str]]:
        """The actions that are asked for meanwhile. Only for a server that nobody else uses."""
        start, counted = len(self.calls), []
        yield counted
        counted += self.calls[start:]

    def answer(self, request: Request) -> Answer:
        """See `LoopbackServer`."""
        target = request.headers.get("x-amz-target", "")
        is_sts = not target
        parameters = request.form() if is_sts else json.loads(request.body)
        action = parameters.pop("Action") if is_sts else target.partition(".")[2]
        who = "".join(re.findall(r"Credential=(\w+)", request.headers.get("authorization", "")))
        self.calls.append(action)
        if not self._calm.is_set():
            self._calm.wait(30)
            raise ConnectionError
        given = self.before(action, who) if self.before else None
        if given is not None:
            return given
        try:
            credential = None if action == "AssumeRoleWithWebIdentity" else self._authenticated(request, is_sts=is_sts)
            answered = self._sts(action, parameters, credential) if is_sts else self._secret(action, parameters, credential)
        except Refusal as refusal:
            answered = _sts_error(refusal) if is_sts else Answer(refusal.status, {"__type": refusal.code, "message": refusal.message})
        if self.after:
            self.after(action, who)
        return answered

    def _secret(self, action: str, parameters: dict[str, Any], credential: Credential | None) -> Answer:
        assert credential is not None
        name = parameters.get("SecretId", parameters.get("Name"))
        resource = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-AbCdEf" if name else "*"
        for each in [action] + (["TagResource"] if action == "CreateSecret" and "Tags" in parameters else []):
            if not credential.allows(f"secretsmanager:{each}", resource):
                raise _denied(credential, f"secretsmanager:{each}", resource, "AccessDeniedException")
        may_read = None
        if action == "BatchGetSecretValue":

            def may_read(one: str) -> bool:
                return credential.allows(
                    "secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{one}-AbCdEf"
                )

        return Answer(200, self.secrets_manager.do(action, parameters, may_read), {"Content-Type": "application/x-amz-json-1.1"})

    def _sts(self, action: str, parameters: Mapping[str, str], credential: Credential | None) -> Answer:
        seconds = timedelta(seconds=int(parameters.get("DurationSeconds", "3600")))
        match action:
            case "GetCallerIdentity":
                assert credential is not None
                return _xml(action, f"<Arn>{credential.arn}</Arn><UserId>AIDA</UserId><Account>{ACCOUNT}</Account>")
            case "AssumeRole" | "AssumeRoleWithWebIdentity":
                role = parameters["RoleArn"]
                if credential is not None and not credential.allows("sts:AssumeRole", role):
                    raise _denied(credential, "sts:AssumeRole", role, "AccessDenied")
                if credential is None and parameters["WebIdentityToken"] not in self.web_tokens:
                    raise Refusal("InvalidIdentityToken", "Couldn't retrieve verification key from your identity provider")
                if role not in self.roles or self.roles[role] != parameters.get("ExternalId"):
                    raise Refusal("AccessDenied", "not authorized to perform: sts:AssumeRole on resource: the role", 403)
                arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/{parameters['RoleSessionName']}"
            case "GetSessionToken":
                assert credential is not None
                if credential.session_token:
                    raise Refusal("AccessDenied", "Cannot call GetSessionToken with session credentials", 403)
                arn = credential.arn
            case "GetFederationToken":
                assert credential is not None
                if not {"Policy", "PolicyArns.member.1.arn"} & set(parameters):
                    raise Refusal("ValidationError", "a session without a policy may do nothing")
                arn = f"arn:aws:sts::{ACCOUNT}:federated-user/{parameters['Name']}"
            case _:
                raise AssertionError(action)
        policy = credential.policy if credential is not None else EVERYTHING
        return _xml(action, self._temporary(arn, self.lifetime or seconds, policy))

    def _temporary(self, arn: str, life: timedelta, policy: Mapping[str, Any]) -> str:
        number, expires = next(_numbers), datetime.now(UTC) + life
        key = Credential(
            f"ASIA{number:016}", f"{CANARY}-temporary-{number}", f"{CANARY}-{secrets.token_hex(8)}", arn, policy, expires
        )
        self.credentials[key.access_key_id] = key
        return (
            f"<Credentials><AccessKeyId>{key.access_key_id}</AccessKeyId><SecretAccessKey>{key.secret_access_key}</SecretAccessKey>"
            f"<SessionToken>{key.session_token}</SessionToken><Expiration>{expires:%Y-%m-%dT%H:%M:%S.%fZ}</Expiration></Credentials>"
        )

    def _authenticated(self, request: Request, *, is_sts: bool) -> Credential:
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=(\w+)/([a-z0-9/_-]+), ?SignedHeaders=([a-z0-9;-]+), ?Signature=(\w+)",
            request.headers.get("authorization", ""),
        )
        if not found:
            raise Refusal("MissingAuthenticationToken" if is_sts else "MissingAuthenticationTokenException", "no signature", 403)
        key, scope, signed, signature = found.groups()
        credential = self.credentials.get(key)
        wrong = Refusal(
            "InvalidClientTokenId" if is_sts else "UnrecognizedClientException",
            "The security token included in the request is invalid.",
            403 if is_sts else 400,
        )
        if credential is None or request.headers.get("x-amz-security-token") != credential.session_token:
            raise wrong
        code = "SignatureDoesNotMatch" if is_sts else "InvalidSignatureException"
        if not hmac.compare_digest(_signature(request, credential.secret_access_key, scope, signed), signature):
            raise Refusal(code, "The request signature we calculated does not match the signature you provided.", 403)
        now = datetime.now(UTC) + self.clock_is_wrong_by
        sent = datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if abs(now - sent) > timedelta(minutes=5):
            raise Refusal(code, f"Signature expired: {sent} is now earlier than {now}", 403)
        if credential.expires is not None and now > credential.expires:
            raise Refusal(
                "ExpiredToken" if is_sts else "ExpiredTokenException", "The security token is expired", 403 if is_sts else 400
            )
        return credential


def _signature(request: Request, secret: str, scope: str, signed: str) -> str:
    headers = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in signed.split(";"))
    canonical = f"{request.method}\n{request.path}\n\n{headers}\n{signed}\n{hashlib.sha256(request.body).hexdigest()}"
    text = f"AWS4-HMAC-SHA256\n{request.headers['x-amz-date']}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in [*scope.split("/"), text]:
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


def _denied(credential: Credential, action: str, resource: str, code: str) -> Refusal:
    message = f"User: {credential.arn} is not authorized to perform: {action} on resource: {resource} because no policy allows it"
    return Refusal(code, message, 400 if code == "AccessDeniedException" else 403)


def _xml(action: str, result: str) -> Answer:
    namespace = "https://sts.amazonaws.com/doc/2011-06-15/"
    text = f'<{action}Response xmlns="{namespace}"><{action}Result>{result}</{action}Result></{action}Response>'
    return Answer(200, text.encode(), {"Content-Type": "text/xml"})


def _sts_error(refusal: Refusal) -> Answer:
    said = f"<Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message>"
    text = f'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>{said}</Error></ErrorResponse>'
    return Answer(refusal.status, text.encode(), {"Content-Type": "text/xml"})


def _list(text: str | list[str]) -> list[str]:
    return [text] if isinstance(text, str) else text
