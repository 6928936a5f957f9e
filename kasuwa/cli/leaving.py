"""`kasuwa merchant delete`: a merchant goes for good."""

import asyncio
import sys
from time import monotonic
from uuid import UUID

import asyncpg

from kasuwa.base.storage import open_blobs
from kasuwa.cli.output import fail, say, say_json, warn
from kasuwa.database import visiting_database
from kasuwa.domain.merchants.errors import MerchantNotFound
from kasuwa.domain.merchants.removal import Removed, find_removal, name_of_leaving, remove_merchant
from kasuwa.settings import Settings

_TELL_SECONDS = 2.0


def delete_merchant(settings: Settings, merchant_id: UUID, *, yes: bool, as_json: bool) -> None:
    """Ask for the name, and remove it; one that is removed already is none to ask about.

    Raises MerchantNotFound, MerchantNotSuspended.
    """
    removed = Removed({}, 0, 0)
    with visiting_database(settings) as urls:
        # Whoever was killed after the last row had gone runs the command again, and is told so.
        name = asyncio.run(_name(urls.owner, merchant_id))
        if name is not None:
            if not yes:
                _confirm(name)
            removed = asyncio.run(_remove(settings, urls.owner, merchant_id))
    if as_json:
        say_json({"merchant_id": merchant_id, "removed_before": name is None, **_told(removed)})
    elif name is None:
        say(f"merchant {merchant_id} was removed before: nothing of it is left")
    else:
        rows = sum(removed.rows.values())
        say(
            f"merchant {merchant_id} is gone: {rows} rows, {removed.files} files, {removed.lines} lines of "
            "the outbox"
        )
        say("Backups taken before still hold it: see docs/operations.md.")


def _told(removed: Removed) -> dict[str, object]:
    return {"rows": removed.rows, "files": removed.files, "outbox_lines": removed.lines}


def _confirm(name: str) -> None:
    if not sys.stdin.isatty():
        fail("nobody is there to confirm: use --yes in a script")
    warn(f"Everything of {name!r} will be deleted, and nothing brings it back. Type the name to go on:")
    if sys.stdin.readline().rstrip("\n") != name:
        fail("that is another name: nothing was deleted")


async def _name(owner_url: str, merchant_id: UUID) -> str | None:
    """The business name; None where it has been removed."""
    owner = await asyncpg.connect(owner_url)
    try:
        return await name_of_leaving(owner, merchant_id)
    except MerchantNotFound:
        if await find_removal(owner, merchant_id) is None:
            raise
        return None
    finally:
        await owner.close()


async def _remove(settings: Settings, owner_url: str, merchant_id: UUID) -> Removed:
    said = monotonic()

    def watch(what: str, count: int) -> None:
        nonlocal said
        if monotonic() - said > _TELL_SECONDS:
            said = monotonic()
            warn(f"{what}: {count} gone")

    blobs = open_blobs(settings.storage_url or str(settings.data_folder() / "files"))
    outbox = settings.data_folder() / "outbox.jsonl"
    owner = await asyncpg.connect(owner_url)
    try:
        return await remove_merchant(owner, blobs, outbox, merchant_id, watch)
    finally:
        await owner.close()
        await blobs.close()
