"""Roles, database and extensions: made once by an administrator's connection, checked at every start."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import asyncpg
from msgspec import Struct

from kasuwa.base.postgres.binaries import OLDEST_MAJOR
from kasuwa.base.postgres.errors import BootstrapIncomplete

OWNER = "kasuwa_owner"
APPLICATION = "kasuwa_app"
SEARCH = "kasuwa_search"
EXTENSIONS = ("unaccent", "pg_trgm", "btree_gin", "citext", "fuzzystrmatch")
APPLICATION_LIMITS = {
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "10s",
}
LOCK_KEY = 0x6B617375_7761  # "kasuwa"

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

REFUSALS = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedObjectError,  # a role that an earlier step was not allowed to make,
    asyncpg.InvalidParameterValueError,  # and SET ROLE to it
    asyncpg.InvalidCatalogNameError,  # the same for the database
    asyncpg.FeatureNotSupportedError,  # an extension that this server does not have
    asyncpg.UndefinedFileError,
)


class Step(Struct, frozen=True):
    """One fact that has to hold and the statement that makes it so.

    `holds` is a query for one boolean with `given` as its parameters. With `as_owner` the statement runs as
    the database's owner.
    """

    holds: str
    given: tuple[str, ...]
    statement: str
    as_owner: bool = False


async def bootstrap(
    admin_dsn: str, database: str = "kasuwa", *, passwords: Mapping[str, str] | None = None
) -> None:
    """Make what is missing of the roles, the database and its extensions. Safe to repeat, also at once.

    `admin_dsn` is a superuser's, or that of a role with CREATEROLE and CREATEDB. `passwords` (role to
    password) are set for roles that log in over the network; the server sees only their SCRAM verifiers.
    What could not be done raises BootstrapIncomplete at the end, with the SQL that is left to run.
    """
    admin = await asyncpg.connect(admin_dsn)
    try:
        major = admin.get_server_version().major
        if major < OLDEST_MAJOR:
            raise BootstrapIncomplete(
                f"The server is PostgreSQL {major}; Kasuwa needs {OLDEST_MAJOR} or newer. Upgrade it."
            )
        # A lock of the session: CREATE DATABASE cannot run in a transaction. It ends with the connection.
        await admin.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
        missing = await _take(admin, role_steps(major))
        missing += await _take(admin, await _membership_steps(admin, major))
        missing += await _set_passwords(admin, passwords or {})
        missing += await _take(admin, database_steps(database, major))
        if not missing:
            await _check_locale(admin, database)
            inside = await asyncpg.connect(admin_dsn, database=database)
            try:
                missing += await _take(inside, inside_steps())
            finally:
                await inside.close()
    finally:
        await admin.close()
    if missing:
        raise BootstrapIncomplete(
            "The administrator of the database address could not do all that is needed. Have a superuser "
            f"run this (extensions and schema in the database `{database}`), then start again:\n  "
            + "\n  ".join(missing),
            tuple(missing),
        )


def role_steps(major: int) -> list[Step]:
    """The three roles, what they may not do, and the application's limits."""
    steps = []
    for role, login in ((OWNER, "LOGIN"), (APPLICATION, "LOGIN"), (SEARCH, "NOLOGIN")):
        steps.append(
            Step(
                "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)",
                (role,),
                f"CREATE ROLE {role} {login}",
            )
        )
        steps.append(
            Step(
                "SELECT NOT (rolsuper OR rolbypassrls OR rolcreatedb OR rolcreaterole OR rolreplication) "
                "AND rolcanlogin = ($2 = 'LOGIN') FROM pg_roles WHERE rolname = $1",
                (role, login),
                f"ALTER ROLE {role} {login} NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION",
            )
        )
    for name, value in APPLICATION_LIMITS.items():
        steps.append(
            Step(
                "SELECT EXISTS (SELECT FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole "
                "WHERE r.rolname = $1 AND s.setdatabase = 0 AND $2 = ANY (s.setconfig))",
                (APPLICATION, f"{name}={value}"),
                f"ALTER ROLE {APPLICATION} SET {name} = '{value}'",
            )
        )
    return steps


async def _membership_steps(admin: "Connection", major: int) -> list[Step]:
    """Who belongs to whom: the application to nobody, the owner to the search role."""
    groups = await admin.fetch(
        "SELECT g.rolname AS name FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid "
        "JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = $1 ORDER BY 1",
        APPLICATION,
    )
    steps = [
        Step(
            "SELECT NOT pg_has_role($1, $2, 'MEMBER')",
            (APPLICATION, group["name"]),
            f"REVOKE {_identifier(group['name'])} FROM {APPLICATION}",
        )
        for group in groups
    ]
    # The owner hands functions over to the search role, without acting with its rights unasked. Before 16
    # this cannot be said for one membership: the owner inherits there what it could take by SET ROLE anyway.
    holds, option = "SELECT pg_has_role($1, $2, 'MEMBER')", ""
    if major >= 16:
        holds, option = "SELECT pg_has_role($1, $2, 'SET')", " WITH INHERIT FALSE, SET TRUE"
    steps.append(Step(holds, (OWNER, SEARCH), f"GRANT {SEARCH} TO {OWNER}{option}"))
    if not await admin.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        # An administrator without superuser rights must belong to the owner to make its database.
        holds, option = "SELECT pg_has_role(current_user, $1, 'USAGE')", ""
        if major >= 16:
            holds += " AND pg_has_role(current_user, $1, 'SET')"
            option = " WITH INHERIT TRUE, SET TRUE"
        administrator = _identifier(await admin.fetchval("SELECT current_user"))
        steps.append(Step(holds, (OWNER,), f"GRANT {OWNER} TO {administrator}{option}"))
    return steps


