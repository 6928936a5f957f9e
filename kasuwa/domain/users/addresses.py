"""Another e-mail or mobile for an account: unproved at first, and no log-in name until it is proved."""

from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.problems import FieldFault
from kasuwa.domain.merchants.errors import LoginNameTaken
from kasuwa.domain.messages.actions import send_message
from kasuwa.domain.proofs.codes import allow_sending, drop_codes, require_sms_code
from kasuwa.domain.proofs.records import Channel
from kasuwa.domain.users.actions import send_code
from kasuwa.domain.users.letters import compose
from kasuwa.domain.users.queries import get_user
from kasuwa.domain.users.records import User


class NewAddresses(Struct, frozen=True, kw_only=True):
    """What an account is reached at from now on, normalised; what is UNSET stays."""

    email: str | UnsetType = UNSET
    mobile: str | UnsetType = UNSET

    def changed(self, user: User) -> dict[Channel, str]:
        """What differs from what the user has."""
        wanted: dict[Channel, str | UnsetType] = {"email": self.email, "mobile": self.mobile}
        return {
            channel: address
            for channel, address in wanted.items()
            if address is not UNSET and address != user.address(channel)
        }


async def allow_addresses(context: Context, user: User, new: NewAddresses) -> None:
    """Count the codes that the change will send. Before its transaction. Raises TooManyRequests."""
    for channel, address in new.changed(user).items():
        await allow_sending(context, f"{user.user_id}/{channel}")
        email = user.email if new.email is UNSET else new.email
        # Whoever has not come yet is invited anew, by mail where there is one.
        if channel == "mobile" and (user.status != "pending" or not email):
            await require_sms_code(context, address)


async def change_addresses(context: Context, db: Database, user_id: UUID, new: NewAddresses) -> bool:
    """Keep the addresses as unproved, send each a code, and tell the proved ones that they replace.

    Until a new one is proved, the old one goes on logging in. Whoever has proved nothing yet is sent no code:
    they are invited anew. Answers whether anything differs. Raises LoginNameTaken for an address of somebody
    else in the same business; of an account elsewhere nobody learns here.
    """
    user = await get_user(db, user_id, lock=True)
    changed = new.changed(user)
    if not changed:
        return False
    for channel, address in changed.items():
        if await find_colleague(db, channel, address, but_for=user_id) is not None:
            fault = FieldFault(f"/{channel}", "taken", "Somebody of this business has it: give another one.")
            raise LoginNameTaken(faults=[fault])
    await db.execute(
        """
        UPDATE user_account SET email = :email, mobile = :mobile, updated_at = now(),
          email_verified_at = CASE WHEN email = :email THEN email_verified_at END,
          mobile_verified_at = CASE WHEN mobile = :mobile THEN mobile_verified_at END
        WHERE merchant_id = current_merchant() AND user_id = :user_id
        """,
        user_id=user_id,
        email=changed.get("email", user.email),
        mobile=changed.get("mobile", user.mobile),
    )
    # What went to an old address must not prove a new one.
    await db.value("SELECT drop_links_of(:user_id)", user_id=user_id)
    await drop_codes(db, user_id)
    after = await get_user(db, user_id)
    for channel in changed:
        if user.status != "pending":
            await send_code(context, db, after, channel)
        if user.is_verified(channel):
            await _tell_old(context, db, user, channel)
    return True


async def find_colleague(
    db: Database, channel: Channel, address: str, *, but_for: UUID | None = None, proved: bool = False
) -> UUID | None:
    """Who of the business has that address: somebody who works at one of its stores.

    Anybody may write another's address into their own profile: `proved` finds whoever has shown that it is
    theirs.
    """
    found = await db.value(
        """
        SELECT u.user_id FROM user_account u
        WHERE u.merchant_id = current_merchant() AND (:but_for::uuid IS NULL OR u.user_id <> :but_for)
          AND CASE WHEN :channel = 'email' THEN lower(u.email) = lower(:address) ELSE u.mobile = :address END
          AND (NOT :proved OR CASE WHEN :channel = 'email' THEN u.email_verified_at
                                   ELSE u.mobile_verified_at END IS NOT NULL)
          AND EXISTS (SELECT FROM membership m
                      WHERE m.merchant_id = u.merchant_id AND m.user_id = u.user_id)
        ORDER BY u.user_id LIMIT 1
        """,
        channel=channel,
        address=address,
        but_for=but_for,
        proved=proved,
    )
    return None if found is None else UUID(int=found.int)


async def _tell_old(context: Context, db: Database, user: User, channel: Channel) -> None:
    await send_message(context, db, await compose(db, user, channel, "address-changed"))
