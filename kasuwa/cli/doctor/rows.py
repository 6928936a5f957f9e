"""Checks of the rows alone. Each is one statement of the owner's: it sees every merchant at one moment."""

from typing import Any, TypeAlias

import asyncpg
import msgspec
from msgspec import Struct

from kasuwa.base.migrate import applied, read_migrations
from kasuwa.base.secrets import SealBroken, Sealer
from kasuwa.cli.doctor.report import Examined, Finding, examined
from kasuwa.database import MIGRATIONS, PROBE

Owner: TypeAlias = "asyncpg.Connection[Any]"


class RowCheck(Struct, frozen=True):
    """`looked_at` counts; `faults` answers a row (merchant_id, fault) for each fault."""

    name: str
    looked_at: str
    faults: str


COUNTERS = RowCheck(
    "product counters",
    "SELECT count(DISTINCT (merchant_id, name)) FROM merchant_counter WHERE name LIKE 'products.%'",
    """
    SELECT merchant_id, format('%s says %s, and there are %s', name, coalesce(c.value, 0), coalesce(p.n, 0))
    FROM (
      SELECT merchant_id, name, sum(value) AS value FROM merchant_counter
      WHERE name LIKE 'products.%' GROUP BY 1, 2
    ) c
    FULL JOIN (
      SELECT merchant_id, 'products.' || status AS name, count(*) AS n FROM product GROUP BY 1, 2
    ) p USING (merchant_id, name)
    WHERE coalesce(c.value, 0) <> coalesce(p.n, 0)
    """,
)

KEPT = RowCheck(
    "what merchants keep",
    "SELECT count(*) FROM merchant",
    """
    SELECT m.merchant_id, format('the counter of %s says %s, and there are %s', k.kind,
                                 kept_by(m.merchant_id, k.kind), coalesce(f.n, 0))
    FROM merchant m
    CROSS JOIN (VALUES ('files'), ('file_bytes'), ('variants'), ('customers')) AS k (kind)
    LEFT JOIN (
      SELECT merchant_id, 'files' AS kind, count(*) AS n FROM picture WHERE unused_since IS NULL GROUP BY 1
      UNION ALL SELECT merchant_id, 'file_bytes', sum(size_bytes)::bigint FROM (
                  SELECT merchant_id, coalesce(size_bytes, 0) AS size_bytes FROM picture
                  WHERE unused_since IS NULL
                  UNION ALL SELECT merchant_id, length(content) FROM complaint_attachment
                ) AS kept_file GROUP BY 1
      UNION ALL SELECT merchant_id, 'variants', count(*) FROM variant
                WHERE NOT archived AND position > 0 GROUP BY 1
      UNION ALL SELECT merchant_id, 'customers', count(*) FROM customer
                WHERE status <> 'erased' GROUP BY 1
    ) f USING (merchant_id, kind)
    WHERE kept_by(m.merchant_id, k.kind) <> coalesce(f.n, 0)
    """,
)

NUMBERS = RowCheck(
    "rising numbers",
    "SELECT count(*) FROM merchant_counter WHERE name NOT LIKE 'products.%'",
    """
    SELECT t.merchant_id, format('the counter %s stands at %s, and the number %s is given out', t.name,
                                 coalesce(c.value, 0), t.most)
    FROM (
      SELECT merchant_id, 'product' AS name, max(number) AS most FROM product GROUP BY 1
      UNION ALL SELECT merchant_id, 'variant', max(number) FROM variant GROUP BY 1
      UNION ALL SELECT merchant_id, 'category', max(number) FROM category GROUP BY 1
      UNION ALL SELECT merchant_id, 'product_picture', max(number) FROM product_picture GROUP BY 1
    ) t
    LEFT JOIN merchant_counter c USING (merchant_id, name)
    WHERE t.most > coalesce(c.value, 0)
    """,
)

THUMBNAILS = RowCheck(
    "thumbnails",
    "SELECT count(DISTINCT (merchant_id, product_id)) FROM product_picture",
    """
    SELECT merchant_id, format('product %s has %s pictures and %s thumbnails', product_id, count(*),
                               count(*) FILTER (WHERE is_thumbnail))
    FROM product_picture GROUP BY merchant_id, product_id
    HAVING count(*) FILTER (WHERE is_thumbnail) <> 1
    """,
)

