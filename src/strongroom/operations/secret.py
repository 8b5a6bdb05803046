"""The operations on secrets."""

from __future__ import annotations

from strongroom.models.page import Page
from strongroom.models.reference import CheckedReferences, CheckReferences, ResolvedReferences, ResolveReferences
from strongroom.models.run import ListSecretUsage, SecretUse
from strongroom.models.secret import (
    CreateSecret,
    DeleteSecret,
    GetSecret,
    GetSecretByName,
    ListSecrets,
    ListSecretVersions,
    ReplaceSecret,
    RollbackSecret,
    Secret,
    SecretVersion,
    UpdateSecret,
)
from strongroom.operations.operation import Audited, Operation, Repeat
from strongroom.operations.permission import Permission

CHECK = Operation(
    "secret.check",
    "POST",
    "/secrets/check",
    Permission.SECRET_READ_METADATA,
    CheckReferences,
    CheckedReferences,
    repeat=Repeat.HARMLESS,
    for_runs=True,
)
CREATE = Operation(
    "secret.create",
    "POST",
    "/secrets",
    Permission.SECRET_CREATE,
    CreateSecret,
    Secret,
    "/secrets/{id}",
    audited=Audited(target="name", shown=("scope",)),
)
DELETE = Operation("secret.delete", "DELETE", "/secrets/{id}", Permission.SECRET_DELETE, DeleteSecret, type(None))
GET = Operation("secret.get", "GET", "/secrets/{id}", Permission.SECRET_READ_VALUES, GetSecret, Secret, for_runs=True)
GET_BY_NAME = Operation(
    "secret.get-by-name", "GET", "/secrets/by-name/{name}", Permission.SECRET_READ_VALUES, GetSecretByName, Secret, for_runs=True
)
GET_METADATA = Operation(
    "secret.get-metadata", "GET", "/secrets/{id}/metadata", Permission.SECRET_READ_METADATA, GetSecret, Secret, for_runs=True
)
GET_METADATA_BY_NAME = Operation(
    "secret.get-metadata-by-name",
    "GET",
    "/secrets/by-name/{name}/metadata",
    Permission.SECRET_READ_METADATA,
    GetSecretByName,
    Secret,
    for_runs=True,
)
LIST = Operation("secret.list", "GET", "/secrets", Permission.SECRET_READ_METADATA, ListSecrets, Page[Secret])
LIST_VERSIONS = Operation(
    "secret.list-versions",
    "GET",
    "/secrets/{id}/versions",
    Permission.SECRET_READ_METADATA,
    ListSecretVersions,
    Page[SecretVersion],
)
LIST_USAGE = Operation(
    "secret.list-usage", "GET", "/secrets/{id}/usage", Permission.SECRET_READ_METADATA, ListSecretUsage, Page[SecretUse]
)
REPLACE = Operation("secret.replace", "PUT", "/secrets/{id}", Permission.SECRET_UPDATE, ReplaceSecret, Secret)
RESOLVE = Operation(
    "secret.resolve",
    "POST",
    "/secrets/resolve",
    Permission.SECRET_READ_VALUES,
    ResolveReferences,
    ResolvedReferences,
    repeat=Repeat.HARMLESS,
    for_runs=True,
)
ROLLBACK = Operation("secret.rollback", "POST", "/secrets/{id}/rollback", Permission.SECRET_UPDATE, RollbackSecret, Secret)
UPDATE = Operation(
    "secret.update", "PATCH", "/secrets/{id}", Permission.SECRET_UPDATE, UpdateSecret, Secret, audited=Audited(shown=("scope",))
)

SECRET_OPERATIONS = (
    CHECK,
    CREATE,
    DELETE,
    GET,
    GET_BY_NAME,
    GET_METADATA,
    GET_METADATA_BY_NAME,
    LIST,
    LIST_USAGE,
    LIST_VERSIONS,
    REPLACE,
    RESOLVE,
    ROLLBACK,
    UPDATE,
)
