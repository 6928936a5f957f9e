"""What whoever complained is told."""

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.complaints.records import Complaint, Status
from kasuwa.domain.messages.actions import send_message
from kasuwa.domain.messages.queries import language_of
from kasuwa.domain.messages.records import Message
from kasuwa.domain.messages.texts import words_of
from kasuwa.domain.users.queries import get_user

_TEMPLATES: dict[Status, str] = {
    "OPEN": "complaint-open",
    "IN_PROGRESS": "complaint-in-progress",
    "WAITING_FOR_USER": "complaint-waiting",
    "RESOLVED": "complaint-resolved",
    "CLOSED": "complaint-closed",
}


async def tell_status(
    context: Context, db: Database, complaint: Complaint, status: Status, note: str
) -> None:
    """Tell the new status by mail, else by SMS; nobody is told who left no address.

    The note goes to an address of the person's own account that they proved, and to no other: else we would
    carry anybody's words to anybody.
    """
    user = await get_user(db, complaint.user_id)
    if not (complaint.contact_email or complaint.contact_mobile):
        return
    is_proved = user.is_verified("email") and complaint.contact_email == user.email
    words = words_of(
        _TEMPLATES[status],
        await language_of(db, complaint.user_id),
        channel="email" if complaint.contact_email else "sms",
        ticket=f"T-{complaint.number}",
    )
    message = Message(
        channel="email" if complaint.contact_email else "sms",
        to=complaint.contact_email or complaint.contact_mobile,
        template=_TEMPLATES[status],
        subject=words.subject,
        text=f"{words.text}\n{note}\n" if note and is_proved else words.text,
    )
    await send_message(context, db, message)
