"""The operation that says what this deployment is."""

from __future__ import annotations

from strongroom.models.info import GetInfo, Info
from strongroom.operations.operation import Operation
from strongroom.operations.permission import Permission

INFO = Operation("info.get", "GET", "/info", Permission.SELF, GetInfo, Info, for_runs=True)

INFO_OPERATIONS = (INFO,)
