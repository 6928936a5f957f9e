"""`kasuwa key` and `kasuwa token`: what lets apps in."""

from datetime import timedelta
from uuid import UUID

from kasuwa.base.context import Context
from kasuwa.cli.operating import id_of, read_rows, show_rows, state_of, store_of_token
from kasuwa.cli.output import fail, say, say_json
from kasuwa.cli.stores import store_id_of
from kasuwa.cli.visiting import at_the_database
from kasuwa.domain.merchants import keys
from kasuwa.domain.merchants.actions import create_access_token, operating_on
from kasuwa.domain.merchants.keys import MadeKey
from kasuwa.domain.merchants.records import AccessToken
from kasuwa.domain.merchants.switching import operating_for
from kasuwa.domain.merchants.tokens import rotate_token
from kasuwa.domain.permissions import KEY_SCOPES, KEY_SCOPES_OF_STORES
from kasuwa.settings import Settings, words

_KEYS = """
    SELECT k.key_id, k.merchant_id, k.store_id, k.name, k.scopes, k.created_at, k.revoked_at
    FROM developer_key k ORDER BY k.created_at, k.key_id
"""


def create_key(
    settings: Settings, name: str, scopes: str | None, store: str | None, *, as_json: bool
) -> None:
    """Print a new developer key: the installation's, or a store's. Raises StoreNotFound, UnknownScope."""
    store_id = None if store is None else store_id_of(store)
    every = KEY_SCOPES if store is None else KEY_SCOPES_OF_STORES
    wanted = every if scopes is None else words(scopes)

    async def act(context: Context) -> MadeKey:
        return await keys.create_key(await _at(context, store_id), name, tuple(wanted))

    made = at_the_database(settings, act)
    if as_json:
        say_json(made)
        return
    say(f"Developer key of {name}, shown this once:")
    say(f"  {made.key}")
    say(f"For: {', '.join(made.scopes)}")
    say("Apps send it at log-in: Authorization: Bearer …")


def list_keys(settings: Settings, *, as_json: bool) -> None:
    """Print each developer key, but not what it is."""
    show_rows(
        read_rows(settings, _KEYS),
        lambda r: (
            f"{r['key_id']}  {state_of(r)}  {','.join(r['scopes'])}  "
            f"{'installation' if r['store_id'] is None else 'store ' + str(r['store_id'])}  {r['name']}"
        ),
        as_json=as_json,
    )


def end_key(settings: Settings, key: str, *, as_json: bool) -> None:
    """Revoke a developer key. Raises KeyNotFound."""
    key_id = id_of(key, "key")
    store_id = _store_of_key(settings, key_id)

    async def act(context: Context) -> None:
        await keys.end_key(await _at(context, store_id), key_id)

    at_the_database(settings, act)
    if as_json:
        say_json({"key_id": key_id, "revoked": True})
    else:
        say(f"key {key_id} is revoked: apps that send it can open no session")


def create_token(settings: Settings, store: str, scopes: str, name: str, *, as_json: bool) -> None:
    """Print a new token of the BigCommerce and Shoplazza APIs. Raises StoreNotFound, UnknownScope."""
    store_id = store_id_of(store)
    made = at_the_database(
        settings, lambda context: create_access_token(context, store_id, words(scopes), name=name)
    )
    _show_token(made, as_json=as_json)


def replace_key(settings: Settings, key: str, overlap_minutes: int, *, as_json: bool) -> None:
    """Print a new developer key in the place of another. Raises KeyNotFound, TokenEnding."""
    key_id = id_of(key, "key")
    store_id = _store_of_key(settings, key_id)

    async def act(context: Context) -> MadeKey:
        overlap = timedelta(minutes=overlap_minutes)
        return await keys.rotate_key(await _at(context, store_id), key_id, overlap)

    made = at_the_database(settings, act)
    if as_json:
        say_json(made)
        return
    say("New developer key, shown this once:")
    say(f"  {made.key}")
    say(f"The old one ends in {overlap_minutes} minutes.")


def replace_token(settings: Settings, token: str, overlap_minutes: int, *, as_json: bool) -> None:
    """Print a new token in the place of another. Raises TokenNotFound, TokenEnding."""
    token_id = id_of(token, "token")
    store_id = store_of_token(settings, token_id)

    async def act(context: Context) -> AccessToken:
        acting = await operating_on(context, store_id)
        made = await rotate_token(acting, token_id, timedelta(minutes=overlap_minutes))
        return AccessToken(made.token, made.store.store_hash, made.store.shop, made.store.store_id)

    _show_token(at_the_database(settings, act), as_json=as_json)
    if not as_json:
        say(f"The old one ends in {overlap_minutes} minutes.")


def _show_token(made: AccessToken, *, as_json: bool) -> None:
    if as_json:
        say_json(made)
        return
    say(f"Token of the shop {made.shop}, shown this once:")
    say(f"  {made.access_token}")
    say(f"BigCommerce: /stores/{made.store_hash}/v3, header X-Auth-Token")
    say("Shoplazza:   /openapi/2022-01, header Access-Token")


async def _at(context: Context, store_id: UUID | None) -> Context:
    """The operator at a store, or at the installation."""
    return operating_for(context, None) if store_id is None else await operating_on(context, store_id)


def _store_of_key(settings: Settings, key_id: UUID) -> UUID | None:
    """None for a key of the installation; the command ends where there is no such key."""
    found = read_rows(settings, "SELECT store_id FROM developer_key WHERE key_id = $1", key_id)
    if not found:
        fail(f"no key has the id {key_id}: see `kasuwa key list`")
    store_id = found[0]["store_id"]
    return None if store_id is None else UUID(int=store_id.int)
