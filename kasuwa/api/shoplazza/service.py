"""The two registries of the Shoplazza API: one operation is one handler, whatever the version."""

from collections.abc import Callable

from kasuwa.api.shoplazza.dialect import EnvelopedShoplazza, Shoplazza
from kasuwa.base.http.api import Api, Handler

api = Api(Shoplazza())
enveloped_api = Api(EnvelopedShoplazza())


def operation(operation_id: str) -> Callable[[Handler], Handler]:
    """Register the handler in all versions. Their contracts name the same fields, so it reads them alike."""

    def register(handler: Handler) -> Handler:
        enveloped_api.operation(operation_id)(handler)
        return api.operation(operation_id)(handler)

    return register
