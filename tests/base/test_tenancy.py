"""Every table is a tenant's or in the directory, and row-level security alone keeps merchants apart."""

from uuid import UUID, uuid4

import asyncpg
import pytest

from kasuwa.base.context import Services
from kasuwa.database import DatabaseUrls
from tests.base import tenancy
from tests.base.database import Connection, connected, superuser_url, undone
from tests.shop import new_shop

_GOOD_TABLE = """
    CREATE TABLE crate (merchant_id uuid NOT NULL REFERENCES merchant, crate_id uuid NOT NULL,
                        PRIMARY KEY (merchant_id, crate_id));
    CALL protect_tenant('crate');
"""

# A change of the schema that breaks one rule, and the words in which it must be found.
_BREACHES = {
    "unprotected": ("CREATE TABLE crate (merchant_id uuid PRIMARY KEY)", "crate: row-level security"),
    "without-merchant": ("CREATE TABLE crate (crate_id uuid PRIMARY KEY)", "crate: neither a directory"),
    "nullable-merchant": (
        "CREATE TABLE crate (merchant_id uuid, UNIQUE (merchant_id)); CALL protect_tenant('crate')",
        "crate: neither a directory",
    ),
    "no-key": (
        "CREATE TABLE crate (merchant_id uuid NOT NULL); CALL protect_tenant('crate')",
        "crate: has no key",
    ),
    "not-forced": (
        _GOOD_TABLE + "ALTER TABLE crate NO FORCE ROW LEVEL SECURITY",
        "crate: row-level security",
    ),
    "policy-gone": (_GOOD_TABLE + "DROP POLICY tenant ON crate", "crate: its policies"),
    "owner-policy-gone": (_GOOD_TABLE + "DROP POLICY owner ON crate", "crate: its policies"),
    "policy-wide": (
        _GOOD_TABLE + "CREATE POLICY more ON crate TO kasuwa_app USING (true)",
        "crate: its policies",
    ),
    "policy-loose": (
        _GOOD_TABLE + "ALTER POLICY tenant ON crate USING (merchant_id = current_merchant() OR true)",
        "crate: its policies",
    ),
    "search-writes": (
        _GOOD_TABLE + "CREATE POLICY search ON crate TO kasuwa_search USING (true)",
        "crate: the policy `search`",
    ),
    "search-without-policy": (_GOOD_TABLE + "GRANT SELECT ON crate TO kasuwa_search", "crate: the rights of"),
    "key-order": (_GOOD_TABLE + "CREATE UNIQUE INDEX ON crate (crate_id, merchant_id)", "crate: the key"),
    "reference-order": (
        _GOOD_TABLE + "ALTER TABLE crate ADD FOREIGN KEY (crate_id) REFERENCES merchant",
        "crate: crate_crate_id_fkey does not begin",
    ),
    "reference-to-directory": (
        _GOOD_TABLE + "ALTER TABLE crate ADD FOREIGN KEY (crate_id) REFERENCES account_directory",
        "crate: crate_crate_id_fkey refers to the directory",
    ),
    "too-many-rights": (_GOOD_TABLE + "GRANT TRUNCATE ON crate TO kasuwa_app", "crate: kasuwa_app has"),
    "right-for-all": (_GOOD_TABLE + "GRANT TRIGGER ON crate TO PUBLIC", "crate: kasuwa_app has"),
    "append-only-half": (
        _GOOD_TABLE + "CALL make_append_only('crate'); DROP TRIGGER append_only_all ON crate",
        "crate: append-only, but",
    ),
    "append-only-off": (
        "ALTER TABLE audit_entry DISABLE TRIGGER append_only",
        "audit_entry: append-only, but",
    ),
    "append-only-writable": (
        "GRANT UPDATE ON stock_movement TO kasuwa_app",
        "stock_movement: kasuwa_app has",
    ),
    "directory-readable": ("GRANT SELECT ON session TO kasuwa_app", "session: a table of the directory"),
    "directory-column": ("GRANT SELECT (kind) ON job TO kasuwa_app", "job: a table of the directory"),
    "directory-unknown": (
        "INSERT INTO directory_table VALUES ('nothing', 'x')",
        "directory_table names nothing",
    ),
    "view": ("CREATE VIEW crate AS SELECT 1 AS one", "public.crate: only plain tables"),
    "loose-path": (
        "CREATE FUNCTION crate() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "crate(): SECURITY DEFINER without",
    ),
    "told-the-merchant": (
        "CREATE FUNCTION crate(of_merchant uuid) RETURNS int LANGUAGE sql SECURITY DEFINER"
        " SET search_path = public, pg_temp AS 'SELECT 1'",
        "crate(): is told the merchant",
    ),
    "search-function-of-all": (
        "CREATE FUNCTION crate() RETURNS bigint LANGUAGE sql SECURITY DEFINER"
        " SET search_path = public, pg_temp AS 'SELECT count(*) FROM product';"
        " GRANT CREATE ON SCHEMA public TO kasuwa_search; ALTER FUNCTION crate OWNER TO kasuwa_search",
        "crate(): runs as kasuwa_search",
    ),
    "search-function-with-comment": (
        "CREATE FUNCTION crate() RETURNS int LANGUAGE sql AS 'SELECT 1'; COMMENT ON FUNCTION crate IS 'x';"
        " GRANT CREATE ON SCHEMA public TO kasuwa_search; ALTER FUNCTION crate OWNER TO kasuwa_search",
        "crate(): has a comment and belongs to kasuwa_search",
    ),
    "application-creates": (
        "GRANT CREATE ON SCHEMA public TO kasuwa_app",
        "kasuwa_app: may create in public",
    ),
}

