"""Logging in: guesses are slowed down, and nobody learns which users there are."""

from datetime import timedelta
from uuid import UUID

from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context, MerchantId
from kasuwa.base.db import Database
from kasuwa.base.passwords import hash_password, is_outdated, verify_password
from kasuwa.base.tries import Tries, forgive_tries, take_tries
from kasuwa.domain.merchants.actions import open_log_in, open_session
from kasuwa.domain.merchants.records import OpenedSession
from kasuwa.domain.proofs.names import is_address, login_name
from kasuwa.domain.stores.queries import get_location
from kasuwa.domain.users.actions import add_link, as_user, find_by_link, use_link
from kasuwa.domain.users.errors import NotVerified, StoreNotOpen, WrongCredentials
from kasuwa.domain.users.queries import USER_COLUMNS, find_credentials
from kasuwa.domain.users.records import LoggedIn, LoggedInAt, StoreAccess, User
from kasuwa.domain.users.second_factor import require_factor

ENTER_PATH = "/enter"
ENTER_PURPOSE = "enter"
ENTER_LINK_LIFETIME = timedelta(minutes=5)
WEB_SESSION = "web"

# One address may be a whole market behind one line, so it has many more free tries than one account there.
_ADDRESS_FACTOR = 20
# And what one of them does is over in an hour or two.
_FORGOTTEN_A_MINUTE = 1.0


class _StoreRole(Struct, frozen=True):
    store_id: UUID
    role: str


class _Proved(Struct, frozen=True):
    """A password that was right: the hash it matched, and the one to keep, made anew where that is weaker."""

    acting: Context
    user_id: UUID
    compared: str
    kept: str


async def log_in(
    context: Context,
    typed_name: str,
    password: str,
    *,
    second_factor: str = "",
    platform: str = "",
    address: str,
) -> LoggedIn:
    """Open a session at each store the user may open, and one of the account.

    `second_factor` is a code, for a user who has turned that on.
    Raises WrongCredentials, NotVerified (right password and user name, nothing proved yet),
    SecondFactorRequired, WrongSecondFactor, TooManyRequests.
    """
    proved = await _prove(context, typed_name, password, second_factor, address)
    async with proved.acting.transaction() as db:
        user = await _enter(db, proved)
        stores = await _stores_of(db, user)
        # The default store may be switched off, or closed to this user alone.
        at = stores[0].store_id if stores else user.default_store_id
        opened = await open_log_in(
            proved.acting,
            db,
            user.user_id,
            [store.store_id for store in stores],
            account_at=at,
            platform=platform,
        )
        link_token, link_expires_at = await add_link(
            db, user.user_id, ENTER_PURPOSE, ENTER_LINK_LIFETIME, login_id=opened.login_id
        )
        await _note(proved.acting, db, user.user_id, platform)
    accesses = tuple(
        StoreAccess(store.store_id, store.role, token, opened.expires_at)
        for store, token in zip(stores, opened.store_tokens, strict=True)
    )
    return LoggedIn(user, opened.account_token, accesses, link_token, link_expires_at)


async def log_in_at(
    context: Context,
    typed_name: str,
    password: str,
    store_id: UUID | None,
    *,
    wants_default: bool,
    second_factor: str = "",
    address: str,
) -> LoggedInAt:
    """Open a session at one store, the default one if `wants_default`; and one of the account there.

    Raises WrongCredentials, NotVerified, SecondFactorRequired, WrongSecondFactor, StoreNotOpen,
    TooManyRequests.
    """
    proved = await _prove(context, typed_name, password, second_factor, address)
    async with proved.acting.transaction() as db:
        user = await _enter(db, proved)
        stores = await _stores_of(db, user)
        if not wants_default:
            stores = [store for store in stores if store.store_id == store_id]
        if not stores:
            raise StoreNotOpen("Leave storeid out to open the user's default store.")
        at = stores[0]
        opened = await open_log_in(proved.acting, db, user.user_id, [at.store_id], account_at=at.store_id)
        await _note(proved.acting, db, user.user_id, "")
        location = await get_location(proved.acting, at.store_id)
    access = StoreAccess(at.store_id, at.role, opened.store_tokens[0], opened.expires_at)
    return LoggedInAt(user, access, opened.account_token, location)


