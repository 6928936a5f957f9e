"""Settings of stores: what is sealed opens, and what is shown of it, and of pictures, is what there is."""

from kasuwa.base.secrets import SealBroken, Sealer
from kasuwa.cli.doctor.report import Examined, Finding, examined
from kasuwa.cli.doctor.rows import Owner

_SEALED = """
    SELECT merchant_id, format('store %s: its BVN', store_id) AS place, sealed_bvn AS sealed,
           settings->>'bvn_last4' AS shown
    FROM store WHERE sealed_bvn IS NOT NULL OR settings ? 'bvn_last4'
    UNION ALL
    SELECT merchant_id, format('store %s: its Google key', store_id), sealed_google_key, NULL
    FROM store WHERE sealed_google_key IS NOT NULL
    UNION ALL
    SELECT g.merchant_id, format('gateway %s: its %s', g.gateway_id, s.name), s.sealed, NULL
    FROM payment_gateway g
    CROSS JOIN LATERAL (VALUES ('secret key', g.sealed_secret_key),
                               ('webhook secret', g.sealed_webhook_secret)) AS s (name, sealed)
    WHERE s.sealed IS NOT NULL
"""

# The path stands in the row of the store too, where lists find it.
_WRONG_PATHS = """
    SELECT s.merchant_id,
           format('store %s: its %s is not the picture that is kept', s.store_id, k.kind) AS text
    FROM store s
    CROSS JOIN (VALUES ('logo', 'logo_path'), ('favicon', 'favicon_url')) AS k (kind, name)
    LEFT JOIN store_picture i
      ON i.merchant_id = s.merchant_id AND i.store_id = s.store_id AND i.kind = k.kind
    LEFT JOIN picture p ON p.merchant_id = i.merchant_id AND p.picture_id = i.picture_id
    WHERE (s.settings->>k.name IS NOT NULL OR i.picture_id IS NOT NULL)
      AND NOT EXISTS (SELECT FROM jsonb_to_recordset(p.renditions) AS r (path text)
                      WHERE r.path = s.settings->>k.name)
"""


async def check_store_settings(owner: Owner, sealer: Sealer) -> Examined:
    """Every secret opens; a BVN ends with what is shown; logos and favicons lead to their pictures."""
    findings: list[Finding] = []
    rows = await owner.fetch(_SEALED)
    for row in rows:
        merchant_id = str(row["merchant_id"])
        try:
            opened = sealer.open(row["sealed"] or b"").decode()
        except SealBroken:
            findings.append(Finding(f"{row['place']} cannot be opened", merchant_id))
            continue
        if "BVN" in row["place"] and (row["shown"] is None or not opened.endswith(row["shown"])):
            findings.append(Finding(f"{row['place']} is not the one that is shown", merchant_id))
    findings += [Finding(row["text"], str(row["merchant_id"])) for row in await owner.fetch(_WRONG_PATHS)]
    total = len(rows) + await owner.fetchval("SELECT count(*) FROM store_picture")
    return examined("settings of stores", total, findings)
