"""The rules of tenants and of the directory, as questions to the database's own catalogue.

Each function answers the faults it finds, so that a test can also show that a broken schema is caught.
"""

import re
from collections.abc import Sequence
from typing import Any

from tests.base.database import Connection

APPLICATION, OWNER, SEARCH = "kasuwa_app", "kasuwa_owner", "kasuwa_search"

# What may be changed by nobody, whatever else the schema grows.
APPEND_ONLY = {"audit_entry", "price_change", "stock_movement"}

# SECURITY DEFINER functions that may be told a merchant by their caller, each with its reason.
TOLD_THE_MERCHANT: dict[str, str] = {}

_TENANT = "(merchant_id = (NULLIF(current_setting('app.merchant_id'::text, true), ''::text))::uuid)"
_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
_COLUMN_RIGHTS = ("SELECT", "INSERT", "UPDATE", "REFERENCES")

_RELATIONS = """
    SELECT c.oid, c.relname AS name, n.nspname AS schema, c.relkind::text AS kind, o.rolname AS owner,
           c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced, d.name IS NOT NULL AS is_directory
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_roles o ON o.oid = c.relowner
    LEFT JOIN directory_table d ON d.name = c.relname
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
      AND n.nspname NOT LIKE 'pg\\_temp%' AND n.nspname NOT LIKE 'pg\\_toast\\_temp%'
      AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    ORDER BY c.relname
"""


async def find_faults(connection: Connection) -> list[str]:
    """Every breach of the rules, in words."""
    faults = []
    for table in await connection.fetch(_RELATIONS):
        if table["kind"] != "r" or table["schema"] != "public":
            faults.append(f"{table['schema']}.{table['name']}: only plain tables in public are provided for")
        elif table["is_directory"]:
            faults += await _directory_faults(connection, table)
        else:
            faults += await _tenant_faults(connection, table)
    faults += [
        f"directory_table names {name}, which does not exist"
        for name in await _column(
            connection, "SELECT name FROM directory_table WHERE to_regclass(name) IS NULL"
        )
    ]
    faults += await _function_faults(connection)
    return faults + await _role_faults(connection)


async def tenant_tables(connection: Connection) -> list[str]:
    return [row["name"] for row in await connection.fetch(_RELATIONS) if not row["is_directory"]]


async def _directory_faults(connection: Connection, table: Any) -> list[str]:
    return [
        f"{table['name']}: a table of the directory, but {role} may {right}"
        for role in (APPLICATION, SEARCH)
        for right in sorted(await _rights(connection, role, table["oid"]))
    ]


async def _tenant_faults(connection: Connection, table: Any) -> list[str]:
    name, oid = table["name"], table["oid"]
    column = await connection.fetchrow(
        "SELECT format_type(atttypid, atttypmod) AS type, attnotnull FROM pg_attribute"
        " WHERE attrelid = $1 AND attname = 'merchant_id' AND NOT attisdropped",
        oid,
    )
    if column is None or column["type"] != "uuid" or not column["attnotnull"]:
        return [f"{name}: neither a directory table nor one with merchant_id uuid NOT NULL"]
    faults = [] if table["owner"] == OWNER else [f"{name}: belongs to {table['owner']}"]
    if not table["enabled"] or not table["forced"]:
        faults.append(f"{name}: row-level security is not enabled and forced")
    faults += await _key_faults(connection, name, oid)
    faults += await _policy_faults(connection, name, oid)
    triggers = await _column(
        connection,
        "SELECT tgname FROM pg_trigger WHERE tgrelid = $1 AND tgenabled <> 'D'"
        " AND tgfoid = 'refuse_change'::regproc AND tgname IN ('append_only', 'append_only_all')",
        oid,
    )
    if len(triggers) == 1 or (name in APPEND_ONLY and not triggers):
        faults.append(f"{name}: append-only, but a change or a truncation is not refused")
    allowed = (
        {"SELECT", "INSERT"} if triggers or name in APPEND_ONLY else {"SELECT", "INSERT", "UPDATE", "DELETE"}
    )
    rights = await _rights(connection, APPLICATION, oid)
    if rights != allowed:
        faults.append(f"{name}: {APPLICATION} has {sorted(rights)} instead of {sorted(allowed)}")
    searched = await _column(
        connection, "SELECT 1 FROM pg_policy WHERE polrelid = $1 AND polname = 'search'", oid
    )
    if await _rights(connection, SEARCH, oid) != ({"SELECT"} if searched else set()):
        faults.append(f"{name}: the rights of {SEARCH} are not those of its policy")
    return faults


async def _key_faults(connection: Connection, name: str, oid: int) -> list[str]:
    keys = await connection.fetch(
        """
        SELECT i.indexrelid::regclass::text AS key, a.attname AS first
        FROM pg_index i LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = $1 AND (i.indisunique OR i.indisprimary OR i.indisexclusion)
        """,
        oid,
    )
    faults = [] if keys else [f"{name}: has no key at all"]
    faults += [
        f"{name}: the key {key['key']} begins with {key['first']}"
        for key in keys
        if key["first"] != "merchant_id"
    ]
    references = await connection.fetch(
        """
        SELECT k.conname AS name, k.confrelid::regclass::text AS target, d.name IS NOT NULL AS to_directory,
               a.attname AS first, b.attname AS there
        FROM pg_constraint k
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
        JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[1]
        LEFT JOIN directory_table d ON d.name = k.confrelid::regclass::text
        WHERE k.contype = 'f' AND k.conrelid = $1
        """,
        oid,
    )
    for reference in references:
        if reference["to_directory"]:
            faults.append(f"{name}: {reference['name']} refers to the directory, {reference['target']}")
        elif (reference["first"], reference["there"]) != ("merchant_id", "merchant_id"):
            faults.append(f"{name}: {reference['name']} does not begin with merchant_id on both sides")
    return faults


