"""Messages to a user, in the words of a template and the user's language."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from kasuwa.base.db import Database
from kasuwa.domain.messages.queries import language_of
from kasuwa.domain.messages.records import Message
from kasuwa.domain.messages.texts import words_of
from kasuwa.domain.proofs.records import Channel
from kasuwa.domain.users.records import User


async def compose(
    db: Database,
    user: User,
    over: Channel,
    template: str,
    *,
    code: str | None = None,
    expires_at: datetime | None = None,
    values: Mapping[str, str] = MappingProxyType({}),
) -> Message:
    """The template in the user's language, with the code and these values in their places.

    `expires_at`: when the code ends, and the message is of no use any more.
    """
    channel: Literal["email", "sms"] = "sms" if over == "mobile" else "email"
    shown = {**values} if code is None else {**values, "code": code}
    words = words_of(template, await language_of(db, user.user_id), channel=channel, **shown)
    return Message(
        channel=channel,
        to=user.address(over),
        template=template,
        subject=words.subject,
        text=words.text,
        code=code,
        expires_at=expires_at,
    )
