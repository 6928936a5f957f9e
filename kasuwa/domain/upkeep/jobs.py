"""Once a day: what is past its time goes, and every merchant's ledger is checked."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from kasuwa.base.context import Services
from kasuwa.base.db import begin
from kasuwa.base.http import metrics
from kasuwa.base.jobs import enqueue
from kasuwa.domain.catalogue.cards import rebuild_cards
from kasuwa.domain.catalogue.search_words import renew_words, sweep_words

DAILY_JOB = "upkeep.daily"
LEDGER_JOB = "upkeep.ledger"
CARDS_JOB = "upkeep.cards"
WORDS_JOB = "upkeep.words"

_HOUR_UTC = 2  # three at night in Lagos
_BATCH = 1000
_CHECK_SECONDS = 240.0
_CARDS_AT_ONCE = 100

log = structlog.get_logger("kasuwa.upkeep")


async def enqueue_daily(services: Services) -> None:
    """Have the next daily job in the queue; asking again changes nothing."""
    due = next_round(datetime.now(UTC))
    async with services.pool.transaction() as db:
        await enqueue(db, DAILY_JOB, {}, due=due, unique_key=f"{DAILY_JOB}:{due.date()}")


def next_round(after: datetime) -> datetime:
    """The first round later than `after`."""
    due = after.replace(hour=_HOUR_UTC, minute=0, second=0, microsecond=0)
    return due if due > after else due + timedelta(days=1)


async def run_daily(services: Services, merchant_id: UUID | None, payload: Any) -> None:
    await enqueue_daily(services)
    async with services.pool.transaction() as db:
        for kind in (LEDGER_JOB, WORDS_JOB):
            await db.value(
                "SELECT enqueue_for_each_merchant(:kind, :round, '1 hour')",
                kind=kind,
                round=datetime.now(UTC).date().isoformat(),
            )
    async with services.pool.transaction() as db:
        await db.value("SELECT forget_messages(:keep)", keep=timedelta(days=services.settings.message_days))
    gone = _BATCH
    while gone >= _BATCH:
        async with services.pool.transaction() as db:
            gone = await db.value("SELECT sweep_directory(:how_many)", how_many=_BATCH)
    await services.blobs.sweep_temporary(timedelta(days=1))


async def run_ledger_check(services: Services, merchant_id: UUID | None, payload: Any) -> None:
    """Count the faults of one merchant's stock ledger; `kasuwa doctor` names them."""
    assert merchant_id is not None
    connection = await services.pool.acquire()
    try:
        # A long ledger takes longer than any request may: this is nobody's answer.
        await begin(connection, merchant_id)
        faults = await connection.fetchval("SELECT count(*) FROM stock_faults()", timeout=_CHECK_SECONDS)
        await connection.execute("ROLLBACK")
    finally:
        await services.pool.release(connection)
    if faults:
        metrics.ledger_faults.labels("stock").inc(faults)
        log.error("ledger.faults", ledger="stock", merchant_id=str(merchant_id), faults=faults)


async def enqueue_rebuild(services: Services, card_code: str) -> None:
    """Have every card written anew when the code that writes them is another than before."""
    async with services.pool.transaction() as db:
        if await db.value("SELECT note_card_code(:card_code)", card_code=card_code):
            await db.value(
                "SELECT enqueue_for_each_merchant(:kind, :card_code)", kind=CARDS_JOB, card_code=card_code
            )


async def run_rebuild(services: Services, merchant_id: UUID | None, payload: Any) -> None:
    """Write every card of one merchant anew, a few at a time: nobody waits long for a product."""
    assert merchant_id is not None
    after: UUID | None = None
    while True:
        async with services.pool.transaction(merchant_id) as db:
            after = await rebuild_cards(db, after, _CARDS_AT_ONCE)
        if after is None:
            return


async def run_word_sweep(services: Services, merchant_id: UUID | None, payload: Any) -> None:
    """Take the words that no product has any more out of one merchant's vocabulary."""
    assert merchant_id is not None
    begun = datetime.now(UTC)
    after: str | None = ""
    while after is not None:
        async with services.pool.transaction(merchant_id) as db:
            after = await sweep_words(db, after, _BATCH)
    # Who changed a product meanwhile may have seen a word that was about to go.
    async with services.pool.transaction(merchant_id) as db:
        await renew_words(db, begun - timedelta(hours=1))
