"""The documentation of the APIs: contracts as they are, a page to read and try them, and every problem code.

Nothing here loads anything from somebody else's server, and the policy of each page says so to the browser.
"""

import asyncio
import html
import importlib
import pkgutil
from functools import cache
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

import kasuwa
from kasuwa.base.http.caching import etag, not_modified
from kasuwa.base.http.openapi import openapi_document
from kasuwa.base.problems import Problem
from kasuwa.base.resources import resource_folder
from kasuwa.web.layout import PAGE_POLICY, whole_page

AnyRequest = Request[Any, Any, Any]

# Name in the address, and what people call it. The order is that of the page.
CONTRACTS = {
    "storeharmony": "StoreHarmony",
    "bigcommerce": "BigCommerce",
    "shoplazza": "Shoplazza",
    "shoplazza-enveloped": "Shoplazza, later envelope",
    "manage": "Manage, our own",
}

# The reference sets styles of its own; scripts are ours alone, and it may speak to this server alone.
_REFERENCE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def docs_routes() -> list[HTTPRouteHandler]:
    """Litestar's handlers of `/`, `/docs`, `/docs/problems` and `/openapi/{name}.json`."""

    @get("/", include_in_schema=False)
    async def front(request: AnyRequest) -> Response[bytes]:
        return _page(request, _front(), PAGE_POLICY)

    @get("/docs", include_in_schema=False)
    async def docs(request: AnyRequest) -> Response[bytes]:
        return _page(request, _reference(), _REFERENCE_POLICY)

    @get("/docs/problems", include_in_schema=False)
    async def problems(request: AnyRequest) -> Response[bytes]:
        return _page(request, await asyncio.to_thread(_problems), PAGE_POLICY)

    @get([f"/openapi/{name}.json" for name in CONTRACTS], include_in_schema=False)
    async def contract(request: AnyRequest) -> Response[bytes]:
        name = request.url.path.removeprefix("/openapi/").removesuffix(".json")
        path = resource_folder("contract") / f"{name}.yaml"
        document = await asyncio.to_thread(openapi_document, path)
        headers = {
            "ETag": document.etag,
            "Cache-Control": "public, no-cache",
            # A contract is for everybody's tools, whichever page they run in.
            "Access-Control-Allow-Origin": "*",
        }
        if not_modified(request, document.etag):
            return Response(b"", status_code=304, headers=headers)
        return Response(document.body, headers=headers, media_type="application/json")

    return [front, docs, problems, contract]


def _page(request: AnyRequest, body: bytes, policy: str) -> Response[bytes]:
    tag = etag(body)
    headers = {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "public, no-cache",
        "ETag": tag,
    }
    if not_modified(request, tag):
        return Response(b"", status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="text/html; charset=utf-8")


@cache
def _front() -> bytes:
    links = "".join(
        f'<li>{html.escape(title)}: <a href="/openapi/{name}.json">OpenAPI document</a></li>'
        for name, title in CONTRACTS.items()
    )
    return whole_page(
        "Kasuwa",
        f"""<h1>Kasuwa</h1>
<p>An open commerce backend, version {kasuwa.__version__}. It speaks three APIs over one shop.</p>
<ul>
<li><a href="/docs">Read and try the APIs</a></li>
<li><a href="/docs/problems">Every problem code, and what to do about it</a></li>
{links}
<li>Health: <a href="/healthz">process</a>, <a href="/readyz">ready</a>, <a href="/metrics">metrics</a></li>
</ul>""",
    )


@cache
def _reference() -> bytes:
    sources = [
        {"title": title, "slug": name, "url": f"/openapi/{name}.json", "default": place == 0}
        for place, (name, title) in enumerate(CONTRACTS.items())
    ]
    data = html.escape(msgspec.json.encode(sources).decode(), quote=True)
    return whole_page(
        "Kasuwa: the APIs",
        f"""<div id="reference" data-sources="{data}"></div>
<script src="/static/vendor/scalar/standalone.js"></script>
<script src="/static/docs.js"></script>""",
        style="docs.css",
    )


@cache
def _problems() -> bytes:
    rows = "".join(
        f'<tr id="{code}"><td><code>{code}</code></td><td>{status}</td><td>{html.escape(title)}</td></tr>'
        for code, (status, title) in sorted(problem_codes().items())
    )
    return whole_page(
        "Kasuwa: problem codes",
        f"""<h1>Problem codes</h1>
<p>Every answer that says no carries one of these in <code>type</code>. Code and status stay as they
are; titles may be worded better. <code>detail</code> and <code>errors</code> say what to change.</p>
<table><thead><tr><th>code</th><th>status</th><th>what it says</th></tr></thead><tbody>{rows}</tbody></table>
<p><a href="/docs">The APIs</a></p>""",
    )


def problem_codes() -> dict[str, tuple[int, str]]:
    """Status and title of each code, of every Problem that the APIs and the shop can raise."""
    for package in ("kasuwa.base", "kasuwa.domain", "kasuwa.api"):
        found = importlib.import_module(package)
        for module in pkgutil.walk_packages(found.__path__, f"{package}."):
            # Programs of their own, which are no part of this process, are left alone.
            if not module.name.endswith(("__main__", ".child", ".worker")):
                importlib.import_module(module.name)
    return {kind.code: (kind.status, kind.title) for kind in _kinds(Problem)}


def _kinds(kind: type[Problem]) -> list[type[Problem]]:
    # A subclass that keeps its parent's code is the same problem to a caller: the parent has the last word.
    below = [each for sub in kind.__subclasses__() for each in _kinds(sub)]
    return [*below, kind]
