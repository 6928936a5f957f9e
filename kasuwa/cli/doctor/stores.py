"""What stands twice in the rows of stores, and what each has once. What is sealed is another check's."""

from kasuwa.cli.doctor.rows import RowCheck

# The path of a picture stands in the row of the store too, where lists find it.
_SETTINGS = RowCheck(
    "settings of stores",
    "SELECT (SELECT count(*) FROM store) + (SELECT count(*) FROM store_picture)",
    """
    SELECT s.merchant_id, format('store %s: its %s is not the picture that is kept', s.store_id, k.kind)
    FROM store s
    CROSS JOIN (VALUES ('logo', 'logo_path'), ('favicon', 'favicon_url')) AS k (kind, name)
    LEFT JOIN store_picture i
      ON i.merchant_id = s.merchant_id AND i.store_id = s.store_id AND i.kind = k.kind
    LEFT JOIN picture p ON p.merchant_id = i.merchant_id AND p.picture_id = i.picture_id
    WHERE (s.settings->>k.name IS NOT NULL OR i.picture_id IS NOT NULL)
      AND NOT EXISTS (SELECT FROM jsonb_to_recordset(p.renditions) AS r (path text)
                      WHERE r.path = s.settings->>k.name)
    UNION ALL
    SELECT merchant_id, format('store %s: its BVN is shown and not kept', store_id)
    FROM store WHERE settings ? 'bvn_last4' AND sealed_bvn IS NULL
    """,
)

_ACCOUNTS = RowCheck(
    "bank accounts",
    "SELECT count(*) FROM bank_account",
    """
    SELECT merchant_id, format('store %s: no account is the default', store_id)
    FROM bank_account WHERE active
    GROUP BY merchant_id, store_id HAVING count(*) FILTER (WHERE is_default) <> 1
    """,
)

STORE_CHECKS = (_SETTINGS, _ACCOUNTS)