_BREACHES_OF_ROLES = {
    "bypass": ("ALTER ROLE kasuwa_app BYPASSRLS", "kasuwa_app: rolbypassrls"),
    "superuser": ("ALTER ROLE kasuwa_app SUPERUSER", "kasuwa_app: rolsuper"),
    "member": ("GRANT kasuwa_owner TO kasuwa_app", "kasuwa_app: member of kasuwa_owner"),
    "owns": ("ALTER TABLE category OWNER TO kasuwa_app", "kasuwa_app: owns table category"),
    "foreign-function": (
        "CREATE FUNCTION crate() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp"
        " AS 'SELECT 1'",
        "crate(): SECURITY DEFINER and owned by",
    ),
}


async def test_every_table_function_and_role_keeps_the_rules(database_urls: DatabaseUrls) -> None:
    async with connected(superuser_url(database_urls)) as connection:
        assert await tenancy.find_faults(connection) == []
        assert len(await tenancy.tenant_tables(connection)) > 15


async def test_a_new_table_that_keeps_the_rules_passes(database_urls: DatabaseUrls) -> None:
    async with undone(database_urls.owner) as connection:
        await connection.execute(_GOOD_TABLE)
        assert await tenancy.find_faults(connection) == []


@pytest.mark.parametrize(("change", "fault"), _BREACHES.values(), ids=_BREACHES)
async def test_a_breach_of_the_rules_is_found(database_urls: DatabaseUrls, change: str, fault: str) -> None:
    """The controls: each build breaks one rule."""
    async with undone(database_urls.owner) as connection:
        await connection.execute(change)
        faults = await tenancy.find_faults(connection)
    assert any(found.startswith(fault) for found in faults), faults


@pytest.mark.parametrize(("change", "fault"), _BREACHES_OF_ROLES.values(), ids=_BREACHES_OF_ROLES)
async def test_a_breach_by_a_superuser_is_found(database_urls: DatabaseUrls, change: str, fault: str) -> None:
    async with undone(superuser_url(database_urls)) as connection:
        await connection.execute(change)
        faults = await tenancy.find_faults(connection)
    assert any(found.startswith(fault) for found in faults), faults


@pytest.mark.parametrize(
    "command",
    [
        "CREATE TABLE crate (n int)",
        "CREATE TEMP TABLE crate (n int)",
        "CREATE SCHEMA crate",
        "CREATE ROLE crate",
    ],
)
async def test_the_application_can_create_nothing(database_urls: DatabaseUrls, command: str) -> None:
    async with connected(database_urls.application) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(command)


@pytest.mark.parametrize("table", sorted(tenancy.APPEND_ONLY))
@pytest.mark.parametrize(
    "command", ["UPDATE {} SET merchant_id = merchant_id", "DELETE FROM {}", "TRUNCATE {}"]
)
async def test_what_is_append_only_refuses_its_owner_too(
    database_urls: DatabaseUrls, services: Services, table: str, command: str
) -> None:
    shop = await new_shop(services)
    async with undone(superuser_url(database_urls)) as connection:
        await insert_row(connection, table, shop.merchant_id)
        await connection.execute("SET LOCAL session_replication_role = origin; SET LOCAL ROLE kasuwa_owner")
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
            await connection.execute(command.format(table))


