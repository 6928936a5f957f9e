"""What lets a cast's people and apps in beside their log-in: a PIN and a till, a token, a second factor."""

import base64
import secrets
from typing import TYPE_CHECKING, Any
from uuid import UUID

from kasuwa.domain.merchants.actions import open_session
from kasuwa.domain.merchants.keys import create_key
from kasuwa.domain.merchants.tokens import create_token
from kasuwa.domain.staff.pins import pin_marks
from kasuwa.domain.staff.tills import open_till
from tests.shop import Shop

if TYPE_CHECKING:
    from tests.contract.cast import Cast, Staff

PIN = "4829"


async def ways_in(mark: str, shop: Shop, staff: "Staff") -> dict[str, Any]:
    """A PIN for the cashier `staff`; a till, a session that may end, a token and a key to rotate, a second
    factor."""
    async with shop.owner.transaction() as db:
        spare = await open_session(shop.owner, db, shop.user_id, shop.store_id)
        await db.execute(
            "UPDATE membership SET pos_pin_mark = :mark"
            " WHERE merchant_id = current_merchant() AND user_id = :user_id",
            mark=pin_marks(shop.owner, staff.user_id, shop.store_id, PIN)[0],
            user_id=staff.user_id,
        )
        secret = await begin_factor(shop, shop.user_id)
    return {
        "staff_id": staff.user_id,
        "staff_session_id": staff.session_id,
        "factor_secret": secret,
        "till_token": (await open_till(shop.owner)).token,
        "session_id": spare.session_id,
        "token_id": (await create_token(shop.owner, f"{mark} app", ["read_product"])).token_id,
        "key_id": (await create_key(shop.owner, f"{mark} kiosk", ["open_session"])).key_id,
    }


async def begin_factor(shop: Shop, user_id: UUID, *, is_on: bool = False) -> str:
    """A second factor that waits for its first code, or is on; its secret in base 32."""
    key = secrets.token_bytes(20)
    async with shop.owner.transaction() as db:
        await db.execute(
            "INSERT INTO second_factor (merchant_id, user_id, sealed_secret, confirmed_at)"
            " VALUES (current_merchant(), :user_id, :sealed, CASE WHEN :is_on THEN now() END)",
            is_on=is_on,
            user_id=user_id,
            sealed=shop.owner.services.sealer.seal(key),
        )
    return base64.b32encode(key).decode()


async def prepare(cast: "Cast", operation: tuple[str, str]) -> None:
    """What must be so before the operation can work: recovery codes are those of a factor that is on."""
    if operation == ("manage", "renewRecoveryCodes"):
        async with cast.shop.owner.transaction() as db:
            await db.execute(
                "UPDATE second_factor SET confirmed_at = now()"
                " WHERE merchant_id = current_merchant() AND user_id = :user_id",
                user_id=cast.user_id,
            )
