"""Moves that wait together share a statement, and nothing else."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from kasuwa.base.context import Context, Services
from kasuwa.base.db import Pool, ValueBeyondReach
from kasuwa.base.problems import Unavailable
from kasuwa.domain.inventory import waiting
from kasuwa.domain.inventory.errors import NotEnoughStock, WrongQuantity
from kasuwa.domain.inventory.records import Move, Moved
from kasuwa.domain.inventory.waiting import move_one
from tests.domain.stock_model import line
from tests.domain.test_stock_lines import faults, goods, on_hand, own
from tests.shop import Shop


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many lines each statement carried."""
    asked: list[int] = []
    move_all = waiting.moves.ask_all

    async def counted(pool: Pool, together: Sequence[Any]) -> Sequence[Moved]:
        asked.append(len(together))
        return await move_all(pool, together)

    monkeypatch.setattr(waiting.moves, "ask_all", counted)
    return asked


async def take(context: Context, move: Move) -> Decimal:
    return (await move_one(own(context), move)).after


async def test_those_that_wait_go_together_and_each_has_its_own_answer(
    context: Context, statements: list[int]
) -> None:
    rice = (await goods(context, quantity=40)).main.variant_id
    one = line(context.store_id, rice, change=Decimal(-1))
    found = await asyncio.gather(*(take(context, one) for _ in range(100)), return_exceptions=True)
    assert sorted(after for after in found if isinstance(after, Decimal)) == [Decimal(n) for n in range(40)]
    assert sum(isinstance(after, NotEnoughStock) for after in found) == 60
    assert sum(statements) == 100
    assert len(statements) < 10
    assert await faults(context) == []


async def test_an_answer_comes_after_the_commit(context: Context, services: Services) -> None:
    rice = (await goods(context, quantity=40)).main.variant_id

    async def take_and_look() -> None:
        after = await take(context, line(context.store_id, rice, change=Decimal(-1)))
        async with services.pool.transaction(context.merchant_id) as db:
            assert await db.value("SELECT on_hand FROM stock_balance") <= after

    await asyncio.gather(*(take_and_look() for _ in range(20)))


async def test_a_line_that_breaks_the_statement_fails_alone(context: Context, statements: list[int]) -> None:
    rice = (await goods(context, quantity=0)).main.variant_id
    good = line(context.store_id, rice, change=Decimal(1))
    # Dearer than the ledger's column holds: the database refuses the statement as a whole.
    bad = line(context.store_id, rice, change=Decimal(1), unit_cost_minor=10**19, state="damaged")
    part = line(context.store_id, rice, change=Decimal("0.5"))
    lines = [good] * 5 + [bad, part] + [good] * 5
    found = await asyncio.gather(*(take(context, one) for one in lines), return_exceptions=True)
    assert [type(one) for one in found] == [
        {id(bad): ValueBeyondReach, id(part): WrongQuantity}.get(id(one), Decimal) for one in lines
    ]
    assert await on_hand(context) == [10]
    assert max(statements) > 2


async def test_whoever_hangs_up_takes_nobody_with_him(context: Context) -> None:
    rice = (await goods(context, quantity=100)).main.variant_id
    one = line(context.store_id, rice, change=Decimal(-1))
    tasks = [asyncio.create_task(take(context, one)) for _ in range(30)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    stayed = [after for after in found if isinstance(after, Decimal)]
    assert len(stayed) == 20
    assert len(set(stayed)) == 20
    # Of those who went, some may have been asked for already: what was booked is booked.
    assert 70 <= (await on_hand(context))[0] <= 80
    assert await faults(context) == []


async def test_when_the_database_goes_everybody_who_waited_is_told(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    rice = (await goods(context, quantity=100)).main.variant_id

    async def gone(pool: Pool, together: Sequence[Any]) -> Sequence[Moved]:
        raise Unavailable("The database does not answer.")

    one = line(context.store_id, rice, change=Decimal(-1))
    with monkeypatch.context() as patched:
        patched.setattr(waiting.moves, "ask_all", gone)
        found = await asyncio.gather(*(take(context, one) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(refused, Unavailable) for refused in found)
    assert len({id(refused) for refused in found}) == 5
    assert await take(context, one) == 99


async def test_inside_a_transaction_a_move_is_part_of_it(context: Context, statements: list[int]) -> None:
    rice = (await goods(context, quantity=10)).main.variant_id
    with pytest.raises(RuntimeError):
        async with context.transaction():
            await move_one(context, line(context.store_id, rice, change=Decimal(-1)))
            raise RuntimeError
    assert await on_hand(context) == [10]
    assert statements == []


async def test_merchants_never_share_a_statement(context: Context, other_shop: Shop) -> None:
    shops = [(context, await goods(context)), (other_shop.owner, await goods(other_shop.owner))]
    await asyncio.gather(
        *(
            take(own_context, line(own_context.store_id, product.main.variant_id, change=Decimal(-1)))
            for own_context, product in shops
            for _ in range(20)
        )
    )
    assert [await on_hand(own_context) for own_context, _ in shops] == [[80], [80]]
