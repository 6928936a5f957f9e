"""Whether somebody holds an address, by a one-time code: for apps, and the same whoever the address is of.

No account is looked up, so none can be learned of, by the answer or by how long it takes. A signed-in user
who proves an address of their own account has it verified.
"""

import hmac
from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.ids import new_code, new_token, token_hash
from kasuwa.base.limits import Quota
from kasuwa.base.problems import TooManyRequests
from kasuwa.domain.messages.actions import send_unlisted
from kasuwa.domain.messages.records import Message
from kasuwa.domain.messages.texts import words_of
from kasuwa.domain.proofs.codes import CODE_LIFETIME, TRIES_PER_CODE, allow_sending, require_sms_code
from kasuwa.domain.proofs.records import Channel
from kasuwa.domain.users.actions import prove_address
from kasuwa.domain.users.queries import get_user

# A caller's codes over all addresses: nobody fills other people's inboxes through us.
_OF_A_CALLER = Quota("checks.caller", requests=100, seconds=3600)


class Check(Struct, frozen=True):
    """Where the proof of an address stands. `reference` and `expires_at` are None when there is no code."""

    code_sent: bool
    is_verified: bool
    reference: str | None
    expires_at: datetime | None
    tries_left: int


class _Spent(Struct, frozen=True):
    code_mark: bytes
    tries_left: int
    expires_at: datetime


async def send_check(context: Context, channel: Channel, address: str, *, caller: str) -> Check:
    """Send a code to the address, normalised. `caller` is where the request came from.

    Raises TooManyRequests.
    """
    allowance = await context.services.limits.take(_OF_A_CALLER, context.caller.id)
    if not allowance.accepted:
        wait = max(1, round(allowance.resets_in_seconds))
        raise TooManyRequests(f"Enough codes were sent. Try again in {wait} s.", headers=_after(wait))
    await allow_sending(context, f"check/{channel}/{address}")
    if channel == "mobile":
        await require_sms_code(context, address, address=caller)
    code, reference = new_code(), new_token()
    message = _message(channel, address, code)
    async with context.transaction() as db:
        expires_at: datetime = await db.value(
            "SELECT add_address_check(:reference, :channel, :address, :code, :lifetime, :tries)",
            reference=token_hash(reference),
            channel=channel,
            address=_marks(context, "address", address)[0],
            code=_marks(context, reference, code)[0],
            lifetime=CODE_LIFETIME,
            tries=TRIES_PER_CODE,
        )
        await send_unlisted(context, db, message, expires_at)
    return Check(True, False, reference, expires_at, TRIES_PER_CODE)


async def try_check(context: Context, channel: Channel, address: str, reference: str, code: str) -> Check:
    """Compare the code. It works once, for ten minutes and five tries; wrong and never sent look the same.

    The try is counted in a transaction of its own, so that nothing gives it back.
    """
    wanted = token_hash(reference)
    async with context.services.pool.transaction() as db:
        spent = await db.find(
            """
            SELECT code_mark, tries_left, expires_at
            FROM spend_address_check(:reference, :channel, :addresses)
            """,
            into=_Spent,
            reference=wanted,
            channel=channel,
            addresses=_marks(context, "address", address),
        )
    if spent is None:
        return Check(False, False, None, None, 0)
    marks = _marks(context, reference, code)
    if not any(hmac.compare_digest(spent.code_mark, mark) for mark in marks):
        return Check(False, False, reference, spent.expires_at, spent.tries_left)
    async with context.transaction() as db:
        is_first: bool = await db.value(
            "SELECT use_address_check(:reference, :code)", reference=wanted, code=spent.code_mark
        )
        if not is_first:
            return Check(False, False, None, None, 0)
        if context.caller.user_id is not None:
            user = await get_user(db, context.caller.user_id, lock=True)
            if user.address(channel) == address:
                await prove_address(context, db, UUID(int=user.user_id.int), channel)
    return Check(False, True, None, None, 0)


def _message(channel: Channel, address: str, code: str) -> Message:
    over: Literal["email", "sms"] = "sms" if channel == "mobile" else "email"
    minutes = str(int(CODE_LIFETIME.total_seconds()) // 60)
    words = words_of(f"check-{channel}", channel=over, code=code, minutes=minutes)
    return Message(
        channel=over,
        to=address,
        template=f"check-{channel}",
        subject=words.subject,
        text=words.text,
        code=code,
    )


def _marks(context: Context, about: str, text: str) -> list[bytes]:
    return context.services.sealer.marks(f"check\n{about}\n{text}".encode())


def _after(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}
