"""Logging in: guesses are slowed down, and nobody learns which users there are."""

from datetime import timedelta
from uuid import UUID

from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context, MerchantId
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.base.passwords import hash_password, is_outdated, verify_password
from kasuwa.base.tries import Tries, forgive_tries, take_tries
from kasuwa.domain.merchants.actions import open_session
from kasuwa.domain.merchants.records import OpenedSession
from kasuwa.domain.proofs.names import is_address, login_name
from kasuwa.domain.stores.queries import get_location
from kasuwa.domain.users.actions import add_link, as_user, find_by_link, use_link
from kasuwa.domain.users.errors import NotVerified, StoreNotOpen, WrongCredentials
from kasuwa.domain.users.queries import find_credentials, get_user
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
    acting, user_id, compared = await _prove(context, typed_name, password, second_factor, address)
    async with acting.transaction() as db:
        user = await _still(db, user_id, compared)
        stores = await _stores_of(db, user)
        login_id = new_id()
        opened = tuple([await _enter(acting, db, user_id, store, platform, login_id) for store in stores])
        # The default store may be switched off, or closed to this user alone.
        at = stores[0].store_id if stores else user.default_store_id
        account_token = await open_account_session(acting, db, user_id, at, platform, login_id)
        link_token, link_expires_at = await add_link(db, user_id, ENTER_PURPOSE, ENTER_LINK_LIFETIME)
        await _note(acting, db, user_id, platform)
    return LoggedIn(user, account_token, opened, link_token, link_expires_at)


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
    acting, user_id, compared = await _prove(context, typed_name, password, second_factor, address)
    async with acting.transaction() as db:
        user = await _still(db, user_id, compared)
        stores = await _stores_of(db, user)
        if not wants_default:
            stores = [store for store in stores if store.store_id == store_id]
        if not stores:
            raise StoreNotOpen("Leave storeid out to open the user's default store.")
        login_id = new_id()
        opened = await _enter(acting, db, user_id, stores[0], "", login_id)
        account_token = await open_account_session(acting, db, user_id, stores[0].store_id, login_id=login_id)
        await _note(acting, db, user_id, "")
        location = await get_location(acting, opened.store_id)
    return LoggedInAt(user, opened, account_token, location)


async def enter_by_link(context: Context, token: str, second_factor: str = "") -> OpenedSession:
    """Use up the link that log-in gave for the web, and open a session of the pages.

    A user's second factor is asked for here too: a link is handed on more easily than a phone.
    Raises LinkNotFound, LinkUsed, WrongCredentials, SecondFactorRequired, WrongSecondFactor, StoreNotOpen,
    TooManyRequests.
    """
    acting, user_id = await find_by_link(context, token, ENTER_PURPOSE)
    await require_factor(acting, user_id, second_factor)
    async with acting.transaction() as db:
        await use_link(db, token, ENTER_PURPOSE)
        user = await get_user(db, user_id)
        if user.status != "active":
            raise WrongCredentials()
        stores = await _stores_of(db, user)
        if not stores:
            raise StoreNotOpen("None of your stores is open.")
        opened = await open_session(
            acting, db, user_id, stores[0].store_id, kind=WEB_SESSION, platform=WEB_SESSION
        )
        await _note(acting, db, user_id, WEB_SESSION)
    return opened


async def open_account_session(
    context: Context,
    db: Database,
    user_id: UUID,
    store_id: UUID,
    platform: str = "",
    login_id: UUID | None = None,
) -> str:
    """The token of a new session of the account, which apps send as their bearer token."""
    opened = await open_session(
        context, db, user_id, store_id, kind="account", platform=platform, login_id=login_id
    )
    return opened.token


async def _prove(
    context: Context, typed_name: str, password: str, second_factor: str, address: str
) -> tuple[Context, UUID, str]:
    """The request as the user whose name and password these are, and the hash that the password matched.

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
    if is_outdated(compared):
        compared = await _keep_stronger(acting, user_id, compared, password)
    return acting, user_id, compared


async def _still(db: Database, user_id: UUID, compared: str) -> User:
    """The user, whose password nobody changes until the transaction ends. Raises WrongCredentials.

    Whoever came by an old password must not open sessions after the new one has ended them all.
    """
    user = await get_user(db, user_id, lock=True)
    kept = await db.value(
        "SELECT password_hash FROM user_account"
        " WHERE merchant_id = current_merchant() AND user_id = :user_id",
        user_id=user_id,
    )
    if kept != compared or user.status != "active":
        raise WrongCredentials("The password was changed a moment ago: log in with the new one.")
    return user


async def _keep_stronger(context: Context, user_id: UUID, outdated: str, password: str) -> str:
    """Hash the password anew with today's parameters, unless it was changed meanwhile; the new hash."""
    stronger = await hash_password(password)
    async with context.services.pool.transaction(context.merchant_id) as db:
        await db.execute(
            """
            UPDATE user_account SET password_hash = :stronger
            WHERE merchant_id = current_merchant() AND user_id = :user_id AND password_hash = :outdated
            """,
            user_id=user_id,
            outdated=outdated,
            stronger=stronger,
        )
    return stronger


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


async def _enter(
    context: Context, db: Database, user_id: UUID, store: _StoreRole, platform: str, login_id: UUID
) -> StoreAccess:
    opened = await open_session(context, db, user_id, store.store_id, platform=platform, login_id=login_id)
    return StoreAccess(store.store_id, store.role, opened.token, opened.expires_at)


async def _note(context: Context, db: Database, user_id: UUID, platform: str) -> None:
    await db.execute(
        """
        UPDATE user_account SET last_login_at = now()
        WHERE merchant_id = current_merchant() AND user_id = :user_id
        """,
        user_id=user_id,
    )
    await write_audit(context, db, "user.log_in", "user", user_id, after={"platform": platform})
