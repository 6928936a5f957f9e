"""The Manage API. Importing it registers every operation that is built."""

from kasuwa.api.manage import audit as _audit
from kasuwa.api.manage import banners as _banners
from kasuwa.api.manage import complaints as _complaints
from kasuwa.api.manage import customers as _customers
from kasuwa.api.manage import exports as _exports
from kasuwa.api.manage import imports as _imports
from kasuwa.api.manage import messages as _messages
from kasuwa.api.manage import settings as _settings
from kasuwa.api.manage import stock as _stock
from kasuwa.api.manage import stocktakes as _stocktakes
from kasuwa.api.manage import transfers as _transfers
from kasuwa.api.manage import units as _units
from kasuwa.api.manage.service import api

__all__ = [
    "_audit",
    "_banners",
    "_complaints",
    "_customers",
    "_exports",
    "_imports",
    "_messages",
    "_settings",
    "_stock",
    "_stocktakes",
    "_transfers",
    "_units",
    "api",
]