async def enter_by_link(context: Context, token: str, second_factor: str = "") -> OpenedSession:
    """Use up the link that log-in gave for the web, and open a session of the pages.

    A user's second factor is asked for here too: a link is handed on more easily than a phone.
    Raises LinkNotFound, LinkUsed, WrongCredentials, SecondFactorRequired, WrongSecondFactor, StoreNotOpen,
    TooManyRequests.
    """
    acting, user_id = await find_by_link(context, token, ENTER_PURPOSE)
    await require_factor(acting, user_id, second_factor)
    async with acting.transaction() as db:
        # The account's row before the link's, as whoever sets a password takes them.
        user = await _note_entry(db, user_id)
        if user is None:
            raise WrongCredentials()
        await use_link(db, token, ENTER_PURPOSE)
        stores = await _stores_of(db, user)
        if not stores:
            raise StoreNotOpen("None of your stores is open.")
        opened = await open_session(
            acting, db, user_id, stores[0].store_id, kind=WEB_SESSION, platform=WEB_SESSION
        )
        await _note(acting, db, user_id, WEB_SESSION)
    return opened


async def _prove(
    context: Context, typed_name: str, password: str, second_factor: str, address: str
) -> _Proved:
    """Whose name and password these are.

    Every refused guess costs the same: one count, the same questions, one hash.
    """
    services = context.services
    name = login_name(typed_name, services.settings.country)
    at_account = Tries("login", f"{name}\n{address}", services.settings.login_tries)
    at_address = Tries("login", address, services.settings.login_tries * _ADDRESS_FACTOR, _FORGOTTEN_A_MINUTE)
    await take_tries(services.pool, [at_account, at_address])
    known = await find_credentials(services.pool, name)
    is_right = await verify_password(None if known is None else known.password_hash, password)
    # A merchant's app lets in its own people alone.
    is_ours = known is not None and context.caller.merchant_id in (None, known.merchant_id)
    # An address that nobody has proved does not log in, not even to be told so: whether it was free to be
    # claimed would tell who has it. The status may be the merchant's, who is suspended or leaves.
    let_in = ("active",) if is_address(name) else ("active", "pending")
    if known is None or not is_ours or not is_right or known.status not in let_in:
        raise WrongCredentials(
            "Check the user name and the password. A new account is confirmed first, by what was sent to it."
        )
    await forgive_tries(services.pool, {at_account: None, at_address: 1})
    if known.status == "pending":
        raise NotVerified("Confirm the registration with the code or the link that was sent, then log in.")
    user_id = UUID(int=known.user_id.int)
    acting = as_user(context, MerchantId(UUID(int=known.merchant_id.int)), user_id)
    if known.has_second_factor:
        await require_factor(acting, user_id, second_factor)
    compared = known.password_hash
    kept = await hash_password(password) if is_outdated(compared) else compared
    return _Proved(acting, user_id, compared, kept)


async def _enter(db: Database, proved: _Proved) -> User:
    """The user, whose password nobody changes until the transaction ends. Raises WrongCredentials.

    Whoever came by an old password must not open sessions after the new one has ended them all.
    """
    user = await _note_entry(db, proved.user_id, compared=proved.compared, kept=proved.kept)
    if user is None:
        raise WrongCredentials("The password was changed a moment ago: log in with the new one.")
    return user


async def _note_entry(
    db: Database, user_id: UUID, *, compared: str | None = None, kept: str | None = None
) -> User | None:
    """Note a log-in and hold the account; None unless it is active and its hash is `compared`.

    One statement, which waits for whoever changes the row and looks again: `kept` takes the hash's place.
    """
    return await db.find(
        f"""
        UPDATE user_account SET last_login_at = now(), password_hash = coalesce(:kept, password_hash)
        WHERE merchant_id = current_merchant() AND user_id = :user_id AND status = 'active'
          AND (:compared::text IS NULL OR password_hash = :compared)
        RETURNING {USER_COLUMNS}
        """,  # noqa: S608 - our own words
        into=User,
        user_id=user_id,
        compared=compared,
        kept=kept,
    )


async def _stores_of(db: Database, user: User) -> list[_StoreRole]:
    """The open stores of the user, the default one first."""
    return await db.all(
        """
        SELECT m.store_id, m.role FROM membership m
        JOIN store s ON s.merchant_id = m.merchant_id AND s.store_id = m.store_id
        WHERE m.merchant_id = current_merchant() AND m.user_id = :user_id AND s.status = 'active'
          AND m.status = 'active'
        ORDER BY m.store_id = :default_store_id DESC, m.store_id
        """,
        into=_StoreRole,
        user_id=user.user_id,
        default_store_id=user.default_store_id,
    )


async def _note(context: Context, db: Database, user_id: UUID, platform: str) -> None:
    await write_audit(context, db, "user.log_in", "user", user_id, after={"platform": platform})
