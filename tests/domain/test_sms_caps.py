"""Codes by SMS have a roof: for a number, an address, a merchant and the day, over all workers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec
import pytest

from kasuwa.base.context import Context, MerchantId, Services
from kasuwa.base.ids import new_id
from kasuwa.base.limits import Limits
from kasuwa.base.problems import TooManyRequests
from kasuwa.domain.customers.actions import register as register_customer
from kasuwa.domain.customers.records import NewCustomer
from kasuwa.domain.merchants.records import NewStore
from kasuwa.domain.messages.queries import MessageFilter, list_messages
from kasuwa.domain.permissions import Permission, Role
from kasuwa.domain.proofs.codes import TOO_MANY_SMS, allow_sms_code
from kasuwa.domain.staff.actions import add_staff
from kasuwa.domain.staff.hiring import Hire
from kasuwa.domain.staff.records import NewStaff
from kasuwa.domain.users.actions import as_user, register, send_verification_code
from kasuwa.domain.users.addresses import NewAddresses, allow_addresses
from kasuwa.domain.users.checks import send_check
from kasuwa.domain.users.passwords import ask_for_reset
from kasuwa.domain.users.queries import get_me
from tests.accounts import messages_to
from tests.conftest import SchemaOwner
from tests.contract.cast import hire
from tests.domain.test_users import STORE, applicant, merchant_of
from tests.mobiles import new_mobile
from tests.shop import Shop

NOBODY = "203.0.113.7"


def worker(services: Services, **settings: int) -> Services:
    """Another worker: the same database, limits of its own in memory."""
    wide = dict.fromkeys(
        ("sms_codes_per_number", "sms_codes_per_address", "sms_codes_per_merchant", "sms_codes_per_day"),
        10**6,
    )
    return Services(
        pool=services.pool,
        blobs=services.blobs,
        imaging=services.imaging,
        fetcher=services.fetcher,
        sealer=services.sealer,
        jobs=services.jobs,
        limits=Limits(services.pool, workers=3),
        settings=msgspec.structs.replace(services.settings, **(wide | settings)),
    )


@pytest.fixture(autouse=True)
async def fresh_quotas(schema_owner: SchemaOwner) -> AsyncIterator[None]:
    """The day's own quota is one for the whole server."""
    await schema_owner.execute("DELETE FROM rate_bucket")
    yield
    await schema_owner.execute("DELETE FROM rate_bucket")


async def spend(workers: list[Services], calls: int, **fixed: Any) -> int:
    """How many of so many codes may leave, asked at once of all workers."""

    async def ask(number: int) -> bool:
        context = Context(workers[number % len(workers)], request_id="test")
        wait = await allow_sms_code(
            context,
            fixed.get("mobile") or new_mobile(),
            address=fixed.get("address") or str(new_id()),
            merchant_id=fixed.get("merchant_id") or MerchantId(new_id()),
        )
        return wait == 0

    return sum(await asyncio.gather(*(ask(number) for number in range(calls))))


@pytest.mark.parametrize(
    ("setting", "fixed"),
    [
        ("sms_codes_per_number", {"mobile": "+2348031234567"}),
        ("sms_codes_per_address", {"address": NOBODY}),
        ("sms_codes_per_merchant", {"merchant_id": MerchantId(UUID(int=7))}),
        ("sms_codes_per_day", {}),
    ],
)
async def test_the_roof_holds_over_several_workers_and_without_it_there_is_none(
    services: Services, setting: str, fixed: dict[str, Any]
) -> None:
    workers = [worker(services, **{setting: 6}) for _ in range(3)]
    assert await spend(workers, 40, **fixed) == 6
    # A worker that is new knows it too.
    assert await spend([worker(services, **{setting: 6})], 5, **fixed) == 0
    # The control: the same calls without that roof.
    assert await spend([worker(services) for _ in range(3)], 40, **fixed) == 40


async def test_zero_is_none(services: Services) -> None:
    assert await spend([worker(services, sms_codes_per_day=0)], 3) == 0