async def _policy_faults(connection: Connection, name: str, oid: int) -> list[str]:
    rows = await connection.fetch(
        """
        SELECT p.polname AS name, p.polcmd::text AS command, p.polpermissive AS permissive,
               (SELECT array_agg(coalesce(r.rolname, 'PUBLIC')::text) FROM unnest(p.polroles) u (oid)
                LEFT JOIN pg_roles r ON r.oid = u.oid) AS roles,
               pg_get_expr(p.polqual, p.polrelid) AS shown, pg_get_expr(p.polwithcheck, p.polrelid) AS written
        FROM pg_policy p WHERE p.polrelid = $1
        """,
        oid,
    )
    found = {
        row["name"]: (row["command"], row["permissive"], row["roles"], row["shown"], row["written"])
        for row in rows
    }
    search = found.pop("search", None)
    faults = []
    if search is not None and search != ("r", True, [SEARCH], "true", None):
        faults.append(f"{name}: the policy `search` is {search}")
    expected = {
        "tenant": ("*", True, [APPLICATION], _TENANT, _TENANT),
        "owner": ("*", True, [OWNER], "true", "true"),
    }
    if found != expected:
        faults.append(f"{name}: its policies are {found}")
    return faults


async def _function_faults(connection: Connection) -> list[str]:
    functions = await connection.fetch(
        """
        SELECT p.proname AS name, o.rolname AS owner, p.prosrc AS source,
               coalesce(p.proconfig, '{}') AS settings, coalesce(p.proargnames, '{}') AS arguments,
               coalesce(p.proargmodes::text[], '{}') AS modes
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_roles o ON o.oid = p.proowner
        WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
        ORDER BY 1
        """
    )
    faults = []
    for function in functions:
        name = function["name"]
        if "search_path=public, pg_temp" not in function["settings"]:
            faults.append(f"{name}(): SECURITY DEFINER without a pinned search_path")
        if function["owner"] not in (OWNER, SEARCH):
            faults.append(f"{name}(): SECURITY DEFINER and owned by {function['owner']}")
        if function["owner"] == SEARCH and not re.search(
            r"merchant_id\s*=\s*current_merchant\(\)", function["source"]
        ):
            faults.append(f"{name}(): runs as {SEARCH} and does not name the merchant")
        modes = function["modes"] or ["i"] * len(function["arguments"])
        told = [
            argument
            for argument, mode in zip(function["arguments"], modes, strict=False)
            if mode in "ibv" and "merchant" in argument
        ]
        if told and name not in TOLD_THE_MERCHANT:
            faults.append(f"{name}(): is told the merchant by its caller, in {told}")
    return faults + await _comment_faults(connection)


async def _comment_faults(connection: Connection) -> list[str]:
    """A restore runs as the owner of the schema, who may not comment on what is somebody else's."""
    return [
        f"{name}(): has a comment and belongs to {SEARCH}, so no backup could be restored: write it with --"
        for name in await _column(
            connection,
            "SELECT p.proname FROM pg_proc p"
            " JOIN pg_description d ON d.classoid = 'pg_proc'::regclass AND d.objoid = p.oid"
            " WHERE p.proowner = $1::regrole ORDER BY 1",
            SEARCH,
        )
    ]


async def _role_faults(connection: Connection) -> list[str]:
    faults = []
    for role in (APPLICATION, OWNER, SEARCH):
        may = await connection.fetchrow(
            "SELECT rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolreplication FROM pg_roles"
            " WHERE rolname = $1",
            role,
        )
        faults += [f"{role}: {word}" for word, holds in (may.items() if may else ()) if holds]
    faults += [
        f"{APPLICATION}: member of {group}"
        for group in await _column(
            connection,
            "SELECT roleid::regrole::text FROM pg_auth_members WHERE member = $1::regrole",
            APPLICATION,
        )
    ]
    faults += [
        f"{APPLICATION}: owns {thing}"
        for thing in await _column(
            connection,
            "SELECT pg_describe_object(classid, objid, objsubid) FROM pg_shdepend"
            " WHERE refclassid = 'pg_authid'::regclass AND refobjid = $1::regrole AND deptype = 'o'"
            " AND dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))",
            APPLICATION,
        )
    ]
    faults += [
        f"{APPLICATION}: may create in {place}"
        for place in await _column(
            connection,
            "SELECT nspname::text FROM pg_namespace WHERE has_schema_privilege($1, oid, 'CREATE')"
            " UNION ALL SELECT 'the database' WHERE has_database_privilege($1, current_database(), 'CREATE')"
            " UNION ALL SELECT 'temporary tables'"
            " WHERE has_database_privilege($1, current_database(), 'TEMPORARY')",
            APPLICATION,
        )
    ]
    return faults


async def _rights(connection: Connection, role: str, oid: int) -> set[str]:
    """What the role may do with the table or with any column of it."""
    return set(
        await _column(
            connection,
            """
            SELECT r FROM unnest($3::text[]) r WHERE has_table_privilege($1::name, $2::oid, r)
            UNION SELECT r FROM unnest($4::text[]) r WHERE has_any_column_privilege($1::name, $2::oid, r)
            """,
            role,
            oid,
            list(_RIGHTS),
            list(_COLUMN_RIGHTS),
        )
    )


async def _column(connection: Connection, sql: str, *values: object) -> Sequence[Any]:
    return [row[0] for row in await connection.fetch(sql, *values)]
