"""`/healthz`: the process answers. `/readyz`: it can do its work, and is not about to stop."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec
import structlog
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from kasuwa.base.http import metrics

Check = Callable[[], Awaitable[bool]]

CHECK_DEADLINE_SECONDS = 2.0
LEAST_FREE_SHARE = 0.05
_stopping = False


def begin_stop() -> None:
    """From now on this process is not ready: balancers send their callers elsewhere."""
    global _stopping
    _stopping = True


def is_stopping() -> bool:
    return _stopping


def disk_check(folder: Path, least_free_share: float = LEAST_FREE_SHARE) -> Check:
    """True while the disk of `folder` has at least this share free for us."""

    async def has_room() -> bool:
        stat = await asyncio.to_thread(os.statvfs, folder)
        return stat.f_bavail >= least_free_share * stat.f_blocks

    return has_room


async def _run(name: str, check: Check, deadline_seconds: float) -> str:
    try:
        async with asyncio.timeout(deadline_seconds):
            return "ok" if await check() else "failed"
    except TimeoutError:
        return "too slow"
    except Exception:
        structlog.get_logger().warning("a readiness check failed", check=name, exc_info=True)
        return "failed"


class Readiness:
    """The checks of `/readyz`, run side by side, each with its deadline; kept for `fresh_seconds`."""

    def __init__(
        self,
        checks: Mapping[str, Check],
        *,
        deadline_seconds: float = CHECK_DEADLINE_SECONDS,
        fresh_seconds: float = 0.5,
    ) -> None:
        self.checks = dict(checks)
        self.deadline_seconds = deadline_seconds
        self.fresh_seconds = fresh_seconds
        self._results: dict[str, str] = {}
        self._checked_at = -1e9
        self._lock = asyncio.Lock()

    async def ask(self) -> dict[str, str]:
        """{check: "ok", "failed" or "too slow"}. Anybody may ask, so asking often costs nothing."""
        async with self._lock:
            if time.monotonic() - self._checked_at >= self.fresh_seconds:
                runs = [_run(name, check, self.deadline_seconds) for name, check in self.checks.items()]
                self._results = dict(zip(self.checks, await asyncio.gather(*runs), strict=True))
                self._checked_at = time.monotonic()
        return {"stopping": "yes", **self._results} if is_stopping() else dict(self._results)


def _answer(status: int, body: object) -> Response[bytes]:
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )


def probe_routes(readiness: Readiness) -> list[HTTPRouteHandler]:
    """Litestar's handlers of `/healthz`, `/readyz` and `/metrics`."""

    @get("/healthz", include_in_schema=False)
    async def healthz() -> Response[bytes]:
        return _answer(200, {"status": "ok"})

    @get("/readyz", include_in_schema=False)
    async def readyz() -> Response[bytes]:
        results = await readiness.ask()
        ready = all(result == "ok" for result in results.values())
        return _answer(
            200 if ready else 503, {"status": "ready" if ready else "not ready", "checks": results}
        )

    @get("/metrics", include_in_schema=False)
    async def read_metrics() -> Response[bytes]:
        return Response(await metrics.scrape(), headers={"content-type": metrics.CONTENT_TYPE})

    return [healthz, readyz, read_metrics]
