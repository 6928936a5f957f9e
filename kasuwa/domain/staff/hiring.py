"""A person's account: found in the business, or made and invited."""

from datetime import timedelta
from typing import Literal, TypeAlias
from uuid import UUID

from msgspec import Struct, structs

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id, new_token
from kasuwa.base.passwords import hash_password
from kasuwa.base.problems import FieldFault
from kasuwa.base.tries import Tries, require_no_wait, take_tries
from kasuwa.domain.merchants.actions import claim_login, login_key
from kasuwa.domain.merchants.errors import LoginNameTaken
from kasuwa.domain.messages.actions import send_message
from kasuwa.domain.proofs.codes import drop_codes, issue_code, require_sms_code
from kasuwa.domain.proofs.names import check_password, check_username, is_address
from kasuwa.domain.proofs.records import Channel
from kasuwa.domain.staff.records import NewStaff
from kasuwa.domain.users.actions import send_code
from kasuwa.domain.users.addresses import find_colleague
from kasuwa.domain.users.letters import compose
from kasuwa.domain.users.queries import get_user
from kasuwa.domain.users.records import User

# As long as a log-in name that nobody has proved is kept from others.
INVITATION_LIFETIME = timedelta(days=1)

# How many taken user names somebody may learn of before they have to wait.
_FREE_TAKEN_NAMES = 20


# How the business knew whoever is added: not at all, as invited and not come yet, or by a proved address.
WasFound: TypeAlias = Literal["unknown", "invited", "known"]


class Hire(Struct, frozen=True):
    """A person to be added, with what is slow done already."""

    new: NewStaff
    password_hash: str
    # Of a password that nobody knows, for whoever is invited.
    closed_hash: str

    @classmethod
    async def prepared(cls, context: Context, new: NewStaff) -> "Hire":
        """Check names and password, hash it, and count the SMS that will leave.

        Raises UsernameRefused, WeakPassword, LoginNameTaken, TooManyRequests.
        """
        if new.username:
            check_username(new.username, new.email, new.mobile)
            await require_no_wait(context.services.pool, _asking(context))
        if new.password is not None:
            about = (new.username, new.email.partition("@")[0], new.first_name, new.last_name)
            check_password(new.password, *about, pointer="/password")
        await _count_sms(context, new)
        # Whoever has no password yet must take as long to be refused as others.
        closed = await hash_password(new_token())
        return cls(new, closed if new.password is None else await hash_password(new.password), closed)

    @property
    def has_own_name(self) -> bool:
        """Whether the user name is no address, so that nothing has to be proved before it is used."""
        name = self.new.username
        return bool(name) and not is_address(name)

    @property
    def is_open(self) -> bool:
        return self.has_own_name and self.new.password is not None

    async def tell(self, context: Context, db: Database, user_id: UUID, was: WasFound) -> None:
        """Send whoever was added what they need to come in."""
        user = await get_user(db, user_id)
        if was == "known":
            await _tell_joined(context, db, user)
        elif was == "unknown" and self.new.password is not None:
            for channel in _channels(user):
                await send_code(context, db, user, channel)
        else:
            await _invite(context, db, user)


async def _count_sms(context: Context, new: NewStaff) -> None:
    """Count the SMS that telling the person will send, if any: an invitation goes by mail where it can.

    Raises LoginNameTaken, TooManyRequests.
    """
    async with context.reading() as db:
        known = await _find_known(db, new)
        joining = None if known is None else await get_user(db, known)
    if joining is not None:
        if _told_over(joining) == "mobile":
            await require_sms_code(context, joining.mobile)
    elif new.mobile and (new.password is not None or not new.email):
        await require_sms_code(context, new.mobile)


async def add_person(context: Context, db: Database, hire: Hire) -> tuple[UUID, WasFound]:
    """The account of the person, and what they were in the business before. Raises LoginNameTaken."""
    new = hire.new
    known = await _find_known(db, new)
    if known is not None:
        return known, "known"
    invited = None if hire.has_own_name else await _find_invited(db, new)
    if invited is not None:
        # Whoever chose a password for them at one location is not to open the other by it.
        await db.execute(
            """
            UPDATE user_account SET password_hash = :password_hash, updated_at = now()
            WHERE merchant_id = current_merchant() AND user_id = :user_id
            """,
            user_id=invited,
            password_hash=hire.closed_hash,
        )
        await db.value("SELECT drop_links_of(:user_id)", user_id=invited)
        await drop_codes(db, invited)
        await _claim_names(db, invited, hire)
        return invited, "invited"
    user_id = new_id()
    await db.execute(
        """
        INSERT INTO user_account (merchant_id, user_id, username, email, mobile, first_name, last_name,
                                  password_hash, default_store_id, status)
        VALUES (current_merchant(), :user_id, :username, :email, :mobile, :first_name, :last_name,
                :password_hash, :store_id, :status)
        """,
        user_id=user_id,
        username=new.username or new.email or new.mobile,
        email=new.email,
        mobile=new.mobile,
        first_name=new.first_name,
        last_name=new.last_name,
        password_hash=hire.password_hash,
        store_id=context.store_id,
        status="active" if hire.is_open else "pending",
    )
    await db.value("SELECT add_account(:user_id)", user_id=user_id)
    await _claim_names(db, user_id, hire)
    return user_id, "unknown"


