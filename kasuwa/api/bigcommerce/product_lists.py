"""The filters and sorts of product lists."""

from datetime import UTC, datetime

from kasuwa.api.bigcommerce.contract import DeleteProductsQuery, GetProductsQuery
from kasuwa.api.bigcommerce.product_fields import KEY
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.catalogue.records import PageWish, ProductFilter, SortKey

MOST_WITH_OPTIONS = 10
_MOST_BIGINT = 2**63 - 1

_SORTS: dict[str, SortKey] = {
    "id": "number",
    "name": "name",
    "sku": "sku",
    "price": "price",
    "calculated_price": "effective_price",
    "date_modified": "updated_at",
    "inventory_level": "quantity",
    "is_visible": "visible_online",
    # The same for every product here, so the order is that of the ids.
    "date_last_imported": "number",
    "total_sold": "number",
}


def wish_of(query: GetProductsQuery) -> PageWish:
    """The page; options and modifiers make it ten at most, as documented."""
    size = query.limit
    if query.include and {"options", "modifiers"} & set(query.include):
        size = min(size, MOST_WITH_OPTIONS)
    return PageWish(
        sort=_SORTS[query.sort or "id"],
        descending=query.direction == "desc",
        page=query.page,
        size=size,
        any_depth=True,
    )


def filter_of(query: GetProductsQuery | DeleteProductsQuery) -> ProductFilter:
    """Every condition that the query names must hold. Raises Invalid."""
    numbers: set[int] | None = None if query.id_in is None else set(query.id_in)
    skus: tuple[str, ...] | None = None if query.sku is None else (query.sku,)
    own: dict[str, object] = {}
    absent: list[tuple[str, str]] = []
    if query.brand_id:
        own["brand_id"] = query.brand_id
    elif query.brand_id == 0:
        absent.append((KEY, "brand_id"))
    if isinstance(query, DeleteProductsQuery):
        return ProductFilter(
            statuses=("active", "inactive"),
            numbers=None if numbers is None else tuple(sorted(numbers)),
            name=query.name,
            skus=skus,
            visible_online=query.is_visible,
            extra={KEY: own} if own else None,
            extra_absent=tuple(absent),
        )
    if query.id is not None:
        numbers = {query.id} if numbers is None else numbers & {query.id}
    if query.sku_in is not None:
        skus = tuple(query.sku_in) if skus is None else tuple(sku for sku in skus if sku in query.sku_in)
    if query.type == "digital":
        own["type"] = "digital"
    elif query.type == "physical":
        absent.append((KEY, "type"))
    lows = [query.id_min, None if query.id_greater is None else query.id_greater + 1]
    highs = [query.id_max, None if query.id_less is None else query.id_less - 1]
    return ProductFilter(
        statuses=("active", "inactive"),
        text=query.keyword or None,
        in_descriptions=bool(query.keyword),
        corrects_text=False,
        numbers=None if numbers is None else tuple(sorted(numbers)),
        not_numbers=None if query.id_not_in is None else tuple(query.id_not_in),
        number_from=max((_bigint(low) for low in lows if low is not None), default=None),
        number_to=min((_bigint(high) for high in highs if high is not None), default=None),
        name=query.name,
        skus=skus,
        visible_online=query.is_visible,
        updated_from=_moment(query.date_modified_min, "date_modified:min"),
        updated_to=_moment(query.date_modified_max, "date_modified:max"),
        extra={KEY: own} if own else None,
        extra_absent=tuple(absent),
    )


def _bigint(number: int) -> int:
    return max(-_MOST_BIGINT, min(_MOST_BIGINT, number))


def _moment(text: str | None, name: str) -> datetime | None:
    """A date, or a moment; without a zone it is UTC."""
    if text is None:
        return None
    try:
        # A plus sign that was not escaped arrives as a space.
        at = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text.strip())
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        fault = FieldFault(f"#/query/{name}", "format", "Write a date such as 2018-09-13T15:57:07+00:00.")
        raise Invalid(faults=[fault]) from None