VARIANTS = RowCheck(
    "products with variants",
    "SELECT count(*) FROM product",
    """
    SELECT p.merchant_id, format('product %s has variants and no row of its own', p.product_id)
    FROM product p
    WHERE p.kind = 'variant' AND NOT EXISTS (
      SELECT FROM variant v
      WHERE v.merchant_id = p.merchant_id AND v.product_id = p.product_id AND v.position = 0)
    UNION ALL
    SELECT v.merchant_id, format('variant %s has options or values that its product has not', v.variant_id)
    FROM variant v JOIN product p USING (merchant_id, product_id)
    WHERE p.kind = 'variant' AND v.position > 0 AND v.removed_at IS NULL AND (
      jsonb_path_query_array(v.options, '$[*].name') <> jsonb_path_query_array(p.options, '$[*].name')
      OR EXISTS (
        SELECT FROM jsonb_array_elements(v.options) WITH ORDINALITY c (chosen, n)
        WHERE NOT p.options -> (c.n - 1)::integer -> 'values' ? (c.chosen ->> 'value')))
    UNION ALL
    SELECT v.merchant_id, format('variant %s does not have the price of its product', v.variant_id)
    FROM variant v
    JOIN variant m ON m.merchant_id = v.merchant_id AND m.product_id = v.product_id AND m.position = 0
    JOIN price a ON a.merchant_id = v.merchant_id AND a.variant_id = v.variant_id AND a.store_id IS NULL
    JOIN price b ON b.merchant_id = m.merchant_id AND b.variant_id = m.variant_id AND b.store_id IS NULL
    WHERE NOT v.own_price AND v.removed_at IS NULL
      AND (a.currency, a.selling_minor, a.cost_minor, a.promo_minor, a.promo_starts_at, a.promo_ends_at,
           a.wholesale_minor, a.wholesale_min_quantity) IS DISTINCT FROM
          (b.currency, b.selling_minor, b.cost_minor, b.promo_minor, b.promo_starts_at, b.promo_ends_at,
           b.wholesale_minor, b.wholesale_min_quantity)
    UNION ALL
    SELECT v.merchant_id, format('variant %s does not have the price of its product at store %s',
                                 v.variant_id, s.store_id)
    FROM variant v
    JOIN variant m ON m.merchant_id = v.merchant_id AND m.product_id = v.product_id AND m.position = 0
    CROSS JOIN LATERAL (
      SELECT coalesce(a.store_id, b.store_id) AS store_id,
             (a.currency, a.selling_minor, a.cost_minor, a.promo_minor, a.promo_starts_at, a.promo_ends_at,
              a.wholesale_minor, a.wholesale_min_quantity) IS DISTINCT FROM
             (b.currency, b.selling_minor, b.cost_minor, b.promo_minor, b.promo_starts_at, b.promo_ends_at,
              b.wholesale_minor, b.wholesale_min_quantity) AS differs
      FROM (
        SELECT * FROM price WHERE merchant_id = v.merchant_id AND variant_id = v.variant_id
      ) a
      FULL JOIN (
        SELECT * FROM price WHERE merchant_id = m.merchant_id AND variant_id = m.variant_id
      ) b ON b.store_id = a.store_id
    ) s
    WHERE NOT v.own_price AND v.removed_at IS NULL AND s.store_id IS NOT NULL AND s.differs
    UNION ALL
    SELECT b.merchant_id, format('what is no longer sold can be moved: variant %s at store %s', b.variant_id,
                                 b.store_id)
    FROM stock_balance b JOIN variant v USING (merchant_id, variant_id)
    JOIN product p ON p.merchant_id = v.merchant_id AND p.product_id = v.product_id
    WHERE NOT b.closed AND (v.removed_at IS NOT NULL OR (p.kind = 'variant' AND v.position = 0))
    """,
)

