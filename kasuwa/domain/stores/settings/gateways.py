"""Payment gateways of a store, their secrets sealed."""

from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.stores.settings.records import Gateway, GatewayWish, StoreSettings


async def write_gateways(
    context: Context, db: Database, before: StoreSettings, wanted: Sequence[GatewayWish]
) -> None:
    """Let these be the store's gateways, in this order. The store is held.

    Raises Invalid for an id that is no gateway of the store, or comes twice.
    """
    known = {gateway.gateway_id: gateway for gateway in before.gateways}
    faults = []
    for place, wish in enumerate(wanted):
        if wish.gateway_id is not None and known.pop(wish.gateway_id, None) is None:
            message = "Take the id of a gateway that the store has, each once; leave it out for a new one."
            faults.append(FieldFault(f"/paymentGateways/{place}/gatewayId", "unknown", message))
    if faults:
        raise Invalid(faults=faults)
    await db.execute(
        """
        DELETE FROM payment_gateway
        WHERE merchant_id = current_merchant() AND store_id = :store_id AND gateway_id = ANY (:gone::uuid[])
        """,
        store_id=before.store_id,
        gone=list(known),
    )
    there = {gateway.gateway_id: gateway for gateway in before.gateways}
    rows = []
    for place, wish in enumerate(wanted, 1):
        kept = None if wish.gateway_id is None else there[wish.gateway_id]
        rows.append(_row(context, wish, kept, place) | {"store_id": before.store_id})
    await db.execute_many(
        """
        INSERT INTO payment_gateway AS g (merchant_id, gateway_id, store_id, position, provider, kind, remark,
                                          public_key, sealed_secret_key, sealed_webhook_secret)
        VALUES (current_merchant(), :gateway_id, :store_id, :position, :provider, :kind, :remark, :public_key,
                :secret_key, :webhook_secret)
        ON CONFLICT (merchant_id, gateway_id) DO UPDATE SET
          position = excluded.position, provider = excluded.provider, kind = excluded.kind,
          remark = excluded.remark, public_key = excluded.public_key,
          sealed_secret_key =
            CASE WHEN :names_secret_key THEN excluded.sealed_secret_key ELSE g.sealed_secret_key END,
          sealed_webhook_secret =
            CASE WHEN :names_webhook_secret THEN excluded.sealed_webhook_secret
                 ELSE g.sealed_webhook_secret END
        """,
        rows,
    )


def _row(context: Context, wish: GatewayWish, kept: Gateway | None, place: int) -> dict[str, object]:
    return {
        "gateway_id": new_id() if kept is None else kept.gateway_id,
        "position": place,
        "provider": wish.provider,
        "kind": _or(wish.kind, kept.kind if kept else ""),
        "remark": _or(wish.remark, kept.remark if kept else ""),
        "public_key": _or(wish.public_key, kept.public_key if kept else ""),
        "secret_key": _sealed(context, wish.secret_key),
        "webhook_secret": _sealed(context, wish.webhook_secret),
        "names_secret_key": wish.secret_key is not UNSET,
        "names_webhook_secret": wish.webhook_secret is not UNSET,
    }


def _or(value: str | UnsetType, kept: str) -> str:
    return kept if isinstance(value, UnsetType) else value


def _sealed(context: Context, secret: str | UnsetType) -> bytes | None:
    return context.services.sealer.seal(secret.encode()) if isinstance(secret, str) and secret else None
