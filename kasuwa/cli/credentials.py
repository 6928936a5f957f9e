"""`kasuwa key` and `kasuwa token`: what lets apps in."""

from kasuwa.cli.output import say, say_json
from kasuwa.cli.stores import store_id_of
from kasuwa.cli.visiting import at_the_database
from kasuwa.domain.merchants.actions import create_access_token, create_developer_key
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
    if as_json:
        say_json(made)
        return
    say(f"Token of the shop {made.shop}, shown this once:")
    say(f"  {made.access_token}")
    say(f"BigCommerce: /stores/{made.store_hash}/v3, header X-Auth-Token")
    say("Shoplazza:   /openapi/2022-01, header Access-Token")
