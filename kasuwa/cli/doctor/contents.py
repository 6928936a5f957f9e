"""The bytes of stored files against what was written down of them: a disk may change what it holds."""

import asyncio
import hashlib
from collections.abc import Sequence

import asyncpg

from kasuwa.base.storage import BlobMissing, Blobs
from kasuwa.cli.doctor.report import Examined, Finding, examined
from kasuwa.cli.doctor.rows import Owner

_AT_ONCE = 8
_BATCH = 500

# Files that have the size they should have; an original's name is what its bytes hash to.
_FILES = """
    SELECT p.merchant_id, f.key, x.sha256
    FROM picture p
    CROSS JOIN LATERAL (
      SELECT substr(r.path, 8) AS key, r.size_bytes, r.sha256
      FROM jsonb_to_recordset(p.renditions) AS r (path text, size_bytes bigint, sha256 text)
      UNION ALL
      SELECT p.merchant_id || '/' || left(h.sha256, 2) || '/' || h.sha256 || '/original',
             p.size_bytes, h.sha256
      FROM encode(p.sha256, 'hex') AS h (sha256)
    ) x
    JOIN pg_temp.stored_file f ON f.key = x.key AND f.size_bytes = x.size_bytes
    WHERE p.format IS NOT NULL AND x.sha256 <> ''
"""


async def check_contents(owner: Owner, blobs: Blobs) -> Examined:
    """Every byte of every picture's files is as it was written. Sizes are another check's."""
    findings: list[Finding] = []
    looked_at = 0
    async with owner.transaction(readonly=True):
        cursor = await owner.cursor(_FILES)
        while batch := await cursor.fetch(_BATCH):
            looked_at += len(batch)
            findings += await _altered(blobs, batch)
    return examined("contents of pictures", looked_at, findings)


async def _altered(blobs: Blobs, batch: Sequence[asyncpg.Record]) -> list[Finding]:
    slots = asyncio.Semaphore(_AT_ONCE)

    async def is_altered(key: str, sha256: str) -> bool:
        async with slots:
            digest = hashlib.sha256()
            try:
                async for piece in (await blobs.open(key)).chunks():
                    digest.update(piece)
            except BlobMissing:
                return False  # it has gone with its row since the files were listed
            return digest.hexdigest() != sha256

    altered = await asyncio.gather(*(is_altered(row["key"], row["sha256"]) for row in batch))
    return [
        Finding(
            f"{row['key']} has other bytes than were written: restore it from a backup, or upload it again",
            str(row["merchant_id"]),
        )
        for row, wrong in zip(batch, altered, strict=True)
        if wrong
    ]
