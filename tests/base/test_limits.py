"""Quotas under many requests at once."""

import asyncio

from kasuwa.base.context import Services
from kasuwa.base.ids import new_id
from kasuwa.base.limits import Allowance, Limits, Quota, _Lease


class LimitsWithoutLock(Limits):
    """The broken variant: each of many requests leases a block of its own, and all but one are lost."""

    async def take(self, quota: Quota, subject: str, *, open_on_failure: bool = False) -> Allowance:
        bucket = subject.encode()
        return await self._renew(quota, bucket, self._leases.setdefault(bucket, _Lease()))


async def accepted_at_once(limits: Limits, quota: Quota, how_many: int) -> int:
    subject = new_id().hex
    allowances = await asyncio.gather(*(limits.take(quota, subject) for _ in range(how_many)))
    return sum(allowance.accepted for allowance in allowances)


async def test_a_burst_may_spend_the_whole_quota_and_no_more(services: Services) -> None:
    quota = Quota("burst", requests=200, seconds=600)
    assert await accepted_at_once(Limits(services.pool), quota, 250) == 200
    assert await accepted_at_once(LimitsWithoutLock(services.pool), quota, 250) < 200
