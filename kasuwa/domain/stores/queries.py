"""Questions about stores."""

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.context import Context, MerchantId, StoreId
from kasuwa.base.db import Database
from kasuwa.base.problems import Unauthenticated
from kasuwa.domain.permissions import Permission, permissions_of_membership
from kasuwa.domain.stores.errors import LocationNotFound
from kasuwa.domain.stores.records import Location

# A store and the user's place in it: without a membership there is no row.
_LOCATION = """
    SELECT s.store_id, s.name, s.site_name, s.country, s.country_code, s.state, s.city, s.address, s.latitude,
           s.longitude, s.email, s.mobile, s.currency, s.tax_rate, s.vat_type, s.profile_type, s.license_plan,
           s.status, s.settings, s.created_at, m.role, m.extra_permissions,
           s.store_id = u.default_store_id AS is_default
    FROM membership m
    JOIN store s ON s.merchant_id = m.merchant_id AND s.store_id = m.store_id
    JOIN user_account u ON u.merchant_id = m.merchant_id AND u.user_id = m.user_id
    WHERE m.merchant_id = current_merchant() AND m.user_id = :user_id AND m.status = 'active'
"""


def _location(**row: object) -> Location:
    """A row of `_LOCATION`; jsonb comes as text."""
    row["settings"] = msgspec.json.decode(str(row["settings"]))
    return Location(**row)  # type: ignore[arg-type]


def permissions_at(context: Context, location: Location) -> frozenset[str]:
    """What the caller may do at a location of theirs, which need not be the session's."""
    return permissions_of_membership(
        location.role, location.extra_permissions, is_at_till=context.caller.is_at_till
    )


async def currency_of(context: Context) -> str:
    """The currency of the caller's store."""
    async with context.reading() as db:
        currency: str = await db.value(
            "SELECT currency FROM store WHERE merchant_id = current_merchant() AND store_id = :store_id",
            store_id=context.store_id,
        )
    return currency


async def country_of(context: Context) -> str:
    """The country of the caller's store, as its ISO 3166-1 code."""
    async with context.reading() as db:
        code: str = await db.value(
            "SELECT country_code FROM store WHERE merchant_id = current_merchant() AND store_id = :store_id",
            store_id=context.store_id,
        )
    return code


async def read_store_ids(db: Database) -> list[UUID]:
    """The merchant's stores, the first opened first."""
    found = await db.values(
        "SELECT store_id FROM store WHERE merchant_id = current_merchant() ORDER BY created_at, store_id"
    )
    return [UUID(int=store_id.int) for store_id in found]


class _Named(Struct, frozen=True):
    store_id: UUID
    name: str


async def store_labels(db: Database) -> dict[UUID, str]:
    """What people call each of the merchant's stores, the first opened first; a namesake is "Name #2"."""
    rows = await db.all(
        """
        SELECT store_id, name FROM store
        WHERE merchant_id = current_merchant() ORDER BY created_at, store_id
        """,
        into=_Named,
    )
    labels: dict[UUID, str] = {}
    for row in rows:
        label, count = row.name, 1
        while label in labels.values():
            count += 1
            label = f"{row.name} #{count}"
        labels[UUID(int=row.store_id.int)] = label
    return labels


async def get_location(context: Context, store_id: UUID | None) -> Location:
    """A store of the user who asks. Raises LocationNotFound; None is an id that no store can have."""
    if store_id is None:
        raise LocationNotFound()
    async with context.reading() as db:
        found: Location = await db.one(
            f"{_LOCATION} AND s.store_id = :store_id",
            into=_location,
            missing=LocationNotFound(),
            user_id=_user_id(context),
            store_id=store_id,
        )
    return found


async def visit_store(context: Context, store_id: UUID | None) -> Context:
    """The request at that store for somebody who need not prove anything: a visitor of its shop.

    Raises LocationNotFound for a store that is not there or not open; None is an id that no store can have.
    """
    if store_id is None:
        raise LocationNotFound()
    async with context.services.pool.autocommit() as db:
        merchant_id = await db.value("SELECT find_store(:store_id)", store_id=store_id)
    if merchant_id is None:
        raise LocationNotFound()
    visiting = context.acting_as(
        msgspec.structs.replace(
            context.caller, merchant_id=MerchantId(UUID(int=merchant_id.int)), store_id=StoreId(store_id)
        )
    )
    async with visiting.reading() as db:
        is_open = await db.value(
            """
            SELECT 1 FROM store s JOIN merchant m ON m.merchant_id = s.merchant_id
            WHERE s.merchant_id = current_merchant() AND s.store_id = :store_id
              AND s.status = 'active' AND m.status = 'active'
            """,
            store_id=store_id,
        )
    if not is_open:
        raise LocationNotFound()
    return visiting


class StoreIdentity(Struct, frozen=True, kw_only=True):
    """How a store is known to apps. `scopes` are those of its API tokens that hold."""

    store_id: UUID
    site_name: str
    name: str
    domain: str
    status: str
    created_at: datetime
    scopes: list[str]
    newest_token_at: datetime | None

    @property
    def public_key(self) -> str:
        """What a browser may carry to say which store it means. It proves nothing."""
        return f"pk_{self.store_id.hex}"


async def get_identity(context: Context) -> StoreIdentity:
    """The API identity of the caller's store, without any secret."""
    context.require(Permission.STORE_WRITE)
    async with context.reading() as db:
        return await db.one(
            """
            SELECT s.store_id, s.site_name, s.name, coalesce(s.settings->>'domain', '') AS domain, s.status,
                   s.created_at, t.newest_token_at,
                   coalesce((SELECT array_agg(DISTINCT scope) FROM tokens_of_store(s.store_id) k,
                             unnest(k.scopes) scope), '{}') AS scopes
            FROM store s
            CROSS JOIN (SELECT max(created_at) AS newest_token_at FROM tokens_of_store(:store_id)) t
            WHERE s.merchant_id = current_merchant() AND s.store_id = :store_id
            """,
            into=StoreIdentity,
            store_id=context.store_id,
        )


async def list_locations(context: Context, *, active: bool | None, page: int, size: int) -> list[Location]:
    """A page of the stores of the user who asks, the default one first, then by name."""
    async with context.reading() as db:
        found: list[Location] = await db.all(
            f"""
            {_LOCATION} AND (:active::boolean IS NULL OR (s.status = 'active') = :active)
            ORDER BY is_default DESC, lower(s.name), s.store_id
            LIMIT :size OFFSET :offset
            """,
            into=_location,
            user_id=_user_id(context),
            active=active,
            size=size,
            offset=(page - 1) * size,
        )
    return found


async def count_stores(db: Database) -> int:
    """How many stores the merchant has, open or not."""
    count: int = await db.value("SELECT count(*) FROM store WHERE merchant_id = current_merchant()")
    return count


def _user_id(context: Context) -> UUID:
    if context.caller.user_id is None:
        raise Unauthenticated("Log in as a user.")
    return context.caller.user_id
