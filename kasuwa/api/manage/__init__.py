"""The Manage API. Importing it registers every operation that is built."""

from kasuwa.api.manage import audit as _audit
from kasuwa.api.manage.service import api

__all__ = ["_audit", "api"]
