"""The sessions of a user: seen by themselves, or at one store by whoever manages them there; and ended."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.users.confirming import require_login
from kasuwa.domain.users.errors import SessionNotFound


class Session(Struct, frozen=True, kw_only=True):
    """A session that has not ended. `login_id` is shared by those that one log-in opened.

    `till_id` is the session of the till at which the user entered by PIN; a till itself has the kind "till".
    `expires_at` is when it ends if nobody uses it.
    """

    session_id: UUID
    login_id: UUID
    kind: str
    store_id: UUID
    store_name: str
    platform: str
    user_agent: str
    address: str
    till_id: UUID | None
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


async def list_sessions(context: Context) -> list[Session]:
    """The caller's own, at every store."""
    async with context.reading() as db:
        return await sessions_of(db, _me(context))


async def end_own_session(context: Context, session_id: UUID | None) -> int:
    """End one of the caller's sessions; how many that were. Raises SessionNotFound, AtTill.

    The one that asks takes along those of its log-in: the device is logged out.
    """
    if session_id == context.caller.session_id:
        return await _end_own(context, lambda one: one.login_id == context.caller.login_id)
    require_login(context)
    ended = await _end_own(context, lambda one: one.session_id == session_id)
    if not ended:
        raise _not_found()
    return ended


async def log_out(context: Context) -> int:
    """End the session that asks, with those that its log-in opened; how many that were."""
    return await end_own_session(context, context.caller.session_id)


async def end_other_sessions(context: Context) -> int:
    """End all of the caller's sessions but those of this log-in and their tills. Raises AtTill."""
    require_login(context)
    return await _end_own(context, lambda one: one.login_id != context.caller.login_id and one.kind != "till")


async def sessions_of(db: Database, user_id: UUID, *, at_store: UUID | None = None) -> list[Session]:
    """Sessions of a user of the current merchant, the last used first."""
    return await db.all(
        """
        SELECT o.session_id, o.login_id, o.kind, o.store_id, s.name AS store_name, o.platform, o.user_agent,
               o.address, o.till_id, o.created_at, o.last_seen_at, o.expires_at
        FROM sessions_of(:user_id) o
        JOIN store s ON s.merchant_id = current_merchant() AND s.store_id = o.store_id
        WHERE :at_store::uuid IS NULL OR o.store_id = :at_store
        ORDER BY o.last_seen_at DESC, o.session_id DESC
        """,
        into=Session,
        user_id=user_id,
        at_store=at_store,
    )


async def end_sessions(context: Context, db: Database, user_id: UUID, which: list[Session]) -> int:
    """End these sessions of the user on every worker; how many there still were."""
    if not which:
        return 0
    ended: int = await db.value(
        "SELECT end_sessions_by_id(:user_id, :session_ids)",
        user_id=user_id,
        session_ids=[one.session_id for one in which],
    )
    await write_audit(context, db, "session.end", "user", user_id, before={"sessions": ended})
    return ended


async def _end_own(context: Context, is_meant: Callable[[Session], bool]) -> int:
    user_id = _me(context)
    async with context.transaction() as db:
        meant = [one for one in await sessions_of(db, user_id) if is_meant(one)]
        return await end_sessions(context, db, user_id, meant)


def _me(context: Context) -> UUID:
    assert context.caller.user_id is not None
    return context.caller.user_id


def _not_found() -> SessionNotFound:
    return SessionNotFound("It has ended, or never was: see the list of sessions.")
