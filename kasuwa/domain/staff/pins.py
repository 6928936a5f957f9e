"""PINs of the people of a location, and which ones anybody would try first."""

from itertools import pairwise
from uuid import UUID

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.problems import FieldFault
from kasuwa.domain.staff.errors import WeakPin
from kasuwa.domain.users.confirming import confirm_password
from kasuwa.domain.users.sessions import end_sessions, sessions_of

# Down the middle of the keypad, its corners, and what leads leaked lists beside the patterns below.
_COMMON = frozenset({"2580", "0852", "1379", "1793", "7531", "1004", "5683", "159753"})


async def set_pin(context: Context, pin: str | None, password: str) -> bool:
    """Set the caller's own PIN at their location, or take it away (None); whether there is one now.

    Raises WeakPin, WrongPassword, TooManyRequests, AtTill.
    """
    if pin is not None:
        check_pin(pin, "/pin")
    await confirm_password(context, password)
    user_id = context.caller.user_id
    assert user_id is not None
    mark = None if pin is None else pin_marks(context, user_id, context.store_id, pin)[0]
    async with context.transaction() as db:
        await db.execute(
            """
            UPDATE membership SET pos_pin_mark = :mark::bytea, updated_at = now()
            WHERE merchant_id = current_merchant() AND user_id = :user_id AND store_id = :store_id
            """,
            mark=mark,
            user_id=user_id,
            store_id=context.store_id,
        )
        await end_pin_sessions(context, db, user_id)
        await write_audit(context, db, "user.set_pin", "user", user_id, after={"hasPin": mark is not None})
    return mark is not None


async def end_pin_sessions(context: Context, db: Database, user_id: UUID) -> None:
    """End what the user's PIN opened at the caller's location: the PIN is another one now."""
    there = await sessions_of(db, user_id, at_store=context.store_id)
    await end_sessions(context, db, user_id, [one for one in there if one.till_id is not None])


def check_pin(pin: str, pointer: str) -> None:
    """Raises WeakPin for what anybody would try first."""
    if _is_weak(pin):
        fault = FieldFault(pointer, "weak", "Use digits that are no row, no repetition and no year.")
        raise WeakPin(faults=[fault])


def pin_marks(context: Context, user_id: UUID, store_id: UUID, pin: str) -> list[bytes]:
    """What a PIN is kept as: keyed hashes, the first to keep and all to compare."""
    return context.services.sealer.marks(f"pin\n{user_id}\n{store_id}\n{pin}".encode())


def _is_weak(pin: str) -> bool:
    digits = [int(one) for one in pin]
    steps = {(later - earlier) % 10 for earlier, later in pairwise(digits)}
    is_row = steps in ({1}, {9})
    is_repetition = any(
        len(pin) % length == 0 and pin == pin[:length] * (len(pin) // length) for length in (1, 2, 3)
    )
    is_year = len(pin) == 4 and pin[:2] in ("19", "20")
    return is_row or is_repetition or is_year or pin in _COMMON or len(set(pin)) < 3
