"""Every operation."""

from __future__ import annotations

from typing import Any

from strongroom.operations.approval import APPROVAL_OPERATIONS
from strongroom.operations.audit import AUDIT_OPERATIONS
from strongroom.operations.component import COMPONENT_OPERATIONS
from strongroom.operations.info import INFO_OPERATIONS
from strongroom.operations.job import JOB_OPERATIONS
from strongroom.operations.operation import Operation
from strongroom.operations.run import RUN_OPERATIONS
from strongroom.operations.secret import SECRET_OPERATIONS
from strongroom.operations.service_account import SERVICE_ACCOUNT_OPERATIONS
from strongroom.operations.stack import STACK_OPERATIONS
from strongroom.operations.user import USER_OPERATIONS
from strongroom.operations.workspace import WORKSPACE_OPERATIONS

ALL_OPERATIONS: tuple[Operation[Any, Any], ...] = (
    *APPROVAL_OPERATIONS,
    *AUDIT_OPERATIONS,
    *COMPONENT_OPERATIONS,
    *INFO_OPERATIONS,
    *JOB_OPERATIONS,
    *RUN_OPERATIONS,
    *SECRET_OPERATIONS,
    *SERVICE_ACCOUNT_OPERATIONS,
    *STACK_OPERATIONS,
    *USER_OPERATIONS,
    *WORKSPACE_OPERATIONS,
)
