"""Questions about customers."""

from uuid import UUID

from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.customers.errors import CustomerNotFound
from kasuwa.domain.customers.records import Consent, Customer
from kasuwa.domain.merchants.actions import login_key
from kasuwa.domain.permissions import Permission
from kasuwa.domain.proofs.names import login_name, looks_like_mobile
from kasuwa.domain.reference.words import folded
from kasuwa.domain.stores.queries import country_of

CUSTOMER_COLUMNS = """
    customer_id, store_id, username, email, mobile, first_name, last_name, street, lga, lga_code, state,
    state_code, country, country_code, zip_code, birth_day, birth_month, birth_year, email_verified_at,
    mobile_verified_at, password_changed_at, last_login_at, status, created_at, created_by, updated_at
"""
_CUSTOMER = f"""
    SELECT {CUSTOMER_COLUMNS} FROM customer
    WHERE merchant_id = current_merchant() AND customer_id = :customer_id AND status <> 'erased'
"""  # noqa: S608 - our own words
_HAS_NAME = """
    customer_id IN (SELECT n.customer_id FROM customer_name n
                    WHERE n.merchant_id = current_merchant() AND n.name = :{kind} AND n.kind = '{kind}')
"""
# No text that begins with a name comes after it and this.
_LAST_LETTER = "\U0010ffff"


class CustomerFilter(Struct, frozen=True, kw_only=True):
    """Which customers a list shows; every condition that is not None must hold.

    `email` and `mobile` are normalised and whole; `name` is how a name begins, given or family name first.
    """

    email: str | None = None
    mobile: str | None = None
    name: str | None = None


async def read_customer(db: Database, customer_id: UUID, *, lock: bool = False) -> Customer:
    """The customer; locked until the end of the transaction if wished. Raises CustomerNotFound."""
    sql = f"{_CUSTOMER} FOR UPDATE" if lock else _CUSTOMER
    return await db.one(sql, into=Customer, missing=CustomerNotFound(), customer_id=customer_id)


async def get_customer(context: Context, customer_id: UUID) -> tuple[Customer, list[Consent]]:
    """The customer and what they consent to now. Raises CustomerNotFound."""
    context.require(Permission.CUSTOMER_READ)
    async with context.reading() as db:
        customer = await read_customer(db, customer_id)
        return customer, await read_consents(db, customer_id)


async def read_consents(db: Database, customer_id: UUID, *, history: bool = False) -> list[Consent]:
    """The newest answer for each purpose; with `history` every answer, the oldest first."""
    newest = "" if history else "DISTINCT ON (purpose)"
    order = "consent_id" if history else "purpose, consent_id DESC"
    return await db.all(
        f"""
        SELECT {newest} purpose, is_given, at, store_id, noted_by, evidence FROM customer_consent
        WHERE merchant_id = current_merchant() AND customer_id = :customer_id ORDER BY {order}
        """,  # noqa: S608 - our own words
        into=Consent,
        customer_id=customer_id,
    )


async def find_by_name(db: Database, name: str) -> UUID | None:
    """Whose user name, e-mail or mobile it is, spelled as `login_name` does.

    Of several who say that an unproved address is theirs it is the one who said so first.
    """
    found = await db.value(
        """
        SELECT customer_id FROM customer_name WHERE merchant_id = current_merchant() AND name = :name
        ORDER BY is_sure DESC, customer_id LIMIT 1
        """,
        name=name,
    )
    return None if found is None else UUID(int=found.int)


async def login_name_at_store(context: Context, typed: str) -> str:
    """What a typed name is looked up by; the store is asked for its country only for a number."""
    country = await country_of(context) if looks_like_mobile(login_key(typed)) else ""
    return login_name(typed, country)


async def list_customers(
    context: Context, wanted: CustomerFilter, *, after: UUID | None, size: int
) -> list[Customer]:
    """The merchant's customers, the newest first, those older than `after` where it is given."""
    context.require(Permission.CUSTOMER_READ)
    async with context.reading() as db:
        return await read_page(db, wanted, after=after, size=size)


async def read_page(db: Database, wanted: CustomerFilter, *, after: UUID | None, size: int) -> list[Customer]:
    """A page of the merchant's customers, for whoever may see it."""
    conditions = ["merchant_id = current_merchant()", "status <> 'erased'"]
    values: dict[str, object] = {}
    for kind, name in (("email", wanted.email), ("mobile", wanted.mobile)):
        if name is not None:
            conditions.append(_HAS_NAME.format(kind=kind))
            values[kind] = name
    if wanted.name is not None:
        conditions.append(
            "(name_key >= :name AND name_key < :name_end OR surname_key >= :name AND surname_key < :name_end)"
        )
        values["name"] = folded(wanted.name)
        values["name_end"] = folded(wanted.name) + _LAST_LETTER
    if after is not None:
        # An id begins with its time, so the key's order is that of the registrations.
        conditions.append("customer_id < :after")
        values["after"] = after
    return await db.all(
        f"""
        SELECT {CUSTOMER_COLUMNS} FROM customer WHERE {" AND ".join(conditions)}
        ORDER BY customer_id DESC LIMIT :size
        """,  # noqa: S608 - conditions of ours
        into=Customer,
        size=size,
        **values,
    )
