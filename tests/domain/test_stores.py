"""Stores: opening and switching, called as verbs."""

import asyncio
from decimal import Decimal

import pytest

from kasuwa.base.context import Context
from kasuwa.base.ids import token_hash
from kasuwa.base.problems import Forbidden, Invalid
from kasuwa.domain.merchants.authentication import resolve_session
from kasuwa.domain.reference.places import effective_percent, read_country, read_degrees, read_tax_rate
from kasuwa.domain.stores.actions import open_location, switch_location
from kasuwa.domain.stores.errors import LocationClosed, LocationNotFound
from kasuwa.domain.stores.queries import get_location, list_locations
from kasuwa.domain.stores.records import LocationWish
from tests.conftest import SchemaOwner
from tests.shop import Shop


@pytest.mark.parametrize(
    ("sent", "percent"),
    [("0", "0"), ("0.05", "5"), ("0.075", "7.5"), ("0.999999", "99.9999"), ("1", "1"), ("7.5", "7.5")],
)
def test_a_rate_below_one_is_a_fraction_and_from_one_on_percent(sent: str, percent: str) -> None:
    assert effective_percent(read_tax_rate(Decimal(sent), "/taxRate")) == Decimal(percent)


@pytest.mark.parametrize("rate", ["-0.01", "100.01", "7.1234567"])
def test_a_rate_that_cannot_be_is_refused(rate: str) -> None:
    with pytest.raises(Invalid):
        read_tax_rate(Decimal(rate), "/taxRate")


@pytest.mark.parametrize(
    ("code", "name", "found"),
    [
        ("NG", "", ("NG", "Nigeria")),
        ("GHA", "Ghana", ("GH", "Ghana")),
        ("ng", "Naija", ("NG", "Naija")),
        ("", "Kenya", ("KE", "Kenya")),
        ("", "nigeria", ("NG", "nigeria")),
        ("", "", None),
    ],
)
def test_a_country_is_read_by_code_or_name(code: str, name: str, found: tuple[str, str] | None) -> None:
    country = read_country(code, name, code_pointer="/code", name_pointer="/name")
    assert (None if country is None else (country.code, country.name)) == found


@pytest.mark.parametrize("text", ["north", "90.1", "-90.1", "NaN", "Infinity", "6,52"])
def test_a_place_off_the_globe_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        read_degrees(text, 90, "/storeLocLat")
    assert read_degrees(" 6.5244 ", 90, "/storeLocLat") == "6.5244"


async def test_only_an_owner_opens_a_location(shop: Shop) -> None:
    with pytest.raises(Forbidden):
        await open_location(shop.cashier(), LocationWish(name="Yaba"))
    assert (await open_location(shop.owner, LocationWish(name="Yaba"))).location.name == "Yaba"


async def test_locations_without_names_get_numbers_of_their_own(shop: Shop) -> None:
    def same_request() -> Context:
        return shop.owner.acting_as(shop.owner.caller)

    opened = await asyncio.gather(*(open_location(same_request(), LocationWish()) for _ in range(8)))
    assert sorted(one.location.name for one in opened) == [f"Ada's Corner {n}" for n in range(10, 11)] + [
        f"Ada's Corner {n}" for n in range(3, 10)
    ]


async def test_a_first_use_ends_the_old_session_and_unused_ones_beside_it(shop: Shop) -> None:
    pool, old = shop.owner.services.pool, token_hash(shop.session)
    moved = [await switch_location(shop.owner, shop.second_store_id, replaces=old) for _ in range(2)]
    first, second = (one.session_token for one in moved)
    assert await resolve_session(pool, shop.session) is not None
    used = await asyncio.gather(*(resolve_session(pool, second) for _ in range(8)))
    assert all(one is not None and one.store_id == shop.second_store_id for one in used)
    assert await resolve_session(pool, first) is None
    assert await resolve_session(pool, shop.session) is None


async def test_of_two_successors_used_in_the_same_moment_one_stays(shop: Shop) -> None:
    pool = shop.owner.services.pool
    for _ in range(5):
        present = (await switch_location(shop.owner, shop.store_id, replaces=b"nobody")).session_token
        pair = [
            (
                await switch_location(shop.owner, shop.second_store_id, replaces=token_hash(present))
            ).session_token
            for _ in range(2)
        ]
        await asyncio.gather(*(resolve_session(pool, token) for token in pair))
        assert sum([await resolve_session(pool, token) is not None for token in pair]) == 1


async def test_a_closed_store_is_listed_but_not_switched_to(shop: Shop, schema_owner: SchemaOwner) -> None:
    await schema_owner.execute("UPDATE store SET status = 'closed' WHERE store_id = $1", shop.second_store_id)
    with pytest.raises(LocationClosed):
        await switch_location(shop.owner, shop.second_store_id, replaces=token_hash(shop.session))
    listed = await list_locations(shop.owner, active=False, page=1, size=200)
    assert [one.store_id for one in listed] == [shop.second_store_id]


async def test_another_merchants_store_does_not_exist(shop: Shop, other_shop: Shop) -> None:
    with pytest.raises(LocationNotFound):
        await get_location(shop.owner, other_shop.store_id)
    with pytest.raises(LocationNotFound):
        await switch_location(shop.owner, other_shop.store_id, replaces=token_hash(shop.session))
    assert (await get_location(other_shop.owner, other_shop.store_id)).name == "Bola's Stores"
