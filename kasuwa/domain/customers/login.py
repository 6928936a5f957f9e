"""Logging a customer in: guesses are slowed down, and nobody learns which customers there are."""

from uuid import UUID

from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.ids import new_id
from kasuwa.base.passwords import hash_password, is_outdated, verify_password
from kasuwa.base.tries import Tries, forgive_tries, take_tries
from kasuwa.domain.customers.errors import WrongCustomerCredentials
from kasuwa.domain.customers.queries import CUSTOMER_COLUMNS, login_name_at_store
from kasuwa.domain.customers.records import Customer, LoggedIn
from kasuwa.domain.customers.sessions import open_customer_session
from kasuwa.domain.permissions import Permission

# A shop's app asks for all its customers from one address, which has many more free tries than one of them.
_ADDRESS_FACTOR = 20
# One customer, or somebody who guesses through the app, must not keep all others waiting.
_FORGOTTEN_A_MINUTE = 60.0


class _Credentials(Struct, frozen=True):
    customer_id: UUID
    password_hash: str
    status: str


async def log_in(context: Context, typed_name: str, password: str, *, address: str) -> LoggedIn:
    """Open a session of the customer at the context's store. `address` is where the request came from.

    Every refused guess costs the same: one count, the same questions, one hash. Raises
    WrongCustomerCredentials, TooManyRequests.
    """
    context.require(Permission.CUSTOMER_AUTH)
    pool, free = context.services.pool, context.services.settings.login_tries
    name = await login_name_at_store(context, typed_name)
    shop = str(context.merchant_id)
    at_customer = Tries("customer-login", f"{shop}\n{name}\n{address}", free)
    at_address = Tries("customer-login", f"{shop}\n{address}", free * _ADDRESS_FACTOR, _FORGOTTEN_A_MINUTE)
    await take_tries(pool, [at_customer, at_address])
    known = await _find_credentials(context, name)
    kept = known.password_hash if known is not None and known.password_hash else None
    if not await verify_password(kept, password) or known is None or known.status != "active":
        raise WrongCustomerCredentials("Check the user name and the password.")
    await forgive_tries(pool, {at_customer: None, at_address: 1})
    stronger = await hash_password(password) if is_outdated(known.password_hash) else known.password_hash
    return await _enter(context, known, stronger)


async def _find_credentials(context: Context, name: str) -> _Credentials | None:
    """An unknown name asks the database the same questions as a known one, so that both take as long."""
    async with context.single_call() as db:
        return await db.find(
            """
            SELECT customer_id, password_hash, status
            FROM find_customer_credentials(:merchant_id, :name, :no_customer)
            """,
            into=_Credentials,
            merchant_id=context.merchant_id,
            name=name,
            no_customer=new_id(),
        )


async def _enter(context: Context, known: _Credentials, password_hash: str) -> LoggedIn:
    customer_id = UUID(int=known.customer_id.int)
    async with context.transaction() as db:
        # Whoever was erased or chose another password in this moment does not come in by the old one.
        customer = await db.find(
            f"""
            UPDATE customer SET last_login_at = now(), password_hash = :password_hash
            WHERE merchant_id = current_merchant() AND customer_id = :customer_id AND status = 'active'
              AND password_hash = :compared
            RETURNING {CUSTOMER_COLUMNS}
            """,  # noqa: S608 - our own words
            into=Customer,
            customer_id=customer_id,
            compared=known.password_hash,
            password_hash=password_hash,
        )
        if customer is None:
            raise WrongCustomerCredentials("Check the user name and the password.")
        opened = await open_customer_session(context, db, customer_id)
        await write_audit(context, db, "customer.log_in", "customer", customer_id)
        await context.note_person(db, customer_id)
    return LoggedIn(customer, opened.token, opened.expires_at)
