"""Changing what a merchant says of a store."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.customers.errors import CustomerNotFound
from kasuwa.domain.customers.queries import read_customer
from kasuwa.domain.permissions import Permission
from kasuwa.domain.stores.actions import require_no_goods
from kasuwa.domain.stores.settings.gateways import write_gateways
from kasuwa.domain.stores.settings.queries import read_settings
from kasuwa.domain.stores.settings.records import (
    DeliveryPoint,
    PageKind,
    PointWish,
    SettingsChange,
    StoreFacts,
    StoreSettings,
)
from kasuwa.domain.stores.settings.rules import PLACE_FACTS, settle_place

# What is shown of a BVN.
_SHOWN_DIGITS = 4
_TOLD_LETTERS = 2000


async def hold_settings(context: Context, db: Database) -> StoreSettings:
    """The settings, which nobody else changes before this transaction ends."""
    context.require(Permission.STORE_WRITE)
    await db.value(
        "SELECT 1 FROM store WHERE merchant_id = current_merchant() AND store_id = :store_id FOR UPDATE",
        store_id=context.store_id,
    )
    return await read_settings(db, context.store_id)


async def change_settings(context: Context, change: SettingsChange) -> StoreSettings:
    """Change what is named of the caller's store.

    Raises Invalid for places that do not lie in each other, half a position, and ids of things that are not
    the merchant's; CurrencyInUse where goods were booked.
    """
    context.require(Permission.STORE_WRITE)
    async with context.transaction() as db:
        before = await hold_settings(context, db)
        if change == SettingsChange():
            return before
        facts = _changed_facts(before.facts, change.facts)
        if facts.currency != before.facts.currency:
            await require_no_goods(db, before.store_id, before.facts.currency, "/tax/currency")
        await _require_walk_in(db, before, change.written.get("walk_in_customer_id"))
        await _write_row(context, db, before, facts, change)
        for kind, content in change.pages.items():
            if content != before.pages.get(kind, ""):
                await _write_page(db, before.store_id, kind, content)
        if change.gateways is not msgspec.UNSET:
            await write_gateways(context, db, before, change.gateways)
        after = await read_settings(db, before.store_id)
        await _write_trail(context, db, before, after, change)
        return after


async def _require_walk_in(db: Database, before: StoreSettings, customer_id: object) -> None:
    """Raises Invalid for whoever is no customer of the merchant, unknown, another's and erased alike."""
    if customer_id is None or customer_id == before.written.get("walk_in_customer_id"):
        return
    try:
        await read_customer(db, UUID(str(customer_id)))
    except CustomerNotFound:
        message = "Take the id of a customer whom the shop has."
        raise Invalid(faults=[FieldFault("/walkIn/customerId", "unknown", message)]) from None


def _changed_facts(before: StoreFacts, change: Mapping[str, object]) -> StoreFacts:
    facts = msgspec.structs.replace(before, **change)
    if bool(facts.latitude) != bool(facts.longitude):
        where = "longitude" if facts.latitude else "latitude"
        fault = FieldFault(f"/business/{where}", "required", "A position has latitude and longitude.")
        raise Invalid(faults=[fault])
    if not change.keys() & PLACE_FACTS:
        return facts
    return settle_place(facts, named=frozenset(change))


async def _write_row(
    context: Context, db: Database, before: StoreSettings, facts: StoreFacts, change: SettingsChange
) -> None:
    written = dict(change.written)
    if change.features:
        written["features"] = _merged(before.features, change.features)
    if change.opening_times is not msgspec.UNSET:
        written["opening_times"] = change.opening_times or None
    if change.delivery_points is not msgspec.UNSET:
        written["delivery_points"] = _points(before.delivery_points, change.delivery_points) or None
    if "bvn" in change.secrets:
        bvn = change.secrets["bvn"]
        written["bvn_last4"] = None if bvn is None else bvn[-_SHOWN_DIGITS:]
    await db.execute(
        """
        UPDATE store SET
          name = :name, country = :country, country_code = :country_code, state = :state,
          state_code = :state_code, city = :city, city_code = :city_code, time_zone = :time_zone,
          address = :address,
          latitude = :latitude, longitude = :longitude, email = :email, mobile = :mobile,
          profile_type = :profile_type, currency = :currency, tax_rate = :tax_rate, vat_type = :vat_type,
          settings = (settings || :kept::jsonb) - :removed::text[],
          sealed_bvn = CASE WHEN :names_bvn THEN :bvn::bytea ELSE sealed_bvn END,
          sealed_google_key = CASE WHEN :names_google_key THEN :google_key::bytea ELSE sealed_google_key END,
          updated_at = now()
        WHERE merchant_id = current_merchant() AND store_id = :store_id
        """,
        store_id=before.store_id,
        kept=msgspec.json.encode({name: one for name, one in written.items() if one is not None}).decode(),
        removed=[name for name, one in written.items() if one is None],
        names_bvn="bvn" in change.secrets,
        bvn=_sealed(context, change.secrets.get("bvn")),
        names_google_key="google_key" in change.secrets,
        google_key=_sealed(context, change.secrets.get("google_key")),
        **msgspec.structs.asdict(facts),
    )


