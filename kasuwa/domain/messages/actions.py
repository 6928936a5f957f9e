"""Sending messages: queued in the transaction of what they tell about, sent after its commit."""

import msgspec

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.base.jobs import enqueue
from kasuwa.domain.messages.jobs import SEND_JOB
from kasuwa.domain.messages.records import Message


async def send_message(context: Context, db: Database, message: Message) -> None:
    """Queue a message. Its words are sealed, since they may carry a code."""
    message_id = new_id()
    await db.execute(
        """
        INSERT INTO message (merchant_id, message_id, channel, template, sealed)
        VALUES (current_merchant(), :message_id, :channel, :template, :sealed)
        """,
        message_id=message_id,
        channel=message.channel,
        template=message.template,
        sealed=context.services.sealer.seal(msgspec.json.encode(message)),
    )
    await enqueue(db, SEND_JOB, str(message_id))
