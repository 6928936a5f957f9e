"""A till that the people of a location share: opened by one of them, entered by each with their PIN.

The till's own token opens nothing but this. Whoever enters gets a session of their own at the till's
location, short and with less than they may do after a log-in; it ends when somebody else enters, and with
the till.
"""

import hmac
from uuid import UUID

from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Caller, Context, UserId
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.base.tries import Tries, forgive_tries, take_tries
from kasuwa.domain.merchants.actions import open_session
from kasuwa.domain.merchants.records import OpenedSession
from kasuwa.domain.permissions import Permission
from kasuwa.domain.staff.errors import WrongPin
from kasuwa.domain.staff.pins import pin_marks

TILL = "till"


class TillPerson(Struct, frozen=True):
    """Somebody of the location who has a PIN."""

    user_id: UUID
    first_name: str
    last_name: str
    role: str


class EnteredTill(Struct, frozen=True):
    """Who entered, and their session."""

    user_id: UUID
    role: str
    session: OpenedSession


class _Mark(Struct, frozen=True):
    role: str
    pos_pin_mark: bytes


async def open_till(context: Context) -> OpenedSession:
    """Make a till of the caller's location; its token is shown this once."""
    context.require(Permission.TILL_OPEN)
    user_id = context.caller.user_id
    assert user_id is not None
    async with context.transaction() as db:
        # A log-in of its own: the till goes on when whoever opened it logs out.
        opened = await open_session(
            context, db, user_id, context.store_id, kind=TILL, platform=TILL, login_id=new_id()
        )
        await write_audit(context, db, "till.open", "till", opened.session_id)
    return opened


async def list_till_people(context: Context) -> list[TillPerson]:
    """Who may enter at the till that asks, by name."""
    async with context.reading() as db:
        return await db.all(
            """
            SELECT u.user_id, u.first_name, u.last_name, m.role FROM membership m
            JOIN user_account u ON u.merchant_id = m.merchant_id AND u.user_id = m.user_id
            WHERE m.merchant_id = current_merchant() AND m.store_id = :store_id AND m.status = 'active'
              AND u.status = 'active' AND m.pos_pin_mark IS NOT NULL
            ORDER BY lower(u.first_name), lower(u.last_name), u.user_id
            """,
            into=TillPerson,
            store_id=context.store_id,
        )


async def enter_till(context: Context, user_id: UUID | None, pin: str) -> EnteredTill:
    """Open a session of the person at the till that asks; that of whoever entered before ends.

    Tries are counted for the person at this location, over all its tills. Somebody unknown, of another
    location or without a PIN is answered like a wrong PIN. Raises WrongPin, TooManyRequests.
    """
    till_id = context.caller.session_id
    assert till_id is not None
    wanted = user_id or new_id()
    asking = Tries("pin", f"{wanted}\n{context.store_id}", context.services.settings.login_tries)
    await take_tries(context.services.pool, [asking])
    acting = context.acting_as(
        Caller(
            kind="user",
            id=str(wanted),
            merchant_id=context.merchant_id,
            store_id=context.store_id,
            user_id=UserId(wanted),
            is_at_till=True,
        )
    )
    async with acting.transaction() as db:
        role = await _require_pin(acting, db, wanted, pin)
        await db.value("SELECT end_sessions_at_till(:till_id)", till_id=till_id)
        opened = await open_session(
            acting, db, wanted, context.store_id, platform=TILL, login_id=new_id(), till_id=till_id
        )
        await write_audit(acting, db, "till.enter", "user", wanted, after={"till": till_id})
    await forgive_tries(context.services.pool, {asking: None})
    return EnteredTill(wanted, role, opened)


async def _require_pin(context: Context, db: Database, user_id: UUID, pin: str) -> str:
    """The role of the person whose PIN this is. Raises WrongPin."""
    kept = await db.find(
        """
        SELECT m.role, m.pos_pin_mark FROM membership m
        JOIN user_account u ON u.merchant_id = m.merchant_id AND u.user_id = m.user_id
        WHERE m.merchant_id = current_merchant() AND m.store_id = :store_id AND m.user_id = :user_id
          AND m.status = 'active' AND u.status = 'active' AND m.pos_pin_mark IS NOT NULL
        FOR SHARE OF m
        """,
        into=_Mark,
        store_id=context.store_id,
        user_id=user_id,
    )
    marks = pin_marks(context, user_id, context.store_id, pin)
    if kept is None or not any(hmac.compare_digest(kept.pos_pin_mark, mark) for mark in marks):
        raise WrongPin("Type your PIN for this store, or log in with your password and set one.")
    return kept.role