def _merged(before: Mapping[str, Any], change: Mapping[str, object]) -> dict[str, Any] | None:
    merged = {name: value for name, value in {**before, **change}.items() if value is not None}
    return merged or None


def _points(there: tuple[DeliveryPoint, ...], wanted: tuple[PointWish, ...]) -> list[DeliveryPoint]:
    """The points in their new order. Raises Invalid for an id that no point has, or that comes twice."""
    known = {point.point_id: point for point in there}
    points, faults = [], []
    for place, wish in enumerate(wanted):
        before = None if wish.point_id is None else known.pop(wish.point_id, None)
        if wish.point_id is not None and before is None:
            message = "Take the id of a point that the store has, each once; leave it out for a new one."
            faults.append(FieldFault(f"/deliveryPoints/{place}/pointId", "unknown", message))
            continue
        kind = wish.kind if isinstance(wish.kind, str) else (before.kind if before else "")
        points.append(DeliveryPoint(before.point_id if before else new_id(), wish.name, kind))
    if faults:
        raise Invalid(faults=faults)
    return points


async def _write_page(db: Database, store_id: UUID, kind: PageKind, content: str) -> None:
    if not content:
        await db.execute(
            """
            DELETE FROM store_page
            WHERE merchant_id = current_merchant() AND store_id = :store_id AND kind = :kind
            """,
            store_id=store_id,
            kind=kind,
        )
        return
    await db.execute(
        """
        INSERT INTO store_page (merchant_id, store_id, kind, content)
        VALUES (current_merchant(), :store_id, :kind, :content)
        ON CONFLICT (merchant_id, store_id, kind) DO UPDATE SET content = excluded.content, updated_at = now()
        """,
        store_id=store_id,
        kind=kind,
        content=content,
    )


def _sealed(context: Context, secret: str | None) -> bytes | None:
    return None if secret is None else context.services.sealer.seal(secret.encode())


async def _write_trail(
    context: Context, db: Database, before: StoreSettings, after: StoreSettings, change: SettingsChange
) -> None:
    """Note what is another now. Secrets are named and never told."""
    was, is_now = _told(before), _told(after)
    changed = [name for name in {**was, **is_now} if was.get(name) != is_now.get(name)]
    told = {name: _shortened(is_now.get(name)) for name in changed}
    secrets: list[str] = sorted(change.secrets)
    if change.gateways is not msgspec.UNSET:
        secrets += [
            f"{wish.provider} {field}"
            for wish in change.gateways
            for field in ("secret_key", "webhook_secret")
            if getattr(wish, field) is not msgspec.UNSET
        ]
    if secrets:
        told["secrets"] = secrets
    if told:
        earlier = {name: _shortened(was.get(name)) for name in changed}
        await write_audit(context, db, "store.settings", "store", before.store_id, before=earlier, after=told)


def _shortened(value: Any) -> Any:
    """A page of the trail has hundreds of entries, and a text a hundred thousand letters."""
    if isinstance(value, str) and len(value) > _TOLD_LETTERS:
        return f"{value[:_TOLD_LETTERS]}… ({len(value)} letters)"
    return value


def _told(settings: StoreSettings) -> dict[str, Any]:
    """The settings as the trail has them, flat."""
    return {
        **msgspec.structs.asdict(settings.facts),
        **settings.written,
        **{f"feature {name}": value for name, value in settings.features.items()},
        **{f"page {kind}": content for kind, content in settings.pages.items()},
        "opening_times": settings.opening_times,
        "delivery_points": settings.delivery_points,
        "payment_gateways": settings.gateways,
    }
