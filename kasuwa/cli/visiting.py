"""A short command at the database: the running server's, or one started for the while."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from kasuwa.base.context import Context, Services
from kasuwa.base.db import Pool
from kasuwa.base.jobs import JobQueue
from kasuwa.base.secrets import Sealer, connection_name
from kasuwa.cli.stores import only_store, store_id_of
from kasuwa.database import DatabaseUrls, sealing_keys, visiting_database
from kasuwa.domain.merchants.actions import operating_on
from kasuwa.settings import Settings

T = TypeVar("T")


class DatabaseServices(Services):
    """Services for verbs that change rows alone: without files, pictures and the network, so quickly made."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self.pool = pool
        self.jobs = JobQueue(pool)
        self.sealer = Sealer(sealing_keys(settings))
        self.settings = settings


def at_the_database(settings: Settings, act: Callable[[Context], Awaitable[T]]) -> T:
    """Run `act` as the operator, with the rows alone."""
    with visiting_database(settings) as urls:
        return asyncio.run(_with_rows(settings, urls, act))


async def _with_rows(settings: Settings, urls: DatabaseUrls, act: Callable[[Context], Awaitable[T]]) -> T:
    name = connection_name(sealing_keys(settings))
    pool = await Pool.open(dsn=urls.application, max_size=2, quotas=settings.quotas(), name=name)
    try:
        return await act(Context(DatabaseServices(pool, settings), request_id="operator"))
    finally:
        await pool.close()


def in_the_shop(settings: Settings, act: Callable[[Context], Awaitable[T]]) -> T:
    """Run `act` as the operator, with everything that a verb may use."""
    with visiting_database(settings) as urls:
        return asyncio.run(_with_everything(settings, urls, act))


async def _with_everything(
    settings: Settings, urls: DatabaseUrls, act: Callable[[Context], Awaitable[T]]
) -> T:
    async with everything(settings, urls) as services:
        return await act(Context(services, request_id="operator"))


def in_a_store(settings: Settings, store: str | None, act: Callable[[Context], Awaitable[T]]) -> T:
    """Run `act` as the operator at the store of that id, with everything that its owner may do.

    Without an id at the only store there is. Raises StoreNotFound, which lists the stores when there are
    several.
    """
    wanted = None if store is None else store_id_of(store)

    async def at_store(urls: DatabaseUrls) -> T:
        store_id = wanted or await only_store(urls.owner)
        async with everything(settings, urls) as services:
            return await act(await operating_on(Context(services, request_id="operator"), store_id))

    import uvloop

    # The loop of the workers: an import sends megabytes.
    with visiting_database(settings) as urls, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(at_store(urls))


@asynccontextmanager
async def everything(settings: Settings, urls: DatabaseUrls) -> AsyncIterator[Services]:
    """The services of a worker, opened as one opens them."""
    from kasuwa.app import open_services
    from kasuwa.handover import WorkerSetup

    async with open_services(WorkerSetup(settings, urls.application, sealing_keys(settings))) as services:
        yield services
