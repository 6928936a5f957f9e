"""The Shoplazza API. Importing it registers every operation, and its card."""

from kasuwa.api.shoplazza import images as _images
from kasuwa.api.shoplazza import products as _products
from kasuwa.api.shoplazza.service import api, enveloped_api
from kasuwa.api.shoplazza.views import product_card
from kasuwa.domain.catalogue.cards import register_card

register_card("shoplazza", product_card)

__all__ = ["_images", "_products", "api", "enveloped_api"]
