"""The run's database as its owner and as a superuser sees it: for tests of what stands below the verbs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from kasuwa.database import DatabaseUrls

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[Any]
else:  # the class takes no parameter at run time
    Connection = asyncpg.Connection


def superuser_url(urls: DatabaseUrls) -> str:
    """The superuser inside Kasuwa's database."""
    admin, owner = urlsplit(urls.admin), urlsplit(urls.owner)
    return urlunsplit((admin.scheme, admin.netloc, owner.path, admin.query, ""))


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def undone(url: str) -> AsyncIterator[Connection]:
    """A connection whose changes, tables too, are rolled back at the end."""
    async with connected(url) as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            yield connection
        finally:
            await transaction.rollback()
