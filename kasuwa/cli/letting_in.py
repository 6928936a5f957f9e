"""`kasuwa key` and `kasuwa token`: the words of the commands."""

from typing import Annotated

import typer

from kasuwa.cli.options import Data, Json

key_app = typer.Typer(help="Developer keys, which prove an app at log-in.", no_args_is_help=True)
token_app = typer.Typer(help="Tokens of the BigCommerce and Shoplazza APIs.", no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(help="Id of the key.")]
TokenId = Annotated[str, typer.Argument(help="Id of the token.")]
Overlap = Annotated[
    int, typer.Option("--overlap", min=0, max=1440, help="Minutes that the old one works on.")
]


@key_app.command("create")
def key_create(
    name: Annotated[str, typer.Option(help="Whose key it is, for you to recognise.")],
    scopes: Annotated[
        str | None, typer.Option(help="Parted by commas, what the app may ask for; without it everything.")
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="Id of a store: for people of its merchant alone; else everybody's.")
    ] = None,
    as_json: Json = False,
    data: Data = None,
) -> None:
    """Make a developer key; it is shown this once."""
    from kasuwa.cli.credentials import create_key
    from kasuwa.settings import read_settings

    create_key(read_settings(data=data), name, scopes, store, as_json=as_json)


@token_app.command("create")
def token_create(
    store: Annotated[str, typer.Option(help="Id of the store.")],
    scopes: Annotated[str, typer.Option(help="Parted by commas: read_product, write_product.")],
    name: Annotated[str, typer.Option(help="Whose token it is, for you to recognise.")] = "",
    as_json: Json = False,
    data: Data = None,
) -> None:
    """Make a token of the BigCommerce and Shoplazza APIs for a store; it is shown this once."""
    from kasuwa.cli.credentials import create_token
    from kasuwa.settings import read_settings

    create_token(read_settings(data=data), store, scopes, name, as_json=as_json)


@key_app.command("list")
def key_list(as_json: Json = False, data: Data = None) -> None:
    """List the developer keys of the installation and of stores, but not what they are."""
    from kasuwa.cli.credentials import list_keys
    from kasuwa.settings import read_settings

    list_keys(read_settings(data=data), as_json=as_json)


@key_app.command("revoke")
def key_revoke(key: KeyId, as_json: Json = False, data: Data = None) -> None:
    """End a developer key, from the next request on."""
    from kasuwa.cli.credentials import end_key
    from kasuwa.settings import read_settings

    end_key(read_settings(data=data), key, as_json=as_json)


@key_app.command("rotate")
def key_rotate(
    key: KeyId,
    overlap: Overlap = 60,
    as_json: Json = False,
    data: Data = None,
) -> None:
    """Make a key of the same name, scopes and store; the old one ends when the overlap is over."""
    from kasuwa.cli.credentials import replace_key
    from kasuwa.settings import read_settings

    replace_key(read_settings(data=data), key, overlap, as_json=as_json)


@token_app.command("list")
def token_list(
    store: Annotated[str | None, typer.Option(help="Those of this store alone.")] = None,
    as_json: Json = False,
    data: Data = None,
) -> None:
    """List the tokens, but not what they are."""
    from kasuwa.cli.operating import list_tokens
    from kasuwa.settings import read_settings

    list_tokens(read_settings(data=data), store, as_json=as_json)


@token_app.command("revoke")
def token_revoke(token: TokenId, as_json: Json = False, data: Data = None) -> None:
    """End a token, from the next request on."""
    from kasuwa.cli.operating import end_token
    from kasuwa.settings import read_settings

    end_token(read_settings(data=data), token, as_json=as_json)


@token_app.command("rotate")
def token_rotate(
    token: TokenId,
    overlap: Overlap = 60,
    as_json: Json = False,
    data: Data = None,
) -> None:
    """Make a token of the same store, name and scopes; the old one ends when the overlap is over."""
    from kasuwa.cli.credentials import replace_token
    from kasuwa.settings import read_settings

    replace_token(read_settings(data=data), token, overlap, as_json=as_json)
