"""The page behind the link of a registration's message: one button that proves the address.

Only the button uses the link up: programs that look into messages open links, and press none.
"""

import html
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler

from kasuwa.base.context import Services
from kasuwa.base.http.api import begin_context
from kasuwa.base.http.body import read_body
from kasuwa.base.http.origin import caller_address
from kasuwa.base.limits import Quota
from kasuwa.base.problems import Problem, TooManyRequests
from kasuwa.domain.users.actions import VERIFY_PATH, verify_by_link
from kasuwa.web.layout import PAGE_POLICY, whole_page

AnyRequest = Request[Any, Any, Any]

_FORM_BYTES = 4096
_QUOTA = Quota("verify-page", requests=20, seconds=60)
_POLICY = PAGE_POLICY.replace("form-action 'none'", "form-action 'self'")


def verify_routes(services: Callable[[], Services]) -> list[HTTPRouteHandler]:
    """Litestar's handlers of the page and of its button."""

    @get(VERIFY_PATH, include_in_schema=False)
    async def ask(request: AnyRequest) -> Response[bytes]:
        token = html.escape(request.query_params.get("token", ""), quote=True)
        return _page(
            200,
            "Confirm your e-mail address",
            f"""<p>Somebody opened a Kasuwa account with this address. Was it you?</p>
<form method="post" action="{VERIFY_PATH}"><input type="hidden" name="token" value="{token}">
<button>Yes, confirm it</button></form>
<p>If it was not you, close this page: nothing is confirmed.</p>""",
        )

    @post(VERIFY_PATH, include_in_schema=False, status_code=200)
    async def confirm(request: AnyRequest) -> Response[bytes]:
        try:
            form = parse_qs((await read_body(request, _FORM_BYTES)).decode("ascii", "replace"))
            await _spend(services(), caller_address(request))
            await verify_by_link(begin_context(services(), request), form.get("token", [""])[0])
        except Problem as problem:
            said = f"<p>{html.escape(problem.detail)}</p>" if problem.detail else ""
            return _page(problem.status, problem.title, said + "<p>Ask for a new message in your app.</p>")
        return _page(
            200, "Your e-mail address is confirmed", "<p>You can log in now. This page may be closed.</p>"
        )

    return [ask, confirm]


async def _spend(services: Services, address: str) -> None:
    if not (await services.limits.take(_QUOTA, address)).accepted:
        raise TooManyRequests("Wait a minute.")


def _page(status: int, title: str, body: str) -> Response[bytes]:
    headers = {
        "Content-Security-Policy": _POLICY,
        # The address of the page holds the token.
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    content = whole_page(f"Kasuwa: {title}", f"<h1>{html.escape(title)}</h1>\n{body}")
    return Response(content, status_code=status, headers=headers, media_type="text/html; charset=utf-8")
