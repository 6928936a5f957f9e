"""The documentation as a browser sees it: whole, and calling nobody but us."""

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest
from playwright.async_api import Browser, Page, async_playwright

from kasuwa.api.manage import api as manage
from kasuwa.base.http.openapi import load_contract
from kasuwa.base.resources import resource_folder
from kasuwa.web.docs import CONTRACTS, problem_codes
from kasuwa.web.static_files import static_names
from tests.cli.conftest import new_installation as new_installation
from tests.cli.staging import Installation, Serving, serving
from tests.client import Web

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        if os.environ.get("CI", "").lower() in {"1", "true", "yes"}:
            pytest.fail("Chromium is missing: apt install chromium")
        pytest.skip("Chromium is missing: apt install chromium")
    return found


@pytest.fixture(scope="module")
def server(new_installation: Callable[[], Installation]) -> Iterator[Serving]:
    with serving(new_installation()) as running:
        yield running


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield launched
        await launched.close()


class Watched:
    """A page, and what it asked for, complained about and was forbidden."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on(
            "console",
            lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    async def violations(self) -> list[str]:
        return await self.page.evaluate("window.violations")  # type: ignore[no-any-return]

    def outside(self, url: str) -> list[str]:
        return [asked for asked in self.requests if not asked.startswith((url, "data:", "blob:"))]


@pytest.fixture
async def watched(browser: Browser) -> AsyncIterator[Watched]:
    page = await browser.new_page(viewport={"width": 1280, "height": 900})
    await page.add_init_script(
        "window.violations = [];"
        "addEventListener('securitypolicyviolation', e =>"
        " window.violations.push(e.effectiveDirective + ' ' + e.blockedURI))"
    )
    yield Watched(page)
    await page.close()


# One of Scalar's libraries tries whether it may compile its checks, and works without when it may not.
HARMLESS = {"script-src eval"}
METHODS = {"get", "post", "put", "patch", "delete"}
OPERATIONS = {
    "storeharmony": 158,
    "bigcommerce": 12,
    "shoplazza": 11,
    "shoplazza-enveloped": 11,
    "manage": len(manage.dialect.operations),  # our own, and growing
}


@pytest.mark.parametrize("name", CONTRACTS)
async def test_the_page_shows_every_api_and_calls_nobody(
    name: str, server: Serving, watched: Watched
) -> None:
    await watched.page.goto(f"{server.url}/docs?api={name}")
    title = load_contract(resource_folder("contract") / f"{name}.yaml")["info"]["title"]
    await watched.page.get_by_role("heading", name=title).first.wait_for(timeout=60_000)
    await watched.page.wait_for_load_state("networkidle")
    await watched.page.get_by_text(first_summary(name)).first.wait_for(timeout=60_000)
    text = await watched.page.inner_text("body")
    assert first_summary(name) in text
    assert watched.outside(server.url) == []
    assert set(await watched.violations()) <= HARMLESS
    assert watched.complaints == []
    assert any(asked.endswith(f"/openapi/{name}.json") for asked in watched.requests)


def first_summary(name: str) -> str:
    """What the contract calls its first operation."""
    paths = load_contract(resource_folder("contract") / f"{name}.yaml")["paths"]
    summaries = [item[method]["summary"] for item in paths.values() for method in item if method in METHODS]
    return str(summaries[0])


async def test_a_page_that_calls_outside_would_be_seen(server: Serving, watched: Watched) -> None:
    """The control: the same watch sees a call to another host, and the policy forbids it."""
    await watched.page.goto(f"{server.url}/docs")
    await watched.page.evaluate("fetch('http://outside.example/track').catch(() => 0)")
    assert "connect-src http://outside.example/track" in await watched.violations()
    await watched.page.goto("about:blank")
    await watched.page.evaluate("fetch('http://127.0.0.1:9/track').catch(() => 0)")
    assert watched.outside(server.url)[-1] == "http://127.0.0.1:9/track"
    assert watched.complaints != []


@pytest.mark.parametrize("path", ["/", "/docs/problems"])
async def test_plain_pages_need_no_script(path: str, server: Serving, watched: Watched) -> None:
    await watched.page.goto(server.url + path)
    assert watched.outside(server.url) == []
    assert await watched.violations() == []
    assert watched.complaints == []
    assert await watched.page.locator("script").count() == 0


async def test_every_link_of_the_front_page_leads_somewhere(web: Web) -> None:
    front = (await web.get("/")).text
    links = [part.partition('"')[0] for part in front.split('href="/')[1:]]
    assert len(links) > 8
    for link in links:
        assert (await web.get(f"/{link}")).status_code in (200, 503), link


@pytest.mark.parametrize("name", CONTRACTS)
async def test_contracts_are_given_out_as_they_are(name: str, web: Web) -> None:
    answer = await web.get(f"/openapi/{name}.json")
    assert answer.status_code == 200
    assert answer.json() == load_contract(resource_folder("contract") / f"{name}.yaml")
    operations = [method for path in answer.json()["paths"].values() for method in path if method in METHODS]
    assert len(operations) == OPERATIONS[name]
    again = await web.get(f"/openapi/{name}.json", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


async def test_every_problem_code_has_its_line(web: Web, shop: object) -> None:
    page = (await web.get("/docs/problems")).text
    codes = problem_codes()
    assert {"sku-taken", "picture-not-found", "not-enough-stock", "unavailable"} <= set(codes)
    assert all(f'id="{code}"' in page for code in codes)


async def test_only_listed_files_are_given_out(web: Web) -> None:
    assert "vendor/scalar/standalone.js" in static_names(), "run `python -m tools.browser_files`"
    listed = await web.get("/static/docs.js")
    assert (listed.status_code, listed.headers["content-type"].partition(";")[0]) == (200, "text/javascript")
    for name in ("../docs.py", "%2e%2e/docs.py", "vendor/.complete", "vendor", "", "nothing.js"):
        answer = await web.client.get(f"/static/{name}")
        assert answer.status_code == 404, name
        assert b"import" not in answer.content


def test_the_server_sends_the_policy(server: Serving) -> None:
    policy = httpx.get(f"{server.url}/docs").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "connect-src 'self';" in policy
