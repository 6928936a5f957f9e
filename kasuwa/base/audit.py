"""The audit trail: who changed what, before and after, in the transaction of the change."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id

_NOTE_INSTALLATION = """
    SELECT note_installation(:new_id, :actor_kind, :actor_id, :action, :subject_kind, :subject_id,
                             :after::text::json)
"""


class AuditEntry(Struct, frozen=True, kw_only=True):
    """One change among many; `before` and `after` are Structs or plain values without secrets."""

    subject_id: object
    before: object = None
    after: object = None


async def write_audit(
    context: Context,
    db: Database,
    action: str,
    subject_kind: str,
    subject_id: object,
    *,
    before: object = None,
    after: object = None,
) -> None:
    """Note a change. `before` and `after` are Structs or plain values without secrets.

    What concerns no merchant is noted for the installation, with `after` alone.
    """
    if context.caller.merchant_id is None:
        await db.value(
            _NOTE_INSTALLATION,
            new_id=new_id(),
            actor_kind=context.caller.kind,
            actor_id=context.caller.id,
            action=action,
            subject_kind=subject_kind,
            subject_id=str(subject_id),
            after=_json(after),
        )
        return
    entry = AuditEntry(subject_id=subject_id, before=before, after=after)
    await write_audits(context, db, action, subject_kind, [entry])


async def write_audits(
    context: Context, db: Database, action: str, subject_kind: str, entries: Sequence[AuditEntry]
) -> None:
    """Note the same change of many subjects in one statement."""
    await db.execute(
        """
        INSERT INTO audit_entry (merchant_id, audit_id, store_id, user_id, actor_kind, actor_id, action,
                                 subject_kind, subject_id, before, after, request_id)
        SELECT current_merchant(), r.audit_id, :store_id, :user_id, :actor_kind, :actor_id, :action,
               :subject_kind, r.subject_id, r.before::json, r.after::json, :request_id
        FROM unnest(:audit_ids::uuid[], :subject_ids::text[], :before::text[], :after::text[])
          AS r (audit_id, subject_id, before, after)
        """,
        audit_ids=[new_id() for _ in entries],
        store_id=context.caller.store_id,
        user_id=context.caller.user_id,
        actor_kind=context.caller.kind,
        actor_id=context.caller.id,
        action=action,
        subject_kind=subject_kind,
        subject_ids=[str(entry.subject_id) for entry in entries],
        before=[_json(entry.before) for entry in entries],
        after=[_json(entry.after) for entry in entries],
        request_id=context.request_id,
    )


def _json(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
