"""After the commit: a message leaves, and what came of it stands beside it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import msgspec
import structlog
from msgspec import Struct

from kasuwa.base.context import MerchantId, Services
from kasuwa.base.db import Database
from kasuwa.base.http import metrics
from kasuwa.base.jobs import RETRIES, enqueue
from kasuwa.base.problems import Problem
from kasuwa.domain.messages.courier import Courier
from kasuwa.domain.messages.errors import DeliveryFailed
from kasuwa.domain.messages.records import Message

SEND_JOB = "message.send"
# Five days in all, as mail servers do (RFC 5321, 4.5.4.1): whoever is down over a weekend gets them after it.
WAITS = (*RETRIES, *[RETRIES[-1]] * 28)
MOST_TRIES = len(WAITS) + 1
# After so many processes that died the queue gives a job up. A message that fails in order may be at this
# point too: then it is tried once earlier.
DEAD_TRIES = len(RETRIES) + 1

FORGET_JOB = "message.forget_customer"
LONGEST_SENDING = timedelta(seconds=300)
"""After this no process has a message in hand any more that is gone from the database."""

# A job's handler has 270 s and its lease 300 s: whoever comes next finds the message free again.
_HOLD = timedelta(seconds=285)
_MOST_WAIT_SECONDS = 3600.0
_NOTE_WAITS_SECONDS = (0.2, 1.0, 3.0, 10.0, 30.0)
_TOO_LATE = "Too late: its code had run out."

log = structlog.get_logger("kasuwa.messages")


SEND_SEALED_JOB = "message.send_sealed"

_SEALED = UUID("0192f5a4-7c1b-7d5e-9a60-5f1f3c0d7e11")


class _Claimed(Struct, frozen=True):
    sealed: bytes | None
    tries: int
    is_late: bool


async def run_send(services: Services, courier: Courier, merchant_id: UUID | None, payload: Any) -> None:
    """Send one message.

    It leaves twice only if the process dies after handing it over and before noting so, or when the other
    side took it and its answer was lost.
    """
    assert merchant_id is not None
    tenant, message_id = MerchantId(merchant_id), UUID(payload)
    if message_id in courier.left:
        await _note_sent(services, courier, tenant, message_id)
        return
    claimed = await _claim(services, tenant, message_id)
    if claimed is None:
        return
    if claimed.sealed is None or claimed.is_late:
        failure = DeliveryFailed(_TOO_LATE, permanent=True)
        await _note_failure(services, tenant, message_id, claimed, failure, forget=True)
        return
    message = msgspec.json.decode(services.sealer.open(claimed.sealed), type=Message)
    try:
        await courier.deliver(message_id, message, merchant_id=merchant_id)
    except DeliveryFailed as failure:
        await _tell(message, message_id, failure, claimed)
        await _note_failure(services, tenant, message_id, claimed, failure)
        return
    except BaseException:
        # Stopped in the middle: another process must not wait for this one.
        await _release(services, tenant, message_id)
        raise
    metrics.messages.labels(message.channel, "sent").inc()
    await _note_sent(services, courier, tenant, message_id)


async def _claim(services: Services, merchant_id: MerchantId, message_id: UUID) -> _Claimed | None:
    """Hold the message for this process. One that another holds is looked at again when its time is over."""
    async with services.pool.transaction(merchant_id) as db:
        claimed = await db.find(
            """
            UPDATE message SET attempts = attempts + 1, tries = tries + 1, tried_at = now(),
                               held_until = now() + :hold
            WHERE merchant_id = current_merchant() AND message_id = :message_id AND status = 'queued'
              AND (held_until IS NULL OR held_until < now())
            RETURNING sealed, tries, coalesce(expires_at < now(), false) AS is_late
            """,
            into=_Claimed,
            hold=_HOLD,
            message_id=message_id,
        )
        if claimed is None:
            held_until: datetime | None = await db.value(
                """
                SELECT held_until FROM message
                WHERE merchant_id = current_merchant() AND message_id = :message_id AND status = 'queued'
                """,
                message_id=message_id,
            )
            if held_until is not None:
                await enqueue_sending(db, message_id, due=held_until + timedelta(seconds=1))
    return claimed


async def enqueue_sending(db: Database, message_id: UUID, *, due: datetime | None = None) -> None:
    await enqueue(db, SEND_JOB, str(message_id), due=due, unique_key=f"{SEND_JOB}:{message_id}")


async def _note_sent(services: Services, courier: Courier, merchant_id: MerchantId, message_id: UUID) -> None:
    """Note it at any cost: what is not noted would leave again."""
    courier.left.add(message_id)
    for wait_seconds in (*_NOTE_WAITS_SECONDS, None):
        try:
            async with services.pool.transaction(merchant_id) as db:
                # What has left need not be kept: it may carry a code.
                await db.execute(
                    """
                    UPDATE message SET status = 'sent', sent_at = now(), sealed = NULL, last_error = '',
                                       held_until = NULL
                    WHERE merchant_id = current_merchant() AND message_id = :message_id
                    """,
                    message_id=message_id,
                )
        except Problem:
            if wait_seconds is None:
                raise
            await asyncio.sleep(wait_seconds)
        else:
            courier.left.discard(message_id)
            return


async def run_send_sealed(
    services: Services, courier: Courier, merchant_id: UUID | None, payload: Any
) -> None:
    """Send a message that no merchant's list shows, such as an app's check of an address.

    `payload` has the sealed message, and until when (ISO 8601) its code works: later it is not sent. What
    fails for good is told in the log alone; for the rest the job tries again.
    """
    if datetime.now(UTC) >= datetime.fromisoformat(payload["until"]):
        return
    message = msgspec.json.decode(services.sealer.open(payload["sealed"].encode()), type=Message)
    # The same for each try of the same job: a repeat can be told by it.
    try:
        await courier.deliver(uuid5(_SEALED, payload["sealed"]), message)
    except DeliveryFailed as failure:
        metrics.messages.labels(message.channel, "failed" if failure.permanent else "retried").inc()
        if not failure.permanent:
            raise
        log.warning("messages.check_not_sent", channel=message.channel, reason=failure.reason)
    else:
        metrics.messages.labels(message.channel, "sent").inc()


async def run_forget_customer(
    services: Services, courier: Courier, merchant_id: UUID | None, payload: Any
) -> None:
    """Take a customer's lines out of outbox.jsonl.

    `payload` has the ids of customer and complaints, of which nobody can be told, and the sealed addresses.
    """
    addresses = msgspec.json.decode(services.sealer.open(payload["sealed"].encode()), type=list[str])
    await courier.forget([UUID(one) for one in payload["ids"]], addresses)


async def _note_failure(
    services: Services,
    merchant_id: MerchantId,
    message_id: UUID,
    claimed: _Claimed,
    failure: DeliveryFailed,
    *,
    forget: bool = False,
) -> None:
    """Leave word where the merchant can see it, and queue the next try in the same transaction."""
    given_up = failure.permanent or claimed.tries >= MOST_TRIES
    async with services.pool.transaction(merchant_id) as db:
        await db.execute(
            """
            UPDATE message SET last_error = :error, held_until = NULL,
              status = CASE WHEN :given_up THEN 'failed' ELSE status END,
              failed_at = CASE WHEN :given_up THEN now() END,
              sealed = CASE WHEN :forget THEN NULL ELSE sealed END
            WHERE merchant_id = current_merchant() AND message_id = :message_id
            """,
            error=failure.reason,
            given_up=given_up,
            forget=forget,
            message_id=message_id,
        )
        if not given_up:
            asked = min(failure.retry_after_seconds, _MOST_WAIT_SECONDS)
            wait = timedelta(seconds=max(WAITS[claimed.tries - 1], asked))
            await enqueue_sending(db, message_id, due=datetime.now(UTC) + wait)


async def _release(services: Services, merchant_id: MerchantId, message_id: UUID) -> None:
    async with services.pool.transaction(merchant_id) as db:
        await db.execute(
            "UPDATE message SET held_until = NULL"
            " WHERE merchant_id = current_merchant() AND message_id = :message_id AND status = 'queued'",
            message_id=message_id,
        )


async def _tell(message: Message, message_id: UUID, failure: DeliveryFailed, claimed: _Claimed) -> None:
    """Where the operator looks: numbers and the log, with a reason of ours and nobody's address."""
    given_up = failure.permanent or claimed.tries >= MOST_TRIES
    metrics.messages.labels(message.channel, "failed" if given_up else "retried").inc()
    log.warning(
        "messages.not_sent",
        channel=message.channel,
        template=message.template,
        message_id=str(message_id),
        tries=claimed.tries,
        given_up=given_up,
        reason=failure.reason,
    )
