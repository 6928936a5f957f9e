"""The page behind the link of a registration's message."""

import re

import httpx

from tests.accounts import Account, open_account
from tests.client import Web
from tests.shop import new_developer_key

FORM = "application/x-www-form-urlencoded"


def token_of(account: Account) -> str:
    [token] = [word for word in account.mail["text"].split() if len(word) == 43]
    return str(token)


async def press(web: Web, token: str) -> httpx.Response:
    return await web.client.post("/verify", content=f"token={token}".encode(), headers={"Content-Type": FORM})


async def test_opening_the_link_confirms_nothing_and_its_button_does(web: Web) -> None:
    app_headers = {"Authorization": f"Bearer {await new_developer_key(web.services)}"}
    token = token_of(await open_account(web, app_headers))
    for _ in range(2):
        asked = await web.client.get("/verify", params={"token": token})
        assert asked.status_code == 200
        assert re.findall(r'name="token" value="([^"]*)"', asked.text) == [token]
        assert "form-action 'self'" in asked.headers["content-security-policy"]
        assert asked.headers["cache-control"] == "no-store"
        assert asked.headers["referrer-policy"] == "no-referrer"
    confirmed = await press(web, token)
    assert (confirmed.status_code, "is confirmed" in confirmed.text) == (200, True)
    again = await press(web, token)
    assert (again.status_code, "Ask for a new message" in again.text) == (409, True)


async def test_what_is_no_token_is_told_so_and_shown_as_text(web: Web) -> None:
    hostile = '"><script>alert(1)</script>'
    asked = await web.client.get("/verify", params={"token": hostile})
    assert "<script" not in asked.text
    for token in ("", "x" * 43, hostile, "%ff%00"):
        assert (await press(web, token)).status_code == 404
    long = await press(web, "x" * 5000)
    assert long.status_code == 413
    assert "<h1>" in long.text


async def test_guessing_is_slowed_down(web: Web) -> None:
    statuses = {(await press(web, "x" * 43)).status_code for _ in range(25)}
    assert statuses == {404, 429}
