"""Roles, database and extensions, on the embedded server and on one that is reached by address."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest
from msgspec import Struct

from kasuwa.base.postgres.binaries import find_binaries
from kasuwa.base.postgres.bootstrap import APPLICATION, OWNER, SEARCH, bootstrap
from kasuwa.base.postgres.errors import BootstrapIncomplete
from kasuwa.base.postgres.server import EmbeddedPostgres
from tests.base.postgres.addressed import DEBIAN, addressed_server

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]


class Server(Struct, frozen=True):
    """A server to prepare: the administrator's address and how a role logs in with a password."""

    admin_dsn: str
    by_address: bool

    def dsn(self, role: str, database: str, password: str = "") -> str:
        if self.by_address:
            place = self.admin_dsn.rpartition("@")[2].partition("/")[0]
            return f"postgresql://{role}:{password}@{place}/{database}"
        return self.admin_dsn.replace("postgres@/postgres?", f"{role}@/{database}?")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    folder_of_ours = Path(tempfile.mkdtemp(prefix="kasuwa-test-", dir="/tmp"))
    folder_of_ours.chmod(0o755)
    yield folder_of_ours
    shutil.rmtree(folder_of_ours)


@pytest.fixture(scope="module")
def embedded(place: Path) -> Iterator[Server]:
    with EmbeddedPostgres(place / "embedded", find_binaries()) as server:
        yield Server(server.dsn(server.superuser, "postgres"), by_address=False)


@pytest.fixture(scope="module")
def addressed(place: Path) -> Iterator[Server]:
    """Somebody else's PostgreSQL, Debian's 15 where it is installed."""
    with addressed_server(place / "addressed", DEBIAN or find_binaries()) as admin_dsn:
        yield Server(admin_dsn, by_address=True)


@pytest.fixture(params=["embedded", "addressed"])
def server(request: pytest.FixtureRequest) -> Server:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Server)
    return found


@asynccontextmanager
async def connected(dsn: str, **options: str) -> AsyncIterator["Connection"]:
    connection = await asyncpg.connect(dsn, database=options.get("database"))
    try:
        yield connection
    finally:
        await connection.close()


PASSWORDS = {OWNER: 'owner\'s "secret"', APPLICATION: "app-secret"}
URL_PASSWORDS = {OWNER: "owner%27s%20%22secret%22", APPLICATION: "app-secret"}


async def prepared(server: Server) -> str:
    await bootstrap(server.admin_dsn, passwords=PASSWORDS)
    return "kasuwa"


def as_role(server: Server, role: str, database: str = "kasuwa") -> str:
    return server.dsn(role, database, URL_PASSWORDS[role])


async def test_it_makes_roles_database_and_extensions_and_repeats_without_change(server: Server) -> None:
    database = await prepared(server)
    facts = (
        "SELECT rolname, rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles "
        "WHERE rolname LIKE 'kasuwa%' ORDER BY 1"
    )
    async with connected(server.admin_dsn, database=database) as admin:
        before = [tuple(row) for row in await admin.fetch(facts)]
        version = await admin.fetchval("SELECT xmin::text FROM pg_database WHERE datname = 'kasuwa'")
        await prepared(server)
        assert [tuple(row) for row in await admin.fetch(facts)] == before
        assert version == await admin.fetchval("SELECT xmin::text FROM pg_database WHERE datname = 'kasuwa'")
        assert before == [
            (APPLICATION, True, False, False, False, False),
            (OWNER, True, False, False, False, False),
            (SEARCH, False, False, False, False, False),
        ]
        extensions = {row[0] for row in await admin.fetch("SELECT extname FROM pg_extension")}
        assert {"unaccent", "pg_trgm", "btree_gin", "citext"} <= extensions
        assert await admin.fetchval("SELECT 'Z' < 'a' AND lower('Ẹ') = 'ẹ'")


