"""The words of messages."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

Channel = Literal["email", "sms"]
Status = Literal["queued", "sent", "failed"]


class Message(Struct, frozen=True, kw_only=True):
    """A message to one person. `code` is set where it carries one, `expires_at` when the code ends.

    `to` is an e-mail address, or a number in E.164. `customer_id` is set for one to a customer: it goes when
    they are erased; one with a `complaint_id` goes with the words of that complaint.
    """

    channel: Channel
    to: str
    template: str
    subject: str
    text: str
    code: str | None = None
    expires_at: datetime | None = None
    customer_id: UUID | None = None
    complaint_id: UUID | None = None


class MessageSummary(Struct, frozen=True, kw_only=True):
    """What became of a message, without its words. `masked_to` is enough for its owner to know it again."""

    message_id: UUID
    channel: Channel
    masked_to: str
    template: str
    status: Status
    attempts: int
    last_error: str
    created_at: datetime
    tried_at: datetime | None
    sent_at: datetime | None
    can_resend: bool


class Languages(Struct, frozen=True):
    """Languages of texts: those there are, the shop's, and the caller's own where they chose one."""

    known: tuple[str, ...]
    shop: str
    own: str | None
