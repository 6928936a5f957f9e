"""The BigCommerce API. Importing it registers every operation that is built, and its card."""

from kasuwa.api.bigcommerce import images as _images
from kasuwa.api.bigcommerce import products as _products
from kasuwa.api.bigcommerce.product_views import product_card
from kasuwa.api.bigcommerce.service import api
from kasuwa.api.bigcommerce.v2 import api_v2
from kasuwa.domain.catalogue.cards import register_card

register_card("bigcommerce", product_card)

__all__ = ["_images", "_products", "api", "api_v2"]
