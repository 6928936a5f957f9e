"""Opening a location, and moving a session to another one."""

from decimal import Decimal
from uuid import UUID

from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.problems import FieldFault, Forbidden
from kasuwa.domain.merchants.actions import join_store, open_session, open_store
from kasuwa.domain.merchants.records import NewStore, VatType
from kasuwa.domain.permissions import Permission, Role
from kasuwa.domain.reference.contacts import read_number
from kasuwa.domain.reference.places import read_country
from kasuwa.domain.stores.errors import CurrencyInUse, LocationClosed, LocationNotFound
from kasuwa.domain.stores.queries import count_stores, get_location, permissions_at
from kasuwa.domain.stores.records import Entered, FinancialInfo, Location, LocationWish


class _Merchant(Struct, frozen=True):
    business_name: str
    country_code: str
    currency: str
    tax_rate: Decimal
    vat_type: VatType


async def open_location(context: Context, wish: LocationWish) -> Entered:
    """Open a location with the caller as its owner, and a session there; their own session stays.

    Raises Invalid with the faults of the country or the mobile.
    """
    context.require(Permission.STORE_WRITE)
    async with context.transaction() as db:
        new = await _complete(db, wish)
        opened = await open_store(context, db, new)
        user_id = context.caller.user_id
        assert user_id is not None
        await join_store(db, user_id, opened.store_id, Role.OWNER)
        return await _enter(context, db, opened.store_id, replaces=None)


async def switch_location(context: Context, store_id: UUID | None, *, replaces: bytes) -> Entered:
    """A session at another store of the caller's. Safe to repeat: see `open_session`.

    `replaces` is the hash of the present session's token, which ends when the new one is first used.
    Raises LocationNotFound, LocationClosed.
    """
    async with context.transaction() as db:
        location = await get_location(context, store_id)
        if location.status != "active":
            raise LocationClosed("Choose another one from the list of locations.")
        return await _enter(context, db, location.store_id, replaces=replaces)


async def make_default(context: Context, store_id: UUID | None) -> Location:
    """Have the caller's log-in open that store of theirs. Raises LocationNotFound."""
    async with context.transaction() as db:
        location = await get_location(context, store_id)
        if location.status != "active":
            raise LocationNotFound("Choose a store that is open.")
        changed = await db.execute(
            """
            UPDATE user_account SET default_store_id = :store_id, updated_at = now()
            WHERE merchant_id = current_merchant() AND user_id = :user_id AND default_store_id <> :store_id
            """,
            user_id=context.caller.user_id,
            store_id=location.store_id,
        )
        if changed:
            after = {"defaultStoreId": location.store_id}
            await write_audit(context, db, "user.default_store", "user", context.caller.user_id, after=after)
        return await get_location(context, store_id)


async def set_financial_info(context: Context, store_id: UUID | None, info: FinancialInfo) -> Location:
    """Change VAT and currency of a store of the caller's, who needs the permission at that very store.

    Raises LocationNotFound, Forbidden, CurrencyInUse.
    """
    context.require(Permission.STORE_WRITE)
    async with context.transaction() as db:
        before = await get_location(context, store_id)
        if Permission.STORE_WRITE not in permissions_at(context, before):
            raise Forbidden(
                "VAT and currency of that store need the permission store.write there: ask an owner."
            )
        # Held, so that no goods are booked in between.
        await db.value(
            """
            SELECT store_id FROM store
            WHERE merchant_id = current_merchant() AND store_id = :store_id FOR UPDATE
            """,
            store_id=before.store_id,
        )
        if info.currency != before.currency:
            await require_no_goods(db, before.store_id, before.currency, "/currency")
        await db.execute(
            """
            UPDATE store SET tax_rate = :tax_rate, vat_type = :vat_type, currency = :currency,
                             updated_at = now()
            WHERE merchant_id = current_merchant() AND store_id = :store_id
            """,
            store_id=before.store_id,
            tax_rate=info.tax_rate,
            vat_type=info.vat_type,
            currency=info.currency,
        )
        was = FinancialInfo(before.tax_rate, before.vat_type, before.currency)
        await write_audit(context, db, "store.finance", "store", before.store_id, before=was, after=info)
        return await get_location(context, store_id)


async def require_no_goods(db: Database, store_id: UUID, currency: str, pointer: str) -> None:
    """Raises CurrencyInUse where goods were booked in that currency. The store is held."""
    found: bool = await db.value(
        """
        SELECT EXISTS (SELECT FROM stock_movement
                       WHERE merchant_id = current_merchant() AND store_id = :store_id)
        """,
        store_id=store_id,
    )
    if found:
        fault = FieldFault(pointer, "in_use", f"The goods here cost what they do in {currency}.")
        raise CurrencyInUse("Open another location with the other currency.", faults=[fault])


async def _enter(context: Context, db: Database, store_id: UUID, *, replaces: bytes | None) -> Entered:
    user_id = context.caller.user_id
    assert user_id is not None
    began_at = context.caller.original_store_id or context.store_id
    session = await open_session(context, db, user_id, store_id, replaces=replaces, from_store=began_at)
    account_before = None
    if replaces is not None:
        account_before = await db.value(
            "SELECT account_session_of(:user_id, :login_id, :left)",
            user_id=user_id,
            login_id=context.caller.login_id,
            left=context.store_id,
        )
    account = await open_session(
        context, db, user_id, store_id, kind="account", replaces=account_before, from_store=began_at
    )
    location = await get_location(context, store_id)
    return Entered(location, session.token, account.token, began_at)


async def _complete(db: Database, wish: LocationWish) -> NewStore:
    """The wish with the merchant's own where it says nothing."""
    # Locked, so that two locations without a name do not get the same number.
    merchant = await db.one(
        """
        SELECT business_name, country_code, currency, tax_rate, vat_type FROM merchant
        WHERE merchant_id = current_merchant() FOR UPDATE
        """,
        into=_Merchant,
    )
    country = read_country(
        wish.country_code, wish.country, code_pointer="/storeCountryCode", name_pointer="/storeCountry"
    ) or read_country(merchant.country_code, "", code_pointer="", name_pointer="")
    assert country is not None
    return NewStore(
        name=wish.name.strip() or f"{merchant.business_name} {await count_stores(db) + 1}",
        country=country.name,
        country_code=country.code,
        state=wish.state,
        state_code=wish.state_code,
        city=wish.city,
        city_code=wish.city_code,
        address=wish.address,
        latitude=wish.latitude,
        longitude=wish.longitude,
        email=wish.email,
        mobile=read_number(wish.mobile, country.code, "/mobile") if wish.mobile else "",
        currency=wish.currency or merchant.currency,
        tax_rate=merchant.tax_rate if wish.tax_rate is None else wish.tax_rate,
        vat_type=wish.vat_type or merchant.vat_type,
        profile_type=wish.profile_type,
        seats=wish.seats,
        license_plan=wish.license_plan,
    )
