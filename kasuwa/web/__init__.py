"""What is not an API: picture files, the API's documentation, and later the pages of the back office."""

from collections.abc import Callable

from litestar.handlers import HTTPRouteHandler

from kasuwa.base.context import Services
from kasuwa.web.docs import docs_routes
from kasuwa.web.enter import enter_routes
from kasuwa.web.media import media_route
from kasuwa.web.static_files import static_route
from kasuwa.web.verify import verify_routes


def routes(services: Callable[[], Services]) -> list[HTTPRouteHandler]:
    return [
        media_route(services),
        static_route(),
        *docs_routes(),
        *verify_routes(services),
        *enter_routes(services),
    ]
