"""The `gcp` secrets store: Google Secret Manager.

Each put makes a secret of Google's with one version:
`projects/<project>/secrets/<prefix>-<deployment>-<secret>-<attempt>/versions/1`, with the values as plain top-level JSON, so that
other tools can read them. Only version 1 is ever read, and versions cannot be changed: nobody who adds one changes what the index
names. Secrets never expire, unless somebody sets that by hand.

A put creates the secret, which says whose the values are, and then adds the version. Google numbers versions, and gives the number
1 to exactly one put: that one has the locator. A put cut off between the two was not acknowledged; a scan finds what it left.

The role that it needs is `GcpSecretsStore.policy`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from strongroom.connectors.deadline import Deadline
from strongroom.connectors.gcp import Answer, GcpConnection
from strongroom.connectors.gcp_methods import import_google
from strongroom.db.identifiers import new_id
from strongroom.errors import ConfigurationError, StoreForbidden, Unavailable, ValuesCorrupt, ValuesMissing
from strongroom.secrets_stores.base import (
    MAX_LOCATOR_LENGTH,
    About,
    Capabilities,
    Found,
    about_of,
    check_size,
    checked_store_id,
    texts_of,
)
from strongroom.secrets_stores.packing import pack, unpack

_PAGE = 500
_MAX_BYTES = 65_536
_CAPABILITIES = Capabilities(max_bytes=_MAX_BYTES)
SERVICE = "/google.cloud.secretmanager.v1.SecretManagerService"
_OWN = "strongroom_"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_-]{1,63}", re.ASCII)
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
_LOCATION = re.compile(r"[a-z][a-z0-9-]+", re.ASCII)
_KEY = re.compile(r"projects/[^/]+/locations/([a-z0-9-]+|\{location\})/keyRings/[^/]+/cryptoKeys/[^/]+", re.ASCII)
RIGHTS = {
    "CreateSecret": "secretmanager.secrets.create",
    "DeleteSecret": "secretmanager.secrets.delete",
    "ListSecrets": "secretmanager.secrets.list",
    "AccessSecretVersion": "secretmanager.versions.access",
    "AddSecretVersion": "secretmanager.versions.add",
    "DestroySecretVersion": "secretmanager.versions.destroy",
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Where in a project, and how Google is to keep it. `name` takes the place of the project and the prefix in the store's id.

    `replication` are locations; without any, Google chooses. `kms_key_name` is a key of yours; `{location}` in it stands for each of
    the locations, or for `global`. `labels` are added to those that tell whose the values are.
    """

    prefix: str = "strongroom"
    replication: tuple[str, ...] = ()
    kms_key_name: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    name: str | None = None


def open_store(connection: GcpConnection, options: Options, deployment_id: str) -> GcpSecretsStore:
    """The store, which closes the connection. Asks nobody."""
    return GcpSecretsStore(connection, deployment_id, options)


