"""Files against rows, both ways, and the files nobody needs."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from kasuwa.base.context import Services
from kasuwa.base.storage import BlobMissing, Blobs
from kasuwa.cli.doctor.report import Examined, Finding, examined
from kasuwa.cli.doctor.rows import Owner
from kasuwa.domain.media.jobs import sweep_pictures

A_DAY = timedelta(days=1)
_BATCH = 5000

# What the rows promise: every rendition of every finished picture, by its key. An original may be missing,
# since a setting says whether they are kept; one that is there is whole.
_PROMISED = """
    SELECT p.merchant_id, p.picture_id, encode(p.sha256, 'hex') AS sha256,
           substr(r.path, 8) AS key, r.size_bytes
    FROM picture p, jsonb_to_recordset(p.renditions) AS r (path text, size_bytes bigint)
    WHERE p.format IS NOT NULL
    UNION ALL
    SELECT p.merchant_id, p.picture_id, encode(p.sha256, 'hex'), f.key, p.size_bytes
    FROM picture p
    JOIN pg_temp.stored_file f ON f.key = p.merchant_id || '/' || left(encode(p.sha256, 'hex'), 2)
                                          || '/' || encode(p.sha256, 'hex') || '/original'
    WHERE p.format IS NOT NULL
"""


async def list_files(owner: Owner, blobs: Blobs) -> int:
    """Note every stored file in a temporary table; answer how many.

    Files are listed before the rows are asked: a file's row is there before the file, so a file without a row
    is a stray and not an upload that runs just now.
    """
    await owner.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS stored_file"
        " (key text, size_bytes bigint, modified_at timestamptz)"
    )
    await owner.execute("TRUNCATE pg_temp.stored_file")
    total = 0
    async for batch in _batches(blobs):
        total += len(batch)
        await owner.copy_records_to_table("stored_file", records=batch, schema_name="pg_temp")
    await owner.execute("ANALYZE pg_temp.stored_file")
    return total


async def _batches(blobs: Blobs) -> AsyncIterator[list[tuple[str, int, datetime]]]:
    batch: list[tuple[str, int, datetime]] = []
    async for fact in blobs.list():
        batch.append((fact.key, fact.size_bytes, fact.modified_at))
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def check_promised(owner: Owner, blobs: Blobs) -> Examined:
    """Every file that a row promises is there, whole, under its own picture's name."""
    suspects = await owner.fetch(
        f"""
        SELECT p.merchant_id, p.picture_id, p.key, p.size_bytes,
               p.key LIKE p.merchant_id || '/' || left(p.sha256, 2) || '/' || p.sha256 || '/%' AS is_own
        FROM ({_PROMISED}) p
        LEFT JOIN pg_temp.stored_file f ON f.key = p.key
        WHERE f.size_bytes IS DISTINCT FROM p.size_bytes
           OR p.key NOT LIKE p.merchant_id || '/' || left(p.sha256, 2) || '/' || p.sha256 || '/%'
        """  # noqa: S608 - our own text
    )
    findings = []
    for row in suspects:
        # It may have come, or gone with its row, since the files were listed.
        fault = "lies under another picture's name" if not row["is_own"] else None
        fault = fault or await _fault_of(blobs, row["key"], row["size_bytes"])
        if fault and await owner.fetchval(
            "SELECT 1 FROM picture WHERE merchant_id = $1 AND picture_id = $2",
            row["merchant_id"],
            row["picture_id"],
        ):
            findings.append(Finding(f"{row['key']} {fault}", str(row["merchant_id"])))
    total = await owner.fetchval(f"SELECT count(*) FROM ({_PROMISED}) p")  # noqa: S608
    empty = await owner.fetch(
        "SELECT merchant_id, picture_id FROM picture WHERE format IS NOT NULL AND renditions = '[]'"
    )
    findings += [
        Finding(f"picture {row['picture_id']} has no files", str(row["merchant_id"])) for row in empty
    ]
    return examined("files of pictures", total, findings)


async def _fault_of(blobs: Blobs, key: str, size_bytes: int) -> str | None:
    try:
        there = (await blobs.open(key)).size_bytes
    except (BlobMissing, ValueError):
        return "is missing"
    return None if there == size_bytes else f"has {there} bytes and should have {size_bytes}"


async def find_strays(owner: Owner) -> list[tuple[str, datetime]]:
    """Files that no row explains. Those of a picture that was begun and not finished are the sweep's."""
    await owner.execute("DROP TABLE IF EXISTS pg_temp.promised, pg_temp.claimed")
    await owner.execute(f"CREATE TEMPORARY TABLE promised AS SELECT key FROM ({_PROMISED}) p")  # noqa: S608
    await owner.execute(
        """
        CREATE TEMPORARY TABLE claimed AS
        SELECT merchant_id || '/' || left(encode(sha256, 'hex'), 2) || '/' || encode(sha256, 'hex') AS folder,
               format IS NOT NULL AS finished
        FROM picture
        """
    )
    await owner.execute("ANALYZE pg_temp.promised, pg_temp.claimed")
    rows = await owner.fetch(
        """
        SELECT f.key, f.modified_at FROM pg_temp.stored_file f
        LEFT JOIN pg_temp.promised p ON p.key = f.key
        LEFT JOIN pg_temp.claimed c ON c.folder = substring(f.key from '^(.*)/[^/]*$')
        WHERE p.key IS NULL
          AND coalesce(c.finished, true)
        ORDER BY f.key
        """
    )
    return [(row["key"], row["modified_at"]) for row in rows]


async def check_strays(strays: list[tuple[str, datetime]], blobs: Blobs, looked_at: int) -> Examined:
    findings = [
        Finding(f"{key} belongs to no picture; --gc removes it", key.partition("/")[0])
        for key, _ in strays
        if await blobs.exists(key)
    ]
    half = await blobs.count_temporary(A_DAY)
    if half:
        findings.append(Finding(f"{half} half-written files are older than a day; --gc removes them"))
    return examined("stray files", looked_at, findings)


async def remove_unneeded(
    owner: Owner, services: Services, strays: list[tuple[str, datetime]], older_than: timedelta
) -> dict[str, int]:
    """Remove stray files, half-written ones and pictures nobody shows that are this old; answer how many."""
    before = datetime.now(UTC) - older_than
    old = [key for key, modified_at in strays if modified_at <= before]
    for begin in range(0, len(old), _BATCH):
        await services.blobs.delete(old[begin : begin + _BATCH])
    half = await services.blobs.sweep_temporary(older_than)
    pictures = 0
    for row in await owner.fetch("SELECT DISTINCT merchant_id FROM picture WHERE unused_since <= $1", before):
        merchant_id = UUID(int=row["merchant_id"].int)
        pictures += await sweep_pictures(services, merchant_id, unused_for=older_than)
    return {"stray files": len(old), "half-written files": half, "unused pictures": pictures}
