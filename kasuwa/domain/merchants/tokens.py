"""Tokens of the BigCommerce and Shoplazza APIs as a store's owner has them: listed, made, rotated, ended."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.problems import Forbidden
from kasuwa.domain.merchants.actions import add_access_token, check_scopes
from kasuwa.domain.merchants.errors import TokenEnding, TokenNotFound, TooManyTokens
from kasuwa.domain.merchants.records import MadeToken
from kasuwa.domain.permissions import Permission, permissions_of_scopes

MOST_TOKENS = 100


class KnownToken(Struct, frozen=True):
    """A token that works, but not what it is; until `ends_at`, when it was rotated."""

    token_id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    ends_at: datetime | None


async def list_tokens(context: Context) -> list[KnownToken]:
    """Those of the caller's store that work, the newest first."""
    context.require(Permission.TOKEN_WRITE)
    async with context.reading() as db:
        return await _tokens(context, db)


async def create_token(context: Context, name: str, scopes: Sequence[str]) -> MadeToken:
    """A token of the caller's store, which may do no more than they. Raises UnknownScope, TooManyTokens."""
    context.require(Permission.TOKEN_WRITE)
    check_scopes(scopes)
    _require_own(context, scopes)
    async with context.transaction() as db:
        await hold_store(context, db)
        if len(await _tokens(context, db)) >= MOST_TOKENS:
            raise TooManyTokens("Revoke those that no app uses.")
        return await add_access_token(context, db, name, scopes)


async def rotate_token(context: Context, token_id: UUID | None, overlap: timedelta) -> MadeToken:
    """A token with the name and scopes of another one, which ends after `overlap`.

    Raises TokenNotFound, TokenEnding, TooManyTokens.
    """
    context.require(Permission.TOKEN_WRITE)
    async with context.transaction() as db:
        await hold_store(context, db)
        old = await _get(context, db, token_id)
        # Each may have one beside it that has not ended yet.
        if len(await _tokens(context, db)) >= 2 * MOST_TOKENS:
            raise TooManyTokens("Wait until those that were rotated have ended, or revoke them.")
        _require_own(context, old.scopes)
        if not await db.value(
            "SELECT retire_access_token(:token_id, :overlap)", token_id=old.token_id, overlap=overlap
        ):
            raise TokenEnding("It was rotated already: use the one that was made then, or make another.")
        after = {"overlapMinutes": round(overlap.total_seconds() / 60)}
        await write_audit(context, db, "token.rotate", "token", old.token_id, after=after)
        return await add_access_token(context, db, old.name, old.scopes)


async def end_token(context: Context, token_id: UUID | None) -> KnownToken:
    """End a token of the caller's store at once. Raises TokenNotFound."""
    context.require(Permission.TOKEN_WRITE)
    async with context.transaction() as db:
        await hold_store(context, db)
        old = await _get(context, db, token_id)
        await db.value("SELECT revoke_access_token(:token_id)", token_id=old.token_id)
        await write_audit(context, db, "token.revoke", "token", old.token_id)
    return old


def _require_own(context: Context, scopes: Sequence[str]) -> None:
    """Nobody gives an app more than they have."""
    beyond = permissions_of_scopes(list(scopes)) - context.caller.permissions
    if beyond:
        raise Forbidden(f"A token with these scopes may do what you may not: {', '.join(sorted(beyond))}.")


async def hold_store(context: Context, db: Database) -> None:
    """One writer of a store's tokens and keys at a time; the installation's are not held."""
    await db.value(
        """
        SELECT store_id FROM store WHERE merchant_id = current_merchant() AND store_id = :store_id
        FOR NO KEY UPDATE
        """,
        store_id=context.caller.store_id,
    )


async def _get(context: Context, db: Database, token_id: UUID | None) -> KnownToken:
    found = [one for one in await _tokens(context, db) if one.token_id == token_id]
    if not found:
        raise TokenNotFound("It has ended, or never was: see the list of tokens.")
    return found[0]


async def _tokens(context: Context, db: Database) -> list[KnownToken]:
    return await db.all(
        """
        SELECT token_id, name, scopes, created_at, ends_at FROM tokens_of(:store_id)
        ORDER BY created_at DESC, token_id DESC
        """,
        into=KnownToken,
        store_id=context.store_id,
    )
