"""Everything that is sealed: it opens, is what stands beside it, and is found again."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from kasuwa.base.secrets import SealBroken, Sealer
from kasuwa.cli.doctor.report import Examined, Finding, examined
from kasuwa.cli.doctor.rows import Owner
from kasuwa.cli.sealed import SEALED, SealedColumn, sealed_in, sealed_jobs, sealed_rows


async def check_sealed(owner: Owner, sealer: Sealer) -> Examined:
    """Each value of the list that the rotation of keys walks, and what is sealed in jobs."""
    findings: list[Finding] = []
    looked_at = 0
    for column in SEALED:
        async for rows in sealed_rows(owner, column):
            looked_at += len(rows)
            for row in rows:
                findings += [
                    Finding(f"{column.called(row)} {fault}", str(row["merchant_id"]))
                    for fault in _faults(column, row, sealer)
                ]
    async for rows in sealed_jobs(owner):
        for row in rows:
            for sealed in sealed_in(msgspec.json.decode(row["payload"])):
                looked_at += 1
                if _opened(sealer, sealed) is None:
                    whose = row["merchant_id"]
                    text = f"job {row['job_id']} ({row['kind']}): what is sealed in it cannot be opened"
                    findings.append(Finding(text, None if whose is None else str(whose)))
    return examined("sealed values", looked_at, findings)


def _faults(column: SealedColumn, row: Mapping[str, Any], sealer: Sealer) -> Iterator[str]:
    content = _opened(sealer, row["sealed"])
    if content is None:
        yield "cannot be opened"
        return
    if column.fits is not None and not column.fits(row, content.decode()):
        yield "is not what stands beside it"
    if column.marks is not None and row["mark"] not in column.marks(sealer, row, content):
        yield "is not found any more"


def _opened(sealer: Sealer, sealed: bytes) -> bytes | None:
    try:
        return sealer.open(sealed)
    except SealBroken:
        return None
