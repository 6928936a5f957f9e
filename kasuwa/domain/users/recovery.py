"""An account whose owner has lost password, mail, mobile and second factor: let in again by the operator."""

import secrets
from uuid import UUID

from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.passwords import hash_password
from kasuwa.base.problems import Conflict
from kasuwa.domain.merchants.actions import claim_login, login_key
from kasuwa.domain.merchants.errors import LoginNameTaken
from kasuwa.domain.merchants.switching import operating_for
from kasuwa.domain.messages.actions import send_message
from kasuwa.domain.proofs.names import is_address
from kasuwa.domain.proofs.records import Channel
from kasuwa.domain.users.errors import UserNotFound
from kasuwa.domain.users.letters import compose
from kasuwa.domain.users.passwords import set_password
from kasuwa.domain.users.queries import find_merchant_of, get_user
from kasuwa.domain.users.records import User
from kasuwa.domain.users.second_factor import drop_factor

# 24 letters of 32, parted by dashes, none of which is taken for another: 120 bits.
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
_GROUPS, _GROUP = 4, 6


_ADVICE = {
    "pending": "Have them prove their address first, by the code that they were sent.",
    "suspended": "Have an owner add them to a store again first.",
}


class AccountNotOpen(Conflict):
    code = "account-not-open"
    title = "Only an active account can be recovered"


class Recovered(Struct, frozen=True):
    """How the owner gets in: shown this once. `told` says which of the old addresses were written to."""

    username: str
    password: str
    told: tuple[Channel, ...]


async def recover_account(context: Context, user_id: UUID, *, email: str = "", mobile: str = "") -> Recovered:
    """Give the account a random password and end all that the old proofs opened.

    Every session, link, code, PIN and second factor ends; the addresses that are known are told. Whoever the
    operator gives the password to is the owner from then on: who they are is proved outside. An e-mail or a
    mobile in E.164 takes the place of both old addresses, so that whoever has those gets no new password by
    them; it is taken for proved. Raises UserNotFound, AccountNotOpen, LoginNameTaken.
    """
    merchant_id = await find_merchant_of(context.services.pool, user_id)
    if merchant_id is None:
        raise UserNotFound(f"No user has the id {user_id}.")
    acting = operating_for(context, merchant_id)
    password = "-".join("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))
    password_hash = await hash_password(password)
    channels: tuple[Channel, ...] = ("email", "mobile")
    async with acting.transaction() as db:
        user = await get_user(db, user_id, lock=True)
        if user.status != "active":
            raise AccountNotOpen(_ADVICE[user.status])
        await set_password(acting, db, user_id, password_hash)
        await drop_factor(db, user_id)
        await db.execute(
            """
            UPDATE membership SET pos_pin_mark = NULL, updated_at = now()
            WHERE merchant_id = current_merchant() AND user_id = :user_id AND pos_pin_mark IS NOT NULL
            """,
            user_id=user_id,
        )
        told = tuple(channel for channel in channels if user.address(channel))
        for channel in told:
            await send_message(acting, db, await compose(db, user, channel, "account-recovered"))
        username = await _replace_addresses(db, user, email, mobile) if email or mobile else user.username
        after = {"told": told, "hasNewAddresses": bool(email or mobile)}
        await write_audit(acting, db, "user.recover", "user", user_id, after=after)
    return Recovered(username, password, told)


async def _replace_addresses(db: Database, user: User, email: str, mobile: str) -> str:
    """These and no others from now on; the name that logs in. Raises LoginNameTaken."""
    username = (email or mobile) if is_address(user.username) else user.username
    await db.execute(
        """
        UPDATE user_account SET username = :username, email = :email, mobile = :mobile, updated_at = now(),
          email_verified_at = CASE WHEN :email <> '' THEN now() END,
          mobile_verified_at = CASE WHEN :mobile <> '' THEN now() END
        WHERE merchant_id = current_merchant() AND user_id = :user_id
        """,
        user_id=user.user_id,
        username=username,
        email=email,
        mobile=mobile,
    )
    kinds: tuple[Channel, ...] = ("email", "mobile")
    for kind, address in zip(kinds, (email, mobile), strict=True):
        await db.value("SELECT drop_logins_of(:user_id, :kind)", user_id=user.user_id, kind=kind)
        if address and not await claim_login(db, user.user_id, login_key(address), kind, is_proved=True):
            raise LoginNameTaken(f"Somebody else logs in as {address}: give another address.")
    return username
