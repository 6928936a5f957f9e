"""Opening an account and proving its addresses."""

from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Caller, Context, MerchantId, UserId
from kasuwa.base.db import Database
from kasuwa.base.ids import new_token, token_hash
from kasuwa.base.limits import Quota
from kasuwa.base.passwords import hash_password
from kasuwa.base.problems import FieldFault, Invalid, TooManyRequests
from kasuwa.base.tries import Tries, require_no_wait, take_tries
from kasuwa.domain.merchants.actions import as_founder, claim_login, found_in, login_key
from kasuwa.domain.merchants.errors import LoginNameTaken
from kasuwa.domain.merchants.records import NewOwner, NewStore
from kasuwa.domain.messages.actions import refuse_message, send_message
from kasuwa.domain.messages.queries import language_of
from kasuwa.domain.messages.records import Message
from kasuwa.domain.messages.texts import Words, words_of
from kasuwa.domain.proofs.codes import (
    CODE_LIFETIME,
    TOO_MANY_SMS,
    TRIES_PER_CODE,
    allow_sending,
    allow_sms_code,
    issue_code,
    require_sms_code,
    spend_try,
    use_code,
)
from kasuwa.domain.proofs.names import check_password, check_username, looks_like_mobile
from kasuwa.domain.proofs.records import Channel
from kasuwa.domain.users.errors import LinkNotFound, LinkUsed, UserNotFound
from kasuwa.domain.users.queries import find_merchant_of, get_user
from kasuwa.domain.users.records import Applicant, Registered, User, Verification

# Where the web pages take over; each is given `?token=…`.
VERIFY_PATH = "/verify"
VERIFY_LINK_LIFETIME = timedelta(minutes=30)
VERIFY_PURPOSE = "verify"

# How many taken names an address may learn of before it has to wait.
_FREE_TAKEN_NAMES = 20

# Anybody may register with anybody's address, any number of times: nobody fills an inbox by it.
_MAILS_TO_AN_ADDRESS = Quota("register.address", requests=20, seconds=86_400)
_TOO_MANY_MAILS = "Not sent: enough messages about new accounts went to this address today."


async def register(context: Context, store: NewStore, applicant: Applicant, *, address: str) -> Registered:
    """Open an account with its first store, and send a code to each of its owner's addresses.

    `address` is where the request came from. An address that logs in to an account already is answered and
    worked for like a new one, and is told so instead of given a code: only whoever reads what comes there
    learns of it. When enough messages went to one of the addresses today, the account is opened all the same
    and proved by the other one, or later. Raises WeakPassword, UsernameRefused, LoginNameTaken (the user
    name).
    """
    check_username(applicant.username, applicant.email, applicant.mobile)
    check_password(
        applicant.password,
        applicant.username,
        applicant.email.partition("@")[0],
        applicant.first_name,
        applicant.last_name,
        store.name,
        pointer="/password",
    )
    asking = Tries("register", address, _FREE_TAKEN_NAMES)
    await require_no_wait(context.services.pool, asking)
    owner = NewOwner(
        username=applicant.username,
        email=applicant.email,
        mobile=applicant.mobile,
        first_name=applicant.first_name,
        last_name=applicant.last_name,
        password_hash=await hash_password(applicant.password),
    )
    sms_wait = await allow_sms_code(context, applicant.mobile, address=address, merchant_id=None)
    refused: dict[Channel, str] = {"mobile": TOO_MANY_SMS} if sms_wait else {}
    acting = as_founder(context)
    try:
        async with acting.transaction() as db:
            founded = await found_in(acting, db, store, owner)
            user = await get_user(db, founded.user_id)
            if not await _count_mail(acting, db, user):
                refused["email"] = _TOO_MANY_MAILS
            await send_code(acting, db, user, "mobile", refused=refused.get("mobile", ""))
            expires_at = await send_code(acting, db, user, "email", refused=refused.get("email", ""))
    except LoginNameTaken:
        await take_tries(context.services.pool, [asking])
        raise
    channels: tuple[Channel, ...] = ("email", "mobile")
    sent = tuple(channel for channel in channels if channel not in refused)
    return Registered(founded.user_id, founded.store_id, sent, expires_at)


