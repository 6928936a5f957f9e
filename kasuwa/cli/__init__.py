"""The `kasuwa` command. What a command needs is imported when it runs, so that each starts quickly."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import kasuwa
from kasuwa.cli.letting_in import key_app, token_app
from kasuwa.cli.options import Data, Json
from kasuwa.cli.output import fail

app = typer.Typer(
    help="An open commerce backend. Settings are KASUWA_ environment variables; options win over them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"kasuwa {kasuwa.__version__}")
        raise typer.Exit


@app.callback()
def _before_all(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is."),
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (8000); 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that answer requests (1).")] = None,
    data: Data = None,
    demo: Annotated[bool, typer.Option("--demo", help="Have a demo shop; it is filled at first.")] = False,
    behind_proxy: Annotated[bool, typer.Option("--behind-proxy", help="A proxy in front ends TLS.")] = False,
    tls_certificate: Annotated[str | None, typer.Option(help="PEM file, to end TLS here.")] = None,
    tls_key: Annotated[str | None, typer.Option(help="PEM file with the private key.")] = None,
) -> None:
    """Run the server until SIGTERM or Ctrl+C; SIGHUP replaces the workers one by one."""
    from kasuwa.cli.serving import run_server
    from kasuwa.settings import read_settings

    settings = read_settings(
        host=host,
        port=port,
        workers=workers,
        data=data,
        behind_proxy=behind_proxy or None,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
    )
    raise typer.Exit(run_server(settings, demo=demo))


@app.command()
def demo(
    begin: Annotated[
        bool, typer.Option("--begin", help="Only until it was filled once: what was deleted stays so.")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Change nothing; say how to get in.")] = False,
    url: Annotated[str | None, typer.Option(help="Address of the server, for what is printed.")] = None,
    photographs: Annotated[Path | None, typer.Option(help="Folder with the demo's photographs.")] = None,
    as_json: Json = False,
    data: Data = None,
) -> None:
    """Fill a merchant with a shop; safe to repeat."""
    from kasuwa.cli.demo import show_demo
    from kasuwa.settings import read_settings

    settings = read_settings(data=data)
    address = url or settings.public_url or f"http://{settings.host}:{settings.port}"
    show_demo(
        settings, "show" if show else "begin" if begin else "fill", address, photographs, as_json=as_json
    )


@app.command()
def doctor(
    gc: Annotated[
        bool, typer.Option("--gc", help="First remove files nobody needs that are older than a day.")
    ] = False,
    now: Annotated[
        bool, typer.Option("--now", help="With --gc: younger ones too; not beside a server.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Look at sizes of picture files alone, not at every byte.")
    ] = False,
    as_json: Json = False,
    data: Data = None,
) -> None:
    """Check the whole data of all merchants; exit code 1 on any fault."""
    from kasuwa.cli.doctor.examination import run_doctor
    from kasuwa.settings import read_settings

    if now and not gc:
        raise typer.BadParameter("--now goes with --gc")
    raise typer.Exit(
        run_doctor(read_settings(data=data), as_json=as_json, collect=gc, at_once=now, quick=quick)
    )


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The archive to write; one that is there is replaced.")],
    with_key: Annotated[
        bool, typer.Option("--with-key", help="With the sealing key: guard the archive like the key.")
    ] = False,
    as_json: Json = False,
    data: Data = None,
) -> None:
    """Write database and files into one verified archive; the server may go on running."""
    from kasuwa.cli.backup.taking import run_backup
    from kasuwa.settings import read_settings

    run_backup(read_settings(data=data), file, with_key=with_key, as_json=as_json)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="The archive to bring back.")],
    force: Annotated[
        bool, typer.Option("--force", help="Also where a shop is: its database is kept under another name.")
    ] = False,
    as_json: Json = False,
    data: Data = None,
) -> None:
    """Bring an archive back and examine it; a damaged one is refused before anything is touched."""
    from kasuwa.cli.backup.restoring import run_restore
    from kasuwa.settings import read_settings

    raise typer.Exit(run_restore(read_settings(data=data), file, force=force, as_json=as_json))


@app.command()
def audit(as_json: Json = False, data: Data = None) -> None:
    """List what was done to the installation: its developer keys and its sealing keys."""
    from kasuwa.cli.operating import list_entries
    from kasuwa.settings import read_settings

    list_entries(read_settings(data=data), as_json=as_json)


app.add_typer(key_app, name="key")
app.add_typer(token_app, name="token")
secrets_app = typer.Typer(help="The keys that seal what must be read again.", no_args_is_help=True)
app.add_typer(secrets_app, name="secrets")


@secrets_app.command("rotate")
def secrets_rotate(
    new_key: Annotated[bool, typer.Option("--new-key", help="Begin: make a key to come first.")] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="End: take the old keys away, once nothing needs them.")
    ] = False,
    now: Annotated[
        bool,
        typer.Option("--now", help="With --drop-old: forget the answers kept for repeats that need them."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --drop-old: do not ask.")] = False,
    as_json: Json = False,
    data: Data = None,
) -> None:
    """Change the sealing key beside running servers: each run takes the next step that is safe, and says what
    comes then. Exit code 1 while the step has to wait."""
    from kasuwa.cli.rotation import run_rotation
    from kasuwa.settings import read_settings

    if (now or yes) and not drop_old:
        raise typer.BadParameter("--now and --yes go with --drop-old")
    if new_key and drop_old:
        raise typer.BadParameter("--new-key begins and --drop-old ends: they are two steps")
    settings = read_settings(data=data)
    run_rotation(settings, new=new_key, drop=drop_old, at_once=now, yes=yes, as_json=as_json)


merchant_app = typer.Typer(help="The merchants on this server.", no_args_is_help=True)
store_app = typer.Typer(help="Their stores.", no_args_is_help=True)
app.add_typer(merchant_app, name="merchant")
app.add_typer(store_app, name="store")


@merchant_app.command("list")
def merchant_list(as_json: Json = False, data: Data = None) -> None:
    """List the merchants with what they keep here."""
    from kasuwa.cli.operating import list_merchants
    from kasuwa.settings import read_settings

    list_merchants(read_settings(data=data), as_json=as_json)


MerchantId = Annotated[str, typer.Argument(help="Id of the merchant.")]
StoreId = Annotated[str, typer.Argument(help="Id of the store.")]


@merchant_app.command("suspend")
def merchant_suspend(merchant: MerchantId, as_json: Json = False, data: Data = None) -> None:
    """Let nobody of the merchant in, from the next request on. Nothing is deleted."""
    from kasuwa.cli.operating import change_merchant
    from kasuwa.settings import read_settings

    change_merchant(read_settings(data=data), merchant, "suspended", as_json=as_json)


@merchant_app.command("resume")
def merchant_resume(merchant: MerchantId, as_json: Json = False, data: Data = None) -> None:
    """Let a suspended merchant go on."""
    from kasuwa.cli.operating import change_merchant
    from kasuwa.settings import read_settings

    change_merchant(read_settings(data=data), merchant, "active", as_json=as_json)


@merchant_app.command("quota")
def merchant_quota(
    merchant: MerchantId,
    file_bytes: Annotated[str | None, typer.Option(help="Bytes of pictures, such as 500MB or 2GB.")] = None,
    files: Annotated[str | None, typer.Option(help="Pictures.")] = None,
    products: Annotated[str | None, typer.Option(help="Products that are not archived.")] = None,
    variants: Annotated[str | None, typer.Option(help="Variants, one for a simple product.")] = None,
    customers: Annotated[str | None, typer.Option(help="Customers who are not erased.")] = None,
    as_json: Json = False,
    data: Data = None,
) -> None:
    """Show what a merchant keeps and may keep; an option sets it: a number, `none` or `default`."""
    from kasuwa.cli.operating import quota
    from kasuwa.settings import read_settings

    wanted = {"file_bytes": file_bytes, "files": files, "products": products, "variants": variants}
    wanted["customers"] = customers
    quota(read_settings(data=data), merchant, wanted, as_json=as_json)


@merchant_app.command("export")
def merchant_export(
    merchant: MerchantId,
    file: Annotated[Path, typer.Argument(help="The archive to write; one that is there is replaced.")],
    as_json: Json = False,
    data: Data = None,
) -> None:
    """Write everything of a merchant into one archive that can be read without Kasuwa."""
    from kasuwa.cli.backup.exporting import run_export
    from kasuwa.cli.operating import id_of
    from kasuwa.settings import read_settings

    run_export(read_settings(data=data), id_of(merchant, "merchant"), file, as_json=as_json)


@merchant_app.command("delete")
def merchant_delete(
    merchant: MerchantId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the merchant's name.")] = False,
    as_json: Json = False,
    data: Data = None,
) -> None:
    """Remove a suspended merchant for good: every row and every file. Nothing brings it back."""
    from kasuwa.cli.leaving import delete_merchant
    from kasuwa.cli.operating import id_of
    from kasuwa.settings import read_settings

    delete_merchant(read_settings(data=data), id_of(merchant, "merchant"), yes=yes, as_json=as_json)


@store_app.command("list")
def store_list(
    merchant: Annotated[str | None, typer.Option(help="Those of this merchant alone.")] = None,
    as_json: Json = False,
    data: Data = None,
) -> None:
    """List the stores."""
    from kasuwa.cli.operating import list_stores
    from kasuwa.settings import read_settings

    list_stores(read_settings(data=data), merchant, as_json=as_json)


@store_app.command("disable")
def store_disable(store: StoreId, as_json: Json = False, data: Data = None) -> None:
    """Refuse every session and token of the store, from the next request on."""
    from kasuwa.cli.operating import change_store
    from kasuwa.settings import read_settings

    change_store(read_settings(data=data), store, "disabled", as_json=as_json)


@store_app.command("enable")
def store_enable(store: StoreId, as_json: Json = False, data: Data = None) -> None:
    """Let a disabled store go on."""
    from kasuwa.cli.operating import change_store
    from kasuwa.settings import read_settings

    change_store(read_settings(data=data), store, "active", as_json=as_json)


user_app = typer.Typer(help="The people of all merchants.", no_args_is_help=True)
app.add_typer(user_app, name="user")


@user_app.command("reset")
def user_reset(
    user: Annotated[str, typer.Argument(help="User name, e-mail, mobile or id of the user.")],
    email: Annotated[str, typer.Option(help="Takes the place of the old e-mail and mobile.")] = "",
    mobile: Annotated[str, typer.Option(help="Takes the place of the old e-mail and mobile.")] = "",
    as_json: Json = False,
    data: Data = None,
) -> None:
    """Let in an owner who has lost everything: a temporary password, shown this once. Every session ends."""
    from kasuwa.cli.operating import reset_user
    from kasuwa.settings import read_settings

    reset_user(read_settings(data=data), user, email, mobile, as_json=as_json)


import_app = typer.Typer(help="Bring data in from files.", no_args_is_help=True)
export_app = typer.Typer(help="Write data out to files.", no_args_is_help=True)
app.add_typer(import_app, name="import")
app.add_typer(export_app, name="export")


class OnDuplicate(StrEnum):
    """What becomes of a row whose SKU is there."""

    FAIL = "fail"
    SKIP = "skip"
    UPDATE = "update"


Store = Annotated[
    str | None, typer.Option(help="Id of the store; it may be left out where there is only one.")
]


@import_app.command("products")
def import_products(
    file: Annotated[Path, typer.Argument(help="CSV, .xlsx or JSON lines; the first row names the columns.")],
    store: Store = None,
    on_duplicate: Annotated[
        OnDuplicate, typer.Option(help="What becomes of a row whose SKU is there.")
    ] = OnDuplicate.FAIL,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; say what would change.")
    ] = False,
    set_stock: Annotated[
        bool, typer.Option("--set-stock", help="Set what is there, where it is what the file expects.")
    ] = False,
    overwrite_stock: Annotated[
        bool, typer.Option("--overwrite-stock", help="Set it anyhow: what was sold since is undone.")
    ] = False,
    ignore_unknown: Annotated[
        bool, typer.Option("--ignore-unknown", help="Leave columns out that nobody knows.")
    ] = False,
    pictures: Annotated[Path | None, typer.Option(help="A zip of SKU.jpg, SKU-2.jpg …")] = None,
    failed: Annotated[Path | None, typer.Option(help="Where failed rows go (FILE.failed.csv).")] = None,
    delimiter: Annotated[str | None, typer.Option(help="What parts the cells of a CSV.")] = None,
    sheet: Annotated[str | None, typer.Option(help="Name of the sheet of an .xlsx.")] = None,
    as_json: Json = False,
    data: Data = None,
) -> None:
    """Import products; one that was cut short goes on where it stopped. Exit code 1 when any row failed."""
    from kasuwa.cli import exchange
    from kasuwa.domain.exchange.records import ImportOptions
    from kasuwa.settings import read_settings

    if delimiter is not None and len(delimiter) != 1:
        raise typer.BadParameter("--delimiter is one sign")
    options = ImportOptions(
        on_duplicate=on_duplicate.value,
        dry_run=dry_run,
        stock="overwritten" if overwrite_stock else "expected" if set_stock else "kept",
        ignore_unknown=ignore_unknown,
        delimiter=delimiter,
        sheet=sheet,
    )
    settings = read_settings(data=data)
    code = exchange.import_products(
        settings, file, store, options, pictures=pictures, failed=failed, as_json=as_json
    )
    raise typer.Exit(code)


@export_app.command("products")
def export_products(
    file: Annotated[Path, typer.Argument(help="What to write: a name in .csv, .xlsx or .jsonl.")],
    store: Store = None,
    as_json: Json = False,
    data: Data = None,
) -> None:
    """Export every product that is not archived, as an import takes them."""
    from kasuwa.cli.exchange import export_to
    from kasuwa.settings import read_settings

    export_to(read_settings(data=data), file, store, as_json=as_json)


def main() -> None:
    """Run the command; an expected no ends with its reason on standard error and code 1."""
    from kasuwa.base.problems import Problem
    from kasuwa.settings import SettingWrong

    try:
        app()
    except (Problem, SettingWrong) as error:
        fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
