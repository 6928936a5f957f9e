"""The feed of price changes: written in the transaction of every change, read without missing any.

How a time of the feed stays true although transactions end in another order than they begin is in
migrations/0041_prices.sql and docs/decisions/price-feed.md.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.cursors import wrong_cursor
from kasuwa.base.db import Database
from kasuwa.base.ids import read_id
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.catalogue.errors import PageTooDeep
from kasuwa.domain.catalogue.filters import MOST_COUNTED
from kasuwa.domain.catalogue.price_rules import without_cost
from kasuwa.domain.catalogue.records import Price, Product, Variant
from kasuwa.domain.permissions import Permission

ChangeKind = Literal["created", "price_changed", "removed"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MOST_MILLISECONDS = 2**48 - 1
_LAST_ID = UUID(int=2**128 - 1)


class PriceChange(Struct, frozen=True, kw_only=True):
    """One line of the feed, as one store sees it. `variant_id` is None for a simple product."""

    change_id: UUID
    kind: ChangeKind
    product_id: UUID
    variant_id: UUID | None
    sku: str
    barcode: str | None
    name: str
    before: Price | None
    after: Price | None
    reason: str | None
    changed_at: datetime
    user_id: UUID | None


class ChangePage(Struct, frozen=True, kw_only=True):
    """A page of the feed. Nothing will be added at or before `as_of`, whoever is writing now."""

    rows: tuple[PriceChange, ...]
    total: int
    total_is_exact: bool
    as_of: datetime
    next_cursor: str | None


class FeedWish(Struct, frozen=True, kw_only=True):
    """Changes after `since`, up to `until`. A cursor wins over the page."""

    since: datetime
    until: datetime | None = None
    page: int = 1
    size: int = 50
    cursor: str | None = None


class ChangesTogether(Struct, frozen=True, kw_only=True):
    """A page as JSON: the lines of the feed without its brackets."""

    data: bytes
    total: int
    total_is_exact: bool
    as_of: datetime
    next_cursor: str | None


class Line(Struct, frozen=True):
    """A change as a JSON object without brace, id and time; `without_cost` is for those who see no costs."""

    body: str
    without_cost: str


Renderer = Callable[[PriceChange], Line]


class _Words(Struct):
    version: str = ""
    render: Renderer | None = None


_words = _Words()


def register_price_line(version: str, render: Renderer) -> None:
    """Tell how the API that shows the feed writes a line; another `version` where it writes it otherwise."""
    _words.version, _words.render = version, render


async def note_prices(
    context: Context,
    db: Database,
    changes: Sequence[tuple[Product | None, Product | None]],
    *,
    reason: str | None = None,
) -> None:
    """Write what became of the prices of these products, each as it was before (None: new) and after (None:
    taken off). Part of the change's own transaction; without a difference nothing is written."""
    entries = [entry for before, after in changes for entry in _entries(before, after)]
    if not entries:
        return
    lines = [_written(entry, reason or None, context.caller.user_id) for entry in entries]
    await db.execute(
        """
        WITH feed AS MATERIALIZED (SELECT begin_price_changes() AS at)
        INSERT INTO price_change (merchant_id, change_id, changed_at, store_id, except_store_ids, kind,
                                  product_id, variant_id, sku, barcode, name, before, after, is_cost_only,
                                  reason, user_id, line, line_without_cost, line_version)
        SELECT current_merchant(), price_change_id(feed.at, c.place), feed.at, c.store_id,
               c.except_store_ids::uuid[], c.kind, c.product_id, c.variant_id, c.sku, c.barcode, c.name,
               c.before::json, c.after::json, c.is_cost_only, :reason, :user_id,
               c.line, nullif(c.line_without_cost, c.line), :version
        FROM feed, unnest(:stores::uuid[], :except_stores::text[], :kinds::text[], :products::uuid[],
                          :variants::uuid[], :skus::text[], :barcodes::text[], :names::text[],
                          :befores::text[], :afters::text[], :cost_only::boolean[], :lines::text[],
                          :lines_without_cost::text[])
             WITH ORDINALITY c (store_id, except_store_ids, kind, product_id, variant_id, sku, barcode, name,
                                before, after, is_cost_only, line, line_without_cost, place)
        """,
        stores=[entry.store_id for entry in entries],
        except_stores=["{" + ",".join(map(str, entry.except_store_ids)) + "}" for entry in entries],
        kinds=[entry.kind for entry in entries],
        products=[entry.product.product_id for entry in entries],
        variants=[None if entry.product.kind == "simple" else entry.variant.variant_id for entry in entries],
        skus=[entry.variant.sku for entry in entries],
        barcodes=[entry.variant.barcode for entry in entries],
        names=[line_name(entry.product.name, entry.variant.name) for entry in entries],
        befores=[_kept(entry.before) for entry in entries],
        afters=[_kept(entry.after) for entry in entries],
        cost_only=[entry.is_cost_only for entry in entries],
        reason=reason or None,
        user_id=context.caller.user_id,
        lines=[line.body for line in lines],
        lines_without_cost=[line.without_cost for line in lines],
        version=_words.version,
    )