class GcpSecretsStore:
    """Opened for one deployment, on a connection that it closes."""

    def __init__(self, connection: GcpConnection, deployment_id: str, options: Options | None = None) -> None:
        """Asks nobody. `ConfigurationError` for options that will not do, `MissingExtra`."""
        options = options or Options()
        _check(options, deployment_id)
        google = ".googleapis.com"  # one and the same service, whatever way leads there
        place = "" if connection.host.endswith(google) else f"{connection.address}/"
        store_id = checked_store_id(options.name or f"gcp://{place}projects/{connection.project_id}/secrets/{options.prefix}")
        self._types = messages()
        self._checksum = import_google("google_crc32c").value
        self._connection, self._deployment_id, self._store_id, self._options = connection, deployment_id, store_id, options
        self._project = f"projects/{connection.project_id}"
        self._locator = re.compile(re.escape(f"{options.prefix}-{deployment_id}-") + "[A-Za-z0-9_-]+", re.ASCII)
        self._secret = _secret(self._types["CreateSecret"][1], options)

    def __repr__(self) -> str:
        return f"<secrets store {self._store_id}>"

    @property
    def store_id(self) -> str:
        """`gcp://projects/<project>/secrets/<prefix>`, with the address in front where it is not Google's; or the operator's name."""
        return self._store_id

    @property
    def capabilities(self) -> Capabilities:
        """64 KiB, which is all that Google takes: values that are larger as JSON are packed."""
        return _CAPABILITIES

    def new_locator(self, secret_id: str) -> str:
        """`<prefix>-<deployment>-<secret>-<attempt>`: the id of a secret of Google's."""
        return f"{self._options.prefix}-{self._deployment_id}-{secret_id}-{new_id()}"

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        """Two requests, also when it is a repetition. See `SecretsStore.put`."""
        check_size(values, _CAPABILITIES)
        packed = pack(values, _MAX_BYTES)
        data = packed if isinstance(packed, bytes) else packed.encode()
        name, deadline = self._name(locator), Deadline(seconds)
        created = self._ask("CreateSecret", deadline, parent=self._project, secret_id=locator, secret=self._described(about))
        if created.status == "ALREADY_EXISTS" and self._is_there(locator, values, deadline):
            return
        if created.status not in ("OK", "ALREADY_EXISTS"):
            raise self._refusal(created)
        payload = {"data": data, "data_crc32c": self._checksum(data)}
        added = self._ask("AddSecretVersion", deadline, parent=name, payload=payload)
        if self._is_missing(added, locator):
            raise Unavailable(f"Google does not know the secret {locator} that was just made, or somebody deleted it")
        if added.status != "OK":
            raise self._refusal(added)
        version = added.message.name.rpartition("/")[2]
        if version != "1":
            self._give_way(locator, version, values, deadline)

    def get(self, locator: str, *, seconds: float) -> dict[str, str]:
        """One request. See `SecretsStore.get`.

        A version that somebody disabled is `StoreForbidden`, for it can be enabled again; one that somebody destroyed is
        `ValuesMissing`.
        """
        return self._read(locator, Deadline(seconds))

    def delete(self, locator: str, *, seconds: float) -> None:
        """One request, for the values and what describes them. See `SecretsStore.delete`."""
        answer = self._ask("DeleteSecret", Deadline(seconds), name=self._name(locator))
        if answer.status != "OK" and not self._is_missing(answer, locator):
            raise self._refusal(answer)

    def scan(self, *, seconds: float) -> Iterator[Sequence[Found]]:
        """One request for up to 500 locators. See `SecretsStore.scan`.

        Google's lists are "eventually consistent": what was just put may be missing, and what was just deleted still be there.
        """
        for secrets in self._listed(f"labels.{_OWN}deployment_id={self._deployment_id}", Deadline(seconds)):
            page = [found for each in secrets if (found := self._found(each)) is not None]
            if page:
                yield page

    def deployments(self, *, seconds: float) -> list[str]:
        """One request for up to 500 secrets whose names have the prefix in them, whosever they are. See `ListsDeployments`."""
        prefix, found = self._options.prefix, set[str]()
        for secrets in self._listed(f"name:{prefix}", Deadline(seconds)):
            for each in secrets:
                deployment_id = each.labels.get(f"{_OWN}deployment_id", "")
                if deployment_id and each.name.rpartition("/")[2].startswith(f"{prefix}-{deployment_id}-"):
                    found.add(deployment_id)
        return sorted(found)

    def identity(self, *, seconds: float) -> str:
        """See `Introspective`. Lists one secret, because Google looks at a credential only when it is used."""
        deadline = Deadline(seconds)
        who = self._connection.identity(seconds=deadline.left())
        chosen = f"labels.{_OWN}deployment_id={self._deployment_id}"
        answer = self._ask("ListSecrets", deadline, parent=self._project, filter=chosen, page_size=1)
        if answer.status != "OK":
            raise self._refusal(answer)
        return who

    @property
    def policy(self) -> str:
        """See `Introspective`: a custom role, and how to grant it."""
        project = self._connection.project_id
        rights = "".join(f"- {each}\n" for each in sorted(RIGHTS.values()))
        return (
            f"# gcloud iam roles create strongroom --project={project} --file=role.yaml\n"
            f"# gcloud projects add-iam-policy-binding {project} --role=projects/{project}/roles/strongroom --member=MEMBER\n"
            f"title: strongroom\n"
            f"description: Keeps values in secrets whose names begin with {self._options.prefix}-\n"
            f"stage: GA\n"
            f"includedPermissions:\n{rights}"
        )

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def _ask(self, method: str, deadline: Deadline, **fields: Any) -> Answer:
        request, answer = self._types[method]
        return self._connection.ask(f"{SERVICE}/{method}", request(**fields), answer, deadline, right=RIGHTS[method])

    def _listed(self, chosen: str, deadline: Deadline) -> Iterator[Sequence[Any]]:
        """The secrets that the filter chooses, in pages; the deadline begins anew with each."""
        token = ""
        while True:
            answer = self._ask("ListSecrets", deadline, parent=self._project, filter=chosen, page_size=_PAGE, page_token=token)
            if answer.status != "OK":
                raise self._refusal(answer)
            yield answer.message.secrets
            token = answer.message.next_page_token
            if not token:
                return
            deadline.restart()

    def _name(self, locator: str) -> str:
        """Google's name; a locator that this store did not make leads nowhere, least of all to somebody else's secrets."""
        if len(locator) > MAX_LOCATOR_LENGTH or not self._locator.fullmatch(locator):
            raise ValuesMissing("a locator that is none of this store's leads to no values")
        return f"{self._project}/secrets/{locator}"

    def _described(self, about: About) -> Any:
        """Whose the values are: exactly, in annotations, and in labels as far as those can say it, to be searched for."""
        written = {f"{_OWN}{name}": text for name, text in texts_of(about).items()}
        secret = type(self._secret)()
        secret.CopyFrom(self._secret)
        secret.annotations.update(written)
        secret.labels.update({name: text for name, text in written.items() if _LABEL.fullmatch(text)})
        secret.labels[f"{_OWN}deployment_id"] = self._deployment_id
        return secret

    def _found(self, secret: Any) -> Found | None:
        locator = secret.name.rpartition("/")[2]
        if not self._locator.fullmatch(locator):
            return None  # it lies at another prefix
        told = {name.removeprefix(_OWN): text for name, text in secret.annotations.items() if name.startswith(_OWN)}
        return Found(locator=locator, about=about_of(told), written=secret.create_time.ToDatetime(tzinfo=UTC))

    def _read(self, locator: str, deadline: Deadline) -> dict[str, str]:
        answer = self._ask("AccessSecretVersion", deadline, name=f"{self._name(locator)}/versions/1")
        if self._is_missing(answer, locator):
            raise ValuesMissing(f"Google has nothing at {locator}")
        if answer.status != "OK":
            raise self._refusal(answer, locator)
        payload = answer.message.payload
        if payload.HasField("data_crc32c") and payload.data_crc32c != self._checksum(payload.data):
            raise ValuesCorrupt(f"what came from {locator} of Google's does not have the checksum that it should have")
        return unpack(payload.data)

    def _is_there(self, locator: str, values: Mapping[str, str], deadline: Deadline) -> bool:
        """Whether these values lie there; `ValuesCorrupt` if others do."""
        try:
            found = self._read(locator, deadline)
        except ValuesMissing:
            return False
        if found != values:
            raise ValuesCorrupt(f"Google has other values at {locator} already; they stay")
        return True

    def _give_way(self, locator: str, version: str, values: Mapping[str, str], deadline: Deadline) -> None:
        """What was added came second, or after version 1 was destroyed: nobody will ever read it, and it goes again."""
        try:
            if not self._is_there(locator, values, deadline):
                raise ValuesCorrupt(f"Google had values at {locator} that were destroyed there")
        finally:
            with contextlib.suppress(Unavailable):  # then it goes when the secret does
                self._ask("DestroySecretVersion", deadline, name=f"{self._name(locator)}/versions/{version}")

    def _is_missing(self, answer: Answer, locator: str) -> bool:
        """Whether the service says that there is no such thing; that there is no such project does not count."""
        if answer.status == "FAILED_PRECONDITION":
            return "destroyed" in answer.details and f"{locator.lower()}/versions/" in answer.details
        return answer.status == "NOT_FOUND" and (locator.lower() in answer.details or "project" not in answer.details)

    def _refusal(self, answer: Answer, locator: str = "") -> StoreForbidden:
        """What an answer means that no request of this store is meant to get."""
        if answer.status == "NOT_FOUND":
            return StoreForbidden(
                f"Google has no project {self._connection.project_id}, or no key or location of the options", hint="check the options"
            )
        if locator and "is in disabled state" in answer.details:
            return StoreForbidden(
                f"Google has the values at {locator}, but somebody disabled their version",
                hint=f"gcloud secrets versions enable 1 --secret={locator} --project={self._connection.project_id}",
            )
        return StoreForbidden(
            f"Google refuses in the present state of the project {self._connection.project_id}",
            hint="check that version 1 is enabled, the keys of KMS and their grants, and the policies of the organization",
        )


