"""The page behind the link of a registration's message: one button that proves the address.

Only the button uses the link up: programs that look into messages open links, and press none.
"""

import html
from collections.abc import Callable

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from kasuwa.base.context import Services
from kasuwa.base.http.api import begin_context
from kasuwa.base.limits import Quota
from kasuwa.base.problems import Problem
from kasuwa.domain.users.actions import VERIFY_PATH, verify_by_link
from kasuwa.web.forms import AnyRequest, button_with_token, form_page, read_field, spend_try

_QUOTA = Quota("verify-page", requests=20, seconds=60)


def verify_routes(services: Callable[[], Services]) -> list[HTTPRouteHandler]:
    """Litestar's handlers of the page and of its button."""

    @get(VERIFY_PATH, include_in_schema=False)
    async def ask(request: AnyRequest) -> Response[bytes]:
        return form_page(
            200,
            "Confirm your e-mail address",
            f"""<p>Somebody opened a Kasuwa account with this address. Was it you?</p>
{button_with_token(VERIFY_PATH, request, "Yes, confirm it")}
<p>If it was not you, close this page: nothing is confirmed.</p>""",
        )

    @post(VERIFY_PATH, include_in_schema=False, status_code=200)
    async def confirm(request: AnyRequest) -> Response[bytes]:
        try:
            token = await read_field(request, "token")
            await spend_try(services(), request, _QUOTA)
            await verify_by_link(begin_context(services(), request), token)
        except Problem as problem:
            said = f"<p>{html.escape(problem.detail)}</p>" if problem.detail else ""
            return form_page(
                problem.status, problem.title, said + "<p>Ask for a new message in your app.</p>"
            )
        return form_page(
            200, "Your e-mail address is confirmed", "<p>You can log in now. This page may be closed.</p>"
        )

    return [ask, confirm]
