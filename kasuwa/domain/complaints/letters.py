"""What whoever complained is told."""

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.complaints.records import Complaint, Status
from kasuwa.domain.messages.actions import refuse_message, send_message
from kasuwa.domain.messages.queries import language_of
from kasuwa.domain.messages.records import Channel, Message
from kasuwa.domain.messages.texts import words_of
from kasuwa.domain.proofs.codes import TOO_MANY_SMS, allow_sms_code
from kasuwa.domain.users.queries import get_user

_TEMPLATES: dict[Status, str] = {
    "OPEN": "complaint-open",
    "IN_PROGRESS": "complaint-in-progress",
    "WAITING_FOR_USER": "complaint-waiting",
    "RESOLVED": "complaint-resolved",
    "CLOSED": "complaint-closed",
}


async def is_one_sms_too_many(context: Context, complaint: Complaint, status: Status) -> bool:
    """Count the SMS that tells the new status, where one does. Not inside a transaction."""
    if status == complaint.status or complaint.contact_email or not complaint.contact_mobile:
        return False
    wait = await allow_sms_code(
        context, complaint.contact_mobile, address="", merchant_id=context.merchant_id
    )
    return bool(wait)


async def tell_status(
    context: Context, db: Database, complaint: Complaint, status: Status, note: str, *, is_capped: bool
) -> None:
    """Tell the new status by mail, else by SMS; nobody is told who left no address.

    `is_capped`: an SMS is one too many, and is noted as refused. The note goes to an address of the person's
    own account that they proved, and to no other: else we would carry anybody's words to anybody.
    """
    if not (complaint.contact_email or complaint.contact_mobile):
        return
    by_mail = bool(complaint.contact_email)
    user = await get_user(db, complaint.user_id)
    is_proved = by_mail and user.is_verified("email") and complaint.contact_email == user.email
    channel: Channel = "email" if by_mail else "sms"
    words = words_of(
        _TEMPLATES[status],
        await language_of(db, complaint.user_id),
        channel=channel,
        ticket=f"T-{complaint.number}",
    )
    message = Message(
        channel=channel,
        to=complaint.contact_email or complaint.contact_mobile,
        template=_TEMPLATES[status],
        subject=words.subject,
        text=f"{words.text}\n{note}\n" if note and is_proved else words.text,
    )
    if is_capped and not by_mail:
        await refuse_message(context, db, message, TOO_MANY_SMS)
    else:
        await send_message(context, db, message)
