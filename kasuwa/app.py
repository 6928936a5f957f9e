"""Puts settings, database, domain and APIs together."""

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.plugins import PluginProtocol

from kasuwa.api.bigcommerce import api as bigcommerce
from kasuwa.api.bigcommerce import api_v2 as bigcommerce_v2
from kasuwa.api.manage import api as manage
from kasuwa.api.shoplazza import api as shoplazza
from kasuwa.api.shoplazza import enveloped_api as enveloped_shoplazza
from kasuwa.api.storeharmony import api as storeharmony
from kasuwa.base.context import Services
from kasuwa.base.db import Pool
from kasuwa.base.fetch import Fetcher
from kasuwa.base.http import metrics
from kasuwa.base.http.api import Api, Exchange, InternalFault, begin_context, refuse
from kasuwa.base.http.contract import encode
from kasuwa.base.http.health import Readiness, disk_check, probe_routes
from kasuwa.base.http.identity import current_request_id, id_header
from kasuwa.base.http.middleware import Edge, EdgeOptions
from kasuwa.base.http.protocol import ProtocolLimits
from kasuwa.base.imaging import Imaging
from kasuwa.base.jobs import JobQueue
from kasuwa.base.limits import Limits
from kasuwa.base.postgres.bootstrap import APPLICATION
from kasuwa.base.problems import (
    HeadersTooLarge,
    HttpVersionUnknown,
    Invalid,
    MethodNotAllowed,
    NotFound,
    NotImplementedHere,
    Problem,
    TooLarge,
    TooManyRequests,
    TooSlow,
    Unavailable,
    UnsupportedMediaType,
)
from kasuwa.base.secrets import Sealer, connection_name, role_password
from kasuwa.base.storage import open_blobs
from kasuwa.domain.catalogue.following import FOLLOW_JOB, run_follow
from kasuwa.domain.customers.passwords import RESET_JOB as CUSTOMER_RESET_JOB
from kasuwa.domain.customers.passwords import run_send_reset as run_send_customer_reset
from kasuwa.domain.exchange.jobs import IMPORT_JOB, run_import_job
from kasuwa.domain.media.jobs import run_sweep
from kasuwa.domain.media.keeping import SWEEP_JOB
from kasuwa.domain.messages.courier import Courier
from kasuwa.domain.messages.jobs import (
    FORGET_JOB,
    SEND_JOB,
    SEND_SEALED_JOB,
    run_forget_customer,
    run_send,
    run_send_sealed,
)
from kasuwa.domain.upkeep.jobs import (
    CARDS_JOB,
    DAILY_JOB,
    LEDGER_JOB,
    WORDS_JOB,
    enqueue_daily,
    enqueue_rebuild,
    run_daily,
    run_ledger_check,
    run_rebuild,
    run_word_sweep,
)
from kasuwa.domain.users.passwords import RESET_JOB, run_send_reset
from kasuwa.handover import WorkerSetup, take_setup
from kasuwa.settings import words
from kasuwa.web import routes as web_routes

APIS: tuple[Api, ...] = (
    storeharmony,
    bigcommerce,
    bigcommerce_v2,
    shoplazza,
    enveloped_shoplazza,
    manage,
)


def registered_operations() -> set[tuple[str, str]]:
    """(API, operation id) of everything that is built and that a contract promises."""
    return {
        (api.dialect.name, operation_id)
        for api in APIS
        if api.dialect.has_contract
        for operation_id in api.registered
    }


@cache
def card_code() -> str:
    """A hash of the code that writes cards: what products are made of, and every API's words for them."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for folder in ("api", "domain/catalogue"):
        for path in sorted((package / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


@asynccontextmanager
async def open_services(setup: WorkerSetup) -> AsyncIterator[Services]:
    """Everything a verb may use, for a worker or a command; closed at the end."""
    settings = setup.settings
    data = settings.data_folder()
    pool = await Pool.open(
        dsn=setup.application_url,
        max_size=settings.database_connections,
        on_wait=metrics.db_pool_wait_seconds.observe,
        quotas=settings.quotas(),
        name=connection_name(setup.keys),
        passwords=[role_password(key, APPLICATION) for key in setup.keys] if settings.database_url else (),
    )
    blobs = open_blobs(settings.storage_url or str(data / "files"))
    imaging = Imaging(
        processes=settings.picture_processes,
        sizes=settings.picture_sizes(),
        observe=lambda outcome, seconds: metrics.imaging_seconds.labels(outcome).observe(seconds),
        on_lost=metrics.imaging_losses.inc,
    )
    fetcher = Fetcher(
        allow=words(settings.fetch_allow), user_agent=settings.fetch_user_agent, count=_count_fetch
    )
    courier = Courier(settings)
    jobs = JobQueue(pool)
    services = Services(
        pool=pool,
        blobs=blobs,
        imaging=imaging,
        fetcher=fetcher,
        sealer=Sealer(setup.keys),
        jobs=jobs,
        limits=Limits(pool, workers=settings.workers),
        settings=settings,
    )
    jobs.handle(SWEEP_JOB, partial(run_sweep, services))
    jobs.handle(SEND_JOB, partial(run_send, services, courier))
    jobs.handle(SEND_SEALED_JOB, partial(run_send_sealed, services, courier))
    jobs.handle(FORGET_JOB, partial(run_forget_customer, services, courier))
    jobs.handle(CUSTOMER_RESET_JOB, partial(run_send_customer_reset, services))
    jobs.handle(RESET_JOB, partial(run_send_reset, services))
    jobs.handle(DAILY_JOB, partial(run_daily, services))
    jobs.handle(LEDGER_JOB, partial(run_ledger_check, services))
    jobs.handle(CARDS_JOB, partial(run_rebuild, services))
    jobs.handle(FOLLOW_JOB, partial(run_follow, services))
    jobs.handle(IMPORT_JOB, partial(run_import_job, services))
    jobs.handle(WORDS_JOB, partial(run_word_sweep, services))
    await imaging.start()
    try:
        yield services
    finally:
        await courier.close()
        await fetcher.close()
        await imaging.close()
        await blobs.close()
        await pool.close()


def _count_fetch(outcome: str) -> None:
    if outcome != "ok":
        metrics.refused_fetches.labels(outcome).inc()


class _Routes(Litestar):
    """Litestar without its plugins for pydantic and attrs: we have neither, and they take long to load."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return plugins


