"""Founding a merchant, opening stores, and the proofs that let people and apps in."""

import re
import secrets
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Caller, Context, MerchantId, StoreId, UserId
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id, new_token, token_hash
from kasuwa.base.problems import FieldFault, Unauthenticated
from kasuwa.domain.merchants.errors import LoginNameTaken, StoreNotFound, UnknownScope
from kasuwa.domain.merchants.records import (
    AccessToken,
    Founded,
    MadeToken,
    NewOwner,
    NewStore,
    OpenedLogIn,
    OpenedSession,
    OpenedStore,
)
from kasuwa.domain.permissions import PERMISSIONS_OF_ROLE, PERMISSIONS_OF_SCOPE, Role
from kasuwa.settings import Settings


async def found_merchant(context: Context, store: NewStore, owner: NewOwner) -> tuple[Context, Founded]:
    """Make a merchant with its first store and its owner; answer a context that acts as the owner.

    Raises LoginNameTaken. The caller proves nothing: the account is opened by this very request.
    """
    acting = as_founder(context)
    async with acting.transaction() as db:
        return acting, await found_in(acting, db, store, owner)


def as_founder(context: Context) -> Context:
    """The request as the owner of a merchant that does not exist yet: found it with `found_in`."""
    user_id = UserId(new_id())
    return context.acting_as(
        Caller(
            kind="user",
            id=str(user_id),
            merchant_id=MerchantId(new_id()),
            user_id=user_id,
            role=Role.OWNER,
            permissions=PERMISSIONS_OF_ROLE[Role.OWNER],
        )
    )


async def found_in(acting: Context, db: Database, store: NewStore, owner: NewOwner) -> Founded:
    """Make the merchant of `as_founder` in its transaction. Raises LoginNameTaken."""
    user_id = acting.caller.user_id
    assert user_id is not None
    await db.execute(
        """
        INSERT INTO merchant (merchant_id, business_name, country_code, currency, tax_rate, vat_type)
        VALUES (:merchant_id, :name, :country_code, :currency, :tax_rate, :vat_type)
        """,
        merchant_id=acting.merchant_id,
        name=store.name,
        country_code=store.country_code,
        currency=store.currency,
        tax_rate=store.tax_rate,
        vat_type=store.vat_type,
    )
    opened = await open_store(acting, db, store)
    await _add_owner(db, user_id, opened.store_id, owner)
    await join_store(db, user_id, opened.store_id, Role.OWNER)
    await write_audit(acting, db, "merchant.found", "merchant", acting.merchant_id, after=store)
    return Founded(acting.merchant_id, opened.store_id, user_id)


async def open_store(context: Context, db: Database, new: NewStore) -> OpenedStore:
    """Open a location, with a hash and a shop name that nobody else has."""
    store_id = new_id()
    shop = _shop_name(new.name)
    store_hash = secrets.token_hex(5)
    while not await db.value(
        "SELECT add_store(:store_id, :store_hash, :shop)", store_id=store_id, store_hash=store_hash, shop=shop
    ):
        shop = f"{_shop_name(new.name)}-{secrets.token_hex(3)}"
        store_hash = secrets.token_hex(5)
    await db.execute(
        """
        INSERT INTO store (merchant_id, store_id, name, site_name, store_hash, country, country_code, state,
                           state_code, city, city_code, address, latitude, longitude, email, mobile, currency,
                           tax_rate, vat_type, profile_type, seats, license_plan, settings)
        VALUES (current_merchant(), :store_id, :name, :site_name, :store_hash, :country, :country_code,
                :state, :state_code, :city, :city_code, :address, :latitude, :longitude, :email, :mobile,
                :currency, :tax_rate, :vat_type, :profile_type, :seats, :license_plan, :settings)
        """,
        store_id=store_id,
        site_name=shop,
        store_hash=store_hash,
        **(msgspec.structs.asdict(new) | {"settings": msgspec.json.encode(new.settings).decode()}),
    )
    await write_audit(context, db, "store.open", "store", store_id, after=new)
    return OpenedStore(store_id, store_hash, shop)


async def join_store(db: Database, user_id: UUID, store_id: UUID, role: Role) -> None:
    await db.execute(
        """
        INSERT INTO membership (merchant_id, user_id, store_id, role)
        VALUES (current_merchant(), :user_id, :store_id, :role)
        """,
        user_id=user_id,
        store_id=store_id,
        role=role.value,
    )


