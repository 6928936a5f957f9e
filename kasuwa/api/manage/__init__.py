"""The Manage API. Importing it registers every operation that is built."""

from kasuwa.api.manage import audit as _audit
from kasuwa.api.manage import messages as _messages
from kasuwa.api.manage import stock as _stock
from kasuwa.api.manage import stocktakes as _stocktakes
from kasuwa.api.manage import transfers as _transfers
from kasuwa.api.manage.service import api

__all__ = ["_audit", "_messages", "_stock", "_stocktakes", "_transfers", "api"]
