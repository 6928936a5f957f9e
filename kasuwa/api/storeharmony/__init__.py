"""The StoreHarmony API. Importing it registers every operation that is built, and its card."""

from kasuwa.api.storeharmony import access as _access
from kasuwa.api.storeharmony import pictures as _pictures
from kasuwa.api.storeharmony import prices as _prices
from kasuwa.api.storeharmony import products as _products
from kasuwa.api.storeharmony import stores as _stores
from kasuwa.api.storeharmony.prices import LINE_VERSION, price_line
from kasuwa.api.storeharmony.product_views import item_card
from kasuwa.api.storeharmony.service import api
from kasuwa.domain.catalogue.cards import register_card
from kasuwa.domain.catalogue.price_feed import register_price_line

register_card("storeharmony", item_card)
register_price_line(LINE_VERSION, price_line)

__all__ = ["_access", "_pictures", "_prices", "_products", "_stores", "api"]
