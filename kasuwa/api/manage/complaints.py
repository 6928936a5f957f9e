"""What people of the store complained of, and what becomes of it."""

from typing import Any
from urllib.parse import quote

from kasuwa.api.manage.contract import (
    ChangeComplaintStatusPath,
    ComplaintStatusChange,
    GetComplaintAttachmentPath,
    GetComplaintPath,
    ListComplaintsQuery,
    RemoveComplaintAttachmentPath,
)
from kasuwa.api.manage.paging import page, read_cursor
from kasuwa.api.manage.service import api
from kasuwa.base.context import Context
from kasuwa.base.http.api import Answer, Exchange, RawFile
from kasuwa.base.http.caching import etag, require_match
from kasuwa.base.http.contract import encode
from kasuwa.base.ids import read_id
from kasuwa.domain.complaints import queries
from kasuwa.domain.complaints.actions import change_status, hold_complaint, remove_attachment
from kasuwa.domain.complaints.letters import is_one_message_too_many
from kasuwa.domain.complaints.records import Complaint, ListedComplaint

Json = dict[str, Any]


@api.operation("listComplaints")
async def list_all(context: Context, query: ListComplaintsQuery) -> Json:
    after = read_cursor(query.cursor)
    rows = await queries.list_complaints(context, status=query.status, after=after, size=query.size + 1)
    return page(rows, query.size, _listed, lambda row: row.complaint_id)


@api.operation("getComplaint")
async def get(context: Context, path: GetComplaintPath) -> Json:
    return view(await queries.get_complaint(context, read_id(path.complaintid)))


@api.operation("getComplaintAttachment")
async def get_attachment(context: Context, path: GetComplaintAttachmentPath) -> Answer:
    file = await queries.get_attachment(context, read_id(path.complaintid), int(path.position))
    # Somebody sent it: it is saved, and never shown with our rights.
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.file_name, safe='')}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return Answer(RawFile(file.content, file.content_type), headers=headers)


@api.operation("removeComplaintAttachment")
async def remove_file(context: Context, path: RemoveComplaintAttachmentPath) -> Json:
    return view(await remove_attachment(context, read_id(path.complaintid), int(path.position)))


@api.operation("changeComplaintStatus")
async def change(
    context: Context, exchange: Exchange, path: ChangeComplaintStatusPath, body: ComplaintStatusChange
) -> Answer:
    complaint_id, status = read_id(path.complaintid), body.status
    is_capped = await is_one_message_too_many(
        context, await queries.get_complaint(context, complaint_id), status
    )
    async with context.transaction() as db:
        require_match(exchange.request, _tag(await hold_complaint(context, db, complaint_id)))
        changed = await change_status(context, complaint_id, status, body.note or "", is_capped=is_capped)
    return Answer(view(changed), headers={"ETag": _tag(changed)})


def _tag(complaint: Complaint) -> str:
    """The ETag with which a read of the complaint is answered."""
    return etag(encode(view(complaint)))


def _listed(complaint: ListedComplaint) -> Json:
    return {
        "complaintId": complaint.complaint_id,
        "ticketId": f"T-{complaint.number}",
        "status": complaint.status,
        "category": complaint.category,
        "severity": complaint.severity,
        "subject": complaint.subject,
        "userName": complaint.user_name,
        "attachmentCount": complaint.attachment_count,
        "createdAt": complaint.created_at,
    }


def view(complaint: Complaint) -> Json:
    return _listed(complaint) | {
        "userId": complaint.user_id,
        "message": complaint.message,
        "reference": complaint.reference or None,
        "contactEmail": complaint.contact_email or None,
        "contactMobile": complaint.contact_mobile or None,
        "appVersion": complaint.app_version or None,
        "attachments": [
            {
                "position": file.position,
                "fileName": file.file_name,
                "contentType": file.content_type,
                "sizeBytes": file.size_bytes,
            }
            for file in complaint.attachments
        ],
        "notes": [
            {"status": one.status, "note": one.note or None, "userId": one.user_id, "at": one.at}
            for one in complaint.notes
        ],
    }
