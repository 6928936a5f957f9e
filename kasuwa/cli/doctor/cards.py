"""Stored cards against fresh ones."""

from typing import cast
from uuid import UUID

import asyncpg

from kasuwa.base.db import Connection, Database
from kasuwa.cli.doctor.report import Examined, Finding, examined
from kasuwa.cli.doctor.rows import Owner
from kasuwa.domain.catalogue.cards import card_faults
from kasuwa.domain.upkeep.jobs import CARDS_JOB

_BATCH = 200


async def check_cards(owner: Owner, card_code: str) -> Examined:
    """Each product has a card for each API, equal to a fresh one, unless they wait to be written anew."""
    if await _are_outdated(owner, card_code):
        return examined("cards of products", 0, [], note="of another version: the server writes them anew")
    findings: list[Finding] = []
    looked_at = 0
    # Of whom half is gone no card can be written.
    whole = await owner.fetch(
        "SELECT merchant_id FROM merchant WHERE status <> 'leaving' ORDER BY merchant_id"
    )
    for row in whole:
        merchant_id = row["merchant_id"]
        after = None
        while True:
            # A batch is read at one moment: a change in between must not look like a fault.
            await owner.execute(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
                f"SET LOCAL app.merchant_id = '{UUID(int=merchant_id.int)}'"
            )
            ids = await owner.fetch(
                """
                SELECT product_id FROM product
                WHERE merchant_id = $1 AND ($2::uuid IS NULL OR product_id > $2)
                ORDER BY product_id LIMIT $3
                """,
                merchant_id,
                after,
                _BATCH,
            )
            db = Database(cast("Connection[asyncpg.Record]", owner))
            told = await card_faults(db, [row["product_id"] for row in ids])
            await owner.execute("ROLLBACK")
            findings += [Finding(text, str(merchant_id)) for text in told]
            looked_at += len(ids)
            if len(ids) < _BATCH:
                break
            after = ids[-1]["product_id"]
    return examined("cards of products", looked_at, findings)


async def _are_outdated(owner: Owner, card_code: str) -> bool:
    waiting: bool = await owner.fetchval(
        """
        SELECT EXISTS (SELECT FROM card_code WHERE hash <> $1)
            OR EXISTS (SELECT FROM job WHERE kind = $2 AND status = 'waiting')
        """,
        card_code,
        CARDS_JOB,
    )
    return waiting