async def verify_by_code(context: Context, user_id: UUID, channel: Channel, code: str) -> Verification:
    """Prove an address with the code sent to it; the first proof opens the account for log-in.

    An address that is proved already is not asked about again. Raises UserNotFound, WrongCode.
    """
    acting, user = await _acting_for(context, user_id)
    if user.is_verified(channel):
        return Verification(user)
    spent = await spend_try(context, acting.merchant_id, user_id, channel, code)
    async with acting.transaction() as db:
        await use_code(db, user_id, channel, spent)
        return Verification(await prove_address(acting, db, user_id, channel))


async def send_verification_code(
    context: Context, user_id: UUID, channel: Channel, *, address: str
) -> Verification:
    """Send a new code, unless the address is proved. `address` is where the request came from.

    Raises UserNotFound, TooManyRequests.
    """
    acting, user = await _acting_for(context, user_id)
    if user.is_verified(channel):
        return Verification(user)
    if not user.address(channel):
        other = "email" if channel == "mobile" else "mobile"
        fault = FieldFault("/channel", "unknown", f"The account has no address of this kind: give {other}.")
        raise Invalid(faults=[fault])
    await allow_sending(context, f"{user_id}/{channel}")
    if channel == "mobile":
        await require_sms_code(acting, user.mobile, address=address)
    async with acting.transaction() as db:
        if channel == "email" and user.status == "pending" and not await _count_mail(acting, db, user):
            raise TooManyRequests("Enough messages went to this address today. Ask again tomorrow.")
        await send_code(acting, db, user, channel)
    return Verification(user, code_sent=True, tries_left=TRIES_PER_CODE)


async def verify_by_link(context: Context, token: str) -> Verification:
    """Prove the e-mail with the token of the mailed link. Raises LinkNotFound, LinkUsed."""
    acting, user_id = await find_by_link(context, token, VERIFY_PURPOSE)
    async with acting.transaction() as db:
        await use_link(db, token, VERIFY_PURPOSE)
        return Verification(await prove_address(acting, db, user_id, "email"))


async def find_by_link(context: Context, token: str, purpose: str) -> tuple[Context, UUID]:
    """The request as the user of a link, which `use_link` then ends. Raises LinkNotFound, LinkUsed."""
    async with context.services.pool.autocommit() as db:
        link = await db.find(
            "SELECT merchant_id, user_id, was_used FROM find_link(:token_hash, :purpose)",
            into=_Link,
            token_hash=token_hash(token),
            purpose=purpose,
        )
    user_id, merchant_id = _checked(link)
    return as_user(context, merchant_id, user_id), user_id


async def use_link(db: Database, token: str, purpose: str) -> None:
    """End a one-time link in the transaction of what it allows. Raises LinkNotFound, LinkUsed."""
    _checked(
        await db.find(
            "SELECT merchant_id, user_id, was_used FROM use_link(:token_hash, :purpose)",
            into=_Link,
            token_hash=token_hash(token),
            purpose=purpose,
        )
    )


class _Link(Struct, frozen=True):
    merchant_id: UUID
    user_id: UUID
    was_used: bool


def _checked(link: _Link | None) -> tuple[UUID, MerchantId]:
    if link is None:
        raise LinkNotFound("Ask for a new link.")
    if link.was_used:
        raise LinkUsed("Log in, or ask for a new link.")
    return UUID(int=link.user_id.int), MerchantId(UUID(int=link.merchant_id.int))


async def add_link(
    db: Database, user_id: UUID, purpose: str, lifetime: timedelta, *, login_id: UUID | None = None
) -> tuple[str, datetime]:
    """The token of a new one-time link, and its end; it ends earlier with the log-in, where that is given."""
    token = new_token()
    expires_at: datetime = await db.value(
        "SELECT add_link(:token_hash, :purpose, :user_id, :lifetime, :login_id)",
        token_hash=token_hash(token),
        purpose=purpose,
        user_id=user_id,
        lifetime=lifetime,
        login_id=login_id,
    )
    return token, expires_at


async def prove_address(context: Context, db: Database, user_id: UUID, channel: Channel) -> User:
    """Note that the address is the user's, who may log in with it; a pending account becomes active.

    An address that logs in to another account is proved all the same, and goes on logging in there. One that
    is not proved finds an open account no more: not by a new password either.
    """
    before = await get_user(db, user_id, lock=True)
    await _claim_address(db, before, channel)
    if before.status == "pending":
        other = "email" if channel == "mobile" else "mobile"
        await db.value("SELECT drop_logins_of(:user_id, :kind)", user_id=user_id, kind=other)
    await db.execute(
        """
        UPDATE user_account SET
          email_verified_at = CASE WHEN :channel = 'email' THEN coalesce(email_verified_at, now())
                              ELSE email_verified_at END,
          mobile_verified_at = CASE WHEN :channel = 'mobile' THEN coalesce(mobile_verified_at, now())
                               ELSE mobile_verified_at END,
          status = CASE WHEN status = 'pending' THEN 'active' ELSE status END, updated_at = now()
        WHERE merchant_id = current_merchant() AND user_id = :user_id
        """,
        channel=channel,
        user_id=user_id,
    )
    after = await get_user(db, user_id)
    await write_audit(
        context,
        db,
        "user.verify",
        "user",
        user_id,
        before={"status": before.status},
        after={"status": after.status, "channel": channel},
    )
    return after


