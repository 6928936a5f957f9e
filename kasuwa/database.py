"""The database of an installation: the embedded one or one by address, ready to use."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
from msgspec import Struct

from kasuwa.base.migrate import migrate, read_migrations
from kasuwa.base.postgres.binaries import find_binaries
from kasuwa.base.postgres.bootstrap import APPLICATION, OWNER, bootstrap
from kasuwa.base.postgres.server import EmbeddedPostgres, running
from kasuwa.base.resources import resource_folder
from kasuwa.base.secrets import Sealer, read_keys, role_password
from kasuwa.settings import Settings

PROBE = b"kasuwa"
# What a connection says of a server that is not there, or not yet again.
_ENDED = (
    FileNotFoundError,
    ConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
)
_PATIENCE_S = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
MIGRATIONS = resource_folder("migrations")


class DatabaseUrls(Struct, frozen=True):
    """How each role reaches the database. `admin` makes roles and databases, nothing else."""

    admin: str
    owner: str
    application: str


@contextmanager
def serving_database(settings: Settings) -> Iterator[DatabaseUrls]:
    """For the server: the embedded PostgreSQL runs until the end, or the one by address is prepared."""
    if settings.database_url:
        yield _prepared(settings, _by_address(settings))
        return
    with _embedded(settings) as postgres:
        address = postgres.address
        yield _prepared(
            settings,
            DatabaseUrls(
                address.dsn(address.superuser, "postgres"),
                address.dsn(OWNER, settings.database_name),
                address.dsn(APPLICATION, settings.database_name),
            ),
        )


@contextmanager
def visiting_database(settings: Settings) -> Iterator[DatabaseUrls]:
    """For a short command: the running server's database, or the embedded one started for the while."""
    if settings.database_url:
        yield _prepared(settings, _by_address(settings))
        return
    with running(settings.data_folder(), find_binaries(settings.pg_bin or None)) as address:
        yield _prepared(
            settings,
            DatabaseUrls(
                address.dsn(address.superuser, "postgres"),
                address.dsn(OWNER, settings.database_name),
                address.dsn(APPLICATION, settings.database_name),
            ),
        )


def _embedded(settings: Settings) -> EmbeddedPostgres:
    return EmbeddedPostgres(
        settings.data_folder(),
        find_binaries(settings.pg_bin or None),
        max_connections=20 + settings.workers * settings.database_connections,
    )


def _by_address(settings: Settings) -> DatabaseUrls:
    return DatabaseUrls(
        settings.database_url,
        *(
            with_login(settings.database_url, role, _password(settings, role), settings.database_name)
            for role in (OWNER, APPLICATION)
        ),
    )


def _prepared(settings: Settings, urls: DatabaseUrls) -> DatabaseUrls:
    for wait_s in (*(() if settings.database_url else _PATIENCE_S), None):
        try:
            asyncio.run(_prepare(settings, urls))
            break
        except _ENDED:
            # An embedded server that ended once it was ready is started again by its keeper.
            if wait_s is None:
                raise
            time.sleep(wait_s)
    return urls


async def _prepare(settings: Settings, urls: DatabaseUrls) -> None:
    await prepare_database(settings, urls)
    await migrated(urls)
    await _keep_probe(settings, urls)


async def prepare_database(settings: Settings, urls: DatabaseUrls) -> None:
    """Roles, the database and its extensions, without a table yet."""
    passwords = (
        {role: _password(settings, role) for role in (OWNER, APPLICATION)} if settings.database_url else None
    )
    await bootstrap(urls.admin, settings.database_name, passwords=passwords)


async def _keep_probe(settings: Settings, urls: DatabaseUrls) -> None:
    """Seal a known text once: whoever has lost the key, or brings another, can be told so."""
    owner = await asyncpg.connect(urls.owner)
    try:
        if await owner.fetchval("SELECT count(*) FROM seal_probe") == 0:
            sealed = Sealer(sealing_keys(settings)).seal(PROBE)
            await owner.execute("INSERT INTO seal_probe (sealed) VALUES ($1) ON CONFLICT DO NOTHING", sealed)
    finally:
        await owner.close()


async def migrated(urls: DatabaseUrls) -> Sequence[str]:
    """Run the migrations that are missing; answer their names."""
    owner = await asyncpg.connect(urls.owner)
    try:
        return await migrate(owner, read_migrations(MIGRATIONS))
    finally:
        await owner.close()


def sealing_keys(settings: Settings) -> list[str]:
    return read_keys(settings.secret_key, settings.data_folder() / "secret.key")


def with_login(url: str, role: str, password: str, database: str) -> str:
    """The same server for another role and database."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(
        (parts.scheme, f"{quote(role)}:{quote(password)}@{host}", f"/{quote(database)}", parts.query, "")
    )


def _password(settings: Settings, role: str) -> str:
    return role_password(sealing_keys(settings)[0], role)
