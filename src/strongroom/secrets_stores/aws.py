"""The `aws` secrets store: AWS Secrets Manager.

Each secret there is billed, so there is one for each secret of strongroom, `<prefix>/<deployment>/<secret>`, and a version of ours
is a version of AWS: its id is the attempt. AWS forgets versions without a staging label, so each has one of its own,
`strongroom-<attempt>`, which it is born with and which a read asks for. A version without it is gone, whatever else AWS still knows
of it. AWSCURRENT is on the newest put, for other tools. A secret of AWS has at most 20 labels, hence `max_versions`.

A first put creates the secret without a value and then puts the version. That is as many calls as to create it with the value and to
label that, but so no version is ever without its label: what is cut off in between leaves nothing that could be mistaken for a put.
Later puts are one call.

AWS has no way to delete a version: delete takes its labels away, and AWS drops it in its own time. A secret with none of our labels
left is scheduled for deletion. There is no condition to that, so somebody else's put may come between the look at the labels and the
deletion, in any process, and whoever deletes may be killed at any point. What was put is not lost by it, because

- deletion is scheduled, never forced: for at least 7 days everything can be restored, with all labels;
- a put cannot land in a scheduled secret: AWS refuses it, and the put restores first;
- a secret is to be live with labels and scheduled without. `_settle` makes it so and looks again after every step that it takes, so
  what came in between is restored by the same call that scheduled the deletion;
- a kill between the two leaves a scheduled secret with a label. A put, a read or a delete of it and every scan meet and restore it;
  the first to come is the delete that was killed, which nobody acknowledged. So a loss takes a put and a kill in the same few
  milliseconds, and then 7 days in which nobody works with the secret.

A kill elsewhere leaves a live secret without labels: created or restored, and then not put to. The delete of that put's locator, and
scans, schedule it. A restore that comes late, when the label that it was for is gone again, is undone by the look that follows it.

Tags say whose a secret is, as of its first put. They belong to the secret, so they cannot tell the number of a version: a label more
would take from the 20, and a number in the label would have to be known to whoever reads.

The policy that it needs is `AwsSecretsStore.policy`.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from strongroom.connectors.aws import Answer, AwsConnection
from strongroom.connectors.deadline import Deadline
from strongroom.db.identifiers import new_id
from strongroom.errors import ConfigurationError, StoreForbidden, StrongroomError, Unavailable, ValuesCorrupt, ValuesMissing
from strongroom.secrets_stores.base import About, Capabilities, Found, about_of, check_size, checked_store_id, texts_of
from strongroom.secrets_stores.packing import pack, unpack

_MAX_BYTES = 65_536
_LABELS = 20
_CAPABILITIES = Capabilities(max_bytes=_MAX_BYTES, max_versions=12, scan_numbers=False)
_LABEL = "strongroom-"
_TAG = "strongroom:"
_ROUNDS = 6
_PAGE = 100
_LARGEST_PAGE = 1000
_BATCH = 20
_JUST_MADE = 5_000
_ABANDONED = timedelta(hours=1)
_PREFIX = re.compile(r"[A-Za-z0-9_+=.@-]+(/[A-Za-z0-9_+=.@-]+)*", re.ASCII)
_LOCATOR = re.compile(r"([A-Za-z0-9_-]+/[A-Za-z0-9_-]+)/([A-Za-z0-9-]{32,64})", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Where in AWS, and how secrets are made there.

    `account_id` belongs to the store's id, to tell two accounts apart; `name` takes the place of all of it. `kms_key_id` and `tags`
    are for secrets that are made from now on.
    """

    prefix: str = "strongroom"
    name: str | None = None
    account_id: str | None = None
    kms_key_id: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    recovery_window_days: int = 7


def open_store(connection: AwsConnection, options: Options, deployment_id: str) -> AwsSecretsStore:
    """The store, which closes the connection. Asks nobody."""
    return AwsSecretsStore(connection, options, deployment_id)


