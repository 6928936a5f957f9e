"""Statements that break what the doctor examines, and those that mend it again."""

from kasuwa.cli.sealed import SEALED

# By the check that must find it (with more after a comma): what breaks, what mends, words of the fault.
BROKEN_ROWS = {
    "ledger of stock": (
        "UPDATE stock_movement SET reason = 'opening stocK' WHERE kind = 'opening'",
        "UPDATE stock_movement SET reason = 'opening stock' WHERE kind = 'opening'",
        "changed after it was written",
    ),
    "ledger of stock_transfer": (
        "UPDATE stock_transfer_line SET received = received + 1",
        "UPDATE stock_transfer_line SET received = received - 1",
        "are in transit at store",
    ),
    "product counters": (
        "UPDATE merchant_counter SET value = value + 1 WHERE name = 'products.active'",
        "UPDATE merchant_counter SET value = value - 1 WHERE name = 'products.active'",
        "products.active says 3, and there are 2",
    ),
    "what merchants keep": (
        "UPDATE merchant_counter SET value = value + 1 WHERE name = 'kept.variants'",
        "UPDATE merchant_counter SET value = value - 1 WHERE name = 'kept.variants'",
        "the counter of variants says",
    ),
    "what merchants keep, of customers": (
        "UPDATE merchant_counter SET value = value + 1 WHERE name = 'kept.customers'",
        "UPDATE merchant_counter SET value = value - 1 WHERE name = 'kept.customers'",
        "the counter of customers says 2, and there are 1",
    ),
    "rising numbers": (
        "UPDATE merchant_counter SET value = value - 1 WHERE name = 'product'",
        "UPDATE merchant_counter SET value = value + 1 WHERE name = 'product'",
        "the number 2 is given out",
    ),
    "thumbnails": (
        "UPDATE product_picture SET is_thumbnail = false WHERE is_thumbnail AND number = 1",
        "UPDATE product_picture SET is_thumbnail = true WHERE number = 1",
        "2 pictures and 0 thumbnails",
    ),
    "pictures in use": (
        # Counted as ever: only this check sees it.
        "SET session_replication_role = origin; UPDATE picture SET unused_since = now()",
        "SET session_replication_role = origin; UPDATE picture SET unused_since = NULL",
        "stands to be swept",
    ),
    "category trees": (
        "UPDATE category SET path = '{Elsewhere, Rice}' WHERE name = 'Rice'",
        "UPDATE category SET path = '{Food, Rice}' WHERE name = 'Rice'",
        "does not stand where its parent says",
    ),
    "jobs given up": (
        "INSERT INTO job (job_id, kind, payload, status, last_error)"
        " VALUES (gen_random_uuid(), 'media.sweep', '{}', 'failed', 'it broke')",
        "DELETE FROM job WHERE status = 'failed'",
        "it broke",
    ),
    "removals of merchants": (
        "INSERT INTO removal (removal_id, of_merchant, merchant_hash)"
        " SELECT gen_random_uuid(), merchant_id, '' FROM merchant LIMIT 1",
        "DELETE FROM removal",
        "has not ended: unless it runs now, run `kasuwa merchant delete",
    ),
    "protection of tenants": (
        "ALTER TABLE price NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE price FORCE ROW LEVEL SECURITY",
        "table price: row-level security is not forced",
    ),
    "migrations": (
        "UPDATE schema_migration SET sha256 = upper(sha256) WHERE name LIKE '0001%'",
        "UPDATE schema_migration SET sha256 = lower(sha256)",
        "was edited after it ran",
    ),
}

# By words of the fault: the check, what breaks and what mends.
BROKEN_STORES = {
    "no account is the default": (
        "bank accounts",
        "UPDATE bank_account SET is_default = false",
        "UPDATE bank_account SET is_default = true",
    ),
    "its logo is not the picture that is kept": (
        "settings of stores",
        "UPDATE store SET settings = jsonb_set(settings, '{logo_path}',"
        " to_jsonb(settings->>'logo_path' || 'x')) WHERE settings ? 'logo_path'",
        "UPDATE store SET settings = jsonb_set(settings, '{logo_path}',"
        " to_jsonb(rtrim(settings->>'logo_path', 'x'))) WHERE settings ? 'logo_path'",
    ),
    "its BVN is shown and not kept": (
        "settings of stores",
        """UPDATE store SET settings = settings || '{"bvn_last4": "0000"}' WHERE sealed_bvn IS NULL""",
        "UPDATE store SET settings = settings - 'bvn_last4' WHERE sealed_bvn IS NULL",
    ),
}

# By words of the fault, or by the place that cannot be opened then: what breaks and what mends.
BROKEN_SEALED = {
    "its number is not what stands beside it": (
        "UPDATE bank_account SET last_digits = translate(last_digits, '0123456789', '1234567890')",
        "UPDATE bank_account SET last_digits = translate(last_digits, '1234567890', '0123456789')",
    ),
    "its number is not found any more": (
        "UPDATE bank_account SET number_mark = number_mark || '\\x00'",
        "UPDATE bank_account SET number_mark = substr(number_mark, 1, 32)",
    ),
    "its BVN is not what stands beside it": (
        """UPDATE store SET settings = settings || '{"bvn_last4": "0000"}' WHERE sealed_bvn IS NOT NULL""",
        """UPDATE store SET settings = settings || '{"bvn_last4": "5678"}' WHERE sealed_bvn IS NOT NULL""",
    ),
}
# One for each column of the list that the rotation of keys walks: a column that is added is tried too.
BROKEN_SEALED |= {
    column.place: (
        f"UPDATE {column.table} SET {column.column} = '\\x41'::bytea || {column.column}",
        f"UPDATE {column.table} SET {column.column} = substr({column.column}, 2)",
    )
    for column in SEALED
}