USES = RowCheck(
    "pictures in use",
    "SELECT count(*) FROM picture",
    """
    SELECT p.merchant_id, format('picture %s %s', p.picture_id, CASE
      WHEN s.shown AND p.format IS NULL THEN 'is shown and its files were never finished'
      WHEN s.shown THEN 'is shown and stands to be swept'
      ELSE 'is shown nowhere and will never be swept' END)
    FROM picture p
    CROSS JOIN LATERAL (
      SELECT EXISTS (SELECT FROM product_picture x
                     WHERE x.merchant_id = p.merchant_id AND x.picture_id = p.picture_id)
        OR EXISTS (SELECT FROM category c
                   WHERE c.merchant_id = p.merchant_id AND c.picture_id = p.picture_id)
        OR EXISTS (SELECT FROM user_account u
                   WHERE u.merchant_id = p.merchant_id AND u.picture_id = p.picture_id)
        OR EXISTS (SELECT FROM store_picture i
                   WHERE i.merchant_id = p.merchant_id AND i.picture_id = p.picture_id)
        OR EXISTS (SELECT FROM store_banner b
                   WHERE b.merchant_id = p.merchant_id AND b.picture_id = p.picture_id) AS shown
    ) s
    WHERE s.shown = (p.unused_since IS NOT NULL) OR (s.shown AND p.format IS NULL)
    """,
)

CATEGORIES = RowCheck(
    "category trees",
    "SELECT count(*) FROM category",
    """
    SELECT c.merchant_id, format('category %s does not stand where its parent says', c.category_id)
    FROM category c
    LEFT JOIN category p ON p.merchant_id = c.merchant_id AND p.category_id = c.parent_id
    WHERE c.tree_key <> coalesce(p.tree_key, '') || tree_key_of(c.position, c.number)
       OR c.path <> coalesce(p.path, '{}') || c.name
    """,
)

DIRECTORY = RowCheck(
    "directory",
    "SELECT count(*) FROM store_directory",
    """
    SELECT merchant_id, format('store %s is in %s alone', store_id,
                               CASE WHEN s.name IS NULL THEN 'the directory' ELSE 'its table' END)
    FROM store_directory d FULL JOIN store s USING (merchant_id, store_id)
    WHERE s.name IS NULL OR d.shop IS NULL
    UNION ALL
    SELECT merchant_id, format('user %s is in %s alone', user_id,
                               CASE WHEN u.username IS NULL THEN 'the directory' ELSE 'its table' END)
    FROM account_directory a FULL JOIN user_account u USING (merchant_id, user_id)
    WHERE u.username IS NULL OR a.user_id IS NULL
    UNION ALL
    SELECT l.merchant_id, format('a log-in name belongs to the user %s, who is not there', l.user_id)
    FROM login_name l LEFT JOIN user_account u USING (merchant_id, user_id) WHERE u.username IS NULL
    """,
)

PROTECTION = RowCheck(
    "protection of tenants",
    "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')",
    """
    SELECT NULL::uuid, format('table %s: %s', c.relname, fault)
    FROM pg_class c
    CROSS JOIN LATERAL (
      SELECT 'row-level security is not forced' AS fault
        WHERE NOT (c.relrowsecurity AND c.relforcerowsecurity)
      UNION ALL SELECT 'the policy tenant is missing' WHERE NOT EXISTS (
        SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'tenant'
          AND pg_get_expr(p.polqual, p.polrelid) LIKE '%app.merchant_id%'
          AND pg_get_expr(p.polwithcheck, p.polrelid) LIKE '%app.merchant_id%')
      UNION ALL SELECT 'another policy lets kasuwa_app in' WHERE EXISTS (
        SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname <> 'tenant'
          AND (0 = ANY (p.polroles) OR 'kasuwa_app'::regrole = ANY (p.polroles)))
    ) f
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
      AND c.relname NOT IN (SELECT name FROM directory_table)
    UNION ALL
    SELECT NULL, format('table %s: kasuwa_app reaches the directory without its functions', d.name)
    FROM directory_table d
    WHERE has_table_privilege('kasuwa_app', d.name, 'SELECT, INSERT, UPDATE, DELETE')
    UNION ALL
    SELECT NULL, format('kasuwa_app owns %s', c.relname) FROM pg_class c
    WHERE c.relowner = 'kasuwa_app'::regrole
    UNION ALL
    SELECT NULL, format('the role %s bypasses row-level security', r.rolname) FROM pg_roles r
    WHERE r.rolname IN ('kasuwa_app', 'kasuwa_owner', 'kasuwa_search') AND (r.rolsuper OR r.rolbypassrls)
    """,
)

