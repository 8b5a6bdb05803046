"""The `aws` secrets manager: a secret of AWS Secrets Manager for each secret."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from strongroom.connectors.aws import Answer
from strongroom.connectors.deadline import Deadline
from strongroom.errors import StoreForbidden, StrongroomError
from strongroom.secrets_managers.remote import RemoteSecretsManager
from strongroom.secrets_stores.base import Capabilities

_GONE = ("ResourceNotFoundException", "InvalidRequestException")
"""The second one: it is scheduled for deletion."""
_WINDOW_DAYS = 7
_PAGE = 100


class AwsSecretsManager(RemoteSecretsManager):
    """Thread-safe. Of two who register a name at the same moment exactly one does; of two changes the later one stays.

    What is deleted can be restored in AWS for 7 days. To register such a name restores the secret and replaces its values: they are
    there for a moment, and of two who do that at the same moment the later one stays.
    """

    flavor = "aws"
    capabilities = Capabilities(max_bytes=65_536, counts_json=True)

    def find_secret(self, name: str) -> Mapping[str, str] | None:
        """One call. See `SecretsManager`."""
        full = self.names.find(name)
        if full is None:
            return None
        answer = self._ask("get_secret_value", full, self.deadline(), gives="ARN", SecretId=full, VersionStage="AWSCURRENT")
        if answer.code in _GONE:
            return None
        self._check(answer, full)
        return self.decoded(name, answer.data.get("SecretString") or answer.data.get("SecretBinary") or "")

    def list_secrets(self) -> list[str]:
        """A call for every 100 secrets. See `SecretsManager`. AWS says that its list may lack changes of the last five minutes."""
        until, names, found = self.deadline(), self.names, list[str]()
        mark, scope = self.mark
        filters = [{"Key": "name", "Values": [names.start]}]
        if self.is_shared:
            filters = [{"Key": "tag-key", "Values": [mark]}, {"Key": "tag-value", "Values": [scope]}]
        more: dict[str, str] = {}
        while True:
            answer = self._ask(
                "list_secrets", f"{names.start}*", until, gives="SecretList", Filters=filters, MaxResults=_PAGE, **more
            )
            self._check(answer, f"{names.start}*")
            for each in answer.data["SecretList"]:
                name = names.name_in(str(each["Name"]))
                # AWS takes the texts of filters for the beginnings of any tags.
                if name is not None and (not self.is_shared or {"Key": mark, "Value": scope} in each.get("Tags", ())):
                    found.append(name)
            if not answer.data.get("NextToken"):
                return sorted(found)
            more = {"NextToken": answer.data["NextToken"]}
            until.restart()

    def register_secret(self, name: str, values: Mapping[str, str]) -> None:
        """One call; three or four where a secret of this name was deleted lately. See `SecretsManager`."""
        full, until, text = self.names.of(name), self.deadline(), self.encoded(values)
        parameters: dict[str, Any] = {"Tags": self._tags}
        if self.config.kms_key_id:
            parameters["KmsKeyId"] = self.config.kms_key_id
        answer = self._ask("create_secret", full, until, gives="ARN", Name=full, SecretString=text, **parameters)
        if answer.code == "ResourceExistsException":
            raise self.taken(name)
        if answer.code == "InvalidRequestException":  # deleted, and still kept
            self._replace_deleted(full, text, until)
        else:
            self._check(answer, full)

    def update_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Two calls. See `SecretsManager`."""
        full, text = self.names.of(name), self.encoded(values)
        if self.find_secret(name) is None:
            raise self.no_secret(name)
        answer = self._put(full, text, self.deadline())
        if answer.code in _GONE:
            raise self.no_secret(name)
        self._check(answer, full)

    def delete_secret(self, name: str) -> None:
        """Two calls. See `SecretsManager`."""
        full = self.names.of(name)
        if not self.is_there(name):
            raise self.no_secret(name)
        answer = self._delete(full, self.deadline())
        if answer.code in _GONE:
            raise self.no_secret(name)
        self._check(answer, full)

    @property
    def _tags(self) -> list[dict[str, str]]:
        mark, scope = self.mark
        return [{"Key": mark, "Value": scope}]

    def _replace_deleted(self, full: str, text: str, until: Deadline) -> None:
        """Restores a deleted secret, with other values. Where AWS refuses these it is deleted again."""
        self._check(self._ask("restore_secret", full, until, gives="ARN", SecretId=full), full)
        try:
            if self.is_shared:  # it may have been somebody else's
                self._check(self._ask("tag_resource", full, until, SecretId=full, Tags=self._tags), full)
            self._check(self._put(full, text, until), full)
        except StoreForbidden:
            with suppress(StrongroomError):
                self._delete(full, until)
            raise

    def _put(self, full: str, text: str, until: Deadline) -> Answer:
        return self._ask("put_secret_value", full, until, gives="ARN", SecretId=full, SecretString=text)

    def _delete(self, full: str, until: Deadline) -> Answer:
        return self._ask("delete_secret", full, until, gives="ARN", SecretId=full, RecoveryWindowInDays=_WINDOW_DAYS)

    def _ask(self, operation: str, at: str, until: Deadline, **parameters: Any) -> Answer:
        answer: Answer = self.connect().ask("secretsmanager", operation, until, at=at, **parameters)
        return answer

    def _check(self, answer: Answer, full: str) -> None:
        if answer.code is not None:
            raise StoreForbidden(f"AWS refuses '{full}': {answer.code}", hint="look at the secret in AWS")
