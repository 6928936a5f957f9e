"""The audit trail: who changed what, before and after, in the transaction of the change."""

import msgspec

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id


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
    """Note a change. `before` and `after` are Structs or plain values without secrets."""
    await db.execute(
        """
        INSERT INTO audit_entry (merchant_id, audit_id, store_id, user_id, actor_kind, actor_id, action,
                                 subject_kind, subject_id, before, after, request_id)
        VALUES (current_merchant(), :audit_id, :store_id, :user_id, :actor_kind, :actor_id, :action,
                :subject_kind, :subject_id, :before, :after, :request_id)
        """,
        audit_id=new_id(),
        store_id=context.caller.store_id,
        user_id=context.caller.user_id,
        actor_kind=context.caller.kind,
        actor_id=context.caller.id,
        action=action,
        subject_kind=subject_kind,
        subject_id=str(subject_id),
        before=_json(before),
        after=_json(after),
        request_id=context.request_id,
    )


def _json(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
