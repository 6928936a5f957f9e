"""Switching merchants, stores and their proofs off and on: what the operator of a platform does.

Each request looks its proof up in the database, so that a change holds from the next one on, on every worker.
"""

from typing import Literal
from uuid import UUID

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Caller, Context, MerchantId
from kasuwa.domain.merchants.actions import operating_on
from kasuwa.domain.merchants.errors import MerchantNotFound, StoreNotFound, TokenNotFound
from kasuwa.domain.permissions import PERMISSIONS_OF_ROLE, Role

MerchantStatus = Literal["active", "suspended"]
StoreStatus = Literal["active", "disabled"]


async def switch_merchant(context: Context, merchant_id: UUID, status: MerchantStatus) -> bool:
    """Suspend the merchant or let it go on; answer whether that changed anything.

    While it is suspended nobody of it can log in, and its sessions and tokens are refused; those that have
    not run out hold again afterwards. Raises MerchantNotFound.
    """
    acting = operating_for(context, merchant_id)
    async with acting.transaction() as db:
        before = await db.value(
            "SELECT status FROM merchant WHERE merchant_id = current_merchant() FOR NO KEY UPDATE"
        )
        if before is None:
            raise MerchantNotFound(f"No merchant has the id {merchant_id}: see `kasuwa merchant list`.")
        if before == "leaving":
            raise MerchantNotFound(
                f"The removal of {merchant_id} has begun: run `kasuwa merchant delete` again."
            )
        if before == status:
            return False
        await db.execute(
            "UPDATE merchant SET status = :status WHERE merchant_id = current_merchant()", status=status
        )
        await write_audit(
            acting,
            db,
            f"merchant.{'resume' if status == 'active' else 'suspend'}",
            "merchant",
            merchant_id,
            before={"status": before},
            after={"status": status},
        )
    return True


async def switch_store(context: Context, store_id: UUID, status: StoreStatus) -> bool:
    """Disable a location or enable it; answer whether that changed anything.

    The sessions of a disabled one are refused like unknown ones, its tokens with 403: Shoplazza's words are
    "store is not active". A location that its merchant closed stays closed. Raises StoreNotFound.
    """
    acting = await operating_on(context, store_id)
    async with acting.transaction() as db:
        before = await db.value(
            "SELECT status FROM store WHERE merchant_id = current_merchant() AND store_id = :store_id"
            " FOR NO KEY UPDATE",
            store_id=store_id,
        )
        if before == "closed":
            raise StoreNotFound("The merchant has closed this store.")
        if before == status:
            return False
        await db.execute(
            "UPDATE store SET status = :status"
            " WHERE merchant_id = current_merchant() AND store_id = :store_id",
            status=status,
            store_id=store_id,
        )
        await write_audit(
            acting,
            db,
            f"store.{'enable' if status == 'active' else 'disable'}",
            "store",
            store_id,
            before={"status": before},
            after={"status": status},
        )
    return True


async def revoke_token(context: Context, merchant_id: UUID, token_id: UUID) -> None:
    """End a token of the BigCommerce and Shoplazza APIs. Raises TokenNotFound."""
    acting = operating_for(context, merchant_id)
    async with acting.transaction() as db:
        if not await db.value("SELECT revoke_access_token(:token_id)", token_id=token_id):
            raise TokenNotFound("It was revoked before, or never made: see `kasuwa token list`.")
        await write_audit(acting, db, "token.revoke", "token", token_id)


def operating_for(context: Context, merchant_id: UUID | None) -> Context:
    """The operator at a merchant as a whole, or at the installation: for commands, never for requests."""
    return context.acting_as(
        Caller(
            kind="operator",
            id="operator",
            merchant_id=None if merchant_id is None else MerchantId(merchant_id),
            role=Role.OWNER,
            permissions=PERMISSIONS_OF_ROLE[Role.OWNER],
        )
    )
