"""One examination of the whole data, and the command that prints it."""

import asyncio
import os
from datetime import timedelta

import asyncpg
from rich.console import Console
from rich.table import Table

from kasuwa.base.context import Services
from kasuwa.base.http.health import LEAST_FREE_SHARE
from kasuwa.base.problems import Conflict
from kasuwa.cli.doctor.cards import check_cards
from kasuwa.cli.doctor.contents import check_contents
from kasuwa.cli.doctor.files import (
    A_DAY,
    check_promised,
    check_strays,
    find_strays,
    list_files,
    remove_unneeded,
)
from kasuwa.cli.doctor.report import Examined, Finding, Report, examined, reported
from kasuwa.cli.doctor.rows import ROW_CHECKS, Owner, check_ledgers, check_migrations, check_probe, check_rows
from kasuwa.cli.doctor.sealed import check_sealed
from kasuwa.cli.doctor.stores import STORE_CHECKS
from kasuwa.cli.output import say, say_json
from kasuwa.cli.visiting import everything
from kasuwa.database import DatabaseUrls, visiting_database
from kasuwa.settings import Settings


class ServerRuns(Conflict):
    code = "server-runs"
    title = "A server uses this data"


def run_doctor(settings: Settings, *, as_json: bool, collect: bool, at_once: bool, quick: bool) -> int:
    """Examine, print, and answer the exit code: 1 on any fault. Raises ServerRuns."""
    with visiting_database(settings) as urls:
        report = asyncio.run(examine(settings, urls, collect=collect, at_once=at_once, quick=quick))
    if as_json:
        say_json(report)
    else:
        print_report(report)
    return 0 if report.ok else 1


async def examine(
    settings: Settings,
    urls: DatabaseUrls,
    *,
    collect: bool = False,
    at_once: bool = False,
    quick: bool = False,
) -> Report:
    """Look at everything; with `collect` remove what is a day old and needed by nobody, first.

    `at_once` removes what is younger too. Raises ServerRuns then: an upload that runs looks the same.
    `quick` leaves out what grows with the bytes of pictures.
    """
    owner = await asyncpg.connect(urls.owner, server_settings={"jit": "off"})
    try:
        if at_once and await _server_runs(owner):
            raise ServerRuns("Stop the server first; without --now only what is older than a day goes.")
        async with everything(settings, urls) as services:
            removed = {}
            if collect:
                await list_files(owner, services.blobs)
                older_than = timedelta(0) if at_once else A_DAY
                removed = await remove_unneeded(owner, services, await find_strays(owner), older_than)
            leaving = await _leaving(owner)
            found = await _checks(settings, owner, services, quick=quick)
        # Who was leaving at any time meanwhile.
        leaving |= await _leaving(owner)
        checks = [reported(check, leaving) for check in found]
        merchants = await owner.fetchval("SELECT count(*) FROM merchant")
    finally:
        await owner.close()
    return Report(
        ok=all(check.ok for check in checks), merchants=merchants, checks=tuple(checks), removed=removed
    )


async def _checks(settings: Settings, owner: Owner, services: Services, *, quick: bool) -> list[Examined]:
    from kasuwa.app import card_code

    checks = [await check_migrations(owner), *await check_ledgers(owner)]
    checks += [await check_rows(owner, check) for check in (*ROW_CHECKS, *STORE_CHECKS)]
    checks.append(await check_cards(owner, card_code()))
    files = await list_files(owner, services.blobs)
    checks.append(await check_promised(owner, services.blobs))
    if not quick:
        checks.append(await check_contents(owner, services.blobs))
    checks.append(await check_strays(await find_strays(owner), services.blobs, files))
    checks.append(await check_probe(owner, services.sealer))
    checks.append(await check_sealed(owner, services.sealer))
    checks.append(check_disk(settings))
    return checks


def check_disk(settings: Settings) -> Examined:
    """The disk of the data folder has the room that the server asks for."""
    folder = settings.data_folder()
    # Nothing has made it where the database, the pictures and the key lie elsewhere.
    disk = os.statvfs(next(place for place in (folder, *folder.parents) if place.exists()))
    share = disk.f_bavail / disk.f_blocks
    note = f"{disk.f_bavail * disk.f_frsize / 1e9:.1f} GB free, {share:.0%}"
    findings = [] if share >= LEAST_FREE_SHARE else [Finding(f"less than {LEAST_FREE_SHARE:.0%} is free")]
    return examined("disk", 1, findings, note=note)


async def _leaving(owner: Owner) -> set[str]:
    """The merchants whose removal has begun and not ended."""
    rows = await owner.fetch("SELECT of_merchant FROM removal WHERE of_merchant IS NOT NULL")
    return {str(row["of_merchant"]) for row in rows}


async def _server_runs(owner: Owner) -> bool:
    """Whether somebody else is connected as the application."""
    found: bool = await owner.fetchval(
        """
        SELECT EXISTS (SELECT FROM pg_stat_activity
                       WHERE usename = 'kasuwa_app' AND datname = current_database())
        """
    )
    return found


def print_report(report: Report) -> None:
    """A table of the checks, then each fault on a line of its own."""
    table = Table("check", "looked at", "faults", "", box=None, pad_edge=False)
    for check in report.checks:
        table.add_row(
            check.check, str(check.looked_at), "ok" if check.ok else f"[bold red]{check.faults}", check.note
        )
    Console().print(table)
    for name, count in report.removed.items():
        say(f"removed: {count} {name}")
    for check in report.checks:
        for finding in check.shown:
            merchant = f" (merchant {finding.merchant_id})" if finding.merchant_id else ""
            say(f"FAULT {check.check}: {finding.text}{merchant}")
        if check.faults > len(check.shown):
            say(f"FAULT {check.check}: and {check.faults - len(check.shown)} more")
    say(f"{report.merchants} merchants: {'everything fits' if report.ok else 'there are faults'}")
