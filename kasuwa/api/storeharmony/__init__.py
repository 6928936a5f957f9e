"""The StoreHarmony API. Importing it registers every operation that is built, and its card."""

from kasuwa.api.storeharmony import access as _access
from kasuwa.api.storeharmony import banks as _banks
from kasuwa.api.storeharmony import bulk_products as _bulk_products
from kasuwa.api.storeharmony import categories as _categories
from kasuwa.api.storeharmony import checks as _checks
from kasuwa.api.storeharmony import complaints as _complaints
from kasuwa.api.storeharmony import customers as _customers
from kasuwa.api.storeharmony import pages as _pages
from kasuwa.api.storeharmony import pictures as _pictures
from kasuwa.api.storeharmony import prices as _prices
from kasuwa.api.storeharmony import products as _products
from kasuwa.api.storeharmony import reference as _reference
from kasuwa.api.storeharmony import staff as _staff
from kasuwa.api.storeharmony import stock as _stock
from kasuwa.api.storeharmony import stock_audit as _stock_audit
from kasuwa.api.storeharmony import stock_query as _stock_query
from kasuwa.api.storeharmony import stores as _stores
from kasuwa.api.storeharmony import transfers as _transfers
from kasuwa.api.storeharmony import users as _users
from kasuwa.api.storeharmony import variants as _variants
from kasuwa.api.storeharmony.prices import LINE_VERSION, price_line
from kasuwa.api.storeharmony.product_views import item_card
from kasuwa.api.storeharmony.service import api
from kasuwa.domain.catalogue.cards import register_card
from kasuwa.domain.catalogue.price_feed import register_price_line

register_card("storeharmony", item_card)
register_price_line(LINE_VERSION, price_line)

__all__ = [
    "_access",
    "_banks",
    "_bulk_products",
    "_categories",
    "_checks",
    "_complaints",
    "_customers",
    "_pages",
    "_pictures",
    "_prices",
    "_products",
    "_reference",
    "_staff",
    "_stock",
    "_stock_audit",
    "_stock_query",
    "_stores",
    "_transfers",
    "_users",
    "_variants",
    "api",
]
