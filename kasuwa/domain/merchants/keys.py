"""Developer keys, which prove an app before anybody says who they are.

One belongs to a store and opens the door for people of its merchant alone, or to the installation and opens
it for everybody's: the caller of these is a store's owner, or the operator without a merchant. What a key
opens are the operations of its scopes; what goes on inside is proved by people themselves.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id, new_token, token_hash
from kasuwa.base.problems import FieldFault
from kasuwa.domain.merchants.errors import KeyNotFound, TokenEnding, TooManyKeys, UnknownScope
from kasuwa.domain.merchants.tokens import hold_store
from kasuwa.domain.permissions import KEY_SCOPES, KEY_SCOPES_OF_STORES, Permission

MOST_KEYS = 100


class KnownKey(Struct, frozen=True):
    """A key that works, but not what it is; until `ends_at`, when it was rotated."""

    key_id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    ends_at: datetime | None


class MadeKey(Struct, frozen=True):
    """A new key and its id; the key is shown this once."""

    key_id: UUID
    key: str
    scopes: list[str]


async def list_keys(context: Context) -> list[KnownKey]:
    """Those that work, the newest first."""
    context.require(Permission.TOKEN_WRITE)
    async with context.reading() as db:
        return await _keys(context, db)


async def create_key(context: Context, name: str, scopes: Sequence[str]) -> MadeKey:
    """Raises UnknownScope, TooManyKeys."""
    context.require(Permission.TOKEN_WRITE)
    _check_scopes(context, scopes)
    async with context.transaction() as db:
        await hold_store(context, db)
        is_of_store = context.caller.store_id is not None
        if is_of_store and len(await _keys(context, db)) >= MOST_KEYS:
            raise TooManyKeys("Revoke those that no app uses.")
        return await _add(context, db, name, scopes)


async def rotate_key(context: Context, key_id: UUID | None, overlap: timedelta) -> MadeKey:
    """A key with the name and scopes of another one, which ends after `overlap`.

    Raises KeyNotFound, TokenEnding, TooManyKeys.
    """
    context.require(Permission.TOKEN_WRITE)
    async with context.transaction() as db:
        await hold_store(context, db)
        old = await _get(context, db, key_id)
        # Each may have one beside it that has not ended yet.
        if context.caller.store_id is not None and len(await _keys(context, db)) >= 2 * MOST_KEYS:
            raise TooManyKeys("Wait until those that were rotated have ended, or revoke them.")
        if not await db.value(
            "SELECT retire_developer_key(:key_id, :overlap)", key_id=old.key_id, overlap=overlap
        ):
            raise TokenEnding("It was rotated already: use the one that was made then, or make another.")
        after = {"overlapMinutes": round(overlap.total_seconds() / 60)}
        await write_audit(context, db, "key.rotate", "key", old.key_id, after=after)
        return await _add(context, db, old.name, old.scopes)


async def end_key(context: Context, key_id: UUID | None) -> KnownKey:
    """End a key at once; sessions that were opened with it go on. Raises KeyNotFound."""
    context.require(Permission.TOKEN_WRITE)
    async with context.transaction() as db:
        await hold_store(context, db)
        old = await _get(context, db, key_id)
        await db.value("SELECT revoke_developer_key(:key_id)", key_id=old.key_id)
        await write_audit(context, db, "key.revoke", "key", old.key_id)
    return old


def _check_scopes(context: Context, scopes: Sequence[str]) -> None:
    known = KEY_SCOPES if context.caller.store_id is None else KEY_SCOPES_OF_STORES
    if not scopes or not known.issuperset(scopes):
        words = ", ".join(sorted(known))
        raise UnknownScope(f"Give one or more of {words}.", faults=[FieldFault("/scopes", "enum", words)])


async def _add(context: Context, db: Database, name: str, scopes: Sequence[str]) -> MadeKey:
    made = MadeKey(new_id(), new_token(), sorted(scopes))
    await db.value(
        "SELECT add_developer_key(:key_hash, :key_id, :store_id, :name, :scopes)",
        key_hash=token_hash(made.key),
        key_id=made.key_id,
        store_id=context.caller.store_id,
        name=name,
        scopes=made.scopes,
    )
    after = {"name": name, "scopes": made.scopes}
    await write_audit(context, db, "key.create", "key", made.key_id, after=after)
    return made


async def _get(context: Context, db: Database, key_id: UUID | None) -> KnownKey:
    found = [one for one in await _keys(context, db) if one.key_id == key_id]
    if not found:
        raise KeyNotFound("It has ended, or never was: see the list of keys.")
    return found[0]


async def _keys(context: Context, db: Database) -> list[KnownKey]:
    return await db.all(
        """
        SELECT key_id, name, scopes, created_at, ends_at FROM keys_of(:store_id)
        ORDER BY created_at DESC, key_id DESC
        """,
        into=KnownKey,
        store_id=context.caller.store_id,
    )
