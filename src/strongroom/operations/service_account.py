"""The operations on service accounts and their API keys."""

from __future__ import annotations

from strongroom.models.page import Page
from strongroom.models.service_account import (
    ApiKey,
    CreateApiKey,
    CreateServiceAccount,
    DeleteApiKey,
    DeleteServiceAccount,
    ListApiKeys,
    ListServiceAccounts,
    ServiceAccount,
)
from strongroom.operations.operation import Audited, Operation, Repeat
from strongroom.operations.permission import Permission

CREATE = Operation(
    "service-account.create",
    "POST",
    "/service-accounts",
    Permission.MEMBER_MANAGE,
    CreateServiceAccount,
    ServiceAccount,
    "/service-accounts/{name}",
    audited=Audited(target="name", shown=("role",)),
)
CREATE_KEY = Operation(
    "api-key.create",
    "POST",
    "/service-accounts/{service_account}/api-keys",
    Permission.MEMBER_MANAGE,
    CreateApiKey,
    ApiKey,
    "/service-accounts/{service_account}/api-keys/{name}",
    Repeat.NEVER,
    audited=Audited(target="name", shown=("service_account",)),
)
DELETE = Operation(
    "service-account.delete", "DELETE", "/service-accounts/{name}", Permission.MEMBER_MANAGE, DeleteServiceAccount, type(None)
)
DELETE_KEY = Operation(
    "api-key.delete",
    "DELETE",
    "/service-accounts/{service_account}/api-keys/{name}",
    Permission.MEMBER_MANAGE,
    DeleteApiKey,
    type(None),
    audited=Audited(shown=("service_account",)),
)
LIST = Operation(
    "service-account.list", "GET", "/service-accounts", Permission.MEMBER_MANAGE, ListServiceAccounts, Page[ServiceAccount]
)
LIST_KEYS = Operation(
    "api-key.list",
    "GET",
    "/service-accounts/{service_account}/api-keys",
    Permission.MEMBER_MANAGE,
    ListApiKeys,
    Page[ApiKey],
    audited=Audited(target="service_account"),
)

SERVICE_ACCOUNT_OPERATIONS = (CREATE, CREATE_KEY, DELETE, DELETE_KEY, LIST, LIST_KEYS)
