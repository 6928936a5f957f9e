"""The link that a log-in gives an app: it opens the shop in a browser, signed in without a password.

Only the button uses the link up: programs that look into links open them, and press no button. What it opens
is a session of the pages alone, told by a cookie that no script and no other site can use; no API takes it.
"""

import html
from collections.abc import Callable

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from kasuwa.base.context import Context, Services
from kasuwa.base.http.api import begin_context
from kasuwa.base.ids import token_hash
from kasuwa.base.limits import Quota
from kasuwa.base.problems import Problem, Unauthenticated
from kasuwa.domain.merchants.actions import end_session
from kasuwa.domain.merchants.authentication import resolve_session
from kasuwa.domain.stores.queries import list_locations
from kasuwa.domain.users.errors import (
    LinkNotFound,
    LinkUsed,
    SecondFactorRequired,
    WrongSecondFactor,
)
from kasuwa.domain.users.login import ENTER_PATH, WEB_SESSION, enter_by_link
from kasuwa.domain.users.queries import get_me
from kasuwa.web.forms import AnyRequest, button_with_token, form_page, read_field, read_fields, spend_try

OFFICE_PATH = "/office"
LEAVE_PATH = f"{OFFICE_PATH}/leave"
COOKIE = "kasuwa_office"

_QUOTA = Quota("enter-page", requests=20, seconds=60)
_MOST_STORES = 200


def enter_routes(services: Callable[[], Services]) -> list[HTTPRouteHandler]:
    """Litestar's handlers of the page, of its button, and of what lies behind it."""

    @get(ENTER_PATH, include_in_schema=False)
    async def ask(request: AnyRequest) -> Response[bytes]:
        return form_page(
            200,
            "Open your shop",
            f"""<p>Your app asks to open your shop in this browser, signed in as you.</p>
{button_with_token(ENTER_PATH, request, "Open it")}
<p>If you did not ask for this, close this page: nobody is signed in.</p>""",
        )

    @post(ENTER_PATH, include_in_schema=False, status_code=303)
    async def enter(request: AnyRequest) -> Response[bytes]:
        try:
            token, code = await read_fields(request, "token", "code")
            await spend_try(services(), request, _QUOTA)
            opened = await enter_by_link(begin_context(services(), request), token, code.strip())
        except (SecondFactorRequired, WrongSecondFactor) as problem:
            return _ask_for_code(token, problem)
        except Problem as problem:
            return _refusal(problem)
        headers = {"Location": OFFICE_PATH, "Set-Cookie": _cookie(request, opened.token)}
        return form_page(303, "Your shop", f'<p><a href="{OFFICE_PATH}">Go on</a></p>', headers)

    @get(OFFICE_PATH, include_in_schema=False)
    async def office(request: AnyRequest) -> Response[bytes]:
        try:
            return form_page(200, "Your shop", await _shop(await _visitor(services(), request)))
        except Problem as problem:
            return _refusal(problem)

    @post(LEAVE_PATH, include_in_schema=False, status_code=200)
    async def leave(request: AnyRequest) -> Response[bytes]:
        try:
            await read_field(request, "")
            context = await _visitor(services(), request)
            await end_session(context, token_hash(request.cookies[COOKIE]))
        except Problem as problem:
            if problem.status != 401:
                return _refusal(problem)
        headers = {"Set-Cookie": _cookie(request, "")}
        return form_page(200, "You are signed out", "<p>This page may be closed.</p>", headers)

    return [ask, enter, office, leave]


async def _visitor(services: Services, request: AnyRequest) -> Context:
    """The request as the user whose cookie it brings. Raises Unauthenticated."""
    token = request.cookies.get(COOKIE, "")
    session = await resolve_session(services.pool, token, kind=WEB_SESSION)
    if session is None:
        raise Unauthenticated("You are not signed in, or have been away for too long.")
    return begin_context(services, request).acting_as(session.caller())


async def _shop(context: Context) -> str:
    """Who is signed in, and the stores this user may open."""
    user = await get_me(context)
    stores = await list_locations(context, active=True, page=1, size=_MOST_STORES)
    rows = "\n".join(
        f"<tr><td>{html.escape(store.name)}</td><td>{html.escape(store.city)}</td>"
        f"<td>{html.escape(store.role.lower())}</td></tr>"
        for store in stores
    )
    name = html.escape(f"{user.first_name} {user.last_name}".strip() or user.username)
    return f"""<p>You are signed in as {name}.</p>
<table>
<tr><th>Store</th><th>City</th><th>You are</th></tr>
{rows}
</table>
<p>Everything an app can do with them stands in <a href="/docs">the documentation</a>.</p>
<form method="post" action="{LEAVE_PATH}"><button>Sign out</button></form>"""


def _ask_for_code(token: str, problem: Problem) -> Response[bytes]:
    """The page that asks for the second factor, with the link's token in it; the link is not used up."""
    kept = html.escape(token, quote=True)
    wrong = "<p>That code was wrong, too old or used before.</p>\n"
    return form_page(
        problem.status,
        "Type your code",
        f"""{wrong if isinstance(problem, WrongSecondFactor) else ""}\
<p>Type the code that your app shows now, or one of your recovery codes. A code works once.</p>
<form method="post" action="{ENTER_PATH}"><input type="hidden" name="token" value="{kept}">
<label>Code <input name="code" autocomplete="one-time-code" maxlength="20" required autofocus></label>
<button>Open it</button></form>""",
    )


def _cookie(request: AnyRequest, token: str) -> str:
    """For the pages of the shop alone, until the browser is closed or the session ends; "" takes it away."""
    secure = "; Secure" if request.scope["scheme"] == "https" else ""
    ended = "" if token else "; Max-Age=0"
    return f"{COOKIE}={token}; Path={OFFICE_PATH}; HttpOnly; SameSite=Strict{secure}{ended}"


def _refusal(problem: Problem) -> Response[bytes]:
    # Of a link only its app can give another.
    own = "" if isinstance(problem, LinkNotFound | LinkUsed) else problem.detail
    said = f"<p>{html.escape(own)}</p>" if own else ""
    return form_page(
        problem.status, problem.title, said + "<p>Log in to your app again: it has a new link then.</p>"
    )
