"""The words of complaints."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

Severity = Literal["LOW", "NORMAL", "HIGH", "CRITICAL"]
Status = Literal["OPEN", "IN_PROGRESS", "WAITING_FOR_USER", "RESOLVED", "CLOSED"]

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
    status: Status
    attachment_count: int
    created_at: datetime


class ListedComplaint(Ticket, frozen=True, kw_only=True):
    """A complaint in a list; `user_name` is who complained."""

    user_id: UUID
    user_name: str


class AttachmentFacts(Struct, frozen=True, kw_only=True):
    """A file without its bytes; `position` counts from 1."""

    position: int
    file_name: str
    content_type: str
    size_bytes: int


class Note(Struct, frozen=True, kw_only=True):
    """A change of the status, and who made it."""

    status: Status
    note: str
    user_id: UUID
    at: datetime


class Complaint(ListedComplaint, frozen=True, kw_only=True):
    """A complaint with its words; "" is what was left out."""

    message: str
    reference: str
    contact_email: str
    contact_mobile: str
    app_version: str
    attachments: tuple[AttachmentFacts, ...] = ()
    notes: tuple[Note, ...] = ()