async def open_log_in(
    context: Context,
    db: Database,
    user_id: UUID,
    store_ids: Sequence[UUID],
    *,
    account_at: UUID,
    platform: str = "",
) -> OpenedLogIn:
    """What one log-in opens: a session at each store, and the account's, which stands at `account_at`.

    All in one statement, however many stores there are.
    """
    login_id = new_id()
    at = [account_at, *store_ids]
    tokens = [new_token() for _ in at]
    idle, absolute = _lifetimes(context.services.settings, "store")
    expires_at: datetime = await db.value(
        """
        SELECT max(open_session(w.token_hash, w.kind, :user_id, w.store_id, w.store_id, :platform, :idle,
                                :absolute, NULL, w.session_id, :login_id, :address, :user_agent))
        FROM unnest(:token_hashes::bytea[], :kinds::text[], :store_ids::uuid[], :session_ids::uuid[])
          AS w (token_hash, kind, store_id, session_id)
        """,
        token_hashes=[token_hash(token) for token in tokens],
        kinds=["account", *("store" for _ in store_ids)],
        store_ids=at,
        session_ids=[new_id() for _ in at],
        user_id=user_id,
        platform=platform,
        idle=idle,
        absolute=absolute,
        login_id=login_id,
        address=context.sender.address,
        user_agent=_printable(context.sender.user_agent),
    )
    return OpenedLogIn(login_id, tokens[0], tuple(tokens[1:]), expires_at)


async def open_session(
    context: Context,
    db: Database,
    user_id: UUID,
    store_id: UUID,
    *,
    kind: str = "store",
    platform: str = "",
    replaces: bytes | None = None,
    from_store: UUID | None = None,
    login_id: UUID | None = None,
    till_id: UUID | None = None,
) -> OpenedSession:
    """A session of a user at a store. `replaces` is the hash of one that ends at this one's first use.

    It belongs to the log-in `login_id`, else to that of the caller's own session. `till_id` is the till at
    which the user entered by PIN. Raises Unauthenticated when the caller's own session has ended meanwhile:
    it must not come back as another one.
    """
    asking = context.caller.session_id
    if asking is not None and not await db.value("SELECT hold_session(:session_id)", session_id=asking):
        raise Unauthenticated("Log in again: the session has ended.")
    token, session_id = new_token(), new_id()
    idle, absolute = _lifetimes(context.services.settings, "pin" if till_id else kind)
    expires_at: datetime = await db.value(
        """
        SELECT open_session(:token_hash, :kind, :user_id, :store_id, :from_store, :platform, :idle, :absolute,
                            :replaces, :session_id, :login_id, :address, :user_agent, :till_id)
        """,
        token_hash=token_hash(token),
        kind=kind,
        user_id=user_id,
        store_id=store_id,
        from_store=from_store or store_id,
        platform=platform,
        idle=idle,
        absolute=absolute,
        replaces=replaces,
        session_id=session_id,
        login_id=login_id or context.caller.login_id or new_id(),
        address=context.sender.address,
        user_agent=_printable(context.sender.user_agent),
        till_id=till_id,
    )
    return OpenedSession(token, expires_at, session_id)


def _printable(text: str) -> str:
    """What a list of sessions shows of a header that anybody may fill."""
    return "".join(letter for letter in text if letter.isprintable())[:200]


def _lifetimes(settings: Settings, kind: str) -> tuple[timedelta, timedelta]:
    """How long a session may lie unused, and how long it lasts: a browser is left open on a counter."""
    if kind == "web":
        return (
            timedelta(minutes=settings.web_session_idle_minutes),
            timedelta(hours=settings.web_session_absolute_hours),
        )
    if kind == "pin":
        return (
            timedelta(minutes=settings.pin_session_idle_minutes),
            timedelta(hours=settings.pin_session_absolute_hours),
        )
    return timedelta(days=settings.session_idle_days), timedelta(days=settings.session_absolute_days)


async def end_session(context: Context, wanted: bytes) -> None:
    """End the session of the caller's merchant whose token has this hash; a missing one is fine."""
    async with context.transaction() as db:
        await db.value("SELECT end_session(:wanted)", wanted=wanted)


