"""A new password for a customer, or their first one, by a code: both steps answer alike for everybody."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Caller, Context, MerchantId, Services
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.base.limits import Quota
from kasuwa.base.passwords import hash_password
from kasuwa.domain.customers.claims import lose_address, prove_address
from kasuwa.domain.customers.errors import CustomerNotFound
from kasuwa.domain.customers.letters import compose
from kasuwa.domain.customers.queries import find_by_name, login_name_at_store, read_customer
from kasuwa.domain.customers.sessions import end_customer_sessions
from kasuwa.domain.messages.actions import refuse_message, send_message
from kasuwa.domain.permissions import Permission
from kasuwa.domain.proofs.codes import (
    TOO_MANY_SMS,
    drop_codes,
    issue_code,
    spend_try,
    use_code,
    wrong_code,
)
from kasuwa.domain.proofs.names import check_password, proved_channel
from kasuwa.domain.proofs.records import Channel
from kasuwa.domain.proofs.resets import ResetAsked, ResetOrder, order_reset

RESET_JOB = "customer.reset_code"

# However many addresses ask: twenty codes a day are a hundred tries in a million.
_RESETS_OF_A_CUSTOMER = Quota("customer-reset.day", requests=20, seconds=86_400)


async def ask_for_reset(
    context: Context, typed_name: str, channel: Channel, *, address: str = ""
) -> ResetAsked:
    """Have a code sent, if there is such a customer. Raises TooManyRequests.

    `address` is where the customer's own request came from, "" when the shop's people ask.
    """
    context.require(Permission.CUSTOMER_AUTH)
    name = await login_name_at_store(context, typed_name)
    counted_as = f"customer-reset/{context.merchant_id}/{name}/{address}"
    return await order_reset(context, RESET_JOB, name, channel, counted_as=counted_as, address=address)


async def run_send_reset(services: Services, merchant_id: UUID | None, payload: Any) -> None:
    """Send the code that somebody asked for, if the name is a customer's."""
    assert merchant_id is not None
    order = ResetOrder.opened(services, payload)
    tenant = MerchantId(merchant_id)
    context = Context(services, Caller(kind="job", merchant_id=tenant), request_id="job")
    async with context.reading() as db:
        customer_id = await find_by_name(db, order.name)
        if customer_id is None or order.lifetime <= timedelta(0):
            return
        customer = await read_customer(db, customer_id)
    allowance = await services.limits.take(_RESETS_OF_A_CUSTOMER, str(customer_id))
    if not allowance.accepted or customer.status != "active":
        return
    channel = proved_channel(customer, order.channel)
    refused = await order.is_one_sms_too_many(context, channel, customer.mobile, tenant)
    async with context.transaction() as db:
        try:
            customer = await read_customer(db, customer_id, lock=True)
        except CustomerNotFound:
            return  # erased in this moment
        if not customer.address(channel):
            return  # somebody else proved the address
        code, expires_at = await issue_code(
            context, db, customer_id, "reset", channel, lifetime=order.lifetime
        )
        message = await compose(
            db, customer, channel, "reset-password", code=code, expires_at=expires_at, minutes=order.minutes
        )
        if refused:
            await refuse_message(context, db, message, TOO_MANY_SMS)
        else:
            await send_message(context, db, message)


async def finish_reset(context: Context, typed_name: str, code: str, new_password: str) -> None:
    """Set the new password; every session and code of the customer ends. Raises WeakPassword, WrongCode.

    Whoever proves their first address by it takes the record over from whoever typed it in: another address
    that nobody has proved goes, since the next code to it would open the record again.
    """
    context.require(Permission.CUSTOMER_AUTH)
    check_password(new_password, typed_name.partition("@")[0], pointer="/newPassword")
    name = await login_name_at_store(context, typed_name)
    # Hashed before anything is looked up: an unknown customer costs the same.
    password_hash = await hash_password(new_password)
    async with context.reading() as db:
        customer_id = await find_by_name(db, name) or new_id()
    spent = await spend_try(context, context.merchant_id, customer_id, "reset", code)
    async with context.transaction() as db:
        try:
            # The code came over this channel: whoever typed it has the address.
            proof = await prove_address(context, db, customer_id, spent.channel)
        except CustomerNotFound:
            raise wrong_code() from None
        if not await _keep_password(db, customer_id, password_hash):
            raise wrong_code()
        await use_code(db, customer_id, "reset", spent)
        await drop_codes(db, customer_id)
        await end_customer_sessions(db, customer_id)
        customer = proof.customer
        other: Channel = "mobile" if spent.channel == "email" else "email"
        if not proof.was_proved and customer.address(other) and not customer.is_verified(other):
            await lose_address(context, db, [customer_id], other)
        await write_audit(context, db, "customer.set_password", "customer", customer_id)
        await send_message(context, db, await compose(db, customer, spent.channel, "password-changed"))


async def _keep_password(db: Database, customer_id: UUID, password_hash: str) -> bool:
    kept = await db.execute(
        """
        UPDATE customer SET password_hash = :password_hash, password_changed_at = now(), updated_at = now()
        WHERE merchant_id = current_merchant() AND customer_id = :customer_id AND status = 'active'
        """,
        customer_id=customer_id,
        password_hash=password_hash,
    )
    return bool(kept)