def _check(options: Options, deployment_id: str) -> None:
    if not _NAME.fullmatch(options.prefix):
        raise ConfigurationError("'prefix' is to be made of up to 100 letters, digits, '_' and '-'")
    if not _LABEL.fullmatch(deployment_id):
        raise ConfigurationError("the deployment's id cannot be a label of Google's")
    if not all(_LOCATION.fullmatch(each) for each in options.replication) or len(set(options.replication)) < len(options.replication):
        raise ConfigurationError("'replication' is to be locations of Google's", hint="such as europe-west3,europe-west4")
    key = options.kms_key_name
    if key is not None and not _KEY.fullmatch(key):
        raise ConfigurationError(
            "'kms_key_name' is no name of a key",
            hint="projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, where LOCATION may be {location}",
        )
    for name, text in options.labels.items():
        if not _LABEL_KEY.fullmatch(name) or name.startswith(_OWN) or not (_LABEL.fullmatch(text) or text == ""):
            raise ConfigurationError(
                "a label of 'labels' will not do", hint="lower case letters, digits, '_' and '-'; up to 63 of each"
            )
    if len(options.labels) > 64 - len(About.__dataclass_fields__):
        raise ConfigurationError("these are too many 'labels'", hint="Google takes 64, and strongroom needs 6")


