"""The Shoplazza API. Importing it registers every operation, and its card."""

from kasuwa.api.shoplazza import images as _images
from kasuwa.api.shoplazza.service import api, enveloped_api

__all__ = ["_images", "api", "enveloped_api"]
