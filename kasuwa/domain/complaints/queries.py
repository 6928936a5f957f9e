"""Questions about complaints: what people of a store complained of, and what became of it."""

from uuid import UUID

from msgspec.structs import replace

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.complaints.errors import AttachmentNotFound, ComplaintNotFound
from kasuwa.domain.complaints.records import (
    Attachment,
    AttachmentFacts,
    Complaint,
    ListedComplaint,
    Note,
    Status,
)
from kasuwa.domain.permissions import Permission

_LISTED = """
    c.complaint_id, c.number, c.store_id, c.category, c.severity, c.subject, c.status, c.created_at,
    c.user_id, trim(u.first_name || ' ' || u.last_name) AS user_name,
    (SELECT count(*)::integer FROM complaint_attachment a
     WHERE a.merchant_id = c.merchant_id AND a.complaint_id = c.complaint_id) AS attachment_count
"""
_COMPLAINTS = """
    FROM complaint c JOIN user_account u ON u.merchant_id = c.merchant_id AND u.user_id = c.user_id
    WHERE c.merchant_id = current_merchant()
"""


async def list_complaints(
    context: Context, *, status: Status | None, after: UUID | None, size: int
) -> list[ListedComplaint]:
    """Complaints about the caller's store, the newest first, those older than `after` where it is given."""
    context.require(Permission.COMPLAINT_WRITE)
    async with context.reading() as db:
        return await read_page(db, context.store_id, status=status, after=after, size=size)


async def read_page(
    db: Database, store_id: UUID, *, status: Status | None, after: UUID | None, size: int
) -> list[ListedComplaint]:
    sql = f"SELECT {_LISTED} {_COMPLAINTS} AND c.store_id = :store_id"
    values: dict[str, object] = {"store_id": store_id, "size": size}
    if status is not None:
        sql += " AND c.status = :status"
        values["status"] = status
    if after is not None:
        # An id begins with its time, so the key's order is that of the complaints.
        sql += " AND c.complaint_id < :after"
        values["after"] = after
    return await db.all(f"{sql} ORDER BY c.complaint_id DESC LIMIT :size", into=ListedComplaint, **values)


async def get_complaint(context: Context, complaint_id: UUID | None) -> Complaint:
    """A complaint about the caller's store. Raises ComplaintNotFound; None is an id that none can have."""
    context.require(Permission.COMPLAINT_WRITE)
    async with context.reading() as db:
        return await read_complaint(context, db, complaint_id)


async def read_complaint(context: Context, db: Database, complaint_id: UUID | None) -> Complaint:
    """A complaint about the caller's store. Raises ComplaintNotFound."""
    return await read_whole(db, complaint_id, at_store=context.store_id)


async def read_whole(db: Database, complaint_id: UUID | None, *, at_store: UUID | None = None) -> Complaint:
    """A complaint with its files and notes; at any of the merchant's stores without `at_store`."""
    there = "" if at_store is None else "AND c.store_id = :store_id"
    found = await db.one(
        f"""
        SELECT {_LISTED}, c.message, c.reference, c.contact_email, c.contact_mobile, c.app_version
        {_COMPLAINTS} AND c.complaint_id = :complaint_id {there}
        """,
        into=Complaint,
        missing=ComplaintNotFound(),
        **({} if at_store is None else {"store_id": at_store}),
        complaint_id=complaint_id,
    )
    attachments = await db.all(
        """
        SELECT position, file_name, content_type, length(content) AS size_bytes FROM complaint_attachment
        WHERE merchant_id = current_merchant() AND complaint_id = :complaint_id ORDER BY position
        """,
        into=AttachmentFacts,
        complaint_id=complaint_id,
    )
    notes = await db.all(
        """
        SELECT status, note, user_id, at FROM complaint_note
        WHERE merchant_id = current_merchant() AND complaint_id = :complaint_id ORDER BY note_id
        """,
        into=Note,
        complaint_id=complaint_id,
    )
    return replace(found, attachments=tuple(attachments), notes=tuple(notes))


async def get_attachment(context: Context, complaint_id: UUID | None, position: int) -> Attachment:
    """A file of a complaint about the caller's store. Raises ComplaintNotFound, AttachmentNotFound."""
    async with context.reading() as db:
        await get_complaint(context, complaint_id)
        return await db.one(
            """
            SELECT file_name, content_type, content FROM complaint_attachment
            WHERE merchant_id = current_merchant() AND complaint_id = :complaint_id AND position = :position
            """,
            into=Attachment,
            missing=AttachmentNotFound(),
            complaint_id=complaint_id,
            position=position,
        )