async def test_whoever_has_a_network_of_ipv6_has_one_address(services: Services) -> None:
    workers = [worker(services, sms_codes_per_address=2)]
    left = [await spend(workers, 1, address=f"2001:db8:1:2::{n}") for n in range(4)]
    assert left == [1, 1, 0, 0]
    assert await spend(workers, 1, address="2001:db8:1:3::1") == 1


# What the caller is told --------------------------------------------------------------------------


async def opened(services: Services, mobile: str) -> tuple[Any, list[dict[str, Any]]]:
    store: NewStore = STORE
    found = await register(
        Context(services, request_id="test"), store, applicant(mobile=mobile), address=new_id().hex
    )
    return found, await messages_to(services, mobile)


async def test_beyond_the_roof_an_account_is_opened_and_its_sms_is_seen_as_refused(
    services: Services,
) -> None:
    capped = worker(services, sms_codes_per_day=1)
    first, sent = await opened(capped, new_mobile())
    assert (first.channels, len(sent)) == (("email", "mobile"), 1)
    second, sent = await opened(capped, new_mobile())
    assert (second.channels, sent) == (("email",), [])
    nobody = Context(services, request_id="test")
    acting = as_user(nobody, await merchant_of(services, second.user_id), second.user_id)
    reader = acting.acting_as(
        msgspec.structs.replace(
            acting.caller, role=Role.OWNER, permissions=frozenset({Permission.AUDIT_READ})
        )
    )
    refused, mail = sorted(
        await list_messages(reader, MessageFilter(), after=None, size=9), key=lambda one: one.channel != "sms"
    )
    assert (refused.channel, refused.status, refused.last_error) == ("sms", "failed", TOO_MANY_SMS)
    assert (refused.can_resend, refused.attempts) == (False, 0)
    assert (mail.channel, mail.status) == ("email", "sent")


async def test_a_known_account_that_asks_for_another_code_is_told_to_wait(services: Services) -> None:
    capped = worker(services, sms_codes_per_number=2)
    mobile = new_mobile()
    account, _ = await opened(capped, mobile)
    nobody = Context(capped, request_id="test")
    assert (await send_verification_code(nobody, account.user_id, "mobile", address=NOBODY)).code_sent
    with pytest.raises(TooManyRequests) as told:
        await send_verification_code(nobody, account.user_id, "mobile", address=NOBODY)
    assert 0 < int(told.value.headers["Retry-After"]) <= 86_400
    # Mail costs nothing and goes on.
    assert (await send_verification_code(nobody, account.user_id, "email", address=NOBODY)).code_sent
    assert len(await messages_to(services, mobile)) == 2


