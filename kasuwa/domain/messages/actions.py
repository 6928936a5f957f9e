"""Sending messages: queued in the transaction of what they tell about, sent after its commit."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.base.jobs import enqueue
from kasuwa.domain.messages.errors import (
    LanguageUnknown,
    MessageForgotten,
    MessageNotFailed,
    MessageNotFound,
)
from kasuwa.domain.messages.jobs import (
    DEAD_TRIES,
    FORGET_JOB,
    LONGEST_SENDING,
    SEND_SEALED_JOB,
    enqueue_sending,
)
from kasuwa.domain.messages.queries import SHOP, find_summary, get_languages
from kasuwa.domain.messages.records import Languages, Message, MessageSummary
from kasuwa.domain.messages.texts import TEXTS
from kasuwa.domain.permissions import Permission
from kasuwa.domain.reference.contacts import mask_email, mask_mobile
from kasuwa.domain.stores.reach import read_reach


async def send_message(context: Context, db: Database, message: Message) -> None:
    """Queue a message. Its words are sealed, since they may carry a code."""
    message_id = await _keep(context, db, message, status="queued")
    await enqueue_sending(db, message_id)


async def send_unlisted(context: Context, db: Database, message: Message, until: datetime) -> None:
    """Queue a message that no merchant sees in their list: nothing knows of it but its job, which seals it.

    It does not leave after `until`, when its code ends.
    """
    sealed = context.services.sealer.seal(msgspec.json.encode(message))
    await enqueue(db, SEND_SEALED_JOB, {"sealed": sealed.decode(), "until": until.isoformat()})


async def refuse_message(context: Context, db: Database, message: Message, reason: str) -> None:
    """Note a message that does not leave, and why, without its words: the merchant can see it."""
    await _keep(context, db, message, status="failed", reason=reason)


async def forget_customer(
    context: Context,
    db: Database,
    customer_id: UUID,
    *,
    complaint_ids: Sequence[UUID],
    addresses: Sequence[str],
) -> None:
    """Let every message to the customer go, those that wait too, and their lines of outbox.jsonl after it.

    With them go the lines about the complaints, and those of checks of their addresses, which are nobody's.
    The file is gone through twice: now, and once whatever was on its way out in this moment has left.
    """
    await db.execute(
        "DELETE FROM message WHERE merchant_id = current_merchant() AND customer_id = :customer_id",
        customer_id=customer_id,
    )
    sealed = context.services.sealer.seal(msgspec.json.encode(addresses)).decode()
    payload = {"ids": [str(one) for one in (customer_id, *complaint_ids)], "sealed": sealed}
    for due in (None, datetime.now(UTC) + LONGEST_SENDING):
        await enqueue(db, FORGET_JOB, payload, due=due)


async def resend_message(context: Context, message_id: UUID) -> MessageSummary:
    """Queue a failed message again. Raises MessageNotFound, MessageNotFailed, MessageForgotten."""
    context.require(Permission.MESSAGE_SEND)
    async with context.transaction() as db:
        reach = await read_reach(context, db, Permission.MESSAGE_SEND)
        if await find_summary(db, message_id, within=reach) is None:
            raise MessageNotFound()
        # One whose every process died is still queued, but nobody tries it any more.
        queued = await db.execute(
            """
            UPDATE message SET status = 'queued', tries = 0, failed_at = NULL, held_until = NULL
            WHERE merchant_id = current_merchant() AND message_id = :message_id AND sealed IS NOT NULL
              AND (expires_at IS NULL OR expires_at > now())
              AND (status = 'failed'
                   OR status = 'queued' AND tries >= :dead AND coalesce(held_until < now(), true))
            """,
            message_id=message_id,
            dead=DEAD_TRIES,
        )
        found = await find_summary(db, message_id, within=reach)
        assert found is not None
        if not queued:
            if found.status == "failed":
                raise MessageForgotten("Have what it told sent anew: ask for another code, for example.")
            raise MessageNotFailed("Wait: it has left already, or is still being tried.")
        await enqueue_sending(db, message_id)
        await write_audit(context, db, "message.resend", "message", message_id)
    return found


async def choose_language(context: Context, language: str | None, *, for_shop: bool) -> Languages:
    """Set the language of the shop's messages, or of the caller's own (None: the shop's).

    Raises LanguageUnknown.
    """
    if for_shop:
        context.require(Permission.STORE_WRITE)
    subject = SHOP if for_shop else context.caller.user_id
    assert subject is not None, "the caller is a user"
    if language is not None and language not in TEXTS:
        raise LanguageUnknown(f"Choose one of {', '.join(sorted(TEXTS))}.")
    async with context.transaction() as db:
        before = await get_languages(context)
        if language is None:
            await db.execute(
                "DELETE FROM message_language WHERE merchant_id = current_merchant() AND user_id = :subject",
                subject=subject,
            )
        else:
            await db.execute(
                """
                INSERT INTO message_language (merchant_id, user_id, language)
                VALUES (current_merchant(), :subject, :language)
                ON CONFLICT (merchant_id, user_id) DO UPDATE SET language = excluded.language
                """,
                subject=subject,
                language=language,
            )
        after = await get_languages(context)
        await write_audit(
            context,
            db,
            "message.choose_language",
            "merchant" if for_shop else "user",
            context.merchant_id if for_shop else subject,
            before={"language": before.shop if for_shop else before.own},
            after={"language": after.shop if for_shop else after.own},
        )
    return after


async def _keep(context: Context, db: Database, message: Message, *, status: str, reason: str = "") -> UUID:
    message_id = new_id()
    sealed = context.services.sealer.seal(msgspec.json.encode(message)) if status == "queued" else None
    await db.execute(
        """
        INSERT INTO message (merchant_id, message_id, store_id, channel, template, sealed, masked_to,
                             has_code, expires_at, status, last_error, failed_at, customer_id,
                             complaint_id)
        VALUES (current_merchant(), :message_id, :store_id, :channel, :template, :sealed, :masked_to,
                :has_code, :expires_at, :status, :reason, CASE WHEN :status = 'failed' THEN now() END,
                :customer_id, :complaint_id)
        """,
        message_id=message_id,
        store_id=context.caller.store_id,
        channel=message.channel,
        template=message.template,
        sealed=sealed,
        masked_to=mask_email(message.to) if message.channel == "email" else mask_mobile(message.to),
        has_code=message.code is not None,
        expires_at=message.expires_at,
        status=status,
        reason=reason,
        customer_id=message.customer_id,
        complaint_id=message.complaint_id,
    )
    return message_id
