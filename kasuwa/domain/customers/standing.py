"""Whether a customer may come in: a shop suspends one, and lets them in again."""

from typing import Literal
from uuid import UUID

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.domain.customers.queries import read_consents, read_customer
from kasuwa.domain.customers.records import Consent, Customer
from kasuwa.domain.customers.sessions import end_customer_sessions
from kasuwa.domain.permissions import Permission
from kasuwa.domain.proofs.codes import drop_codes


async def suspend_customer(context: Context, customer_id: UUID) -> tuple[Customer, list[Consent]]:
    """Keep the customer out of every store: log-in and reset are refused like those of somebody unknown.

    Their sessions and codes end with this commit, on every worker. Again it changes nothing. Raises
    CustomerNotFound.
    """
    return await _set_status(context, customer_id, "suspended", action="customer.suspend")


async def resume_customer(context: Context, customer_id: UUID) -> tuple[Customer, list[Consent]]:
    """Let the customer in again; what had ended stays so, and they log in anew. Raises CustomerNotFound."""
    return await _set_status(context, customer_id, "active", action="customer.resume")


async def _set_status(
    context: Context, customer_id: UUID, status: Literal["active", "suspended"], *, action: str
) -> tuple[Customer, list[Consent]]:
    context.require(Permission.CUSTOMER_SUSPEND)
    async with context.transaction() as db:
        before = await read_customer(db, customer_id, lock=True)
        if before.status != status:
            await db.execute(
                """
                UPDATE customer SET status = :status, updated_at = now()
                WHERE merchant_id = current_merchant() AND customer_id = :customer_id
                """,
                customer_id=customer_id,
                status=status,
            )
            await drop_codes(db, customer_id)
            await end_customer_sessions(db, customer_id)
            await write_audit(
                context,
                db,
                action,
                "customer",
                customer_id,
                before={"status": before.status},
                after={"status": status},
            )
        await context.note_person(db, customer_id)
        return await read_customer(db, customer_id), await read_consents(db, customer_id)
