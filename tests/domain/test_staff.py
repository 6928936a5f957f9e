"""People of a store as verbs: who may do what to whom, and that no other merchant is reached."""

from datetime import timedelta

import pytest

from kasuwa.base.context import Context, Services
from kasuwa.base.ids import new_id
from kasuwa.base.problems import Forbidden, Unauthenticated
from kasuwa.domain.permissions import PERMISSIONS_OF_ROLE, Role
from kasuwa.domain.staff.actions import add_staff, change_staff, remove_staff
from kasuwa.domain.staff.errors import StaffNotFound, UnknownPlace
from kasuwa.domain.staff.queries import get_staff, list_staff
from kasuwa.domain.staff.records import NewStaff, Rank, StaffChange, StaffFilter
from kasuwa.domain.users.checks import send_check, try_check
from tests.accounts import messages_to
from tests.contract.cast import hire
from tests.shop import Shop


def person(**changes: object) -> NewStaff:
    values = {
        "first_name": "Bola",
        "last_name": "Ade",
        "role": "CASHIER",
        "email": f"bola.{new_id().hex}@shop.example",
    } | changes
    return NewStaff(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("own", "other", "may_grant", "may_manage"),
    [
        ("OWNER", "OWNER", False, True),
        ("OWNER", "MANAGER", True, True),
        ("OWNER", "CASHIER", True, True),
        ("MANAGER", "OWNER", False, False),
        ("MANAGER", "MANAGER", False, False),
        ("MANAGER", "CASHIER", True, True),
        ("CASHIER", "OWNER", False, False),
        ("CASHIER", "CASHIER", False, False),
        ("NOBODY", "CASHIER", False, False),
    ],
)
def test_a_rank_grants_what_is_below_it_and_owners_manage_each_other(
    own: str, other: str, may_grant: bool, may_manage: bool
) -> None:
    rank = Rank(own, frozenset())
    assert (rank.may_grant(other), rank.may_manage(other)) == (may_grant, may_manage)


def test_every_role_has_a_rank() -> None:
    for role in PERMISSIONS_OF_ROLE:
        Rank("OWNER", frozenset()).may_grant(role)


async def test_another_merchants_people_are_as_unknown_as_nobody(
    context: Context, other_shop: Shop, shop: Shop
) -> None:
    foreign = await hire(other_shop, Role.CASHIER, other_shop.store_id)
    for user_id in (foreign.user_id, other_shop.user_id, new_id(), None):
        with pytest.raises(StaffNotFound):
            await get_staff(context, user_id)
        with pytest.raises(StaffNotFound):
            await change_staff(context, user_id, StaffChange(last_name="Obi"))
        with pytest.raises(StaffNotFound):
            await remove_staff(context, user_id)
    with pytest.raises(UnknownPlace):
        await add_staff(context, person(place_ids=(other_shop.store_id,)))
    everybody = await list_staff(context, StaffFilter(everywhere=True))
    assert [one.user_id for one in everybody.rows] == [shop.user_id]


async def test_a_cashier_sees_and_changes_nobody(shop: Shop) -> None:
    cashier = shop.cashier()
    with pytest.raises(Forbidden):
        await list_staff(cashier, StaffFilter())
    with pytest.raises(Forbidden):
        await add_staff(cashier, person())
    with pytest.raises(Forbidden):
        await remove_staff(cashier, shop.user_id)


async def test_rights_are_asked_anew_under_the_lock(shop: Shop, context: Context) -> None:
    """A context that still has the rights of a moment ago does nothing any more."""
    second = await hire(shop, Role.OWNER, shop.store_id)
    await change_staff(context, second.user_id, StaffChange(role="CASHIER"))
    stale = context.acting_as(
        type(context.caller)(
            kind="user",
            id="stale",
            merchant_id=context.caller.merchant_id,
            store_id=context.caller.store_id,
            user_id=type(shop.user_id)(int=second.user_id.int),  # type: ignore[arg-type]
            role=Role.OWNER,
            permissions=PERMISSIONS_OF_ROLE[Role.OWNER],
        )
    )
    for attempt in (
        add_staff(stale, person()),
        change_staff(stale, shop.user_id, StaffChange(role="CASHIER")),
        remove_staff(stale, shop.user_id),
    ):
        with pytest.raises(Unauthenticated):
            await attempt


async def test_a_refusal_leaves_nothing_behind(context: Context, services: Services) -> None:
    new = person(username=f"bola-{new_id().hex}", place_ids=(new_id(),))
    with pytest.raises(UnknownPlace):
        await add_staff(context, new)
    assert await messages_to(services, new.email) == []
    # The user name is still free.
    added = await add_staff(context, person(username=new.username))
    assert added.username == new.username


async def test_a_pin_is_kept_as_a_keyed_hash(context: Context) -> None:
    added = await add_staff(context, person(pos_pin="4821"))
    async with context.transaction() as db:
        kept: bytes = await db.value(
            "SELECT pos_pin_mark FROM membership"
            " WHERE merchant_id = current_merchant() AND user_id = :user_id",
            user_id=added.user_id,
        )
    assert len(kept) == 32
    await change_staff(context, added.user_id, StaffChange(pos_pin=None))
    async with context.transaction() as db:
        kept = await db.value(
            "SELECT pos_pin_mark FROM membership"
            " WHERE merchant_id = current_merchant() AND user_id = :user_id",
            user_id=added.user_id,
        )
    assert kept is None


async def test_a_message_that_is_too_late_does_not_leave(
    services: Services, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kasuwa.domain.users.checks.CODE_LIFETIME", timedelta(0))
    address = f"late.{new_id().hex}@shop.example"
    check = await send_check(context, "email", address, caller="")
    assert await messages_to(services, address) == []
    assert check.reference is not None
    tried = await try_check(context, "email", address, check.reference, "123456")
    assert (tried.is_verified, tried.tries_left) == (False, 0)
