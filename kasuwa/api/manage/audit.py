"""The audit trail of the whole shop."""

from typing import Any

import msgspec

from kasuwa.api.manage.contract import ListAuditEntriesQuery
from kasuwa.api.manage.paging import page, read_cursor
from kasuwa.api.manage.service import api
from kasuwa.base.context import Context
from kasuwa.domain.audit.queries import AuditEntry, AuditFilter, list_entries


@api.operation("listAuditEntries")
async def list_audit_entries(context: Context, query: ListAuditEntriesQuery) -> dict[str, Any]:
    wanted = AuditFilter(
        action=query.action,
        subject_kind=query.subject,
        subject_id=query.subjectid,
        since=query.since,
        until=query.until,
    )
    after = read_cursor(query.cursor)
    entries = await list_entries(context, wanted, after=after, size=query.size + 1)
    return page(entries, query.size, view, lambda entry: entry.audit_id)


def view(entry: AuditEntry) -> dict[str, Any]:
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
