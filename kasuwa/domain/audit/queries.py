"""Questions about who changed what."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.permissions import Permission
from kasuwa.domain.stores.reach import read_reach


class AuditEntry(Struct, frozen=True):
    """One change. `before` and `after` are JSON as it was written, None where there was nothing."""

    audit_id: UUID
    at: datetime
    actor_kind: str
    actor_id: str
    action: str
    subject_kind: str
    subject_id: str
    before: str | None
    after: str | None
    request_id: str


class AuditFilter(Struct, frozen=True, kw_only=True):
    """Which entries a list shows; every condition that is not None must hold. `until` is not within."""

    action: str | None = None
    subject_kind: str | None = None
    subject_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


_CONDITIONS = (
    ("action", "action = :action"),
    ("subject_kind", "subject_kind = :subject_kind"),
    ("subject_id", "subject_id = :subject_id"),
    ("since", "at >= :since"),
    ("until", "at < :until"),
)


async def list_entries(
    context: Context, wanted: AuditFilter, *, after: UUID | None, size: int
) -> list[AuditEntry]:
    """What was changed where the caller reads the trail, the newest first, those that are older than `after`
    where it is given."""
    context.require(Permission.AUDIT_READ)
    conditions = ["merchant_id = current_merchant()"]
    values: dict[str, object] = {}
    for field, condition in _CONDITIONS:
        value = getattr(wanted, field)
        if value is not None:
            conditions.append(condition)
            values[field] = value
    if after is not None:
        # An id begins with its time, so the key's order is that of the changes.
        conditions.append("audit_id < :after")
        values["after"] = after
    async with context.reading() as db:
        reach = await read_reach(context, db, Permission.AUDIT_READ)
        conditions += reach.conditions
        return await db.all(
            f"""
            SELECT audit_id, at, actor_kind, actor_id, action, subject_kind, subject_id, before, after,
                   request_id
            FROM audit_entry WHERE {" AND ".join(conditions)}
            ORDER BY audit_id DESC LIMIT :size
            """,  # noqa: S608 - conditions of ours
            into=AuditEntry,
            size=size,
            **values,
            **reach.values,
        )


async def read_changes_of(db: Database, subject_kind: str, subject_id: UUID) -> list[AuditEntry]:
    """Every change of one thing, the oldest first, for whoever may see it."""
    return await db.all(
        """
        SELECT audit_id, at, actor_kind, actor_id, action, subject_kind, subject_id, before, after, request_id
        FROM audit_entry
        WHERE merchant_id = current_merchant() AND subject_id = :subject_id AND subject_kind = :subject_kind
        ORDER BY audit_id
        """,
        into=AuditEntry,
        subject_kind=subject_kind,
        subject_id=str(subject_id),
    )
