"""A new password: by the present one, or by a code, where both steps answer alike for everybody."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context, MerchantId, Services
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.base.limits import Quota
from kasuwa.base.passwords import hash_password, verify_password
from kasuwa.base.problems import FieldFault
from kasuwa.domain.merchants.actions import open_session
from kasuwa.domain.merchants.records import OpenedSession
from kasuwa.domain.messages.actions import refuse_message, send_message, send_unlisted
from kasuwa.domain.proofs.codes import (
    TOO_MANY_SMS,
    drop_codes,
    issue_code,
    spend_try,
    use_code,
)
from kasuwa.domain.proofs.errors import WeakPassword
from kasuwa.domain.proofs.names import check_password, login_name, proved_channel
from kasuwa.domain.proofs.records import Channel
from kasuwa.domain.proofs.resets import ResetAsked, ResetOrder, order_reset
from kasuwa.domain.users.actions import as_user, prove_address
from kasuwa.domain.users.confirming import confirm_password
from kasuwa.domain.users.errors import WrongPassword
from kasuwa.domain.users.letters import compose
from kasuwa.domain.users.queries import find_login, get_me, get_user
from kasuwa.domain.users.second_factor import drop_unconfirmed, forgive_everywhere

RESET_JOB = "user.reset_code"

# However many addresses ask: twenty codes a day are a hundred tries in a million.
_RESETS_OF_A_USER = Quota("reset.day", requests=20, seconds=86_400)


class PasswordChanged(Struct, frozen=True):
    """A password that is another one now. `session` takes the place of the one that asked."""

    at: datetime
    sessions_ended: int
    session: OpenedSession
    access_token: str


async def ask_for_reset(context: Context, typed_name: str, channel: Channel, *, address: str) -> ResetAsked:
    """Have a code sent, if there is such a user. Raises TooManyRequests."""
    name = login_name(typed_name, context.services.settings.country)
    counted_as = f"reset/{name}/{address}"
    return await order_reset(context, RESET_JOB, name, channel, counted_as=counted_as, address=address)


async def run_send_reset(services: Services, merchant_id: UUID | None, payload: Any) -> None:
    """Send the code that somebody asked for, if the name is a user's; for a merchant's app, one of theirs."""
    order = ResetOrder.opened(services, payload)
    found = await find_login(services.pool, order.name)
    if found is None or order.lifetime <= timedelta(0):
        return
    tenant, user_id = found
    if merchant_id not in (None, tenant):
        return
    allowance = await services.limits.take(_RESETS_OF_A_USER, str(user_id))
    if not allowance.accepted:
        return
    context = as_user(Context(services, request_id="job"), tenant, user_id)
    async with context.reading() as db:
        user = await get_user(db, user_id)
    if user.status == "suspended":
        return
    channel = proved_channel(user, order.channel)
    refused = await order.is_one_sms_too_many(context, channel, user.mobile, tenant)
    async with context.transaction() as db:
        now = await get_user(db, user_id, lock=True)
        if (now.email, now.mobile, now.status) != (user.email, user.mobile, user.status):
            # A code that went to an old address would prove the new one.
            return
        code, expires_at = await issue_code(context, db, user_id, "reset", channel, lifetime=order.lifetime)
        values = {"minutes": str(order.minutes)}
        message = await compose(
            db, user, channel, "reset-password", code=code, expires_at=expires_at, values=values
        )
        if user.status == "pending":
            # Whoever opened the account, or invited them, would learn by the list whose address it is not.
            if not refused:
                await send_unlisted(context, db, message, expires_at)
        elif refused:
            await refuse_message(context, db, message, TOO_MANY_SMS)
        else:
            await send_message(context, db, message)


async def finish_reset(context: Context, typed_name: str, code: str, new_password: str) -> None:
    """Set the new password; every session, link and code of the user ends. Raises WeakPassword, WrongCode."""
    check_password(new_password, typed_name.partition("@")[0], pointer="/newPassword")
    services = context.services
    name = login_name(typed_name, services.settings.country)
    # Hashed before anything is looked up: an unknown user costs the same.
    password_hash = await hash_password(new_password)
    nobody = (MerchantId(new_id()), new_id())
    tenant, user_id = await find_login(services.pool, name) or nobody
    if context.caller.merchant_id not in (None, tenant):
        tenant, user_id = nobody  # The app is another merchant's: it learns of no user of this one.
    acting = as_user(context, tenant, user_id)
    spent = await spend_try(context, tenant, user_id, "reset", code)
    async with acting.transaction() as db:
        await use_code(db, user_id, "reset", spent)
        await set_password(acting, db, user_id, password_hash)
        # The code came over this channel: whoever typed it has the address.
        user = await prove_address(acting, db, user_id, spent.channel)
        await send_message(acting, db, await compose(db, user, spent.channel, "password-changed"))
    await forgive_everywhere(acting, user_id)


async def change_password(
    context: Context, old_password: str, new_password: str, *, present: bytes, ends_others: bool
) -> PasswordChanged:
    """Set the caller's own new password and renew their session.

    `present` is the hash of the session's token: it ends at the first use of the new one. Every other session
    ends at once, unless `ends_others` is False; links and codes end in any case.
    Raises WrongPassword, WeakPassword, TooManyRequests, AtTill.
    """
    user = await get_me(context)
    kept = await confirm_password(context, old_password, pointer="/oldPassword")
    about = (user.username, user.email.partition("@")[0], user.first_name, user.last_name)
    check_password(new_password, *about, pointer="/newPassword")
    if await verify_password(kept, new_password):
        fault = FieldFault("/newPassword", "same", "Choose another one than the present password.")
        raise WeakPassword(faults=[fault])
    password_hash = await hash_password(new_password)
    async with context.transaction() as db:
        changed_at = await _keep_password(context, db, user.user_id, password_hash, unless_not=kept)
        ended = 0
        if ends_others:
            ended = await db.value(
                "SELECT end_other_sessions_of(:user_id, :present)", user_id=user.user_id, present=present
            )
        at = context.store_id
        opened = await open_session(
            context, db, user.user_id, at, replaces=present, from_store=context.caller.original_store_id
        )
        account = await open_session(context, db, user.user_id, at, kind="account")
        channels: tuple[Channel, ...] = ("email", "mobile")
        proved = [channel for channel in channels if user.is_verified(channel)]
        for channel in proved[:1]:
            await send_message(context, db, await compose(db, user, channel, "password-changed"))
    return PasswordChanged(changed_at, ended, opened, account.token)


async def set_password(context: Context, db: Database, user_id: UUID, password_hash: str) -> None:
    """Keep the hash; what the old password opened ends on every worker with this commit."""
    await _keep_password(context, db, user_id, password_hash)
    await db.value("SELECT end_sessions_of(:user_id)", user_id=user_id)


async def _keep_password(
    context: Context, db: Database, user_id: UUID, password_hash: str, *, unless_not: str | None = None
) -> datetime:
    """Keep the hash, and end links and codes; when it was. Raises WrongPassword when another came between."""
    changed_at: datetime | None = await db.value(
        """
        UPDATE user_account SET password_hash = :password_hash, password_changed_at = now(),
                                updated_at = now()
        WHERE merchant_id = current_merchant() AND user_id = :user_id
          AND (:present::text IS NULL OR password_hash = :present)
        RETURNING password_changed_at
        """,
        user_id=user_id,
        password_hash=password_hash,
        present=unless_not,
    )
    if changed_at is None:
        raise WrongPassword("The password was changed a moment ago.")
    await db.value("SELECT drop_links_of(:user_id)", user_id=user_id)
    await drop_codes(db, user_id)
    await drop_unconfirmed(db, user_id)
    await write_audit(context, db, "user.set_password", "user", user_id)
    return changed_at
