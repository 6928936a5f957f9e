"""Manage: what a merchant writes and reads that no foreign API covers, in StoreHarmony's manner."""

from collections.abc import Mapping
from typing import ClassVar

from kasuwa.api.manage import contract
from kasuwa.api.store_sessions import StoreSessions
from kasuwa.base.http.contract import Checks, Operation


class Manage(StoreSessions):
    name: ClassVar[str] = "manage"
    base_paths: ClassVar[tuple[str, ...]] = ("/manage",)
    operations: ClassVar[Mapping[str, Operation]] = contract.OPERATIONS
    checks: ClassVar[Checks] = contract.CHECKS
