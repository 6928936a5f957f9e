"""Six digits that prove an address: kept as a keyed hash, for ten minutes, five tries, once.

Their holder is a user or a customer, by id.
"""

import hmac
import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from msgspec import Struct

from kasuwa.base.context import Context, MerchantId
from kasuwa.base.db import Database
from kasuwa.base.ids import new_code
from kasuwa.base.limits import Quota
from kasuwa.base.problems import TooManyRequests
from kasuwa.domain.proofs.errors import WrongCode
from kasuwa.domain.proofs.records import Channel, Purpose

log = structlog.get_logger("kasuwa.proofs")

CODE_LIFETIME = timedelta(minutes=10)
TRIES_PER_CODE = 5

# Each new code brings new tries, so there are few: an hour's codes give a guesser 25 tries in a million.
_SENDING = (Quota("codes.hour", requests=5, seconds=3600), Quota("codes.day", requests=15, seconds=86_400))


_DAY_SECONDS = 86_400.0


class SpentTry(Struct, frozen=True):
    """A right guess: whose code it was, and the channel that the code went over."""

    holder_id: UUID
    code_hash: bytes
    channel: Channel


async def allow_sending(context: Context, subject: str, quotas: Sequence[Quota] = _SENDING) -> None:
    """Count one more code for the subject (a person or a typed name). Raises TooManyRequests."""
    for quota in quotas:
        allowance = await context.services.limits.take(quota, subject)
        if not allowance.accepted:
            wait = max(1, round(allowance.resets_in_seconds))
            raise TooManyRequests(
                f"Enough codes were sent. Ask for another one in {wait} s.",
                headers={"Retry-After": str(wait)},
            )


async def allow_sms_code(
    context: Context, mobile: str, *, address: str, merchant_id: MerchantId | None
) -> float:
    """Count one code by SMS against what a number, an address, a merchant and the server may have a day.

    0 when it may leave, else the seconds to wait. `merchant_id` is None for one that is being founded. Not
    inside a transaction: the quotas have a connection of their own.
    """
    settings = context.services.settings
    quotas = [
        ("number", settings.sms_codes_per_number, mobile),
        ("address", settings.sms_codes_per_address, _network_of(address)),
        ("merchant", settings.sms_codes_per_merchant, merchant_id and str(merchant_id)),
        ("day", settings.sms_codes_per_day, "all"),
    ]
    for name, most, subject in quotas:
        if subject:
            quota = Quota(f"sms.{name}", requests=most, seconds=_DAY_SECONDS)
            allowance = await context.services.limits.take(quota, subject)
            if not allowance.accepted:
                log.warning("codes.capped", by=name)
                return max(1.0, allowance.resets_in_seconds)
    return 0.0


async def require_sms_code(context: Context, mobile: str, *, address: str = "") -> None:
    """Count one code by SMS that the caller asked for. Raises TooManyRequests; see `allow_sms_code`."""
    merchant_id = None if context.caller.merchant_id is None else context.merchant_id
    wait = await allow_sms_code(context, mobile, address=address, merchant_id=merchant_id)
    if wait:
        raise TooManyRequests(
            "Enough codes were sent by SMS today. Use an e-mail address instead, or try again tomorrow.",
            headers={"Retry-After": str(round(wait))},
        )


def _network_of(address: str) -> str:
    """Whoever has one address of IPv6 has a whole /64 of them."""
    try:
        read = ipaddress.ip_address(address)
    except ValueError:
        return address
    if read.version == 4:
        return address
    return str(ipaddress.ip_network((read, 64), strict=False))