@dataclass(frozen=True)
class _State:
    """A secret of AWS as it is: which labels are on which version, and whether it is scheduled for deletion."""

    labels: Mapping[str, Sequence[str]]
    scheduled: bool

    def has(self, attempt: str) -> bool:
        return f"{_LABEL}{attempt}" in self.labels.get(attempt, ())

    def attempts(self) -> list[str]:
        """What is kept there, the oldest first."""
        return sorted(attempt for attempt in self.labels if self.has(attempt))


class AwsSecretsStore:
    """Opened for one deployment, on a connection that it closes."""

    def __init__(self, connection: AwsConnection, options: Options, deployment_id: str) -> None:
        """Asks nobody. `ConfigurationError` for an option that will not do."""
        if not _PREFIX.fullmatch(options.prefix) or len(options.prefix) > 200:
            raise ConfigurationError("'prefix' is to be made of letters, digits and any of _+=.@-, with '/' between")
        if options.account_id is not None and not re.fullmatch(r"\d{12}", options.account_id):
            raise ConfigurationError("'account_id' is to be the 12 digits of an account of AWS")
        if not 7 <= options.recovery_window_days <= 30:
            raise ConfigurationError(
                "'recovery_window_days' is to be from 7 to 30",
                hint="deleting without a window could take with it what somebody else puts at the same moment",
            )
        _check_tags(options.tags)
        account = f"{options.account_id}." if options.account_id else ""
        place = f"{account}{connection.region}{connection.place and '.' + connection.place}"
        store_id = checked_store_id(options.name or f"aws://{place}/{options.prefix}")
        self._connection, self._options, self._deployment_id, self._store_id = connection, options, deployment_id, store_id

    def __repr__(self) -> str:
        return f"<secrets store {self._store_id}>"

    @property
    def store_id(self) -> str:
        """`aws://[<account>.]<region>[.<host>]/<prefix>`, the host for what is not AWS's own; or the operator's name."""
        return self._store_id

    @property
    def capabilities(self) -> Capabilities:
        """64 KiB, and 12 versions: of AWS's 20 labels two are its own, and six are for puts under way and deletes not done."""
        return _CAPABILITIES

    def new_locator(self, secret_id: str) -> str:
        """`<deployment>/<secret>/<attempt>`: the name below the prefix, and the version's id."""
        return f"{self._deployment_id}/{secret_id}/{new_id()}"

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        """One call; two for a new secret, one more if it is not known to be new. See `SecretsStore.put`."""
        check_size(values, _CAPABILITIES)
        data = pack(values, _MAX_BYTES)
        name, attempt = self._split(locator)
        deadline = Deadline(seconds)
        is_missing, refused = _is_just_made(locator), 0
        for _ in range(_ROUNDS):
            if is_missing:
                self._create(name, about, deadline)
            answer = self._ask(
                "put_secret_value",
                deadline,
                name,
                gives="VersionId",
                ClientRequestToken=attempt,
                VersionStages=[f"{_LABEL}{attempt}", "AWSCURRENT"],
                **{"SecretString" if isinstance(data, str) else "SecretBinary": data},
            )
            match answer.code:
                case None:
                    if f"{_LABEL}{attempt}" not in answer.data.get("VersionStages", ()):
                        raise ValuesCorrupt(f"AWS had values at {locator} that were deleted there")
                    return
                case "ResourceExistsException":
                    self._check_same(locator, values, deadline)
                    return
                case "ResourceNotFoundException":
                    is_missing = True
                case "InvalidRequestException":
                    state = self._look(name, deadline)
                    is_missing = state is None
                    if state is not None and state.scheduled:
                        self._restore(name, deadline)
                    elif state is not None and (refused := refused + 1) > 1:
                        raise self._refusal(answer, name)
                case "LimitExceededException":
                    raise StoreForbidden(
                        f"AWS keeps no more than {_LABELS} labels of '{name}': too many versions are kept, or not yet deleted",
                        hint=f"keep at most {_CAPABILITIES.max_versions} versions of a secret",
                    )
                case _:
                    raise self._refusal(answer, name)
        raise Unavailable(f"'{name}' is being deleted again and again meanwhile; nothing was put")

    def get(self, locator: str, *, seconds: float) -> dict[str, str]:
        """One call; five when it has to restore. See `SecretsStore.get`."""
        return self._read(locator, Deadline(seconds))

    def get_many(self, locators: Sequence[str], *, seconds: float) -> Mapping[str, dict[str, str] | StrongroomError]:
        """A call for every 20 secrets, and one for each locator that is not its secret's newest put. See `ReadsMany`."""
        deadline = Deadline(seconds)
        newest: dict[str, Mapping[str, Any]] = {}
        names = list(dict.fromkeys(found[1] for each in locators if (found := _LOCATOR.fullmatch(each))))
        for start in range(0, len(names) if len(locators) > 1 else 0, _BATCH):
            batch = [f"{self._options.prefix}/{name}" for name in names[start : start + _BATCH]]
            try:
                answer = self._connection.ask(
                    "secretsmanager", "batch_get_secret_value", deadline, gives="SecretValues", SecretIdList=batch
                )
            except StoreForbidden:
                break  # single gets tell which of them is
            except Unavailable as error:
                return dict.fromkeys(locators, error)
            newest |= {str(each.get("Name")): each for each in answer.data.get("SecretValues", ())}
        return {locator: self._one_of_many(locator, newest, deadline) for locator in locators}

    def delete(self, locator: str, *, seconds: float) -> None:
        """Two calls; four for a secret's last version, or for its newest. See `SecretsStore.delete`."""
        name, attempt = self._split(locator)
        deadline = Deadline(seconds)
        self._unlabel(name, f"{_LABEL}{attempt}", attempt, deadline)
        self._settle(name, attempt, deadline)

    def scan(self, *, seconds: float) -> Iterator[Sequence[Found]]:
        """A call for every 100 secrets, and those that mend what was cut off. See `SecretsStore.scan`.

        AWS says of its list that it may lack changes of the last five minutes.
        """
        deadline = Deadline(seconds)
        for secrets in self._listed(f"{self._options.prefix}/{self._deployment_id}/", deadline):
            page = [found for secret in secrets for found in self._described(secret, deadline)]
            for start in range(0, len(page), _LARGEST_PAGE):
                yield page[start : start + _LARGEST_PAGE]

    def deployments(self, *, seconds: float) -> list[str]:
        """A call for every 100 secrets below the prefix, whosever they are. See `ListsDeployments`."""
        below, found = f"{self._options.prefix}/", set[str]()
        for secrets in self._listed(below, Deadline(seconds)):
            for secret in secrets:
                locator = str(secret["Name"]).removeprefix(below)
                if any(_LOCATOR.fullmatch(f"{locator}/{each}") for each in _state(secret, "SecretVersionsToStages").attempts()):
                    found.add(locator.partition("/")[0])
        return sorted(found)

    def identity(self, *, seconds: float) -> str:
        """See `Introspective`."""
        return self._connection.identity(seconds=seconds)

    @property
    def policy(self) -> str:
        """See `Introspective`."""
        partition, region, key = self._connection.partition, self._connection.region, self._options.kms_key_id
        account = self._options.account_id or "*"
        one = [
            "CreateSecret", "DeleteSecret", "DescribeSecret", "GetSecretValue", "PutSecretValue", "RestoreSecret", "TagResource",
            "UpdateSecretVersionStage",
        ]  # fmt: skip
        statements: list[dict[str, Any]] = [
            {
                "Effect": "Allow",
                "Action": [f"secretsmanager:{each}" for each in one],
                "Resource": f"arn:{partition}:secretsmanager:{region}:{account}:secret:{self._options.prefix}/*",
            },
            {"Effect": "Allow", "Action": ["secretsmanager:BatchGetSecretValue", "secretsmanager:ListSecrets"], "Resource": "*"},
        ]
        if key is not None:
            domain = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
            is_alias = key.startswith("alias/") or ":alias/" in key
            resource = key if key.startswith("arn:") else f"arn:{partition}:kms:{region}:{account}:key/{key}"
            if is_alias:
                resource = f"arn:{partition}:kms:{region}:{account}:key/*"
            condition: dict[str, Any] = {"StringEquals": {"kms:ViaService": f"secretsmanager.{region}.{domain}"}}
            if is_alias:
                condition["ForAnyValue:StringEquals"] = {"kms:ResourceAliases": f"alias/{key.partition('alias/')[2]}"}
            actions = ["kms:Decrypt", "kms:GenerateDataKey"]
            statements.append({"Effect": "Allow", "Action": actions, "Resource": resource, "Condition": condition})
        return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2) + "\n"

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def _create(self, name: str, about: About, deadline: Deadline) -> None:
        """Makes the secret, without a value, unless it is there."""
        tags = {f"{_TAG}{key}": text for key, text in texts_of(replace(about, version=None)).items()} | self._options.tags
        parameters: dict[str, Any] = {"Tags": [{"Key": key, "Value": text} for key, text in tags.items()]}
        if self._options.kms_key_id:
            parameters["KmsKeyId"] = self._options.kms_key_id
        answer = self._connection.ask(
            "secretsmanager",
            "create_secret",
            deadline,
            at=name,
            gives="ARN",
            Name=name,
            Description="made by strongroom",
            **parameters,
        )
        self._check_account(answer)
        if answer.code == "InvalidRequestException":
            self._restore(name, deadline)  # it is scheduled for deletion
        elif answer.code == "LimitExceededException":
            raise StoreForbidden("this account of AWS may have no more secrets in its region", hint="raise the quota")
        elif answer.code not in (None, "ResourceExistsException"):
            raise self._refusal(answer, name)

    def _check_same(self, locator: str, values: Mapping[str, str], deadline: Deadline) -> None:
        try:
            found = self._read(locator, deadline)
        except ValuesMissing:
            found = None
        if found is None:
            raise ValuesCorrupt(f"AWS had values at {locator} that were deleted there")
        if found != values:
            raise ValuesCorrupt(f"AWS has other values at {locator} already; they stay")

    def _read(self, locator: str, deadline: Deadline) -> dict[str, str]:
        name, attempt = self._split(locator)
        for _ in range(_ROUNDS):
            answer = self._ask(
                "get_secret_value", deadline, name, gives="VersionId", VersionId=attempt, VersionStage=f"{_LABEL}{attempt}"
            )
            match answer.code:
                case None:
                    return _values(locator, answer.data)
                case "ResourceNotFoundException":
                    break
                case "InvalidRequestException" | "InvalidParameterException":
                    # The version has not that label, or the secret is scheduled for deletion, by mistake if it has.
                    state = self._look(name, deadline)
                    if state is None or not state.has(attempt):
                        break
                    if state.scheduled:
                        self._settle(name, None, deadline)
                case _:
                    raise self._refusal(answer, name)
        else:
            raise self._refusal(answer, name)
        raise ValuesMissing(f"AWS has nothing at {locator}")

    def _one_of_many(
        self, locator: str, newest: Mapping[str, Mapping[str, Any]], deadline: Deadline
    ) -> dict[str, str] | StrongroomError:
        try:
            name, attempt = self._split(locator)
            found = newest.get(name)
            if found is not None and found.get("VersionId") == attempt and f"{_LABEL}{attempt}" in found.get("VersionStages", ()):
                return _values(locator, found)
            return self._read(locator, deadline)
        except (ValuesMissing, ValuesCorrupt, StoreForbidden, Unavailable) as error:
            return error

    def _settle(self, name: str, deleted: str | None, deadline: Deadline) -> None:
        """Makes a secret's state follow from its labels, with those of the `deleted` attempt gone, and looks again until it does.

        Whoever takes our deletion back is putting, and answers for what becomes of the secret: it is not taken away again.
        """
        may_delete = True
        for _ in range(_ROUNDS):
            state = self._look(name, deadline)
            if state is None:
                return
            left = [each for each in state.attempts() if each != deleted]
            if deleted is not None and state.has(deleted):
                if state.scheduled:
                    self._restore(name, deadline)  # nothing can be done to it as it is
                    may_delete = True
                self._unlabel(name, f"{_LABEL}{deleted}", deleted, deadline)
            elif state.scheduled and left:
                self._restore(name, deadline)
                may_delete = True
            elif state.scheduled or not (left or may_delete):
                return
            elif left:
                self._tidy(name, state, deleted, deadline)
                return
            else:
                days = self._options.recovery_window_days
                answer = self._ask("delete_secret", deadline, name, gives="DeletionDate", RecoveryWindowInDays=days)
                self._check(answer, name)
                may_delete = False
        raise Unavailable(f"'{name}' is being changed again and again meanwhile")

    def _tidy(self, name: str, state: _State, deleted: str | None, deadline: Deadline) -> None:
        """Takes AWS's own labels from a deleted version, which they would keep. AWSCURRENT goes to the newest that is left."""
        labels = state.labels.get(deleted or "", ())
        if deleted is not None and "AWSCURRENT" in labels:
            newest = state.attempts()[-1]
            moved = {"VersionStage": "AWSCURRENT", "RemoveFromVersionId": deleted, "MoveToVersionId": newest}
            answer = self._ask("update_secret_version_stage", deadline, name, gives="ARN", **moved)
            self._check(answer, name)
        if deleted is not None and ("AWSCURRENT" in labels or "AWSPREVIOUS" in labels):
            self._unlabel(name, "AWSPREVIOUS", deleted, deadline)

    def _unlabel(self, name: str, label: str, attempt: str, deadline: Deadline) -> None:
        """Takes a label away if it is there and nothing is in the way; who needs to know looks."""
        answer = self._ask(
            "update_secret_version_stage", deadline, name, gives="ARN", VersionStage=label, RemoveFromVersionId=attempt
        )
        self._check(answer, name)

    def _restore(self, name: str, deadline: Deadline) -> None:
        """Takes the deletion back, if the secret is still there; who needs to know looks."""
        self._check(self._ask("restore_secret", deadline, name, gives="ARN"), name)

    def _look(self, name: str, deadline: Deadline) -> _State | None:
        answer = self._ask("describe_secret", deadline, name, gives="ARN")
        if answer.code == "ResourceNotFoundException":
            return None
        if answer.code is not None:
            raise self._refusal(answer, name)
        return _state(answer.data, "VersionIdsToStages")

    def _listed(self, below: str, deadline: Deadline) -> Iterator[list[Mapping[str, Any]]]:
        """The secrets whose names begin so, in pages; the deadline begins anew with each."""
        more: dict[str, str] = {}
        while True:
            answer = self._connection.ask(
                "secretsmanager",
                "list_secrets",
                deadline,
                at=f"{below}*",
                gives="SecretList",
                Filters=[{"Key": "name", "Values": [below]}],
                IncludePlannedDeletion=True,
                MaxResults=_PAGE,
                **more,
            )
            if answer.code is not None:
                raise self._refusal(answer, f"{below}*")
            yield [secret for secret in answer.data["SecretList"] if str(secret["Name"]).startswith(below)]
            if not answer.data.get("NextToken"):
                return
            more = {"NextToken": answer.data["NextToken"]}
            deadline.restart()

    def _described(self, secret: Mapping[str, Any], deadline: Deadline) -> list[Found]:
        """What is kept in a secret of a list. Mends what a kill left: what is scheduled with labels, or live without."""
        name, state = str(secret["Name"]), _state(secret, "SecretVersionsToStages")
        attempts = state.attempts()
        changed = secret.get("LastChangedDate") or secret.get("CreatedDate")
        is_abandoned = not attempts and changed is not None and datetime.now(UTC) - changed > _ABANDONED
        if state.scheduled == bool(attempts) and (attempts or is_abandoned):
            self._settle(name, None, deadline)
        tags = {each["Key"]: each.get("Value", "") for each in secret.get("Tags", ())}
        about = about_of({key.removeprefix(_TAG): text for key, text in tags.items() if key.startswith(_TAG)})
        locator = name.removeprefix(f"{self._options.prefix}/")
        found = (Found(locator=f"{locator}/{each}", about=about, written=_time_of(each)) for each in attempts)
        return [each for each in found if _LOCATOR.fullmatch(each.locator)]

    def _ask(self, operation: str, deadline: Deadline, name: str, *, gives: str, **parameters: Any) -> Answer:
        answer = self._connection.ask("secretsmanager", operation, deadline, at=name, gives=gives, SecretId=name, **parameters)
        self._check_account(answer)
        return answer

    def _check_account(self, answer: Answer) -> None:
        """Where the account belongs to the store's id, a credential of another one is at the wrong place."""
        wanted, arn = self._options.account_id, str(answer.data.get("ARN", ""))
        if wanted is not None and arn and arn.split(":")[4] != wanted:
            raise StoreForbidden(f"the credential is not of the account {wanted}", hint="check 'account_id' and the credential")

    def _check(self, answer: Answer, name: str) -> None:
        """Lets pass what only says that the secret is in another state than when one looked."""
        if answer.code not in (None, "ResourceNotFoundException", "InvalidRequestException", "InvalidParameterException"):
            raise self._refusal(answer, name)

    def _refusal(self, answer: Answer, name: str) -> StoreForbidden:
        """What an answer means that no request of this store is meant to get."""
        return StoreForbidden(f"AWS refuses what strongroom asks of '{name}': {answer.code}", hint="was it changed by other means?")

    def _split(self, locator: str) -> tuple[str, str]:
        """Name and version; a locator that this store did not make leads nowhere, least of all out of its prefix."""
        found = _LOCATOR.fullmatch(locator)
        if not found:
            raise ValuesMissing("a locator that is none of this store's leads to no values")
        return f"{self._options.prefix}/{found[1]}", found[2]


