"""The vocabulary that typing errors are corrected against: changes only add words; here they are swept."""

from datetime import datetime

from msgspec import Struct

from kasuwa.base.db import Database


class _KnownWord(Struct, frozen=True):
    known_word: str
    is_idle: bool


async def sweep_words(db: Database, after: str, how_many: int) -> str | None:
    """Look at the next words: those of no product go, of the others one row stays.

    Answer the last word that was looked at, None at the end.
    """
    words = await db.all(
        "SELECT known_word, is_idle FROM search_idle_words(:after, :how_many)",
        into=_KnownWord,
        after=after,
        how_many=how_many,
    )
    if not words:
        return None
    await db.execute(
        """
        DELETE FROM search_word w
        WHERE w.merchant_id = current_merchant() AND w.word = ANY(:words::text[])
          AND (w.word = ANY(:idle::text[]) OR EXISTS (
            SELECT FROM search_word o
            WHERE o.merchant_id = w.merchant_id AND o.word = w.word AND o.product_id < w.product_id))
        """,
        words=[word.known_word for word in words],
        idle=[word.known_word for word in words if word.is_idle],
    )
    return words[-1].known_word


async def renew_words(db: Database, since: datetime) -> None:
    """Write the words of the products that changed since then once more."""
    await db.execute(
        """
        SELECT write_search_words(current_merchant(), array_agg(product_id)) FROM product
        WHERE merchant_id = current_merchant() AND status = ANY('{active,inactive}') AND updated_at >= :since
        """,
        since=since,
    )
