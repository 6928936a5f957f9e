"""The audit trail of the whole shop."""

from typing import Any

import msgspec

from kasuwa.api.manage.contract import ListAuditEntriesQuery
from kasuwa.api.manage.service import api
from kasuwa.base.context import Context
from kasuwa.base.ids import read_id
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.audit.queries import AuditEntry, AuditFilter, list_entries


@api.operation("listAuditEntries")
async def list_audit_entries(context: Context, query: ListAuditEntriesQuery) -> dict[str, Any]:
    after = None if query.cursor is None else read_id(query.cursor)
    if query.cursor is not None and after is None:
        raise Invalid(faults=[FieldFault("#/query/cursor", "cursor", "Use nextCursor of the same list.")])
    wanted = AuditFilter(
        action=query.action,
        subject_kind=query.subject,
        subject_id=query.subjectid,
        since=query.since,
        until=query.until,
    )
    entries = await list_entries(context, wanted, after=after, size=query.size + 1)
    shown = entries[: query.size]
    return {
        "data": [_view(entry) for entry in shown],
        "size": query.size,
        "nextCursor": str(shown[-1].audit_id) if len(entries) > query.size else None,
    }


def _view(entry: AuditEntry) -> dict[str, Any]:
    return {
        "auditId": entry.audit_id,
        "at": entry.at,
        "actor": {"kind": entry.actor_kind, "id": entry.actor_id.partition("/")[0]},
        "action": entry.action,
        "subject": {"kind": entry.subject_kind, "id": entry.subject_id},
        "before": _json(entry.before),
        "after": _json(entry.after),
        "requestId": entry.request_id,
    }


def _json(text: str | None) -> Any:
    return None if text is None else msgspec.Raw(text.encode())
