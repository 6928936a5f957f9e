"""Second factors: what is sealed opens, else nobody who has one could log in."""

from kasuwa.base.secrets import SealBroken, Sealer
from kasuwa.cli.doctor.report import Examined, Finding, examined
from kasuwa.cli.doctor.rows import Owner


async def check_second_factors(owner: Owner, sealer: Sealer) -> Examined:
    findings: list[Finding] = []
    rows = await owner.fetch(
        "SELECT merchant_id, user_id, sealed_secret FROM second_factor ORDER BY merchant_id, user_id"
    )
    for row in rows:
        try:
            sealer.open(row["sealed_secret"])
        except SealBroken:
            text = f"user {row['user_id']}: the second factor cannot be opened"
            findings.append(Finding(text, str(row["merchant_id"])))
    return examined("second factors", len(rows), findings)