def create_app(setup: WorkerSetup | None = None, *, run_jobs: bool = True) -> Edge:
    """The ASGI application. Without `setup` it is read from what the parent process handed down."""
    if setup is None:
        setup = take_setup()
    settings = setup.settings
    held: list[Services] = []

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with open_services(setup) as services:
            held.append(services)
            app.state.services = services
            gauges = partial(_queue_gauges, services)
            metrics.add_source(gauges)
            if run_jobs:
                await enqueue_daily(services)
                await enqueue_rebuild(services, card_code())
                services.jobs.start()
            yield
            if run_jobs:
                await services.jobs.stop()
            metrics.remove_source(gauges)
            held.clear()

    def services() -> Services:
        return held[0]

    readiness = Readiness(
        {
            "database": partial(_database_answers, services),
            "disk": disk_check(settings.data_folder()),
            "files": partial(_blobs_answer, services),
        }
    )
    litestar = _Routes(
        route_handlers=[
            *probe_routes(readiness),
            *web_routes(services),
            *(route for api in APIS for route in api.routes(services)),
        ],
        openapi_config=None,
        lifespan=[lifespan],
        exception_handlers={HTTPException: partial(_refuse_unrouted, services)},
        logging_config=None,
    )
    return Edge(
        litestar,
        EdgeOptions(
            render_error=render_error,
            cors_origins=words(settings.cors_origins),
            trusted_proxies=words(settings.trusted_proxies),
            max_in_flight=settings.max_in_flight,
        ),
    )


async def _queue_gauges(services: Services) -> dict[str, dict[str, float]]:
    queue = await services.jobs.queue()
    return {
        "kasuwa_queue_depth": {"waiting": queue.waiting, "failed": queue.failed},
        "kasuwa_queue_oldest_seconds": {"waiting": queue.oldest_seconds},
    }


async def _database_answers(services: Callable[[], Services]) -> bool:
    async with services().pool.autocommit() as db:
        return bool(await db.value("SELECT 1"))


async def _blobs_answer(services: Callable[[], Services]) -> bool:
    await services().blobs.probe()
    return True


# Errors of paths that no operation has, and of the protocol ---------------------------------------

_PREFIXES: tuple[tuple[re.Pattern[str], Api], ...] = (
    (re.compile(r"/stores/[^/]*/v3(/|$)"), bigcommerce),
    (re.compile(r"/stores/[^/]*/v2(/|$)"), bigcommerce_v2),
    (re.compile(r"/openapi/(2025-06|2026-01)(/|$)"), enveloped_shoplazza),
    (re.compile(r"/openapi/20"), shoplazza),
    (re.compile(r"/manage(/|$)"), manage),
    # Also where there is no path, as in `OPTIONS *`, or none yet.
    (re.compile(r""), storeharmony),
)


def api_of(path: str) -> Api:
    """The API whose words an error on this path is given in."""
    return next(api for pattern, api in _PREFIXES if pattern.match(path))


def problem_of(status: int, detail: str = "") -> Problem:
    """The problem with that status."""
    for kind in _GENERAL:
        if kind.status == status:
            return kind(detail)
    return InternalFault() if status >= 500 else Problem(detail)


_GENERAL = (
    NotFound,
    MethodNotAllowed,
    TooSlow,
    TooLarge,
    UnsupportedMediaType,
    Invalid,
    TooManyRequests,
    HeadersTooLarge,
    NotImplementedHere,
    Unavailable,
    HttpVersionUnknown,
)


def _refuse_unrouted(
    services: Callable[[], Services], request: Request[Any, Any, Any], error: HTTPException
) -> Response[Any]:
    """404 and 405 in the words of the API whose path it would have been."""
    dialect = api_of(request.url.path).dialect
    details = {
        404: "There is nothing at this path. See /docs for what there is.",
        405: f"{request.method} is not known at this path.",
    }
    problem = problem_of(error.status_code, details.get(error.status_code, ""))
    exchange = Exchange(dialect, request, None, begin_context(services(), request))
    given = refuse(dialect.unrouted(problem, request.method), exchange)
    headers = {**(error.headers or {}), **given.headers, **exchange.headers}
    return Response(
        given.body, status_code=given.status, headers=headers, media_type=headers.pop("Content-Type")
    )


_ADVICE = {
    400: "It is not one plain HTTP/1.1 request: send one Host, and one length of the body.",
    408: "Send the whole request without long pauses.",
    413: f"A body has at most {ProtocolLimits().max_body_bytes // 2**20} MB here. Send a smaller one.",
    431: f"They have at most {ProtocolLimits().head_bytes // 2**10} KB together. Send fewer or shorter ones.",
}


def render_error(path: str, status: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """An error that arose before or around an operation, for the protocol and the edge."""
    dialect = api_of(path).dialect
    body, media_type, headers = dialect.refusal(problem_of(status, _ADVICE.get(status, "")), None)
    sent = {**headers, "Content-Type": media_type, "Cache-Control": "no-store"}
    named = (id_header(path), current_request_id().encode())
    return [named, *((k.encode(), v.encode()) for k, v in sent.items())], encode(body)
