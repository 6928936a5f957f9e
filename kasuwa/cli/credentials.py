"""`kasuwa key` and `kasuwa token`: what lets apps in."""

from datetime import timedelta

from kasuwa.base.context import Context
from kasuwa.cli.operating import id_of, store_of_token
from kasuwa.cli.output import say, say_json
from kasuwa.cli.stores import store_id_of
from kasuwa.cli.visiting import at_the_database
from kasuwa.domain.merchants.actions import create_access_token, create_developer_key, operating_on
from kasuwa.domain.merchants.records import AccessToken
from kasuwa.domain.merchants.switching import rotate_developer_key
from kasuwa.domain.merchants.tokens import rotate_token
from kasuwa.settings import Settings, words


def create_key(settings: Settings, name: str, *, as_json: bool) -> None:
    """Print a new developer key."""
    key = at_the_database(settings, lambda context: create_developer_key(context, name))
    if as_json:
        say_json({"key": key})
        return
    say(f"Developer key of {name}, shown this once:")
    say(f"  {key}")
    say("Apps send it at log-in: Authorization: Bearer …")


def create_token(settings: Settings, store: str, scopes: str, name: str, *, as_json: bool) -> None:
    """Print a new token of the BigCommerce and Shoplazza APIs. Raises StoreNotFound, UnknownScope."""
    store_id = store_id_of(store)
    made = at_the_database(
        settings, lambda context: create_access_token(context, store_id, words(scopes), name=name)
    )
    _show_token(made, as_json=as_json)


def replace_key(settings: Settings, key: str, overlap_minutes: int, *, as_json: bool) -> None:
    """Print a new developer key in the place of another. Raises TokenNotFound."""
    key_id = id_of(key, "key")
    overlap = timedelta(minutes=overlap_minutes)
    made = at_the_database(settings, lambda context: rotate_developer_key(context, key_id, overlap))
    if as_json:
        say_json({"key": made})
        return
    say("New developer key, shown this once:")
    say(f"  {made}")
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
