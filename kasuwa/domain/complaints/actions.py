"""Keeping what people complain of, and saying what becomes of it."""

import re
from uuid import UUID

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.complaints.errors import AttachmentNotFound
from kasuwa.domain.complaints.letters import tell_status
from kasuwa.domain.complaints.queries import read_complaint
from kasuwa.domain.complaints.records import (
    ATTACHMENT_BYTES,
    MOST_ATTACHMENTS,
    Attachment,
    Complaint,
    NewComplaint,
    Status,
    Ticket,
)
from kasuwa.domain.permissions import Permission
from kasuwa.domain.stores.queries import get_location
from kasuwa.domain.users.profile import own_id, read_profile

_BEGINNINGS = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "application/pdf": re.compile(rb"%PDF-"),
}


async def log_complaint(context: Context, new: NewComplaint) -> Ticket:
    """Keep the complaint and its files; answer its ticket.

    Without an address to answer to, the profile's e-mail is kept. Raises LocationNotFound for a store that is
    not the user's, Invalid for files that are too large or not what they are called, FileQuotaReached.
    """
    _check_files(new.attachments)
    user_id, complaint_id = own_id(context), new_id()
    store_id = context.store_id if new.store_id is None else new.store_id
    async with context.transaction() as db:
        location = await get_location(context, store_id)
        profile = await read_profile(context, db)
        ticket = await db.one(
            """
            INSERT INTO complaint (merchant_id, complaint_id, number, user_id, store_id, category, severity,
                                   subject, message, reference, contact_email, contact_mobile, app_version)
            VALUES (current_merchant(), :complaint_id, take_numbers('complaint'), :user_id, :store_id,
                    :category, :severity, :subject, :message, :reference, :contact_email,
                    :contact_mobile, :app_version)
            RETURNING complaint_id, number, store_id, category, severity, subject, status,
                      :attachment_count::integer AS attachment_count, created_at
            """,
            into=Ticket,
            complaint_id=complaint_id,
            user_id=user_id,
            store_id=location.store_id,
            category=new.category,
            severity=new.severity,
            subject=new.subject,
            message=new.message,
            reference=new.reference,
            contact_email=new.contact_email or profile.email,
            contact_mobile=new.contact_mobile,
            app_version=new.app_version,
            attachment_count=len(new.attachments),
        )
        await db.execute_many(
            """
            INSERT INTO complaint_attachment (merchant_id, complaint_id, position, file_name, content_type,
                                              content)
            VALUES (current_merchant(), :complaint_id, :position, :file_name, :content_type, :content)
            """,
            [
                {
                    "complaint_id": complaint_id,
                    "position": place,
                    "file_name": one.file_name,
                    "content_type": one.content_type,
                    "content": one.content,
                }
                for place, one in enumerate(new.attachments, 1)
            ],
        )
        # Without its words: nothing of the trail can be taken back when whom they tell of is erased.
        after = {"number": ticket.number, "category": ticket.category, "severity": ticket.severity}
        await write_audit(context, db, "complaint.log", "complaint", complaint_id, after=after)
        await context.note_person(db, complaint_id)
    return ticket


async def hold_complaint(context: Context, db: Database, complaint_id: UUID | None) -> Complaint:
    """The complaint, which nobody else changes before this transaction ends. Raises ComplaintNotFound."""
    context.require(Permission.COMPLAINT_WRITE)
    await db.value(
        """
        SELECT 1 FROM complaint WHERE merchant_id = current_merchant() AND complaint_id = :complaint_id
          AND store_id = :store_id FOR UPDATE
        """,
        complaint_id=complaint_id,
        store_id=context.store_id,
    )
    return await read_complaint(context, db, complaint_id)


async def change_status(
    context: Context, complaint_id: UUID | None, status: Status, note: str, *, is_capped: bool = False
) -> Complaint:
    """Say how far a complaint about the caller's store is, and tell whoever complained of a new status.

    `is_capped` is what `is_one_message_too_many` said. A note without a new status is for colleagues.
    Raises ComplaintNotFound.
    """
    user_id = own_id(context)
    async with context.transaction() as db:
        before = await hold_complaint(context, db, complaint_id)
        if status == before.status and not note:
            return before
        await db.execute(
            """
            UPDATE complaint SET status = :status
            WHERE merchant_id = current_merchant() AND complaint_id = :complaint_id
            """,
            complaint_id=before.complaint_id,
            status=status,
        )
        await db.execute(
            """
            INSERT INTO complaint_note (merchant_id, note_id, complaint_id, status, note, user_id)
            VALUES (current_merchant(), :note_id, :complaint_id, :status, :note, :user_id)
            """,
            note_id=new_id(),
            complaint_id=before.complaint_id,
            status=status,
            note=note,
            user_id=user_id,
        )
        if status != before.status:
            await tell_status(context, db, before, status, note, is_capped=is_capped)
        await write_audit(
            context,
            db,
            "complaint.status",
            "complaint",
            before.complaint_id,
            before={"status": before.status},
            after={"status": status, "hasNote": bool(note)},
        )
        await context.note_person(db, before.complaint_id)
        return await read_complaint(context, db, before.complaint_id)


async def remove_attachment(context: Context, complaint_id: UUID | None, position: int) -> Complaint:
    """Remove a file of a complaint about the caller's store; the space comes back at once.

    Raises ComplaintNotFound, AttachmentNotFound.
    """
    async with context.transaction() as db:
        before = await hold_complaint(context, db, complaint_id)
        removed = await db.execute(
            """
            DELETE FROM complaint_attachment
            WHERE merchant_id = current_merchant() AND complaint_id = :complaint_id AND position = :position
            """,
            complaint_id=before.complaint_id,
            position=position,
        )
        if not removed:
            raise AttachmentNotFound()
        await write_audit(
            context,
            db,
            "complaint.remove_file",
            "complaint",
            before.complaint_id,
            before={"position": position},
        )
        await context.note_person(db, before.complaint_id)
        return await read_complaint(context, db, before.complaint_id)


def _check_files(attachments: tuple[Attachment, ...]) -> None:
    """Raises Invalid."""
    assert len(attachments) <= MOST_ATTACHMENTS
    faults = []
    for place, one in enumerate(attachments):
        if len(one.content) > ATTACHMENT_BYTES:
            faults.append(FieldFault(f"/attachments/{place}/data", "too_long", "A file has 2 MB at most."))
        elif not _BEGINNINGS[one.content_type].match(one.content):
            faults.append(
                FieldFault(f"/attachments/{place}/contentType", "format", "The bytes are of another kind.")
            )
    if faults:
        raise Invalid(faults=faults)
