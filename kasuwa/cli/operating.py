"""`kasuwa merchant`, `kasuwa store`, and the lists of keys and tokens: the operator's view of a platform.

Lists are read as the owner of the tables: the application sees one merchant at a time.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from kasuwa.base.context import Context
from kasuwa.base.ids import read_id
from kasuwa.cli.output import fail, say, say_json
from kasuwa.cli.stores import store_id_of
from kasuwa.cli.visiting import at_the_database
from kasuwa.database import visiting_database
from kasuwa.domain.merchants.quotas import KINDS, Quota, QuotaKind, read_quotas, set_quotas
from kasuwa.domain.merchants.switching import (
    MerchantStatus,
    StoreStatus,
    revoke_token,
    switch_merchant,
    switch_store,
)
from kasuwa.domain.proofs.names import login_name
from kasuwa.domain.reference.contacts import read_email, read_mobile
from kasuwa.domain.users.queries import find_login
from kasuwa.domain.users.recovery import Recovered, recover_account
from kasuwa.settings import Settings

_MERCHANTS = """
    SELECT m.merchant_id, m.business_name AS name, m.status, m.created_at,
           (SELECT count(*) FROM store s
            WHERE s.merchant_id = m.merchant_id AND s.status <> 'closed') AS stores,
           (SELECT count(*) FROM user_account u WHERE u.merchant_id = m.merchant_id) AS users,
           (SELECT coalesce(sum(c.value), 0)::bigint FROM merchant_counter c
            WHERE c.merchant_id = m.merchant_id
              AND c.name IN ('products.active', 'products.inactive')) AS products,
           (SELECT coalesce(sum(p.size_bytes), 0)::bigint FROM picture p
            WHERE p.merchant_id = m.merchant_id AND p.format IS NOT NULL) AS picture_bytes
    FROM merchant m ORDER BY m.created_at, m.merchant_id
"""
_STORES = """
    SELECT s.store_id, s.merchant_id, s.name, s.status, s.store_hash, s.site_name AS shop, s.currency,
           s.created_at
    FROM store s WHERE $1::uuid IS NULL OR s.merchant_id = $1
    ORDER BY s.merchant_id, s.created_at, s.store_id
"""
_ENTRIES = """
    SELECT at, actor_kind, action, subject_kind, subject_id, after FROM installation_entry ORDER BY audit_id
"""
_TOKENS = """
    SELECT t.token_id, t.merchant_id, t.store_id, t.name, t.scopes, t.created_at, t.revoked_at
    FROM access_token t WHERE $1::uuid IS NULL OR t.store_id = $1
    ORDER BY t.created_at, t.token_id
"""


def list_merchants(settings: Settings, *, as_json: bool) -> None:
    """Print each merchant with its size: originals of pictures in bytes."""
    rows = read_rows(settings, _MERCHANTS)
    show_rows(
        rows,
        lambda r: (
            f"{r['merchant_id']}  {r['status']:9}  {r['name']}: {r['stores']} stores, {r['users']} users, "
            f"{r['products']} products, {r['picture_bytes'] / 1e6:.1f} MB of pictures"
        ),
        as_json=as_json,
    )


def list_stores(settings: Settings, merchant: str | None, *, as_json: bool) -> None:
    """Print each store, of one merchant or of all."""
    rows = read_rows(settings, _STORES, None if merchant is None else id_of(merchant, "merchant"))
    show_rows(rows, lambda r: f"{r['store_id']}  {r['status']:9}  {r['name']} ({r['shop']})", as_json=as_json)


def list_entries(settings: Settings, *, as_json: bool) -> None:
    """Print the audit trail of what concerns no merchant, the oldest first."""
    show_rows(
        read_rows(settings, _ENTRIES),
        lambda r: f"{r['at']:%Y-%m-%d %H:%M %Z}  {r['action']}  {r['subject_id']}  {r['after'] or ''}",
        as_json=as_json,
    )


def list_tokens(settings: Settings, store: str | None, *, as_json: bool) -> None:
    """Print each token, of one store or of all, but not what it is."""
    rows = read_rows(settings, _TOKENS, None if store is None else store_id_of(store))
    show_rows(
        rows,
        lambda r: (
            f"{r['token_id']}  {state_of(r)}  {','.join(r['scopes'])}  store {r['store_id']}  {r['name']}"
        ),
        as_json=as_json,
    )


def change_merchant(settings: Settings, merchant: str, status: MerchantStatus, *, as_json: bool) -> None:
    """Suspend a merchant or let it go on. Raises MerchantNotFound."""
    merchant_id = id_of(merchant, "merchant")
    changed = at_the_database(settings, lambda context: switch_merchant(context, merchant_id, status))
    _say_switched("merchant", merchant_id, status, changed=changed, as_json=as_json)


def change_store(settings: Settings, store: str, status: StoreStatus, *, as_json: bool) -> None:
    """Disable a store or enable it. Raises StoreNotFound."""
    store_id = store_id_of(store)
    changed = at_the_database(settings, lambda context: switch_store(context, store_id, status))
    _say_switched("store", store_id, status, changed=changed, as_json=as_json)


def _say_switched(what: str, switched_id: UUID, status: str, *, changed: bool, as_json: bool) -> None:
    if as_json:
        say_json({f"{what}_id": switched_id, "status": status, "changed": changed})
    else:
        say(f"{what} {switched_id} is {'now' if changed else 'already'} {status}")


def quota(settings: Settings, merchant: str, wanted: Mapping[str, str | None], *, as_json: bool) -> None:
    """Show a merchant's quotas, after setting those that are given. Raises MerchantNotFound."""
    merchant_id = id_of(merchant, "merchant")
    changes = {kind: _amount(kind, text) for kind in KINDS if (text := wanted[kind]) is not None}

    async def act(context: Context) -> list[Quota]:
        if changes:
            return await set_quotas(context, merchant_id, changes)
        return await read_quotas(context, merchant_id)

    quotas = at_the_database(settings, act)
    if as_json:
        say_json(quotas)
        return
    for one in quotas:
        most = "any number" if one.most is None else str(one.most)
        say(f"{one.kind:10}  {one.kept} of {most} ({'for this merchant' if one.own else 'by the setting'})")