async def _claim_address(db: Database, user: User, channel: Channel) -> None:
    """Make the address a log-in name, instead of an earlier one of its kind."""
    address = user.address(channel)
    name = login_key(address)
    if not await claim_login(db, user.user_id, name, channel, is_proved=True):
        return
    await db.value(
        "SELECT drop_logins_of(:user_id, :kind, :name)", user_id=user.user_id, kind=channel, name=name
    )
    was_address = "@" in user.username if channel == "email" else looks_like_mobile(user.username)
    if was_address:
        await db.execute(
            """
            UPDATE user_account SET username = :address
            WHERE merchant_id = current_merchant() AND user_id = :user_id
            """,
            user_id=user.user_id,
            address=address,
        )


def as_user(context: Context, merchant_id: MerchantId, user_id: UUID) -> Context:
    """The request as the user, who proved themselves just now; without a store or a role."""
    return context.acting_as(
        Caller(kind="user", id=str(user_id), merchant_id=merchant_id, user_id=UserId(user_id))
    )


def link_to(base: str, path: str, token: str) -> str:
    return f"{base.rstrip('/')}{path}?token={token}"


async def _acting_for(context: Context, user_id: UUID) -> tuple[Context, User]:
    merchant_id = await find_merchant_of(context.services.pool, user_id)
    if merchant_id is None:
        raise UserNotFound()
    async with context.services.pool.transaction(merchant_id) as db:
        user = await get_user(db, user_id)
    return as_user(context, merchant_id, user_id), user


async def send_code(
    context: Context, db: Database, user: User, channel: Channel, *, refused: str = ""
) -> datetime:
    """Issue a code for the address and queue its message; answer when the code ends.

    Where the address of a pending account logs in to another one, it is told so and gets no code. `refused`:
    why the message is noted, but does not leave.
    """
    code, expires_at = await issue_code(context, db, user.user_id, channel, channel)
    words = await _words_with(context, db, user, channel, code)
    elsewhere: bool = await db.value(
        "SELECT logs_in_elsewhere(:name, :user_id)",
        name=login_key(user.address(channel)),
        user_id=user.user_id,
    )
    over: Literal["email", "sms"] = "sms" if channel == "mobile" else "email"
    if is_known := elsewhere and user.status == "pending":
        words = words_of("address-in-use", await language_of(db, user.user_id), channel=over)
    message = Message(
        channel=over,
        to=user.address(channel),
        # The same for both: whoever opened the account may read it in the list of its messages.
        template=f"verify-{channel}",
        subject=words.subject,
        text=words.text,
        code=None if is_known else code,
        expires_at=expires_at,
    )
    if refused:
        await refuse_message(context, db, message, refused)
    else:
        await send_message(context, db, message)
    return expires_at


async def _words_with(context: Context, db: Database, user: User, channel: Channel, code: str) -> Words:
    """What brings the code; a mail has a link too."""
    minutes = str(int(CODE_LIFETIME.total_seconds()) // 60)
    language = await language_of(db, user.user_id)
    if channel == "mobile":
        return words_of("verify-mobile", language, channel="sms", code=code, minutes=minutes)
    token, _ = await add_link(db, user.user_id, VERIFY_PURPOSE, VERIFY_LINK_LIFETIME)
    # A link in a message begins with the configured address alone: a request's Host may be forged.
    public = context.services.settings.public_url
    if public:
        link = link_to(public, VERIFY_PATH, token)
        return words_of("verify-email", language, code=code, minutes=minutes, link=link)
    return words_of("verify-email-by-token", language, code=code, minutes=minutes, token=token)


async def _count_mail(context: Context, db: Database, user: User) -> bool:
    """Count one more mail about a new account in the transaction that sends it; False when it must stay."""
    return await context.services.limits.take_within(db, _MAILS_TO_AN_ADDRESS, login_key(user.email))
