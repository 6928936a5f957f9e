"""Hostile files, addresses and JSON over HTTP, through every API: only yes and a clear no, and no harm."""

from collections import Counter
from collections.abc import Callable, Sequence

from tests.base.fetch.test_guard import HOSTILE_URLS
from tests.conftest import picture_bytes
from tests.faults.doors import operations_that_fetch, show_one, url_doors
from tests.faults.hostile_calls import hostile_calls
from tests.faults.hostile_uploads import send_all, send_files
from tests.faults.installation import Installation
from tests.faults.uploads import UPLOADS, new_product, staged
from tools.hostile_corpus import read_corpus

FILES = 120
_LARGEST_BYTES = 1024 * 1024
# Every table of a merchant's rows.
_KEPT_TABLES = """
    SELECT c.relname FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'merchant_id' AND NOT a.attisdropped
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
    ORDER BY 1
"""


def pinned_files() -> list[tuple[str, bytes]]:
    """The same 120 of the corpus each time: those whose names lie evenly in the alphabet."""
    files = sorted((name, content) for name, content in read_corpus() if len(content) <= _LARGEST_BYTES)
    return files[:: len(files) // FILES][:FILES]


async def test_hostile_files_are_taken_or_refused(install: Callable[..., Installation]) -> None:
    files = pinned_files()
    assert len(files) == FILES
    statuses, faults = await send_files(install(), files)
    assert faults == []
    assert sum(statuses.values()) == FILES * len(UPLOADS)
    # The good ones among them are taken: without this line a server that refuses all would pass.
    assert statuses[200] + statuses[201] > FILES


async def test_the_check_sees_a_decoder_that_fails(install: Callable[..., Installation]) -> None:
    cut = picture_bytes("PNG")[:60]
    _, faults = await send_files(install("fail-on-bad-pictures"), [("cut.png", cut)])
    assert len(faults) == len(UPLOADS)


async def connections_made(
    installation: Installation, urls: Sequence[str]
) -> tuple[dict[str, Counter[str]], list[str]]:
    """Where each door led to when it was given these addresses, by themselves and behind a redirect.

    The picture server that redirects does not count. Every answer that is no clear no is a fault.
    """
    log = installation.data.with_name(f"{installation.data.name}.connections")
    made: dict[str, Counter[str]] = {}
    faults: list[str] = []
    async with staged(installation) as stage:
        doors = url_doors(stage, await show_one(stage))
        assert {name.partition(":")[0] for name in doors} == operations_that_fetch()
        for door, call in doors.items():
            log.unlink(missing_ok=True)
            calls = [
                (f"{door} {url}", call(url))
                for hostile in urls
                for url in (hostile, stage.pictures.url(f"/redirect?to={hostile}"))
            ]
            statuses, worse = await send_all(stage, calls)
            faults += worse
            if statuses[200] + statuses[201]:
                faults.append(f"{door}: {statuses}")
            led_to = Counter(log.read_text().splitlines() if log.exists() else [])
            asked = led_to.pop(stage.pictures.host.replace(":", " "), 0)
            if asked < len(urls) // 2:
                faults.append(f"{door}: only {asked} redirects were asked for")
            made[door] = led_to
        stage.server.stop()
    return made, faults


async def test_hostile_addresses_are_refused_without_a_connection(
    install: Callable[..., Installation],
) -> None:
    made, faults = await connections_made(install("watch-connections"), HOSTILE_URLS)
    assert faults == []
    assert {door: led_to for door, led_to in made.items() if led_to} == {}


async def test_the_check_sees_the_connections_of_a_build_that_trusts_addresses(
    install: Callable[..., Installation],
) -> None:
    made, _ = await connections_made(install("trust-addresses"), HOSTILE_URLS[:10])
    assert [door for door, led_to in made.items() if len(led_to) < 3] == []


async def send_hostile_json(
    installation: Installation, *, most_spoilt: int
) -> tuple[Counter[int], list[str], int]:
    """Statuses, faults and how many calls; rows that were written by a whole bad body are a fault.

    Of the good bodies that are spoilt in one place at most so many are sent, evenly taken.
    """
    async with staged(installation) as stage:
        async with installation.services() as services:
            product = await new_product(services, stage.shop)
        calls = list(hostile_calls(stage, product))
        whole = [call for call in calls if " at " not in call[0]]
        spoilt = [call for call in calls if " at " in call[0]]
        spoilt = spoilt[:: len(spoilt) // most_spoilt + 1]
        before = await contents(installation)
        statuses, faults = await send_all(stage, whole)
        if (after := await contents(installation)) != before:
            faults.append(f"written: {[name for name in before if before[name] != after[name]]}")
        more, faults_of_spoilt = await send_all(stage, spoilt)
        stage.server.stop()
    return statuses + more, faults + faults_of_spoilt + installation.examine(), len(whole) + len(spoilt)


async def contents(installation: Installation) -> dict[str, str]:
    """A mark of everything in each table of the shop."""
    async with installation.as_owner() as owner:
        return {
            row["relname"]: await owner.fetchval(
                f"SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {row['relname']} t"
            )
            for row in await owner.fetch(_KEPT_TABLES)
        }


async def test_hostile_json_is_refused_and_writes_nothing(install: Callable[..., Installation]) -> None:
    statuses, faults, count = await send_hostile_json(install(), most_spoilt=1500)
    assert faults == []
    assert sum(statuses.values()) == count
    assert count > 500
    assert all(200 <= status < 500 for status in statuses)


async def test_the_check_sees_a_row_that_was_written(install: Callable[..., Installation]) -> None:
    installation = install()
    async with staged(installation) as stage, installation.services() as services:
        before = await contents(installation)
        await new_product(services, stage.shop)
        after = await contents(installation)
    written = {name for name in before if before[name] != after[name]}
    assert {"product", "variant", "price", "audit_entry"} <= written
    assert "stock_transfer" not in written


async def test_the_check_sees_a_server_that_reads_anything(install: Callable[..., Installation]) -> None:
    _, faults, _ = await send_hostile_json(install("read-anything"), most_spoilt=1)
    assert any(": 500 " in fault for fault in faults), faults[:5]
