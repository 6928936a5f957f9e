"""The words of complaints."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

Severity = Literal["LOW", "NORMAL", "HIGH", "CRITICAL"]

MOST_ATTACHMENTS = 3
ATTACHMENT_BYTES = 2 * 1024 * 1024


class Attachment(Struct, frozen=True):
    """A file that goes with a complaint; `content_type` is what its bytes say."""

    file_name: str
    content_type: str
    content: bytes


class NewComplaint(Struct, frozen=True, kw_only=True):
    """What somebody complains of. `store_id` None is the store of their session; "" is what they left out."""

    category: str
    severity: Severity
    subject: str
    message: str
    store_id: UUID | None = None
    reference: str = ""
    contact_email: str = ""
    contact_mobile: str = ""
    app_version: str = ""
    attachments: tuple[Attachment, ...] = ()


class Ticket(Struct, frozen=True, kw_only=True):
    """A complaint that is kept, without its words. `number` counts from 1 for each merchant."""

    complaint_id: UUID
    number: int
    store_id: UUID
    category: str
    severity: Severity
    subject: str
    status: Literal["OPEN", "IN_PROGRESS", "WAITING_FOR_USER", "RESOLVED", "CLOSED"]
    attachment_count: int
    created_at: datetime
