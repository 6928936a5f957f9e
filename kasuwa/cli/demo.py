"""`kasuwa demo`: fill the demo's shop, and say how to get in."""

import re
import secrets
from pathlib import Path
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.passwords import hash_password
from kasuwa.base.postgres.folder import write_file
from kasuwa.cli.demo_shop import (
    EMAIL,
    PHOTOGRAPHS,
    USERNAME,
    DemoShop,
    check_photographs,
    fill_shop,
    filling,
    find_shop,
    found_shop,
    owner_at,
    read_catalogue,
    read_credits,
)
from kasuwa.cli.output import say, say_json
from kasuwa.cli.visiting import at_the_database, in_the_shop
from kasuwa.domain.catalogue.queries import find_sku, get_product
from kasuwa.domain.catalogue.records import Product
from kasuwa.domain.merchants.actions import create_access_token, open_session
from kasuwa.domain.merchants.authentication import resolve_access_token, resolve_session
from kasuwa.domain.users.passwords import set_password
from kasuwa.settings import Settings

Wish = Literal["fill", "begin", "show"]


class DemoAccess(Struct, frozen=True, kw_only=True):
    """How to get into the demo, as `demo.json` in the data folder keeps it: for its owner's eyes alone."""

    username: str
    email: str
    password: str
    store_id: UUID
    second_store_id: UUID
    session: str
    access_token: str
    store_hash: str
    shop: str
    filled: bool


def show_demo(settings: Settings, wish: Wish, url: str, photographs: Path | None, *, as_json: bool) -> None:
    """Fill the demo's shop and print how to get in.

    `fill` brings whatever is missing. `begin` does so only until it was filled once: what was deleted since
    stays deleted. `show` prints, and only when there is a demo.
    """
    kept = _read(settings)
    folder = photographs or PHOTOGRAPHS
    if wish == "show" or (wish == "begin" and kept is not None and kept.filled):
        shown = at_the_database(settings, lambda context: _look(context, settings, url, folder))
        if shown is None:
            if wish == "show":
                return
            shown = in_the_shop(settings, lambda context: _fill(context, settings, url, folder))
    else:
        shown = in_the_shop(settings, lambda context: _fill(context, settings, url, folder))
    access, curls = shown
    if as_json:
        say_json({**msgspec.to_builtins(access), "curls": curls})
        return
    say(f"demo shop: log in as {access.username} (or {access.email}) with the password {access.password}")
    say(f"  locations {access.store_id} and {access.second_store_id}")
    for line in _sources(folder):
        say(f"  photographs: {line}; each says by whom it is")
    say("  try it, each uploads a picture:")
    for name, curl in curls.items():
        say(f"  {name}:")
        say(f"    {curl}")


def _sources(folder: Path) -> list[str]:
    """Where the photographs come from, without the files' names, and under which licence."""
    found = {
        f"{re.sub(r', [^;]*', '', credit.source)}; licence {credit.licence}"
        for credit in read_credits(folder).values()
    }
    return sorted(found)


Shown = tuple[DemoAccess, dict[str, str]]


async def _look(context: Context, settings: Settings, url: str, photographs: Path) -> Shown | None:
    shop = await find_shop(context)
    if shop is None or len(shop.store_ids) < 2:
        return None
    kept = _read(settings)
    access = await _access(context, settings, shop, filled=kept is not None and kept.filled)
    return access, await _curls(context, shop, access, url, photographs)


async def _fill(context: Context, settings: Settings, url: str, photographs: Path) -> Shown:
    check_photographs(photographs, read_catalogue())
    async with filling(context):
        shop = await find_shop(context)
        if shop is None:
            password = secrets.token_urlsafe(12)
            shop = await found_shop(context, await hash_password(password))
            # The password is kept before anything else can fail: nobody can read it from the database.
            await _access(context, settings, shop, password=password)
        await fill_shop(context, shop, photographs)
        shop = await find_shop(context)
        assert shop is not None, "it was founded above"
        access = await _access(context, settings, shop, filled=True)
    return access, await _curls(context, shop, access, url, photographs)


async def _access(
    context: Context,
    settings: Settings,
    shop: DemoShop,
    *,
    password: str | None = None,
    filled: bool = False,
) -> DemoAccess:
    """What is kept, as far as it still lets in; the rest is made anew and kept."""
    kept = _read(settings)
    store_id = shop.store_ids[0]
    acting = owner_at(context, shop, store_id)
    if kept is not None and kept.store_id != store_id:
        kept = None  # of a database that was here before
    if password is None and kept is None:
        password = secrets.token_urlsafe(12)
        password_hash = await hash_password(password)
        async with acting.transaction() as db:
            await set_password(acting, db, shop.user_id, password_hash)
    pool = context.services.pool
    session = kept.session if kept else ""
    if await resolve_session(pool, session) is None:
        async with acting.transaction() as db:
            session = (await open_session(acting, db, shop.user_id, store_id)).token
    if kept is None or await resolve_access_token(pool, kept.access_token) is None:
        token = await create_access_token(context, store_id, ["read_product", "write_product"], name="demo")
        names = (token.access_token, token.store_hash, token.shop)
    else:
        names = (kept.access_token, kept.store_hash, kept.shop)
    access = DemoAccess(
        username=USERNAME,
        email=EMAIL,
        password=password or (kept.password if kept else ""),
        store_id=store_id,
        second_store_id=shop.store_ids[-1],
        session=session,
        access_token=names[0],
        store_hash=names[1],
        shop=names[2],
        filled=filled,
    )
    if access != kept:
        write_file(_file(settings), msgspec.json.encode(access).decode(), None)
    return access


async def _curls(
    context: Context, shop: DemoShop, access: DemoAccess, url: str, photographs: Path
) -> dict[str, str]:
    """For each API a command that uploads a photograph to the first product."""
    catalogue = read_catalogue().products
    first = await _find_product(context, shop, catalogue[0].sku)
    second = await _find_product(context, shop, catalogue[1].sku)
    if first is None or second is None or not second.pictures:
        return {}
    file = photographs / catalogue[1].photograph
    picture = f"{url}{second.pictures[0].rendition('zoom').path}"
    addresses = {
        "StoreHarmony": f"/cloudapi/app/{access.store_id}/stock/{first.product_id}/addpicture?position=2",
        "BigCommerce": f"/stores/{access.store_hash}/v3/catalog/products/{first.number}/images",
        "Shoplazza": f"/openapi/2022-01/products/{first.product_id}/images",
    }
    options = {
        "StoreHarmony": f"-H 'sessiontoken: {access.session}' -H 'Content-Type: image/jpeg'"
        f" --data-binary '@{file}'",
        "BigCommerce": f"-H 'X-Auth-Token: {access.access_token}' -F 'image_file=@{file}'",
        "Shoplazza": f"-H 'Access-Token: {access.access_token}' -H 'Content-Type: application/json'"
        f' -d \'{{"image": {{"src": "{picture}"}}}}\'',
    }
    return {name: f"curl -X POST '{url}{addresses[name]}' {options[name]}" for name in addresses}


async def _find_product(context: Context, shop: DemoShop, sku: str) -> Product | None:
    acting = owner_at(context, shop, shop.store_ids[0])
    async with acting.reading() as db:
        found = await find_sku(db, sku)
    return None if found is None else await get_product(acting, found[0])


def _file(settings: Settings) -> Path:
    return settings.data_folder() / "demo.json"


def _read(settings: Settings) -> DemoAccess | None:
    try:
        return msgspec.json.decode(_file(settings).read_bytes(), type=DemoAccess)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