def _state(described: Mapping[str, Any], labels: str) -> _State:
    return _State(described.get(labels) or {}, described.get("DeletedDate") is not None)


def _values(locator: str, data: Mapping[str, Any]) -> dict[str, str]:
    found = data.get("SecretString", data.get("SecretBinary"))
    if found is not None:
        try:
            return unpack(found)
        except ValuesCorrupt:
            pass
    raise ValuesCorrupt(f"what lies at {locator} of AWS is not what strongroom writes")


def _check_tags(tags: Mapping[str, str]) -> None:
    allowed = re.compile(r"[\w .:/=+@-]*")
    for key, text in tags.items():
        if not (0 < len(key) <= 128 and len(text) <= 256 and allowed.fullmatch(key) and allowed.fullmatch(text)):
            raise ConfigurationError(
                "'tags' are made of letters, digits, blanks and any of _.:/=+@-, the keys of at most 128 characters"
            )
        if key.lower().startswith(("aws:", _TAG)):
            raise ConfigurationError(f"a tag of your own cannot begin with 'aws:' or '{_TAG}'")
    if len(tags) > 40:
        raise ConfigurationError("there can be at most 40 'tags'")


def _milliseconds(identifier: str) -> int | None:
    """When an id was made, if it is one that tells."""
    try:
        found = uuid.UUID(identifier)
    except ValueError:
        return None
    return found.int >> 80 if found.version == 7 else None


def _time_of(attempt: str) -> datetime | None:
    made = _milliseconds(attempt)
    return None if made is None else datetime.fromtimestamp(made / 1000, UTC)


def _is_just_made(locator: str) -> bool:
    """Whether the secret was made with this attempt, so that AWS has none yet. A guess, and the same at each repetition."""
    _, secret, attempt = locator.split("/")
    made, tried = _milliseconds(secret), _milliseconds(attempt)
    return made is not None and tried is not None and tried - made < _JUST_MADE
