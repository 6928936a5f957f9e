"""A product's audit trail in StoreHarmony's words."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

from kasuwa.api.storeharmony.contract import GetProductAuditPath, GetProductAuditQuery
from kasuwa.api.storeharmony.paging import page_view
from kasuwa.api.storeharmony.product_views import plain
from kasuwa.api.storeharmony.products import item_id
from kasuwa.api.storeharmony.service import api
from kasuwa.base.context import Context
from kasuwa.base.ids import read_id
from kasuwa.base.money import from_minor
from kasuwa.domain.inventory.trail import TrailFilter, TrailLine, read_trail
from kasuwa.domain.permissions import Permission

Json = dict[str, Any]

# What each change writes without anybody's doing.
_OWN = frozenset(
    {"version", "created_at", "created_by", "updated_at", "updated_by", "product_id", "variant_id", "number"}
)
# What tells the variants of a product apart.
_OF_MANY = frozenset({"name", "position", "options", "active", "extra"})
_AMOUNTS = {
    "selling_minor": "selling_price",
    "cost_minor": "cost_price",
    "promo_minor": "promo_price",
    "wholesale_minor": "wholesale_price",
}
_DECIMALS = frozenset({"rate", "wholesale_min_quantity", "units"})
_DOERS = {"token": "An app", "operator": "The operator"}


@api.operation("getProductAudit")
async def get_product_audit(context: Context, path: GetProductAuditPath, query: GetProductAuditQuery) -> Json:
    product_id = item_id(path.itemid)
    wanted = TrailFilter(
        since=query.from_,
        until=query.to,
        action=query.action,
        variant_id=_id(query.variantid),
        user_id=_id(query.userid),
    )
    trail = await read_trail(
        context, product_id, wanted, page=query.page, size=query.size, cursor=query.cursor
    )
    with_cost = context.may(Permission.STOCK_COST)
    return page_view(trail, lambda line: _entry(product_id, line, with_cost=with_cost))


def _id(text: str | None) -> UUID | None:
    """What is no UUID is as unknown as any other."""
    return None if text is None else read_id(text) or UUID(int=0)


def _entry(product_id: UUID, line: TrailLine, *, with_cost: bool) -> Json:
    name = line.user_name or _DOERS.get(line.actor_kind, "The system")
    entry: Json = {
        "auditId": line.line_id,
        "itemId": product_id,
        "variantId": line.variant_id,
        "storeId": line.store_id,
        "action": line.action,
        "performedBy": {"userId": line.user_id, "name": name, "role": line.role},
        "performedAt": line.at,
        "channel": "api" if line.actor_kind in ("user", "token") else "system",
        "quantityDelta": plain(line.quantity),
        "quantityBefore": plain(line.quantity_before),
        "quantityAfter": plain(line.quantity_after),
        # That of a change of prices is kept with what it made.
        "reason": line.reason or line.after.get("reason"),
        "note": line.note,
        "reference": line.reference,
        "changes": _changes(line, with_cost=with_cost),
    }
    if line.state is not None:
        entry["state"] = line.state
    return entry


def _changes(line: TrailLine, *, with_cost: bool) -> list[Json]:
    """The fields that differ, as paths of the names that a product has in this API."""
    before, after = dict(_fields(line.before)), dict(_fields(line.after))
    if line.action == "removed":
        return []
    return [
        {"field": field, "before": before.get(field), "after": after.get(field)}
        for field in {**before, **after}
        if field != "reason"
        and before.get(field) != after.get(field)
        and (with_cost or not field.endswith("costPrice"))
    ]


def _fields(value: Json, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field with its path. A simple product's one variant is the product itself."""
    currency = value.get("currency")
    for name, found in value.items():
        if name in _OWN or name == "pictures" or (name == "main" and value.get("kind") == "simple"):
            continue
        if name in _AMOUNTS and currency is not None:
            yield prefix + _camel(_AMOUNTS[name]), None if found is None else from_minor(found, currency)
        elif name == "price" and isinstance(found, dict):
            yield from _fields(found, f"{prefix}prices.")
        elif isinstance(found, dict):
            yield from _fields(found, f"{prefix}{_camel(name)}.")
        elif isinstance(found, list) and any(isinstance(one, dict) for one in found):
            for index, one in enumerate(found):
                is_simple = name == "variants" and len(found) == 1
                inner = "" if is_simple else f"{prefix}{_camel(name)}.{index}."
                yield from _fields(
                    {key: one[key] for key in one if not (is_simple and key in _OF_MANY)}, inner
                )
        elif name in _DECIMALS and isinstance(found, str):
            yield prefix + _camel(name), plain(Decimal(found))
        else:
            yield prefix + _camel(name), found


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)
