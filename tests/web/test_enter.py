"""The page behind the link that a log-in gives an app, and the shop that it opens."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta

import httpx
import pytest
from playwright.async_api import Browser, Page

from kasuwa.base.context import Context
from kasuwa.base.ids import token_hash
from kasuwa.cli.visiting import at_the_database
from kasuwa.domain.users.actions import add_link
from kasuwa.domain.users.login import ENTER_LINK_LIFETIME, ENTER_PURPOSE, enter_by_link
from kasuwa.settings import read_settings
from tests.accounts import confirm, log_in, open_account
from tests.cli.conftest import new_installation as new_installation
from tests.cli.staging import Installation, Serving, serving
from tests.client import Web
from tests.conftest import SchemaOwner
from tests.contract.proofs import begin_factor
from tests.second_factors import code_now
from tests.shop import PASSWORD, Shop, new_developer_key, new_shop
from tests.web.test_docs import browser as browser

FORM = "application/x-www-form-urlencoded"


async def link_token(web: Web) -> str:
    """The token of the link that a new account's log-in answers."""
    headers = {"Authorization": f"Bearer {await new_developer_key(web.services)}"}
    account = await open_account(web, headers)
    await confirm(web, headers, account)
    entered = (await log_in(web, headers, account.body["email"])).json()
    path, _, token = str(entered["webRedirectUrl"]).partition("?token=")
    assert path.endswith("/enter")
    return token


async def press(web: Web, token: str, *, code: str = "", **headers: str) -> httpx.Response:
    headers = {"Content-Type": FORM, **headers}
    form = f"token={token}&code={code}" if code else f"token={token}"
    return await web.client.post("/enter", content=form.encode(), headers=headers)


def cookie_of(answer: httpx.Response) -> str:
    return answer.headers["set-cookie"].partition(";")[0]


async def test_opening_the_link_changes_nothing_and_its_button_signs_in_once(web: Web) -> None:
    token = await link_token(web)
    for _ in range(2):
        asked = await web.client.get("/enter", params={"token": token})
        assert asked.status_code == 200
        assert re.findall(r'name="token" value="([^"]*)"', asked.text) == [token]
        assert "form-action 'self'" in asked.headers["content-security-policy"]
        assert asked.headers["cache-control"] == "no-store"
        assert asked.headers["referrer-policy"] == "no-referrer"
        assert "set-cookie" not in asked.headers
    entered = await press(web, token)
    assert (entered.status_code, entered.headers["location"]) == (303, "/office")
    assert token not in entered.headers["set-cookie"] + entered.text
    for word in ("Path=/office", "HttpOnly", "SameSite=Strict"):
        assert word in entered.headers["set-cookie"]
    office = await web.client.get("/office", headers={"Cookie": cookie_of(entered)})
    assert (office.status_code, office.headers["cache-control"]) == (200, "no-store")
    assert "You are signed in as" in office.text
    again = await press(web, token)
    assert (again.status_code, "set-cookie" in again.headers) == (409, False)
    assert "used already" in again.text