async def test_many_at_once_all_succeed(server: Server) -> None:
    await asyncio.gather(*(bootstrap(server.admin_dsn, "at_once") for _ in range(6)))
    async with connected(server.admin_dsn, database="at_once") as admin:
        assert await admin.fetchval("SELECT count(*) FROM pg_database WHERE datname = 'at_once'") == 1
        assert await admin.fetchval("SELECT unaccent('é')") == "e"


async def test_the_application_has_its_limits_and_the_owner_has_not(server: Server) -> None:
    await prepared(server)
    for role, limits in ((APPLICATION, ("5s", "2s", "10s")), (OWNER, ("0", "0", "0"))):
        async with connected(as_role(server, role)) as connection:
            shown = [
                await connection.fetchval(f"SHOW {name}")
                for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
            ]
            assert tuple(shown) == limits


async def test_the_application_cannot_make_things_nor_become_somebody_else(server: Server) -> None:
    await prepared(server)
    await see_the_application_refused(server)


async def see_the_application_refused(server: Server) -> None:
    tries = (
        "CREATE TABLE mine (n int)",
        "CREATE TEMPORARY TABLE mine (n int)",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        f"SET ROLE {OWNER}",
        f"SET ROLE {SEARCH}",
        f"ALTER ROLE {APPLICATION} BYPASSRLS",
    )
    async with connected(as_role(server, APPLICATION)) as application:
        for statement in tries:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await application.execute(statement)
    # The control: the owner may make things.
    async with connected(as_role(server, OWNER)) as owner:
        for statement in tries[:4]:
            if "TEMPORARY" not in statement:
                await owner.execute(statement)
        await owner.execute("DROP TABLE mine; DROP FUNCTION mine(); DROP SCHEMA mine")


async def test_the_application_cannot_pass_row_level_security_and_a_role_that_could_is_repaired(
    server: Server,
) -> None:
    await prepared(server)
    async with connected(as_role(server, OWNER)) as owner:
        await owner.execute(
            f"""
            DROP TABLE IF EXISTS walled;
            CREATE TABLE walled (merchant_id int);
            ALTER TABLE walled ENABLE ROW LEVEL SECURITY;
            ALTER TABLE walled FORCE ROW LEVEL SECURITY;
            CREATE POLICY everything ON walled TO {OWNER} USING (true) WITH CHECK (true);
            CREATE POLICY own ON walled TO {APPLICATION} USING (merchant_id = 1);
            GRANT SELECT ON walled TO {APPLICATION};
            INSERT INTO walled VALUES (1), (2);
            """
        )

    async def seen() -> int:
        async with connected(as_role(server, APPLICATION)) as application:
            return int(await application.fetchval("SELECT count(*) FROM walled"))

    assert await seen() == 1
    async with connected(as_role(server, APPLICATION)) as application:
        await application.execute("SET row_security = off")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await application.fetchval("SELECT count(*) FROM walled")
    # The control: a role that may bypass sees both rows, and so does a member of the owner's role.
    async with connected(server.admin_dsn) as admin:
        for undo in (f"ALTER ROLE {APPLICATION} BYPASSRLS", f"GRANT {OWNER} TO {APPLICATION}"):
            await admin.execute(undo)
            assert await seen() == 2
            await prepared(server)
            assert await seen() == 1


async def test_the_owner_hands_functions_to_the_search_role_and_changes_them_as_it(server: Server) -> None:
    await prepared(server)
    await see_a_function_handed_over(server)


async def see_a_function_handed_over(server: Server) -> None:
    async with connected(as_role(server, OWNER)) as owner:
        await owner.execute(
            f"""
            CREATE FUNCTION find_it() RETURNS text LANGUAGE sql SECURITY DEFINER
                AS 'SELECT current_user::text';
            ALTER FUNCTION find_it() OWNER TO {SEARCH};
            """
        )
        async with connected(as_role(server, APPLICATION)) as application:
            assert await application.fetchval("SELECT find_it()") == SEARCH
        async with owner.transaction():
            await owner.execute(f"SET LOCAL ROLE {SEARCH}")
            await owner.execute(
                "CREATE OR REPLACE FUNCTION find_it() RETURNS text LANGUAGE sql SECURITY DEFINER "
                "AS 'SELECT upper(current_user)'"
            )
            await owner.execute("DROP FUNCTION find_it()")


