"""The one registry that BigCommerce's files add their operations to."""

from kasuwa.api.bigcommerce.dialect import BigCommerce
from kasuwa.base.http.api import Api

api = Api(BigCommerce())