async def test_of_many_buttons_pressed_at_once_one_signs_in(web: Web) -> None:
    token = await link_token(web)
    answers = await asyncio.gather(*(press(web, token) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [303, *[409] * 5]


async def test_signing_out_ends_the_session(web: Web) -> None:
    cookie = cookie_of(await press(web, await link_token(web)))
    left = await web.client.post("/office/leave", headers={"Cookie": cookie, "Content-Type": FORM})
    assert (left.status_code, "Max-Age=0" in left.headers["set-cookie"]) == (200, True)
    for _ in range(2):
        office = await web.client.get("/office", headers={"Cookie": cookie})
        assert (office.status_code, "not signed in" in office.text) == (401, True)
        again = await web.client.post("/office/leave", headers={"Cookie": cookie, "Content-Type": FORM})
        assert again.status_code == 200


async def signed_in(web: Web) -> str:
    """The token of a session of the pages; without their button, whose presses are counted."""
    return (await enter_by_link(Context(web.services), await link_token(web))).token


async def seen_after(
    web: Web,
    schema_owner: SchemaOwner,
    path: str,
    headers: dict[str, str],
    *,
    token: str,
    **passed: timedelta,
) -> int:
    """The status of a call with the session, once so much time has passed since it began or was last used."""
    await schema_owner.execute(
        """
        UPDATE session SET last_seen_at = now() - $2::interval, created_at = created_at - $3::interval,
                           expires_at = expires_at - $3::interval
        WHERE token_hash = $1
        """,
        token_hash(token),
        passed.get("unused", timedelta(0)),
        passed.get("age", timedelta(0)),
    )
    return (await web.client.get(path, headers=headers)).status_code


async def test_the_pages_forget_somebody_after_half_an_hour_unused_and_after_twelve_hours(
    web: Web, shop: Shop, schema_owner: SchemaOwner
) -> None:
    async def office(**passed: timedelta) -> int:
        cookie = {"Cookie": f"kasuwa_office={token}"}
        return await seen_after(web, schema_owner, "/office", cookie, token=token, **passed)

    for unused, status in ((timedelta(minutes=29), 200), (timedelta(minutes=31), 401)):
        token = await signed_in(web)
        assert await office(unused=unused) == status
    # However much it is used: what is used does not last longer.
    token = await signed_in(web)
    for _ in range(11):
        assert await office(age=timedelta(hours=1)) == 200
    assert await office(age=timedelta(minutes=59)) == 200
    assert await office(age=timedelta(minutes=2)) == 401
    # The control: as long does nothing to the session of an app.
    path, headers = f"/cloudapi/app/{shop.store_id}/stock", {"sessiontoken": shop.session}
    for passed in ({"unused": timedelta(minutes=31)}, {"age": timedelta(hours=13)}):
        assert await seen_after(web, schema_owner, path, headers, token=shop.session, **passed) == 200


async def test_a_session_of_the_pages_is_none_of_an_api_nor_the_other_way_round(web: Web, shop: Shop) -> None:
    token = cookie_of(await press(web, await link_token(web))).partition("=")[2]
    for headers in ({"sessiontoken": token}, {"authorization": f"Bearer {token}"}):
        answer = await web.get(f"/cloudapi/app/{shop.store_id}/stock", headers=headers)
        assert answer.status_code == 401
    office = await web.client.get("/office", headers={"Cookie": f"kasuwa_office={shop.session}"})
    assert office.status_code == 401


async def test_the_form_of_somebody_elses_page_signs_nobody_in(web: Web) -> None:
    token = await link_token(web)
    for site in ("cross-site", "same-site"):
        refused = await press(web, token, **{"Sec-Fetch-Site": site})
        assert (refused.status_code, "set-cookie" in refused.headers) == (403, False)
    assert (await press(web, token, **{"Sec-Fetch-Site": "same-origin"})).status_code == 303


async def test_a_name_is_shown_as_text(web: Web) -> None:
    headers = {"Authorization": f"Bearer {await new_developer_key(web.services)}"}
    account = await open_account(web, headers, firstname="<b>Ada</b>")
    await confirm(web, headers, account)
    entered = (await log_in(web, headers, account.body["email"])).json()
    cookie = cookie_of(await press(web, entered["webRedirectUrl"].partition("?token=")[2]))
    office = await web.client.get("/office", headers={"Cookie": cookie})
    assert "&lt;b&gt;Ada&lt;/b&gt;" in office.text


async def test_whoever_has_a_second_factor_is_asked_for_it_and_the_link_waits(web: Web, shop: Shop) -> None:
    secret = await begin_factor(shop, shop.user_id, is_on=True)
    async with shop.owner.transaction() as db:
        token, _ = await add_link(db, shop.user_id, ENTER_PURPOSE, ENTER_LINK_LIFETIME)
    asked = await press(web, token)
    assert (asked.status_code, "set-cookie" in asked.headers) == (401, False)
    assert re.findall(r'name="token" value="([^"]*)"', asked.text) == [token]
    assert 'name="code"' in asked.text
    wrong = await press(web, token, code=code_now(secret, steps=9))
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    assert "was wrong" in wrong.text
    assert "was wrong" not in asked.text
    entered = await press(web, token, code=code_now(secret))
    assert (entered.status_code, entered.headers["location"]) == (303, "/office")
    office = await web.client.get("/office", headers={"Cookie": cookie_of(entered)})
    assert office.status_code == 200


# Last of those of this address: it spends what may be tried.
async def test_what_is_no_token_is_told_so_and_guessing_is_slowed_down(web: Web) -> None:
    hostile = '"><script>alert(1)</script>'
    asked = await web.client.get("/enter", params={"token": hostile})
    assert "<script" not in asked.text
    for token in ("", hostile, "%ff%00"):
        refused = await press(web, token)
        assert (refused.status_code, "has a new link" in refused.text) == (404, True)
    assert (await press(web, "x" * 5000)).status_code == 413
    assert {(await press(web, "x" * 43)).status_code for _ in range(25)} == {404, 429}


# In a browser ---------------------------------------------------------------------------------------


class Staged:
    """A running server with a shop in it, and what an app needs to log in there."""

    def __init__(self, running: Serving, key: str, email: str) -> None:
        self.running = running
        self.key = key
        self.email = email

    def new_link(self) -> str:
        answer = httpx.post(
            f"{self.running.url}/cloudapi/app/access/",
            headers={"Authorization": f"Bearer {self.key}"},
            json={"username": self.email, "password": PASSWORD},
        )
        return str(answer.json()["webRedirectUrl"])


@pytest.fixture(scope="module")
def staged(new_installation: Callable[[], Installation]) -> Iterator[Staged]:
    installation = new_installation()

    async def fill(context: Context) -> tuple[str, str]:
        shop = await new_shop(context.services)
        return await new_developer_key(context.services), shop.email

    key, email = at_the_database(read_settings(installation.environment), fill)
    with serving(installation) as running:
        yield Staged(running, key, email)


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A browser without scripts, at the size of a phone."""
    context = await browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 700})
    yield await context.new_page()
    await context.close()


async def test_in_a_browser_the_link_opens_the_shop_and_signs_out_again(staged: Staged, page: Page) -> None:
    asked: list[tuple[str, str | None]] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append((request.url, request.headers.get("referer"))))
    page.on("console", lambda said: complaints.append(said.text))
    link = await asyncio.to_thread(staged.new_link)
    await page.goto(link)
    await page.get_by_role("button", name="Open it").click()
    await page.wait_for_url("**/office")
    assert "Ada's Corner" in await page.inner_text("table")
    [cookie] = await page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/office")
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url("**/office/leave")
    assert await page.inner_text("h1") == "You are signed out"
    assert await page.context.cookies() == []
    await page.goto(link)
    await page.get_by_role("button", name="Open it").click()
    assert await page.inner_text("h1") == "The link was used already"
    # Nothing from elsewhere, and no address that holds the token is told to anybody.
    assert not any(referrer for _, referrer in asked)
    assert all(url.startswith(staged.running.url) or url == "data:," for url, _ in asked)
    assert [said for said in complaints if "409" not in said] == []


async def test_neither_the_link_nor_the_cookie_stands_in_a_log(staged: Staged) -> None:
    link = await asyncio.to_thread(staged.new_link)
    token = link.partition("?token=")[2]
    async with httpx.AsyncClient() as client:
        await client.get(link)
        url = f"{staged.running.url}/enter"
        entered = await client.post(url, data={"token": token})
        cookie = cookie_of(entered)
        last = await client.get(f"{staged.running.url}/office", headers={"Cookie": cookie})
    await asyncio.to_thread(staged.running.wait_for, last.headers["x-request-id"])
    assert "/enter" in staged.running.said
    for secret in (token, cookie.partition("=")[2]):
        assert secret not in staged.running.said
