"""What pages with one form have in common: an address that holds a token, a button, and few tries."""

import html
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from litestar import Request, Response

from kasuwa.base.context import Services
from kasuwa.base.http.body import read_body
from kasuwa.base.http.origin import caller_address
from kasuwa.base.limits import Quota
from kasuwa.base.problems import Forbidden, TooManyRequests
from kasuwa.web.layout import PAGE_POLICY, whole_page

AnyRequest = Request[Any, Any, Any]

_FORM_BYTES = 4096
_POLICY = PAGE_POLICY.replace("form-action 'none'", "form-action 'self'")


async def read_field(request: AnyRequest, name: str) -> str:
    """The field of a form of ours; "" where it is missing. Raises what `read_fields` does."""
    [value] = await read_fields(request, name)
    return value


async def read_fields(request: AnyRequest, *names: str) -> list[str]:
    """The fields of a form of ours; "" where one is missing.

    Raises Forbidden for a form of somebody else's page, TooLarge, and what `read_body` does.
    """
    # Our pages send no referrer, so Origin says "null"; browsers tell this instead wherever they are on TLS.
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("Open the page here and press its button.")
    form = parse_qs((await read_body(request, _FORM_BYTES)).decode("ascii", "replace"))
    return [form.get(name, [""])[0] for name in names]


async def spend_try(services: Services, request: AnyRequest, quota: Quota) -> None:
    """Raises TooManyRequests when this address has guessed too often."""
    if not (await services.limits.take(quota, caller_address(request))).accepted:
        raise TooManyRequests("Wait a minute.")


def button_with_token(path: str, request: AnyRequest, label: str) -> str:
    """A form of one button that sends the token of the page's own address."""
    token = html.escape(request.query_params.get("token", ""), quote=True)
    return f"""<form method="post" action="{path}"><input type="hidden" name="token" value="{token}">
<button>{html.escape(label)}</button></form>"""


def form_page(
    status: int, title: str, body: str, headers: Mapping[str, str] | None = None
) -> Response[bytes]:
    """A page under its title; `body` is HTML."""
    all_headers = {
        "Content-Security-Policy": _POLICY,
        # The address of the page may hold a token.
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        **(headers or {}),
    }
    content = whole_page(f"Kasuwa: {title}", f"<h1>{html.escape(title)}</h1>\n{body}")
    return Response(content, status_code=status, headers=all_headers, media_type="text/html; charset=utf-8")
