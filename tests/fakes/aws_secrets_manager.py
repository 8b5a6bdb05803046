"""A fake of AWS Secrets Manager: what its reference says of secrets, versions, staging labels and scheduled deletion."""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

_CURRENT, _PREVIOUS = "AWSCURRENT", "AWSPREVIOUS"
_MARKED = "You can't perform this operation on the secret because it was marked for deletion."


class Refusal(Exception):
    """An error as AWS words it."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(code)
        self.code, self.message, self.status = code, message, status


@dataclass
class Secret:
    """One secret. `labels` says on which version each staging label is."""

    name: str
    arn: str
    created: datetime
    changed: datetime
    tags: list[dict[str, str]] = field(default_factory=list)
    kms_key_id: str | None = None
    deleted: datetime | None = None
    versions: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
    labels: dict[str, str] = field(default_factory=dict)

    def labels_of(self, version: str) -> list[str]:
        """In no order."""
        return [label for label, holder in self.labels.items() if holder == version]

    def stages(self) -> dict[str, list[str]]:
        """Of versions that have any."""
        return {version: self.labels_of(version) for version in self.versions if self.labels_of(version)}

    def move(self, label: str, version: str) -> None:
        """AWSCURRENT draws AWSPREVIOUS after it."""
        before = self.labels.get(label)
        if label == _CURRENT and before is not None and before != version:
            self.labels[_PREVIOUS] = before
        self.labels[label] = version


class SecretsManager:
    """Thread-safe."""

    def __init__(self, account: str, region: str) -> None:
        self._arn = f"arn:aws:secretsmanager:{region}:{account}:secret:"
        self.secrets: dict[str, Secret] = {}
        self._listed: dict[str, Secret] | None = None
        self._lock = threading.Lock()
        self.disabled_keys: set[str] = set()

    def do(self, action: str, parameters: Mapping[str, Any], may_read: Callable[[str], bool] | None = None) -> dict[str, Any]:
        """One call. `Refusal`."""
        with self._lock:
            if action == "BatchGetSecretValue":
                assert may_read is not None
                return self._batch_get_secret_value(parameters, may_read)
            method = getattr(self, "_" + re.sub(r"(?<!^)([A-Z])", r"_\1", action).lower(), None)
            if method is None:
                raise Refusal("UnknownOperationException", "")
            result: dict[str, Any] = method(parameters)
            return result

    def forget_unlabelled(self) -> None:
        """What AWS does in its own time."""
        for secret in self.secrets.values():
            secret.versions = {each: content for each, content in secret.versions.items() if secret.labels_of(each)}

    @contextmanager
    def late_list(self) -> Iterator[None]:
        """Meanwhile lists show what is there now."""
        self._listed = copy.deepcopy(self.secrets)
        try:
            yield
        finally:
            self._listed = None

    def _create_secret(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        name = parameters["Name"]
        if not re.fullmatch(r"[A-Za-z0-9/_+=.@-]{1,512}", name):
            raise Refusal("ValidationException", "Invalid name.")
        tags = parameters.get("Tags", [])
        if len(tags) > 50 or not all(re.fullmatch(r"[\w .:/=+@-]{1,128}", each["Key"]) for each in tags):
            raise Refusal("InvalidParameterException", "tags")
        if not all(re.fullmatch(r"[\w .:/=+@-]{0,256}", each["Value"]) for each in tags):
            raise Refusal("InvalidParameterException", "tags")
        found = self.secrets.get(name)
        if found is not None and found.deleted:
            raise Refusal(
                "InvalidRequestException",
                "You can't create this secret because a secret with this name is already scheduled for deletion.",
            )
        if found is not None:
            raise Refusal("ResourceExistsException", f"The operation failed because the secret {name} already exists.")
        content = _content(parameters)
        self._check_key(parameters.get("KmsKeyId"))
        now = datetime.now(UTC)
        secret = Secret(name, f"{self._arn}{name}-AbCdEf", now, now, tags, parameters.get("KmsKeyId"))
        if content:
            secret.versions[parameters["ClientRequestToken"]] = content
            secret.move(_CURRENT, parameters["ClientRequestToken"])
        self.secrets[name] = secret
        return _about(secret) | ({"VersionId": parameters["ClientRequestToken"]} if content else {})

    def _tag_resource(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        secret, given = self._live(parameters), {each["Key"]: each for each in parameters["Tags"]}
        secret.tags = [*({each["Key"]: each for each in secret.tags} | given).values()]
        return {}

    def _put_secret_value(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        secret, version = self._live(parameters), parameters["ClientRequestToken"]
        if not 32 <= len(version) <= 64:
            raise Refusal("InvalidParameterException", "ClientRequestToken must be 32-64 characters long.")
        content = _content(parameters)
        if len(content) != 1:
            raise Refusal("InvalidRequestException", "You must provide either SecretString or SecretBinary.")
        self._check_key(secret.kms_key_id)
        if version in secret.versions:
            if secret.versions[version] != content:
                raise Refusal("ResourceExistsException", f"You can't use ClientRequestToken {version}: it is already in use")
        else:
            labels = parameters.get("VersionStages", [_CURRENT])
            changed = copy.deepcopy(secret)
            changed.versions[version] = content
            for label in labels if secret.versions else {*labels, _CURRENT}:
                changed.move(label, version)
            self._store(changed)
            secret = changed
        return _about(secret) | {"VersionId": version, "VersionStages": secret.labels_of(version)}

    def _get_secret_value(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        secret = self._live(parameters)
        version, label = parameters.get("VersionId"), parameters.get("VersionStage")
        if version is None:
            version = secret.labels.get(label or _CURRENT)
        elif version in secret.versions and label is not None and secret.labels.get(label) != version:
            raise Refusal("InvalidRequestException", "You provided a VersionStage that is not associated to the provided VersionId.")
        if version not in secret.versions:
            raise Refusal("ResourceNotFoundException", "Secrets Manager can't find the specified secret value.")
        if secret.kms_key_id in self.disabled_keys:
            raise Refusal("DecryptionFailure", "Secrets Manager can't decrypt the protected secret text using the provided KMS key.")
        labels = {"VersionId": version, "VersionStages": secret.labels_of(version)}
        return _about(secret) | labels | secret.versions[version] | {"CreatedDate": secret.changed.timestamp()}

    def _batch_get_secret_value(self, parameters: Mapping[str, Any], may_read: Callable[[str], bool]) -> dict[str, Any]:
        if not 1 <= len(parameters["SecretIdList"]) <= 20:
            raise Refusal("InvalidParameterException", "SecretIdList")
        found, errors = [], []
        for name in parameters["SecretIdList"]:
            if not may_read(name):
                errors.append({"SecretId": name, "ErrorCode": "AccessDeniedException", "Message": ""})
                continue
            try:
                found.append(self._get_secret_value({"SecretId": name}))
            except Refusal as refusal:
                errors.append({"SecretId": name, "ErrorCode": refusal.code, "Message": refusal.message})
        return {"SecretValues": found, "Errors": errors}

    def _describe_secret(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        secret = self._there(parameters)
        return _listed(secret) | {"VersionIdsToStages": secret.stages()}

    def _list_secrets(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        secrets = self.secrets if self._listed is None else self._listed
        found = [
            secret
            for secret in sorted(secrets.values(), key=lambda each: (each.created, each.name))
            if _passes(secret, parameters["Filters"]) and (not secret.deleted or parameters.get("IncludePlannedDeletion"))
        ]
        start = int(parameters.get("NextToken", "0"))
        end = start + parameters["MaxResults"]
        page = [_listed(each) | {"SecretVersionsToStages": each.stages()} for each in found[start:end]]
        return {"SecretList": page} | ({"NextToken": str(end)} if end < len(found) else {})

    def _update_secret_version_stage(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        secret, label = copy.deepcopy(self._live(parameters)), parameters["VersionStage"]
        source, target, holder = parameters.get("RemoveFromVersionId"), parameters.get("MoveToVersionId"), secret.labels.get(label)
        for each in (source, target):
            if each is not None and each not in secret.versions:
                raise Refusal("ResourceNotFoundException", "Secrets Manager can't find the specified secret version.")
        if holder is not None and holder != source and target != holder:
            raise Refusal("InvalidParameterException", f"Staging label {label} is currently attached to version {holder}")
        if holder is None and target is None:
            raise Refusal("InvalidParameterException", f"Staging label {label} is not attached to a version")
        if target is not None:
            secret.move(label, target)
        elif label == _CURRENT:
            raise Refusal("InvalidParameterException", "You can only move staging label AWSCURRENT to a different secret version.")
        else:
            del secret.labels[label]
        self._store(secret)
        return _about(secret)

    def _delete_secret(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        assert "ForceDeleteWithoutRecovery" not in parameters
        days = parameters.get("RecoveryWindowInDays", 30)
        if not 7 <= days <= 30:
            raise Refusal("InvalidParameterException", "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).")
        secret = self._live(parameters)
        secret.deleted = datetime.now(UTC) + timedelta(days=days)
        return _about(secret) | {"DeletionDate": secret.deleted.timestamp()}

    def _restore_secret(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        secret = self._there(parameters)
        secret.deleted = None
        return _about(secret)

    def _there(self, parameters: Mapping[str, Any]) -> Secret:
        secret = self.secrets.get(parameters["SecretId"])
        if secret is None:
            raise Refusal("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
        return secret

    def _live(self, parameters: Mapping[str, Any]) -> Secret:
        secret = self._there(parameters)
        if secret.deleted:
            raise Refusal("InvalidRequestException", _MARKED)
        return secret

    def _store(self, secret: Secret) -> None:
        if len(secret.labels) > 20:
            raise Refusal("LimitExceededException", "You can't attach more than 20 staging labels to a secret.")
        secret.changed = datetime.now(UTC)
        self.secrets[secret.name] = secret

    def _check_key(self, key: str | None) -> None:
        if key in self.disabled_keys:
            raise Refusal("EncryptionFailure", "Secrets Manager can't encrypt the protected secret text using the provided KMS key.")


def _content(parameters: Mapping[str, Any]) -> dict[str, str]:
    content = {key: parameters[key] for key in ("SecretString", "SecretBinary") if key in parameters}
    if len(content.get("SecretString", "").encode()) > 65_536 or len(content.get("SecretBinary", "")) > 87_384:
        raise Refusal("InvalidParameterException", "Member must have length less than or equal to 65536")
    return content


def _passes(secret: Secret, filters: Sequence[Mapping[str, Any]]) -> bool:
    """Whether each of the filters fits: by the beginning of the name, of any tag's key, or of any tag's text."""
    texts = {
        "name": [secret.name],
        "tag-key": [each["Key"] for each in secret.tags],
        "tag-value": [each["Value"] for each in secret.tags],
    }
    return all(any(text.startswith(tuple(each["Values"])) for text in texts[each["Key"]]) for each in filters)


def _about(secret: Secret) -> dict[str, Any]:
    return {"ARN": secret.arn, "Name": secret.name}


def _listed(secret: Secret) -> dict[str, Any]:
    dates = {"CreatedDate": secret.created.timestamp(), "LastChangedDate": secret.changed.timestamp()}
    deleted = {"DeletedDate": secret.deleted.timestamp()} if secret.deleted else {}
    return _about(secret) | {"Tags": secret.tags} | dates | deleted