async def test_a_reset_is_answered_alike_within_the_roof_beyond_it_and_for_nobody(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    mobile, stranger = new_mobile(), new_mobile()
    await opened(services, mobile)
    # The job runs in the server that the tests have: its roof is what counts.
    answers = []
    for roof in (10**6, 0):
        monkeypatch.setattr(
            services, "settings", msgspec.structs.replace(services.settings, sms_codes_per_day=roof)
        )
        monkeypatch.setattr(services, "limits", Limits(services.pool))
        for name in (mobile, stranger):
            asked = await ask_for_reset(
                Context(services, request_id="test"), name, "mobile", address=new_id().hex
            )
            answers.append((type(asked), asked.sent_to is not None, asked.codes_expire_at is not None))
        sent = [one["template"] for one in await messages_to(services, mobile)]
        assert sent == ["verify-mobile", "reset-password"]
    assert len(set(answers)) == 1


@pytest.mark.parametrize("way", ["a check", "another number", "an invitation"])
@pytest.mark.parametrize("most", [1, 2])
@pytest.mark.parametrize("setting", ["sms_codes_per_number", "sms_codes_per_merchant", "sms_codes_per_day"])
async def test_every_way_to_an_sms_counts(
    services: Services, context: Context, way: str, most: int, setting: str
) -> None:
    """With two, the control, the second one leaves."""
    capped = Context(worker(services, **{setting: most}), context.caller, request_id="test")
    only_one = new_mobile()

    async def ask() -> None:
        number = only_one if setting == "sms_codes_per_number" else new_mobile()
        if way == "a check":
            await send_check(capped, "mobile", number, caller=NOBODY)
        elif way == "another number":
            await allow_addresses(capped, await get_me(capped), NewAddresses(mobile=number))
        else:
            await Hire.prepared(
                capped, NewStaff(first_name="Ada", last_name="Obi", role="CASHIER", mobile=number)
            )

    await ask()
    if most == 1:
        with pytest.raises(TooManyRequests, match="by SMS today"):
            await ask()
    else:
        await ask()


@pytest.mark.parametrize("setting", ["sms_codes_per_merchant", "sms_codes_per_day"])
@pytest.mark.parametrize("most", [1, 2])
async def test_customers_whom_the_shop_registers_are_counted_and_kept(
    services: Services, shop: Shop, setting: str, most: int
) -> None:
    """With two, the control, the second SMS leaves."""
    capped = Context(worker(services, **{setting: most}), shop.owner.caller, request_id="test")
    numbers = [new_mobile(), new_mobile()]
    for number in numbers:
        new = NewCustomer(first_name="Efe", last_name="Umar", mobile=number)
        assert (await register_customer(capped, new)).mobile == number
    assert [len(await messages_to(services, number)) for number in numbers] == [1, most - 1]


# Of an invitation only what leaves ----------------------------------------------------------------


def somebody(**addresses: str) -> NewStaff:
    return NewStaff(first_name="Ada", last_name="Obi", role="CASHIER", **addresses)  # type: ignore[arg-type]


async def left_of_one(services: Services, mobile: str) -> int:
    """How many codes may still go to a number that may have one a day."""
    return await spend([worker(services, sms_codes_per_number=1)], 1, mobile=mobile)


@pytest.mark.parametrize("proved", [True, False], ids=["told-by-sms", "told-by-mail-or-not"])
async def test_whoever_of_the_business_only_joins_is_counted_when_an_sms_tells_them(
    services: Services, shop: Shop, schema_owner: SchemaOwner, proved: bool
) -> None:
    staff, number = await hire(shop, Role.CASHIER, shop.store_id), new_mobile()
    await schema_owner.execute(
        "UPDATE user_account SET mobile = $2, mobile_verified_at = CASE WHEN $3 THEN now() END,"
        " email_verified_at = NULL WHERE user_id = $1",
        staff.user_id,
        number,
        proved,
    )
    await Hire.prepared(shop.owner, somebody(email=staff.email, mobile=number))
    assert await left_of_one(services, number) == (0 if proved else 1)


async def test_whoever_is_invited_by_mail_is_sent_no_sms_and_none_is_counted(
    services: Services, shop: Shop
) -> None:
    number, email = new_mobile(), f"ada.{new_id().hex}@shop.example"
    await add_staff(shop.owner, somebody(email=email, mobile=number))
    assert [len(await messages_to(services, one)) for one in (email, number)] == [1, 0]
    assert await left_of_one(services, number) == 1


async def test_where_the_mail_is_an_account_elsewhere_the_caller_learns_nothing_by_what_is_sent(
    services: Services, shop: Shop, other_shop: Shop
) -> None:
    number = new_mobile()
    elsewhere = await add_staff(shop.owner, somebody(email=other_shop.email, mobile=number))
    new = await add_staff(shop.owner, somebody(email=f"ada.{new_id().hex}@shop.example", mobile=new_mobile()))
    assert (elsewhere.status, elsewhere.role) == (new.status, new.role)
    [mail] = await messages_to(services, other_shop.email)
    assert (mail["code"], "another account" in mail["text"]) == (None, True)
    assert await messages_to(services, number) == []
    assert await left_of_one(services, number) == 1
    sent = await list_messages(shop.owner, MessageFilter(), after=None, size=10)
    assert [(one.template, one.channel, one.status, one.can_resend) for one in sent] == [
        ("invitation-email", "email", "sent", False)
    ] * 2
