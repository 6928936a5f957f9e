"""Messages to a customer, in the words of a template and the shop's language."""

from datetime import datetime
from typing import Literal

from kasuwa.base.db import Database
from kasuwa.domain.customers.records import Customer
from kasuwa.domain.messages.queries import language_of
from kasuwa.domain.messages.records import Message
from kasuwa.domain.messages.texts import words_of
from kasuwa.domain.proofs.records import Channel


async def compose(
    db: Database,
    customer: Customer,
    over: Channel,
    template: str,
    *,
    code: str | None = None,
    expires_at: datetime | None = None,
    minutes: int = 0,
) -> Message:
    """The template with the code and its minutes in their places; `expires_at` is the code's end."""
    channel: Literal["email", "sms"] = "sms" if over == "mobile" else "email"
    shown = {} if code is None else {"code": code, "minutes": str(minutes)}
    language = await language_of(db, customer.customer_id)
    words = words_of(template, language, channel=channel, **shown)
    return Message(
        channel=channel,
        to=customer.address(over),
        template=template,
        subject=words.subject,
        text=words.text,
        code=code,
        expires_at=expires_at,
        customer_id=customer.customer_id,
    )
