"""Asking for a new password, for users and customers alike: what is answered tells nobody who there is."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from kasuwa.base.context import Context, MerchantId, Services
from kasuwa.base.jobs import enqueue
from kasuwa.domain.proofs.codes import CODE_LIFETIME, allow_sending, allow_sms_code
from kasuwa.domain.proofs.names import masked_name
from kasuwa.domain.proofs.records import Channel


class ResetAsked(Struct, frozen=True):
    """What is said to anybody who asks. `sent_to` is made of what the caller typed, never of what we know."""

    sent_to: str | None
    codes_expire_at: datetime


class ResetOrder(Struct, frozen=True):
    """A job's payload, sealed: the name may be somebody's address. `address` is where the caller was."""

    name: str
    channel: Channel
    expires_at: datetime
    address: str

    @classmethod
    def opened(cls, services: Services, payload: Any) -> "ResetOrder":
        return msgspec.json.decode(services.sealer.open(payload.encode()), type=cls)

    @property
    def lifetime(self) -> timedelta:
        """How long its code would work; nothing or less once it is too late."""
        return self.expires_at - datetime.now(UTC)

    @property
    def minutes(self) -> int:
        return max(1, round(self.lifetime.total_seconds() / 60))

    async def is_one_sms_too_many(
        self, context: Context, channel: Channel, mobile: str, merchant_id: MerchantId
    ) -> bool:
        """Count its SMS, if it is one. Nobody is told: the caller was answered before anybody looked."""
        if channel == "email":
            return False
        wait = await allow_sms_code(context, mobile, address=self.address, merchant_id=merchant_id)
        return wait > 0


async def order_reset(
    context: Context, job: str, name: str, channel: Channel, *, counted_as: str, address: str
) -> ResetAsked:
    """Queue the job that looks for the holder of `name`: the request does the same work for everybody.

    `counted_as` is whose codes are counted before. Raises TooManyRequests.
    """
    await allow_sending(context, counted_as)
    order = ResetOrder(name, channel, datetime.now(UTC) + CODE_LIFETIME, address)
    sealed = context.services.sealer.seal(msgspec.json.encode(order))
    async with context.transaction() as db:
        await enqueue(db, job, sealed.decode())
    return ResetAsked(masked_name(name, channel), order.expires_at)
