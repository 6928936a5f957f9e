"""What an update changes, in the words of the file: its columns, and values as they stand in cells."""

from kasuwa.base.money import from_minor
from kasuwa.domain.catalogue.bulk_records import FieldChange
from kasuwa.domain.exchange.columns import MONEY, PRICE, PRODUCT, VARIANT
from kasuwa.domain.exchange.exports import cell_text
from kasuwa.domain.exchange.records import ShownChange

_AMOUNTS = {field: name for name, field in MONEY.items()}
_COLUMNS = {field: name for name, (field, _) in {**PRODUCT, **VARIANT, **PRICE}.items()} | _AMOUNTS


def shown_change(change: FieldChange, currency: str) -> ShownChange:
    """The change for people. Money is in units of the currency."""
    is_money = change.field in _AMOUNTS

    def text(value: object) -> str:
        if isinstance(value, tuple | list):
            return "; ".join(text(part) for part in value)
        return cell_text(from_minor(value, currency) if is_money and isinstance(value, int) else value)

    column = _COLUMNS.get(change.field, change.field)
    return ShownChange(change.sku, column, text(change.before), text(change.after))