# Row-level security alone -----------------------------------------------------------------------

_VALUES = {
    "uuid": "gen_random_uuid()",
    "text": "'x'",
    "bytea": r"'\x01'",
    "jsonb": "'{}'",
    "boolean": "true",
    "date": "current_date",
    "interval": "'1 day'",
    "timestamp with time zone": "now()",
    "integer": "1",
    "smallint": "1",
    "bigint": "1",
    "numeric": "1",
    "double precision": "1",
    "text[]": "'{}'",
    "tsvector": "'x'",
    "uuid[]": "'{}'",
}


async def insert_row(connection: Connection, table: str, merchant_id: UUID) -> None:
    """One row of the merchant in the table, whatever its columns are: as a superuser, without checks."""
    checks = await connection.fetch(
        "SELECT conname FROM pg_constraint WHERE conrelid = $1::regclass AND contype = 'c'", table
    )
    for check in checks:
        await connection.execute(f'ALTER TABLE "{table}" DROP CONSTRAINT "{check["conname"]}"')
    await connection.execute("SET LOCAL session_replication_role = replica")
    columns = await connection.fetch(
        "SELECT attname AS name, format_type(atttypid, NULL) AS type FROM pg_attribute"
        " WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attnotnull"
        " AND attgenerated = '' AND attname <> 'merchant_id'",
        table,
    )
    names = ", ".join(["merchant_id", *(f'"{column["name"]}"' for column in columns)])
    values = ", ".join([f"'{merchant_id}'", *(_VALUES[column["type"]] for column in columns)])
    await connection.execute(f'INSERT INTO "{table}" ({names}) VALUES ({values})')


async def _leaks(connection: Connection, tables: list[str]) -> tuple[set[str], set[str]]:
    """Tables in which a stranger sees or changes a victim's rows without any WHERE; tables with such rows."""
    victim, stranger = uuid4(), uuid4()
    leaking: set[str] = set()
    filled: set[str] = set()
    for table in tables:
        await insert_row(connection, table, victim)
    await connection.execute("SET LOCAL ROLE kasuwa_app")
    for table in tables:
        for merchant_id, found_in in ((stranger, leaking), (victim, filled)):
            await connection.execute(f"SET LOCAL app.merchant_id = '{merchant_id}'")
            rows = await connection.fetch(f'SELECT * FROM "{table}"')
            if any(row["merchant_id"] == victim for row in rows):
                found_in.add(table)
        await connection.execute(f"SET LOCAL app.merchant_id = '{stranger}'")
        if table not in tenancy.APPEND_ONLY:
            changed = await connection.execute(f'UPDATE "{table}" SET merchant_id = merchant_id')
            if changed != "UPDATE 0":
                leaking.add(table)
    return leaking, filled


async def test_without_any_where_a_stranger_sees_and_changes_nothing(database_urls: DatabaseUrls) -> None:
    async with undone(superuser_url(database_urls)) as connection:
        tables = await tenancy.tenant_tables(connection)
        leaking, filled = await _leaks(connection, tables)
    assert filled == set(tables)
    assert leaking == set()


async def test_a_table_without_its_policy_leaks_in_that_check(database_urls: DatabaseUrls) -> None:
    """The control: one table is open."""
    async with undone(superuser_url(database_urls)) as connection:
        await connection.execute("ALTER TABLE price DISABLE ROW LEVEL SECURITY")
        leaking, _ = await _leaks(connection, await tenancy.tenant_tables(connection))
    assert leaking == {"price"}


async def test_without_a_merchant_there_is_nothing_at_all(database_urls: DatabaseUrls) -> None:
    async with connected(database_urls.owner) as owner, connected(database_urls.application) as connection:
        for table in await tenancy.tenant_tables(owner):
            assert await connection.fetchval(f'SELECT count(*) FROM "{table}"') == 0


async def test_a_stranger_cannot_write_into_another_merchant(
    database_urls: DatabaseUrls, services: Services
) -> None:
    victim, stranger = await new_shop(services), await new_shop(services)
    async with undone(database_urls.application) as connection:
        await connection.execute(f"SET LOCAL app.merchant_id = '{stranger.merchant_id}'")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await connection.execute(
                "INSERT INTO merchant_counter (merchant_id, name) VALUES ($1, 'x')", victim.merchant_id
            )
