"""The BigCommerce API. Importing it registers every operation that is built, and its card."""

from kasuwa.api.bigcommerce import images as _images
from kasuwa.api.bigcommerce.service import api

__all__ = ["_images", "api"]
