"""The one registry that StoreHarmony's files add their operations to."""

from kasuwa.api.storeharmony.dialect import StoreHarmony
from kasuwa.base.http.api import Api

api = Api(StoreHarmony())