async def issue_code(
    context: Context,
    db: Database,
    holder_id: UUID,
    purpose: Purpose,
    channel: Channel,
    *,
    lifetime: timedelta = CODE_LIFETIME,
) -> tuple[str, datetime]:
    """A new code and its end; it takes the place of an older one."""
    code = new_code()
    expires_at: datetime = await db.value(
        """
        INSERT INTO verification_code (merchant_id, holder_id, purpose, channel, code_hash, expires_at,
                                       tries_left)
        VALUES (current_merchant(), :holder_id, :purpose, :channel, :code_hash, now() + :lifetime, :tries)
        ON CONFLICT (merchant_id, holder_id, purpose) DO UPDATE SET
          channel = excluded.channel, code_hash = excluded.code_hash, expires_at = excluded.expires_at,
          tries_left = excluded.tries_left, created_at = now()
        RETURNING expires_at
        """,
        holder_id=holder_id,
        purpose=purpose,
        channel=channel,
        code_hash=_marks(context, holder_id, purpose, code)[0],
        lifetime=lifetime,
        tries=TRIES_PER_CODE,
    )
    return code, expires_at


async def spend_try(
    context: Context, merchant_id: MerchantId, holder_id: UUID, purpose: Purpose, code: str
) -> SpentTry:
    """Use up one of the code's tries. Raises WrongCode; see `spend_try_of_any`."""
    return await spend_try_of_any(context, merchant_id, [holder_id], purpose, code)


async def spend_try_of_any(
    context: Context, merchant_id: MerchantId, holder_ids: Sequence[UUID], purpose: Purpose, code: str
) -> SpentTry:
    """Use up one try of each holder's code, and say whose was typed. Raises WrongCode.

    In a transaction of its own: a refusal undoes the work of its request, but must not give the try back.
    """
    async with context.services.pool.transaction(merchant_id) as db:
        # Nobody waits for the disk, which would take the longer only where there is a code. What a crash
        # forgets is the tries of its last moment.
        await db.execute("SET LOCAL synchronous_commit TO off")
        kept = await db.all(
            """
            UPDATE verification_code SET tries_left = tries_left - 1
            WHERE merchant_id = current_merchant() AND purpose = :purpose AND holder_id IN (
                SELECT holder_id FROM verification_code
                WHERE merchant_id = current_merchant() AND holder_id = ANY (:holder_ids)
                  AND purpose = :purpose AND tries_left > 0 AND expires_at > now()
                ORDER BY holder_id FOR UPDATE)
            RETURNING holder_id, code_hash, channel
            """,
            into=SpentTry,
            holder_ids=list(holder_ids),
            purpose=purpose,
        )
    for spent in kept:
        marks = _marks(context, spent.holder_id, purpose, code)
        if any(hmac.compare_digest(spent.code_hash, mark) for mark in marks):
            return spent
    raise wrong_code()


async def use_code(db: Database, holder_id: UUID, purpose: Purpose, spent: SpentTry) -> None:
    """End the code in the transaction of what it allows. Raises WrongCode when another request did."""
    used = await db.execute(
        """
        DELETE FROM verification_code
        WHERE merchant_id = current_merchant() AND holder_id = :holder_id AND purpose = :purpose
          AND code_hash = :code_hash AND expires_at > now()
        """,
        holder_id=holder_id,
        purpose=purpose,
        code_hash=spent.code_hash,
    )
    if not used:
        raise wrong_code()


async def drop_codes(db: Database, holder_id: UUID) -> None:
    await db.execute(
        "DELETE FROM verification_code WHERE merchant_id = current_merchant() AND holder_id = :holder_id",
        holder_id=holder_id,
    )


async def drop_codes_over(db: Database, holder_ids: Sequence[UUID], channel: Channel) -> None:
    """What went to an address that is no longer theirs must not prove anything of them."""
    await db.execute(
        """
        DELETE FROM verification_code
        WHERE merchant_id = current_merchant() AND holder_id = ANY (:holder_ids) AND channel = :channel
        """,
        holder_ids=list(holder_ids),
        channel=channel,
    )


TOO_MANY_SMS = "Not sent: enough codes by SMS were sent today. See KASUWA_SMS_CODES_PER_… in the settings."


def wrong_code() -> WrongCode:
    return WrongCode("Type the newest code, or ask for a new one: a code works for 10 minutes and 5 tries.")


def _marks(context: Context, holder_id: UUID, purpose: str, code: str) -> list[bytes]:
    return context.services.sealer.marks(f"code\n{holder_id}\n{purpose}\n{code}".encode())