async def _find_invited(db: Database, new: NewStaff) -> UUID | None:
    """Who of the business is invited and has not come yet, with these addresses and no other.

    Through an address of somebody else's that an invitation names beside this one, they could come instead.
    """
    found = await db.value(
        """
        SELECT u.user_id FROM user_account u
        WHERE u.merchant_id = current_merchant() AND u.status = 'pending'
          AND lower(u.email) = lower(:email) AND u.mobile = :mobile
          AND EXISTS (SELECT FROM membership m
                      WHERE m.merchant_id = u.merchant_id AND m.user_id = u.user_id)
        ORDER BY u.user_id LIMIT 1 FOR NO KEY UPDATE OF u
        """,
        email=new.email,
        mobile=new.mobile,
    )
    return None if found is None else UUID(int=found.int)


async def _find_known(db: Database, new: NewStaff) -> UUID | None:
    """Whose the addresses are in the business. Raises LoginNameTaken when they are two people's."""
    found = await find_colleague(db, "email", new.email, proved=True) if new.email else None
    of_mobile = await find_colleague(db, "mobile", new.mobile, proved=True) if new.mobile else None
    if found is not None and of_mobile is not None and found != of_mobile:
        fault = FieldFault("/mobile", "taken", "Somebody else of this business has this mobile.")
        raise LoginNameTaken(faults=[fault])
    return found or of_mobile


async def _claim_names(db: Database, user_id: UUID, hire: Hire) -> None:
    """The user name, and the addresses of an account that is not open yet.

    An open account would keep an address from its owner for ever: there it logs in once it is proved.
    """
    new = hire.new
    names: dict[str, str] = {}
    if hire.has_own_name:
        names[login_key(new.username)] = "username"
    if not hire.is_open:
        names |= {login_key(new.email): "email"} if new.email else {}
        names |= {new.mobile: "mobile"} if new.mobile else {}
    for name, kind in sorted(names.items()):
        is_ours = await claim_login(db, user_id, name, kind)
        if kind == "username" and not is_ours:
            raise _name_taken()


async def invite_again(context: Context, db: Database, user_id: UUID) -> None:
    """For somebody who has proved nothing yet: their new addresses replace the old, and are told."""
    user = await get_user(db, user_id)
    if user.status != "pending":
        return
    for channel in _channels(user):
        name = login_key(user.address(channel))
        await db.value(
            "SELECT drop_logins_of(:user_id, :kind, :name)", user_id=user_id, kind=channel, name=name
        )
        await claim_login(db, user_id, name, channel)
    await _invite(context, db, user)


async def _invite(context: Context, db: Database, user: User) -> None:
    """Send a code for a password to the person's first address, unless that logs in to an account elsewhere.

    Then it is told so, over the same channel and noted alike: whoever typed it sees what was sent, and learns
    nothing.
    """
    channel = _channels(user)[0]
    finds_them: bool = await db.value(
        "SELECT EXISTS (SELECT FROM unnest(:names::text[]) AS n (name), find_login(n.name) l"
        " WHERE l.user_id = :user_id)",
        names=[login_key(name) for name in (user.username, user.address(channel))],
        user_id=user.user_id,
    )
    template = f"invitation-{channel}"
    if finds_them:
        code, until = await issue_code(
            context, db, user.user_id, "reset", channel, lifetime=INVITATION_LIFETIME
        )
        values = {"until": f"{until:%d/%m %H:%M} UTC"}
        message = await compose(db, user, channel, template, code=code, values=values)
    else:
        told = await compose(db, user, channel, "invitation-elsewhere")
        message = structs.replace(told, template=template)
    await send_message(context, db, message)


async def count_taken_name(context: Context) -> None:
    """One more taken name that the caller learned of. In a transaction of its own."""
    await take_tries(context.services.pool, [_asking(context)])


def _asking(context: Context) -> Tries:
    return Tries("staff-name", str(context.caller.user_id), _FREE_TAKEN_NAMES)


def _name_taken() -> LoginNameTaken:
    return LoginNameTaken(faults=[FieldFault("/username", "taken", "Use another one.")])


def _channels(user: User) -> list[Channel]:
    channels: tuple[Channel, ...] = ("email", "mobile")
    return [channel for channel in channels if user.address(channel)]


async def _tell_joined(context: Context, db: Database, user: User) -> None:
    channel = _told_over(user)
    if channel is not None:
        await send_message(context, db, await compose(db, user, channel, "added-to-store"))


def _told_over(user: User) -> Channel | None:
    """Where somebody of the business is told that they have joined a location: a proved address."""
    return next((channel for channel in _channels(user) if user.is_verified(channel)), None)