def database_steps(database: str, major: int) -> list[Step]:
    """The database with its locale, and who may connect to it."""
    name = _identifier(database)
    locale = "LOCALE 'C.UTF-8'"
    if major >= 17:
        locale += " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"
    rights = (
        "SELECT {} EXISTS (SELECT FROM pg_database d, "
        "aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE d.datname = $1 AND {})"
    )
    return [
        Step(
            "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)",
            (database,),
            f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE template0 ENCODING 'UTF8' {locale}",
        ),
        Step(
            "SELECT EXISTS (SELECT FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba "
            "WHERE d.datname = $1 AND r.rolname = $2)",
            (database, OWNER),
            f"ALTER DATABASE {name} OWNER TO {OWNER}",
        ),
        # The application's own right comes first: taking PUBLIC's away must not shut it out for a moment.
        Step(
            rights.format("", "a.grantee = to_regrole($2) AND a.privilege_type = 'CONNECT'"),
            (database, APPLICATION),
            f"GRANT CONNECT ON DATABASE {name} TO {APPLICATION}",
            as_owner=True,
        ),
        Step(
            rights.format("NOT", "a.grantee = 0"),
            (database,),
            f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
            as_owner=True,
        ),
    ]


def inside_steps() -> list[Step]:
    """Extensions and the schema `public`; run inside the database."""
    steps = [
        Step(
            "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = $1)",
            (name,),
            f"CREATE EXTENSION IF NOT EXISTS {name}",
            as_owner=True,  # all of them are trusted: the owner of a database may have them
        )
        for name in EXTENSIONS
    ]
    steps += [
        Step(
            "SELECT NOT EXISTS (SELECT FROM pg_namespace n, "
            "aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a "
            "WHERE n.nspname = 'public' AND a.grantee = 0 AND a.privilege_type = 'CREATE')",
            (),
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        ),
        Step(
            "SELECT has_schema_privilege($1, 'public', 'CREATE WITH GRANT OPTION')",
            (OWNER,),
            f"GRANT ALL ON SCHEMA public TO {OWNER} WITH GRANT OPTION",
        ),
        # Whoever is given a function must be allowed to create in its schema.
        Step(
            "SELECT has_schema_privilege($1, 'public', 'CREATE')",
            (SEARCH,),
            f"GRANT CREATE ON SCHEMA public TO {SEARCH}",
            as_owner=True,
        ),
    ]
    return steps


async def _take(connection: "Connection", steps: Sequence[Step]) -> list[str]:
    """Make each step hold; returns the statements that failed, with the server's reason."""
    missing = []
    for step in steps:
        if await _holds(connection, step):
            continue
        reason = "it had no effect"
        try:
            if step.as_owner:
                await connection.execute(f"SET ROLE {OWNER}")
            await connection.execute(step.statement)
        except REFUSALS as refusal:
            reason = str(refusal).splitlines()[0]
        finally:
            if step.as_owner:
                await connection.execute("RESET ROLE")
        # A GRANT or REVOKE that may do nothing is only a warning: what holds afterwards counts.
        if not await _holds(connection, step):
            missing.append(f"{step.statement};  -- {reason}")
    return missing


async def _holds(connection: "Connection", step: Step) -> bool:
    try:
        return bool(await connection.fetchval(step.holds, *step.given))
    except asyncpg.UndefinedObjectError:  # the role that it asks about is missing
        return False


async def _check_locale(admin: "Connection", database: str) -> None:
    """Ranges over prefixes need the order of code points, and text needs UTF-8."""
    row = await admin.fetchrow(
        "SELECT pg_encoding_to_char(encoding) AS encoding, datcollate, "
        "to_jsonb(d) ->> 'datlocprovider' AS provider, "
        "coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale "
        "FROM pg_database d WHERE datname = $1",
        database,
    )
    if row is None:
        return
    order = row["datcollate"] if row["provider"] == "c" else row["locale"]
    if row["encoding"] != "UTF8" or order not in ("C", "C.UTF-8", "C.utf8", "POSIX"):
        raise BootstrapIncomplete(
            f"The database `{database}` has the encoding {row['encoding']} and the locale {order}; Kasuwa "
            "needs UTF8 and C.UTF-8. Name another database, which is then made so, or drop this one."
        )


async def _set_passwords(admin: "Connection", passwords: Mapping[str, str]) -> list[str]:
    missing = []
    for role, password in passwords.items():
        try:
            await admin.execute(
                f"ALTER ROLE {_identifier(role)} PASSWORD {_literal(scram_verifier(password))}"
            )
        except REFUSALS:
            missing.append(f"ALTER ROLE {_identifier(role)} PASSWORD '...';")
    return missing


def scram_verifier(password: str, iterations: int = 4096) -> str:
    """What PostgreSQL stores for a password (RFC 5802), so that no log ever sees the password itself."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    words = [base64.b64encode(value).decode() for value in (salt, stored, server)]
    return f"SCRAM-SHA-256${iterations}:{words[0]}${words[1]}:{words[2]}"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    assert "\\" not in text, "names and verifiers hold no backslash"
    return "'" + text.replace("'", "''") + "'"
