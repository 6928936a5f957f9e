"""Questions about messages: what became of them, and in which language they are."""

from uuid import UUID

from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.messages.records import Channel, Languages, MessageSummary, Status
from kasuwa.domain.messages.texts import DEFAULT_LANGUAGE, TEXTS
from kasuwa.domain.permissions import Permission
from kasuwa.domain.stores.reach import Reach, read_reach

SHOP = UUID(int=0)
"""Stands for the shop itself where a language is kept for a user."""

_COLUMNS = """
    message_id, channel, masked_to, template, status, attempts, last_error, created_at, tried_at, sent_at,
    status = 'failed' AND sealed IS NOT NULL AND coalesce(expires_at > now(), true) AS can_resend
"""


class MessageFilter(Struct, frozen=True, kw_only=True):
    """Which messages a list shows; every condition that is not None must hold."""

    status: Status | None = None
    channel: Channel | None = None


async def list_messages(
    context: Context, wanted: MessageFilter, *, after: UUID | None, size: int
) -> list[MessageSummary]:
    """Messages from where the caller reads the trail, the newest first, those older than `after` where it is
    given."""
    context.require(Permission.AUDIT_READ)
    async with context.reading() as db:
        reach = await read_reach(context, db, Permission.AUDIT_READ)
        return await read_page(db, wanted, within=reach, after=after, size=size)


async def read_page(
    db: Database, wanted: MessageFilter, *, within: Reach, after: UUID | None, size: int
) -> list[MessageSummary]:
    """A page of the merchant's messages, for whoever may see it."""
    conditions, values = ["merchant_id = current_merchant()", *within.conditions], dict(within.values)
    for name, value in (("status", wanted.status), ("channel", wanted.channel)):
        if value is not None:
            conditions.append(f"{name} = :{name}")
            values[name] = value
    if after is not None:
        # An id begins with its time, so the key's order is that of the messages.
        conditions.append("message_id < :after")
        values["after"] = after
    return await db.all(
        f"""
        SELECT {_COLUMNS} FROM message WHERE {" AND ".join(conditions)}
        ORDER BY message_id DESC LIMIT :size
        """,  # noqa: S608 - conditions of ours
        into=MessageSummary,
        size=size,
        **values,
    )


async def find_summary(db: Database, message_id: UUID, *, within: Reach) -> MessageSummary | None:
    """The message, if it came from where the caller may see it."""
    conditions = ["merchant_id = current_merchant()", "message_id = :message_id", *within.conditions]
    return await db.find(
        f"SELECT {_COLUMNS} FROM message WHERE {' AND '.join(conditions)}",  # noqa: S608 - words of ours
        into=MessageSummary,
        message_id=message_id,
        **within.values,
    )


async def read_messages_to(db: Database, customer_id: UUID) -> list[MessageSummary]:
    """What was sent to a customer, the oldest first, for whoever may see it."""
    return await db.all(
        f"SELECT {_COLUMNS} FROM message"  # noqa: S608 - columns of ours
        " WHERE merchant_id = current_merchant() AND customer_id = :customer_id ORDER BY message_id",
        into=MessageSummary,
        customer_id=customer_id,
    )


async def get_languages(context: Context) -> Languages:
    """The languages there are, the shop's, and the caller's own."""
    user_id = context.caller.user_id or SHOP
    async with context.reading() as db:
        chosen = await _chosen(db, user_id)
    own = chosen.get(user_id) if user_id != SHOP else None
    return Languages(tuple(sorted(TEXTS)), chosen.get(SHOP, DEFAULT_LANGUAGE), own)


async def language_of(db: Database, user_id: UUID) -> str:
    """The language to write to a user in: their own, else the shop's, else English."""
    chosen = await _chosen(db, user_id)
    return chosen.get(user_id) or chosen.get(SHOP) or DEFAULT_LANGUAGE


class _Chosen(Struct, frozen=True):
    user_id: UUID
    language: str


async def _chosen(db: Database, user_id: UUID) -> dict[UUID, str]:
    rows = await db.all(
        """
        SELECT user_id, language FROM message_language
        WHERE merchant_id = current_merchant() AND user_id = ANY(:subjects)
        """,
        into=_Chosen,
        subjects=[SHOP, user_id],
    )
    return {UUID(int=row.user_id.int): row.language for row in rows}