REMOVALS = RowCheck(
    "removals of merchants",
    "SELECT count(*) FROM merchant",
    """
    SELECT NULL::uuid, format('the removal of %s has not ended: unless it runs now, run '
                               '`kasuwa merchant delete %s` again', of_merchant, of_merchant)
    FROM removal WHERE of_merchant IS NOT NULL
    """,
)

JOBS = RowCheck(
    "jobs given up",
    "SELECT count(*) FROM job",
    """
    SELECT merchant_id, format('%s (%s) was given up after %s tries: %s', kind, job_id, attempts, last_error)
    FROM job WHERE status = 'failed'
    """,
)

ROW_CHECKS = (
    COUNTERS,
    KEPT,
    NUMBERS,
    VARIANTS,
    THUMBNAILS,
    USES,
    CATEGORIES,
    DIRECTORY,
    PROTECTION,
    REMOVALS,
    JOBS,
)


async def check_rows(owner: Owner, check: RowCheck) -> Examined:
    findings = [
        Finding(row[1], None if row[0] is None else str(row[0])) for row in await owner.fetch(check.faults)
    ]
    return examined(check.name, await owner.fetchval(check.looked_at), findings)


async def check_ledgers(owner: Owner) -> list[Examined]:
    """Every function named `…_faults` that needs no argument is a ledger's own check.

    What it looked at is the table named so, or its movements.
    """
    names = await owner.fetch(
        r"""
        SELECT proname FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proname LIKE '%\_faults'
          AND pronargs = pronargdefaults
        ORDER BY proname
        """
    )
    return [await _check_ledger(owner, row["proname"]) for row in names]


async def _check_ledger(owner: Owner, function: str) -> Examined:
    ledger = function.removesuffix("_faults")
    table = await owner.fetchval(
        "SELECT coalesce(to_regclass($1 || '_movement'), to_regclass($1))::text", ledger
    )
    looked_at = await owner.fetchval(f"SELECT count(*) FROM {table}") if table else 0  # noqa: S608
    rows = await owner.fetch(f"SELECT to_jsonb(f) AS row FROM {function}() f")  # noqa: S608 - from the catalogue
    findings = []
    for row in rows:
        told = _json(row["row"])
        where = " ".join(f"{name} {told[name]}" for name in told if name not in ("merchant_id", "fault"))
        findings.append(Finding(f"{where}: {told['fault']}", told.get("merchant_id")))
    return examined(f"ledger of {ledger}", looked_at, findings)


async def check_migrations(owner: Owner) -> Examined:
    have = await applied(owner)
    known = {migration.name: migration.sha256 for migration in read_migrations(MIGRATIONS)}
    findings = [Finding(f"{name} has not run") for name in sorted(known.keys() - have.keys())]
    findings += [Finding(f"{name} is of a newer version") for name in sorted(have.keys() - known.keys())]
    findings += [
        Finding(f"{name} was edited after it ran")
        for name in sorted(known.keys() & have.keys())
        if known[name] != have[name]
    ]
    return examined("migrations", len(known), findings)


async def check_probe(owner: Owner, sealer: Sealer) -> Examined:
    sealed = await owner.fetchval("SELECT sealed FROM seal_probe")
    findings = []
    try:
        if sealed is None or sealer.open(sealed) != PROBE:
            findings.append(Finding("there is no sealed probe: start the server once"))
    except SealBroken:
        findings.append(
            Finding("what is sealed was sealed with another key: bring back secret.key or KASUWA_SECRET_KEY")
        )
    return examined("secret key", 1, findings)


def _json(text: str) -> dict[str, Any]:
    return msgspec.json.decode(text, type=dict[str, Any])