def _amount(kind: QuotaKind, text: str) -> int | None:
    """0 for `none`, None for `default`."""
    if text == "default":
        return None
    if text == "none":
        return 0
    found = re.fullmatch(r"(\d{1,15})(kB|MB|GB)?" if kind == "file_bytes" else r"(\d{1,15})()", text)
    if found is None:
        example = "500MB" if kind == "file_bytes" else "500"
        fail(
            f"{text!r} is no quota: give a number, such as {example}, `none` for any number, or `default` "
            "for what the setting says"
        )
    return int(found[1]) * {"kB": 10**3, "MB": 10**6, "GB": 10**9}.get(found[2] or "", 1)


def reset_user(settings: Settings, user: str, email: str, mobile: str, *, as_json: bool) -> None:
    """Give a user a temporary password and say it; new addresses take the place of the old.

    Raises Invalid for what is no address, UserNotFound, AccountNotOpen, LoginNameTaken.
    """
    new = {
        "email": read_email(email, "--email") if email else "",
        "mobile": read_mobile(mobile, settings.country, "--mobile") if mobile else "",
    }

    async def act(context: Context) -> Recovered:
        user_id = read_id(user)
        if user_id is None:
            found = await find_login(context.services.pool, login_name(user, settings.country))
            if found is None:
                fail(f"nobody logs in as {user!r}")
            user_id = found[1]
        return await recover_account(context, user_id, **new)

    recovered = at_the_database(settings, act)
    if as_json:
        say_json(recovered)
        return
    say(f"{recovered.username} logs in with the password {recovered.password} and should change it at once")
    say(f"every session has ended; told by {' and '.join(recovered.told) or 'nothing: no address is known'}")
    if not email and not mobile:
        say("the old addresses can still ask for a new password: give --email or --mobile to replace them")


def end_token(settings: Settings, token: str, *, as_json: bool) -> None:
    """Revoke a token of the BigCommerce and Shoplazza APIs. Raises TokenNotFound."""
    token_id = id_of(token, "token")
    found = read_rows(settings, "SELECT merchant_id FROM access_token WHERE token_id = $1", token_id)
    if not found:
        fail(f"no token has the id {token_id}: see `kasuwa token list`")
    merchant_id = UUID(int=found[0]["merchant_id"].int)

    async def act(context: Context) -> None:
        await revoke_token(context, merchant_id, token_id)

    at_the_database(settings, act)
    if as_json:
        say_json({"token_id": token_id, "revoked": True})
    else:
        say(f"token {token_id} is revoked")


def store_of_token(settings: Settings, token_id: UUID) -> UUID:
    """The store of a token; the command ends where there is no such token."""
    found = read_rows(settings, "SELECT store_id FROM access_token WHERE token_id = $1", token_id)
    if not found:
        fail(f"no token has the id {token_id}: see `kasuwa token list`")
    return UUID(int=found[0]["store_id"].int)


def read_rows(settings: Settings, sql: str, *values: UUID | None) -> list[dict[str, Any]]:
    async def ask(owner_url: str) -> list[dict[str, Any]]:
        owner = await asyncpg.connect(owner_url)
        try:
            return [dict(row) for row in await owner.fetch(sql, *values)]
        finally:
            await owner.close()

    with visiting_database(settings) as urls:
        return asyncio.run(ask(urls.owner))


def show_rows(rows: list[dict[str, Any]], line: Callable[[dict[str, Any]], str], *, as_json: bool) -> None:
    if as_json:
        say_json([{name: _plain(value) for name, value in row.items()} for row in rows])
        return
    for row in rows:
        say(line(row))
    if not rows:
        say("none")


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


def state_of(row: dict[str, Any]) -> str:
    if row["revoked_at"] is None:
        return "valid  "
    return "revoked" if row["revoked_at"] <= datetime.now(UTC) else "ending "


def id_of(text: str, what: str) -> UUID:
    """The id that was typed; the command ends where it is none."""
    found = read_id(text)
    if found is None:
        fail(f"{text!r} is no id of a {what}: it is a UUID, as `kasuwa {what} list` prints it")
    return found
