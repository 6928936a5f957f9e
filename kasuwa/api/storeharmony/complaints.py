"""Complaints of store users in StoreHarmony's words."""

import base64
import binascii
from uuid import UUID

from msgspec import UNSET

from kasuwa.api.storeharmony.contract import ComplaintAttachment, ComplaintRequest, ComplaintTicket
from kasuwa.api.storeharmony.service import api
from kasuwa.base.context import Context
from kasuwa.base.ids import read_id
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.complaints.actions import log_complaint
from kasuwa.domain.complaints.records import Attachment, NewComplaint
from kasuwa.domain.reference.contacts import read_email, read_mobile
from kasuwa.domain.stores.queries import country_of


@api.operation("logUserComplaint")
async def log_user_complaint(context: Context, body: ComplaintRequest) -> ComplaintTicket:
    mobile = ""
    if body.contactMobile:
        mobile = read_mobile(body.contactMobile, await country_of(context), "/contactMobile")
    given = () if body.attachments is UNSET else body.attachments
    new = NewComplaint(
        category=body.category,
        severity=body.severity,
        subject=body.subject,
        message=body.message,
        # What is no id is as unknown as any other.
        store_id=None if body.storeId is UNSET else read_id(body.storeId) or UUID(int=0),
        reference=body.reference or "",
        contact_email=read_email(body.contactEmail, "/contactEmail") if body.contactEmail else "",
        contact_mobile=mobile,
        app_version=body.appVersion or "",
        attachments=tuple(_attachment(place, one) for place, one in enumerate(given)),
    )
    ticket = await log_complaint(context, new)
    return ComplaintTicket(
        ticketId=f"T-{ticket.number}",
        status=ticket.status,
        subject=ticket.subject,
        category=ticket.category,
        severity=ticket.severity,
        storeId=str(ticket.store_id),
        attachmentCount=ticket.attachment_count,
        createdAt=ticket.created_at,
    )


def _attachment(place: int, sent: ComplaintAttachment) -> Attachment:
    try:
        content = base64.b64decode(sent.data, validate=True)
    except (ValueError, binascii.Error):
        fault = FieldFault(f"/attachments/{place}/data", "format", "Send the file's bytes in base64.")
        raise Invalid(faults=[fault]) from None
    return Attachment(sent.fileName, sent.contentType, content)