def line_name(product_name: str, variant_name: str) -> str:
    """How a line of prices names a simple product, or a variant of one."""
    return f"{product_name} – {variant_name}" if variant_name else product_name


async def read_price_changes(context: Context, wish: FeedWish) -> ChangePage:
    """What changed for the caller's store, the oldest first.

    Raises Invalid (`until` before `since`), PageTooDeep, CursorWrong.
    """
    after, begun, offset = _range(wish)
    async with context.reading() as db:
        # A statement of its own, and the first: what it says holds for what is read after it.
        horizon = await db.one("SELECT settled, quiet_until FROM price_changes_settled()", into=_Horizon)
        end = _last_id_of(horizon.settled if wish.until is None else min(horizon.settled, wish.until))
        chosen = {
            "store_id": context.store_id,
            "end_id": end,
            "with_cost": context.may(Permission.STOCK_COST),
        }
        found = await db.all(
            _ROWS,
            into=_Row,
            begun_id=begun,
            size=wish.size + 1,
            offset=offset,
            most=offset + wish.size + 1,
            **chosen,
        )
        count: int = await db.value(_COUNT, begun_id=after, most=MOST_COUNTED + 1, **chosen)
    rows = tuple(row.change(with_cost=context.may(Permission.STOCK_COST)) for row in found[: wish.size])
    return ChangePage(
        rows=rows,
        total=min(count, MOST_COUNTED),
        total_is_exact=count <= MOST_COUNTED,
        as_of=horizon.as_of(wish),
        next_cursor=str(rows[-1].change_id) if len(found) > wish.size else None,
    )


async def put_changes_together(context: Context, wish: FeedWish) -> ChangesTogether | None:
    """The same page, put together by the database in one call; None when a line is of another version."""
    after, begun, offset = _range(wish)
    async with context.services.pool.autocommit() as db:
        row = await db.one(
            """
            SELECT data, last_id, has_more, total, settled, quiet_until, is_current
            FROM price_change_page(:merchant_id, :store_id, :with_cost, :version, :since_id, :begun_id,
                                   :until_id, :size, :skipped, :most)
            """,
            into=_PageRow,
            merchant_id=context.merchant_id,
            store_id=context.store_id,
            with_cost=context.may(Permission.STOCK_COST),
            version=_words.version,
            since_id=after,
            begun_id=begun,
            until_id=_LAST_ID if wish.until is None else _last_id_of(wish.until),
            size=wish.size,
            skipped=offset,
            most=MOST_COUNTED + 1,
        )
    if not row.is_current:
        return None
    return ChangesTogether(
        data=row.data or b"",
        total=min(row.total, MOST_COUNTED),
        total_is_exact=row.total <= MOST_COUNTED,
        as_of=_Horizon(row.settled, row.quiet_until).as_of(wish),
        next_cursor=str(row.last_id) if row.has_more else None,
    )


def _range(wish: FeedWish) -> tuple[UUID, UUID, int]:
    """The id that all changes are above, the one that the page's are above, and how many are skipped."""
    if wish.until is not None and wish.until < wish.since:
        fault = FieldFault("#/query/until", "minimum", "Give a time that is not before since.")
        raise Invalid(faults=[fault])
    if wish.cursor is None and wish.page * wish.size > MOST_COUNTED:
        fault = FieldFault("#/query/page", "too_deep", "Go on with nextCursor beyond 10,000 rows.")
        raise PageTooDeep(faults=[fault])
    after = _last_id_of(wish.since)
    if wish.cursor is not None:
        return after, max(after, _read_cursor(wish.cursor)), 0
    return after, after, (wish.page - 1) * wish.size


class _Entry(Struct, frozen=True, kw_only=True):
    """One difference, before it is written; without a store for all but those excepted."""

    store_id: UUID | None
    except_store_ids: tuple[UUID, ...]
    product: Product
    variant: Variant
    before: Price | None
    after: Price | None

    @property
    def kind(self) -> ChangeKind:
        if self.before is None:
            return "created"
        return "removed" if self.after is None else "price_changed"

    @property
    def is_cost_only(self) -> bool:
        return self.kind == "price_changed" and without_cost(self.before) == without_cost(self.after)


def _entries(before: Product | None, after: Product | None) -> Iterator[_Entry]:
    if before is not None and after is not None and before.kind != after.kind:
        # A till knows a simple product by another name than a variant.
        yield from _entries(before, None)
        yield from _entries(None, after)
        return
    product = after or before
    assert product is not None
    old = {variant.variant_id: variant for variant in (before.variants if before else ())}
    new = {variant.variant_id: variant for variant in (after.variants if after else ())}
    for variant_id in dict.fromkeys([*old, *new]):
        yield from _differences(product, old.get(variant_id), new.get(variant_id))


