"""Look-ups of several merchants that share a statement: each is answered with what is its own."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from kasuwa.base.context import Context, Services
from kasuwa.base.db import Pool
from kasuwa.domain.catalogue.errors import ProductNotFound
from kasuwa.domain.inventory import queries
from kasuwa.domain.inventory.queries import get_counted
from kasuwa.domain.merchants import authentication
from kasuwa.domain.merchants.authentication import resolve_session
from tests.domain.test_stock_lines import goods, own
from tests.shop import Shop, new_shop


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many questions each statement carried."""
    asked: list[int] = []
    for desk in (authentication.sessions, queries.counted):
        monkeypatch.setattr(desk, "ask_all", _counting(desk.ask_all, asked))
    return asked


def _counting(ask_all: Any, asked: list[int]) -> Any:
    async def ask(pool: Pool, questions: Sequence[Any]) -> Any:
        asked.append(len(questions))
        return await ask_all(pool, questions)

    return ask


async def test_sessions_of_many_shops(services: Services, shop: Shop, together: list[int]) -> None:
    shops = [shop, *[await new_shop(services) for _ in range(3)]]
    for one in shops:
        assert await resolve_session(services.pool, one.session) is not None  # the first use writes
    together.clear()
    tokens = [token for one in shops for token in (one.session, "nobody's")]
    found = await asyncio.gather(*(resolve_session(services.pool, token) for token in tokens))
    assert [None if one is None else one.merchant_id for one in found] == [
        merchant for one in shops for merchant in (one.owner.merchant_id, None)
    ]
    assert together == [1, 4]


async def test_a_kind_of_token_is_no_other(services: Services, shop: Shop) -> None:
    await resolve_session(services.pool, shop.session)
    found = await asyncio.gather(
        *(
            resolve_session(services.pool, shop.session, kind=kind)
            for kind in ("store", "web", "store", "till")
        )
    )
    assert [one is not None for one in found] == [True, False, True, False]


async def test_a_products_variant_is_its_own_merchants_alone(
    context: Context, other_shop: Shop, together: list[int]
) -> None:
    ours, theirs = await goods(context), await goods(other_shop.owner)
    asked = [(context, ours), (context, theirs), (other_shop.owner, theirs), (other_shop.owner, ours)] * 2
    found = await asyncio.gather(
        *(get_counted(own(who), what.product_id, None) for who, what in asked), return_exceptions=True
    )
    own_ones = [one.variant_id if isinstance(one, queries.Counted) else type(one) for one in found]
    assert own_ones == [ours.main.variant_id, ProductNotFound, theirs.main.variant_id, ProductNotFound] * 2
    assert together == [1, 4]
    assert [one.user_name for one in found if isinstance(one, queries.Counted)] == ["Ada Obi", "Ada Obi"] * 2