def messages() -> Mapping[str, tuple[Any, Any]]:
    """The messages of each method: of the request, and of the answer."""
    service = import_google("google.cloud.secretmanager_v1.types.service")
    resources = import_google("google.cloud.secretmanager_v1.types.resources")
    secret, version = resources.Secret.pb(), resources.SecretVersion.pb()
    return {
        "CreateSecret": (service.CreateSecretRequest.pb(), secret),
        "DeleteSecret": (service.DeleteSecretRequest.pb(), import_google("google.protobuf.empty_pb2").Empty),
        "ListSecrets": (service.ListSecretsRequest.pb(), service.ListSecretsResponse.pb()),
        "AccessSecretVersion": (service.AccessSecretVersionRequest.pb(), service.AccessSecretVersionResponse.pb()),
        "AddSecretVersion": (service.AddSecretVersionRequest.pb(), version),
        "DestroySecretVersion": (service.DestroySecretVersionRequest.pb(), version),
    }


def _secret(secret_type: Any, options: Options) -> Any:
    """What all secrets have in common."""
    secret = secret_type(labels=options.labels)
    key = options.kms_key_name
    if not options.replication:
        secret.replication.automatic.SetInParent()
        if key:
            secret.replication.automatic.customer_managed_encryption.kms_key_name = key.replace("{location}", "global")
    for location in options.replication:
        replica = secret.replication.user_managed.replicas.add(location=location)
        if key:
            replica.customer_managed_encryption.kms_key_name = key.replace("{location}", location)
    return secret
