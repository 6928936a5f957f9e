"""What whoever complained is told."""

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.limits import Quota
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

# Anybody may name any address when they complain: whoever answers must not fill it, nor the outbox.
_MAILS_TO_ADDRESS = Quota("complaint.address", requests=10, seconds=86_400)
_MAILS_OF_MERCHANT = Quota("complaint.merchant", requests=200, seconds=86_400)
_TOO_MANY_MAILS = "Not sent: enough mails about complaints were sent today. Tell them in another way."


async def is_one_message_too_many(context: Context, complaint: Complaint, status: Status) -> bool:
    """Count the message that tells the new status, where one does. Not inside a transaction."""
    if status == complaint.status:
        return False
    if complaint.contact_email:
        counted = ((_MAILS_TO_ADDRESS, complaint.contact_email.lower()), (_MAILS_OF_MERCHANT, ""))
        for quota, to in counted:
            allowance = await context.services.limits.take(quota, f"{context.merchant_id}/{to}")
            if not allowance.accepted:
                return True
        return False
    if not complaint.contact_mobile:
        return False
    wait = await allow_sms_code(
        context, complaint.contact_mobile, address="", merchant_id=context.merchant_id
    )
    return bool(wait)


async def tell_status(
    context: Context, db: Database, complaint: Complaint, status: Status, note: str, *, is_capped: bool
) -> None:
    """Tell the new status by mail, else by SMS; nobody is told who left no address.

    `is_capped`: the message is one too many, and is noted as refused. The note goes to an address of the
    person's own account that they proved, and to no other: else we would carry anybody's words to anybody.
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
        complaint_id=complaint.complaint_id,
    )
    if is_capped:
        await refuse_message(context, db, message, _TOO_MANY_MAILS if by_mail else TOO_MANY_SMS)
    else:
        await send_message(context, db, message)
