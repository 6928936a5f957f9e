"""Asking somebody who is logged in for their password again, before what a stolen session must not do."""

from kasuwa.base.context import Context
from kasuwa.base.passwords import verify_password
from kasuwa.base.problems import FieldFault
from kasuwa.base.tries import Tries, forgive_tries, take_tries
from kasuwa.domain.users.errors import AtTill, WrongPassword
from kasuwa.domain.users.queries import get_me


async def confirm_password(context: Context, password: str, *, pointer: str = "/password") -> str:
    """The hash of the caller's own password, which this is. Not inside a transaction: hashing is slow.

    Raises WrongPassword, TooManyRequests, AtTill.
    """
    require_login(context)
    user = await get_me(context)
    asking = Tries("password", str(user.user_id), context.services.settings.login_tries)
    await take_tries(context.services.pool, [asking])
    async with context.reading() as db:
        kept: str = await db.value(
            """
            SELECT password_hash FROM user_account
            WHERE merchant_id = current_merchant() AND user_id = :user_id
            """,
            user_id=user.user_id,
        )
    if not await verify_password(kept, password):
        raise WrongPassword(faults=[FieldFault(pointer, "wrong", "Type your present password.")])
    await forgive_tries(context.services.pool, {asking: None})
    return kept


def require_login(context: Context) -> None:
    """Raises AtTill for a session that a PIN opened."""
    if context.caller.is_at_till:
        raise AtTill("Log in with your password for this: a PIN opens the till alone.")