async def test_only_named_roles_connect(server: Server) -> None:
    await prepared(server)
    async with connected(server.admin_dsn) as admin:
        await admin.execute("DROP ROLE IF EXISTS stranger; CREATE ROLE stranger LOGIN PASSWORD 'x'")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
        await asyncpg.connect(server.dsn("stranger", "kasuwa", "x"))
    async with connected(server.dsn("stranger", "postgres", "x")) as stranger:
        assert await stranger.fetchval("SELECT 1") == 1


async def test_passwords_are_set_and_asked_for_over_the_network(addressed: Server) -> None:
    await prepared(addressed)
    async with connected(as_role(addressed, APPLICATION)) as application:
        assert await application.fetchval("SELECT current_user") == APPLICATION
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(addressed.dsn(APPLICATION, "kasuwa", "wrong"))


async def forget_everything(server: Server) -> None:
    async with connected(server.admin_dsn) as admin:
        for database in ("kasuwa", "at_once"):
            await admin.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        for role in (OWNER, APPLICATION, SEARCH, "managed", "poor"):
            await admin.execute(f"DROP ROLE IF EXISTS {role}")


async def test_a_managed_servers_administrator_needs_no_superuser(server: Server) -> None:
    await forget_everything(server)
    async with connected(server.admin_dsn) as admin:
        await admin.execute("CREATE ROLE managed LOGIN CREATEROLE CREATEDB PASSWORD 'm'")
    await bootstrap(server.dsn("managed", "postgres", "m"), passwords=PASSWORDS)
    await bootstrap(server.dsn("managed", "postgres", "m"), passwords=PASSWORDS)
    await see_the_application_refused(server)
    await see_a_function_handed_over(server)
    await forget_everything(server)


async def left_to_run(admin_dsn: str) -> tuple[str, ...]:
    try:
        await bootstrap(admin_dsn)
    except BootstrapIncomplete as incomplete:
        return incomplete.statements
    return ()


async def test_an_administrator_without_rights_gets_the_sql_that_is_left_to_run(server: Server) -> None:
    await forget_everything(server)
    async with connected(server.admin_dsn) as admin:
        await admin.execute("CREATE ROLE poor LOGIN PASSWORD 'p'")
    poor = server.dsn("poor", "postgres", "p")
    # What one missing thing hides shows when it is there: roles and database first, then what is in it.
    rounds = []
    while missing := await left_to_run(poor):
        rounds.append(missing)
        for statement in missing:
            inside = "EXTENSION" in statement or "SCHEMA" in statement
            async with connected(server.admin_dsn, database="kasuwa" if inside else "postgres") as admin:
                await admin.execute(statement)
        assert len(rounds) < 4, rounds
    assert rounds[0][0].startswith("CREATE ROLE kasuwa_owner LOGIN;  -- permission denied")
    await prepared(server)
    await see_a_function_handed_over(server)
    await forget_everything(server)


async def test_a_database_in_another_order_is_refused(server: Server) -> None:
    async with connected(server.admin_dsn) as admin:
        await admin.execute("DROP DATABASE IF EXISTS latin")
        await admin.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(BootstrapIncomplete, match="encoding LATIN1"):
        await bootstrap(server.admin_dsn, "latin")


async def test_a_name_is_a_name_whatever_it_holds(server: Server) -> None:
    name = 'shop "one\'s"'
    await bootstrap(server.admin_dsn, name)
    async with connected(server.admin_dsn, database=name) as admin:
        assert await admin.fetchval("SELECT current_database()") == name
