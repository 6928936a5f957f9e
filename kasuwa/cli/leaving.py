"""`kasuwa merchant delete`: a merchant goes for good."""

import asyncio
import sys
from time import monotonic
from uuid import UUID

import asyncpg

from kasuwa.base.storage import open_blobs
from kasuwa.cli.output import fail, say, warn
from kasuwa.database import visiting_database
from kasuwa.domain.merchants.removal import Removed, name_of_leaving, remove_merchant
from kasuwa.domain.messages.courier import forget_lines
from kasuwa.settings import Settings

_TELL_SECONDS = 2.0


def delete_merchant(settings: Settings, merchant_id: UUID, *, yes: bool) -> None:
    """Ask for the name, and remove it. Raises MerchantNotFound, MerchantNotSuspended."""
    with visiting_database(settings) as urls:
        name = asyncio.run(_name(urls.owner, merchant_id))
        if not yes:
            _confirm(name)
        removed = asyncio.run(_remove(settings, urls.owner, merchant_id))
    lines = forget_lines(settings.data_folder() / "outbox.jsonl", merchant_id)
    rows = sum(removed.rows.values())
    say(f"merchant {merchant_id} is gone: {rows} rows, {removed.files} files, {lines} lines of the outbox")
    say("Backups taken before still hold it: see docs/operations.md.")


def _confirm(name: str) -> None:
    if not sys.stdin.isatty():
        fail("nobody is there to confirm: use --yes in a script")
    warn(f"Everything of {name!r} will be deleted, and nothing brings it back. Type the name to go on:")
    if sys.stdin.readline().rstrip("\n") != name:
        fail("that is another name: nothing was deleted")


async def _name(owner_url: str, merchant_id: UUID) -> str:
    owner = await asyncpg.connect(owner_url)
    try:
        return await name_of_leaving(owner, merchant_id)
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
    owner = await asyncpg.connect(owner_url)
    try:
        return await remove_merchant(owner, blobs, merchant_id, watch)
    finally:
        await owner.close()
        await blobs.close()