def _differences(product: Product, old: Variant | None, new: Variant | None) -> Iterator[_Entry]:
    """The common price, then that of each store that had or has one of its own."""
    shown = new or old
    assert shown is not None
    own = [price.store_id for variant in (old, new) if variant for price in variant.store_prices]
    stores = tuple(sorted(set(own)))
    common: list[UUID | None] = [None]
    for store_id in common + list(stores):
        before = _price_of(old, store_id)
        after = _price_of(new, store_id)
        if before != after:
            yield _Entry(
                store_id=store_id,
                except_store_ids=() if store_id else stores,
                product=product,
                variant=shown,
                before=before,
                after=after,
            )


def _price_of(variant: Variant | None, store_id: UUID | None) -> Price | None:
    if variant is None:
        return None
    return variant.price if store_id is None else variant.price_at(store_id)


def _written(entry: _Entry, reason: str | None, user_id: UUID | None) -> Line:
    """The line in the words of the API; its id and time are given by the database."""
    if _words.render is None:
        return Line("", "")
    return _words.render(
        PriceChange(
            change_id=UUID(int=0),
            kind=entry.kind,
            product_id=entry.product.product_id,
            variant_id=None if entry.product.kind == "simple" else entry.variant.variant_id,
            sku=entry.variant.sku,
            barcode=entry.variant.barcode,
            name=line_name(entry.product.name, entry.variant.name),
            before=entry.before,
            after=entry.after,
            reason=reason,
            changed_at=datetime.now(UTC),
            user_id=user_id,
        )
    )


def _kept(price: Price | None) -> str | None:
    return None if price is None else msgspec.json.encode(price).decode()


def _last_id_of(at: datetime) -> UUID:
    """What no id of a change at that time or before is above."""
    milliseconds = max(0, min(_MOST_MILLISECONDS, (at - _EPOCH) // _MILLISECOND))
    return UUID(int=(milliseconds << 80) | (2**80 - 1))


def _read_cursor(text: str) -> UUID:
    found = read_id(text)
    if found is None:
        raise wrong_cursor()
    return found


class _Horizon(Struct, frozen=True):
    settled: datetime
    quiet_until: datetime

    def as_of(self, wish: FeedWish) -> datetime:
        """From when on a till reads that has read what it wished for."""
        reached = max(self.settled, min(wish.since, self.quiet_until))
        return reached if wish.until is None else min(reached, wish.until)


class _PageRow(Struct, frozen=True):
    data: bytes | None
    last_id: UUID | None
    has_more: bool
    total: int
    settled: datetime
    quiet_until: datetime
    is_current: bool


class _Row(Struct, frozen=True):
    change_id: UUID
    kind: ChangeKind
    product_id: UUID
    variant_id: UUID | None
    sku: str
    barcode: str | None
    name: str
    before: str | None
    after: str | None
    reason: str | None
    changed_at: datetime
    user_id: UUID | None

    def change(self, *, with_cost: bool) -> PriceChange:
        def price(text: str | None) -> Price | None:
            found = None if text is None else _PRICE.decode(text)
            return found if with_cost else without_cost(found)

        return PriceChange(
            change_id=UUID(int=self.change_id.int),
            kind=self.kind,
            product_id=self.product_id,
            variant_id=self.variant_id,
            sku=self.sku,
            barcode=self.barcode,
            name=self.name,
            before=price(self.before),
            after=price(self.after),
            reason=self.reason,
            changed_at=self.changed_at,
            user_id=self.user_id,
        )


_PRICE = msgspec.json.Decoder(Price)

# Two walks along one index, each as far as the page needs: the store's own changes, and everybody's.
_OWN = """
    FROM price_change
    WHERE merchant_id = current_merchant() AND store_id = :store_id
      AND change_id > :begun_id AND change_id <= :end_id AND (:with_cost OR NOT is_cost_only)
"""
_COMMON = """
    FROM price_change
    WHERE merchant_id = current_merchant() AND store_id IS NULL
      AND change_id > :begun_id AND change_id <= :end_id AND (:with_cost OR NOT is_cost_only)
      AND :store_id <> ALL (except_store_ids)
"""
_COLUMNS = """
    change_id, kind, product_id, variant_id, sku, barcode, name, before, after, reason, changed_at, user_id
"""
_ROWS = f"""
    SELECT {_COLUMNS}
    FROM (
      (SELECT {_COLUMNS} {_OWN} ORDER BY change_id LIMIT :most)
      UNION ALL
      (SELECT {_COLUMNS} {_COMMON} ORDER BY change_id LIMIT :most)
    ) both_walks
    ORDER BY change_id
    LIMIT :size OFFSET :offset
"""  # noqa: S608 - put together from the words above
_COUNT = f"""
    SELECT count(*) FROM (
      SELECT 1 FROM (
        (SELECT 1 {_OWN} LIMIT :most) UNION ALL (SELECT 1 {_COMMON} LIMIT :most)
      ) both_walks LIMIT :most
    ) counted
"""  # noqa: S608 - put together from the words above
