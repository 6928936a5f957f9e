"""The one registry that Manage's files add their operations to."""

from kasuwa.api.manage.dialect import Manage
from kasuwa.base.http.api import Api

api = Api(Manage())