async def create_access_token(
    context: Context, store_id: UUID, scopes: Sequence[str], *, name: str = ""
) -> AccessToken:
    """A token of the BigCommerce and Shoplazza APIs for the store. Raises StoreNotFound, UnknownScope.

    Run by the operator: the merchant is found by the store.
    """
    check_scopes(scopes)
    acting = await operating_on(context, store_id)
    async with acting.transaction() as db:
        made = await add_access_token(acting, db, name, scopes)
    return AccessToken(made.token, made.store.store_hash, made.store.shop, store_id)


def check_scopes(scopes: Sequence[str]) -> None:
    """Raises UnknownScope."""
    if not scopes or any(scope not in PERMISSIONS_OF_SCOPE for scope in scopes):
        known = ", ".join(PERMISSIONS_OF_SCOPE)
        raise UnknownScope(f"Give one or more of {known}.", faults=[FieldFault("/scopes", "enum", known)])


async def add_access_token(context: Context, db: Database, name: str, scopes: Sequence[str]) -> MadeToken:
    """Keep a new token of the caller's store; the scopes are known to be ours."""
    store = await db.one(
        """
        SELECT store_id, store_hash, site_name AS shop FROM store
        WHERE merchant_id = current_merchant() AND store_id = :store_id
        """,
        into=OpenedStore,
        store_id=context.store_id,
    )
    token, token_id = new_token(), new_id()
    await db.value(
        "SELECT add_access_token(:token_hash, :token_id, :store_id, :name, :scopes)",
        token_hash=token_hash(token),
        token_id=token_id,
        store_id=context.store_id,
        name=name,
        scopes=list(scopes),
    )
    await write_audit(context, db, "token.create", "token", token_id, after={"scopes": list(scopes)})
    return MadeToken(token_id, token, list(scopes), store)


async def operating_on(context: Context, store_id: UUID) -> Context:
    """The operator at a merchant's store: for commands, never for requests."""
    async with context.services.pool.autocommit() as db:
        merchant_id = await db.value("SELECT find_store(:store_id)", store_id=store_id)
    if merchant_id is None:
        raise StoreNotFound(f"No store has the id {store_id}.")
    return context.acting_as(
        Caller(
            kind="operator",
            id="operator",
            merchant_id=MerchantId(UUID(int=merchant_id.int)),
            store_id=StoreId(UUID(int=store_id.int)),
            role=Role.OWNER,
            permissions=PERMISSIONS_OF_ROLE[Role.OWNER],
        )
    )


async def _add_owner(db: Database, user_id: UUID, store_id: UUID, owner: NewOwner) -> None:
    await db.execute(
        """
        INSERT INTO user_account (merchant_id, user_id, username, email, mobile, first_name, last_name,
                                  password_hash, default_store_id, status, email_verified_at)
        VALUES (current_merchant(), :user_id, :username, :email, :mobile, :first_name, :last_name,
                :password_hash, :store_id, :status, CASE WHEN :status = 'active' THEN now() END)
        """,
        user_id=user_id,
        store_id=store_id,
        username=owner.username,
        email=owner.email,
        mobile=owner.mobile,
        first_name=owner.first_name,
        last_name=owner.last_name,
        password_hash=owner.password_hash,
        status="active" if owner.is_verified else "pending",
    )
    await db.value("SELECT add_account(:user_id)", user_id=user_id)
    names = {login_key(owner.username): "username", login_key(owner.email): "email", owner.mobile: "mobile"}
    for name, kind in sorted(names.items()):
        is_ours = await claim_login(db, user_id, name, kind, is_proved=owner.is_verified)
        # Whose address it is nobody learns here: it is told at the address, and is whose who proves it.
        if not is_ours and (kind == "username" or owner.is_verified):
            raise LoginNameTaken(faults=[FieldFault(f"/{kind}", "taken", "Use another one.")])


async def claim_login(db: Database, user_id: UUID, name: str, kind: str, *, is_proved: bool = False) -> bool:
    """Let the user be found by a name as `login_key` gives it; False when it is somebody else's.

    An address that is not proved only finds a pending account for a new password, and does not log in.
    """
    is_theirs: bool = await db.value(
        "SELECT claim_login(:name, :kind, :user_id, :is_proved)",
        name=name,
        kind=kind,
        user_id=user_id,
        is_proved=is_proved,
    )
    return is_theirs


def login_key(name: str) -> str:
    """What makes two log-in names the same: case and spelling of the same characters do not matter."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def _shop_name(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name)
    ascii_name = "".join(c for c in plain if not unicodedata.combining(c)).casefold()
    return re.sub(r"[^a-z0-9]+", "-", ascii_name).strip("-")[:40] or "shop"
