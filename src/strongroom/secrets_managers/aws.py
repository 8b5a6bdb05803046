"""The `aws` secrets manager: a secret of AWS Secrets Manager for each secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strongroom.connectors.aws import Answer
from strongroom.connectors.deadline import Deadline
from strongroom.errors import StoreForbidden
from strongroom.secrets_managers.remote import RemoteSecretsManager, deadline
from strongroom.secrets_stores.base import Capabilities

_GONE = ("ResourceNotFoundException", "InvalidRequestException")
"""The second one: it is scheduled for deletion."""
_WINDOW_DAYS = 7
_PAGE = 100


class AwsSecretsManager(RemoteSecretsManager):
    """Thread-safe. Of two changes at the same moment the later one stays. What is deleted can be restored in AWS for 7 days."""

    flavor = "aws"
    capabilities = Capabilities(max_bytes=65_536, counts_json=True)

    def find_secret(self, name: str) -> Mapping[str, str] | None:
        """One call. See `SecretsManager`."""
        full = self.names.find(name)
        if full is None:
            return None
        answer = self._ask("get_secret_value", full, deadline(), SecretId=full, VersionStage="AWSCURRENT")
        if answer.code in _GONE:
            return None
        self._check(answer, full)
        return self.decoded(name, answer.data.get("SecretString") or answer.data.get("SecretBinary") or "")

    def list_secrets(self) -> list[str]:
        """A call for every 100 secrets. See `SecretsManager`."""
        until, names, found = deadline(), self.names, list[str]()
        mark, scope = self.mark
        filters = [{"Key": "name", "Values": [names.start]}]
        if self.is_shared:
            filters = [{"Key": "tag-key", "Values": [mark]}, {"Key": "tag-value", "Values": [scope]}]
        more: dict[str, str] = {}
        while True:
            answer = self._ask("list_secrets", f"{names.start}*", until, Filters=filters, MaxResults=_PAGE, **more)
            self._check(answer, f"{names.start}*")
            found += [name for each in answer.data.get("SecretList", ()) if (name := names.name_in(str(each["Name"]))) is not None]
            if not answer.data.get("NextToken"):
                return sorted(found)
            more = {"NextToken": answer.data["NextToken"]}
            until.restart()

    def register_secret(self, name: str, values: Mapping[str, str]) -> None:
        """One call; three where a secret of this name was deleted lately. See `SecretsManager`."""
        full, until, text = self.names.of(name), deadline(), self.encoded(values)
        mark, scope = self.mark
        parameters: dict[str, Any] = {"Tags": [{"Key": mark, "Value": scope}]}
        if self.config.kms_key_id:
            parameters["KmsKeyId"] = self.config.kms_key_id
        answer = self._ask("create_secret", full, until, Name=full, SecretString=text, **parameters)
        if answer.code == "ResourceExistsException":
            raise self.taken(name)
        if answer.code == "InvalidRequestException":  # deleted, and still kept
            self._check(self._ask("restore_secret", full, until, SecretId=full), full)
            answer = self._ask("put_secret_value", full, until, SecretId=full, SecretString=text)
        self._check(answer, full)

    def update_secret(self, name: str, values: Mapping[str, str]) -> None:
        """One call. See `SecretsManager`."""
        full, text = self.names.of(name), self.encoded(values)
        answer = self._ask("put_secret_value", full, deadline(), SecretId=full, SecretString=text)
        if answer.code in _GONE:
            raise self.no_secret(name)
        self._check(answer, full)

    def delete_secret(self, name: str) -> None:
        """One call. See `SecretsManager`."""
        full, until = self.names.of(name), deadline()
        described = self._ask("describe_secret", full, until, SecretId=full)
        if described.code in _GONE or described.data.get("DeletedDate"):
            raise self.no_secret(name)
        self._check(self._ask("delete_secret", full, until, SecretId=full, RecoveryWindowInDays=_WINDOW_DAYS), full)

    def _ask(self, operation: str, at: str, until: Deadline, **parameters: Any) -> Answer:
        answer: Answer = self.connect().ask("secretsmanager", operation, until, at=at, **parameters)
        return answer

    def _check(self, answer: Answer, full: str) -> None:
        if answer.code is not None:
            raise StoreForbidden(f"AWS refuses '{full}': {answer.code}", hint="look at the secret in AWS")
