"""A new password by a code: both steps answer alike for known and unknown users."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context, MerchantId, Services
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.base.jobs import enqueue
from kasuwa.base.limits import Quota
from kasuwa.base.passwords import hash_password
from kasuwa.domain.messages.actions import refuse_message, send_message
from kasuwa.domain.messages.queries import language_of
from kasuwa.domain.messages.records import Message
from kasuwa.domain.messages.texts import words_of
from kasuwa.domain.reference.contacts import mask_email, mask_mobile
from kasuwa.domain.users.actions import as_user, check_password, prove_address
from kasuwa.domain.users.codes import (
    CODE_LIFETIME,
    TOO_MANY_SMS,
    allow_sending,
    allow_sms_code,
    drop_codes,
    issue_code,
    spend_try,
    use_code,
)
from kasuwa.domain.users.queries import find_login, get_user, login_name, looks_like_mobile
from kasuwa.domain.users.records import Channel, User

RESET_JOB = "user.reset_code"

# However many addresses ask: twenty codes a day are a hundred tries in a million.
_RESETS_OF_A_USER = Quota("reset.day", requests=20, seconds=86_400)


class ResetAsked(Struct, frozen=True):
    """What is said to anybody who asks. `sent_to` is made of what the caller typed, never of what we know."""

    sent_to: str | None
    codes_expire_at: datetime


class _ResetOrder(Struct, frozen=True):
    """The job's payload, sealed: the name may be somebody's address. `address` is where the caller was."""

    name: str
    channel: Channel
    expires_at: datetime
    address: str


async def ask_for_reset(context: Context, typed_name: str, channel: Channel, *, address: str) -> ResetAsked:
    """Have a code sent, if there is such a user. Raises TooManyRequests.

    The user is looked up in a job: the request does the same work whether there is one or not.
    """
    name = login_name(typed_name, context.services.settings.country)
    await allow_sending(context, f"reset/{name}/{address}")
    expires_at = datetime.now(UTC) + CODE_LIFETIME
    order = _ResetOrder(name, channel, expires_at, address)
    sealed = context.services.sealer.seal(msgspec.json.encode(order))
    async with context.transaction() as db:
        await enqueue(db, RESET_JOB, sealed.decode())
    return ResetAsked(_mask(name, channel), expires_at)


async def run_send_reset(services: Services, merchant_id: UUID | None, payload: Any) -> None:
    """Send the code that somebody asked for, if the name is a user's."""
    order = msgspec.json.decode(services.sealer.open(payload.encode()), type=_ResetOrder)
    found = await find_login(services.pool, order.name)
    lifetime = order.expires_at - datetime.now(UTC)
    if found is None or lifetime <= timedelta(0):
        return
    tenant, user_id = found
    allowance = await services.limits.take(_RESETS_OF_A_USER, str(user_id))
    if not allowance.accepted:
        return
    context = as_user(Context(services, request_id="job"), tenant, user_id)
    async with context.reading() as db:
        user = await get_user(db, user_id)
    if user.status == "suspended":
        return
    channel = _proved_channel(user, order.channel)
    # The caller was answered before anybody looked: no cap is told from an unknown name.
    refused = channel == "mobile" and bool(
        await allow_sms_code(context, user.mobile, address=order.address, merchant_id=tenant)
    )
    async with context.transaction() as db:
        code, expires_at = await issue_code(context, db, user_id, "reset", channel, lifetime=lifetime)
        minutes = str(max(1, round(lifetime.total_seconds() / 60)))
        message = await _message(
            db, user, channel, "reset-password", code=code, expires_at=expires_at, minutes=minutes
        )
        if refused:
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
    tenant, user_id = await find_login(services.pool, name) or (MerchantId(new_id()), new_id())
    acting = as_user(context, tenant, user_id)
    spent = await spend_try(context, tenant, user_id, "reset", code)
    async with acting.transaction() as db:
        await use_code(db, user_id, "reset", spent)
        await set_password(acting, db, user_id, password_hash)
        # The code came over this channel: whoever typed it has the address.
        user = await prove_address(acting, db, user_id, spent.channel)
        await send_message(acting, db, await _message(db, user, spent.channel, "password-changed"))


async def set_password(context: Context, db: Database, user_id: UUID, password_hash: str) -> None:
    """Keep the hash; what the old password opened ends on every worker with this commit."""
    await db.execute(
        """
        UPDATE user_account SET password_hash = :password_hash, updated_at = now()
        WHERE merchant_id = current_merchant() AND user_id = :user_id
        """,
        user_id=user_id,
        password_hash=password_hash,
    )
    await db.value("SELECT end_sessions_of(:user_id)", user_id=user_id)
    await db.value("SELECT drop_links_of(:user_id)", user_id=user_id)
    await drop_codes(db, user_id)
    await write_audit(context, db, "user.set_password", "user", user_id)


def _proved_channel(user: User, wished: Channel) -> Channel:
    """The wished channel, unless only the other one is proved to be the user's."""
    other: Channel = "mobile" if wished == "email" else "email"
    return other if user.is_verified(other) and not user.is_verified(wished) else wished


def _mask(name: str, channel: Channel) -> str | None:
    if channel == "email":
        return mask_email(name) if "@" in name else None
    return mask_mobile(name) if looks_like_mobile(name) else None


async def _message(
    db: Database,
    user: User,
    over: Channel,
    template: str,
    *,
    code: str | None = None,
    expires_at: datetime | None = None,
    **values: str,
) -> Message:
    """The template in the user's language; a message with a code is of no use once the code has ended."""
    channel: Literal["email", "sms"] = "sms" if over == "mobile" else "email"
    if code is not None:
        values["code"] = code
    words = words_of(template, await language_of(db, user.user_id), channel=channel, **values)
    return Message(
        channel=channel,
        to=user.address(over),
        template=template,
        subject=words.subject,
        text=words.text,
        code=code,
        expires_at=expires_at,
    )
