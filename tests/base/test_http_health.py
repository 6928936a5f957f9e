"""Readiness: each check with its deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kasuwa.base.http import health
from kasuwa.base.http.health import Readiness, disk_check


async def _yes() -> bool:
    return True


async def _no() -> bool:
    return False


async def _fail() -> bool:
    raise ConnectionError


async def _hang() -> bool:
    await asyncio.Event().wait()
    return True


@pytest.mark.parametrize(
    ("check", "result"), [(_yes, "ok"), (_no, "failed"), (_fail, "failed"), (_hang, "too slow")]
)
async def test_each_check_has_its_result(check: Callable[[], Awaitable[bool]], result: str) -> None:
    readiness = Readiness({"other": _yes, "asked": check}, deadline_seconds=0.05)
    assert await readiness.ask() == {"other": "ok", "asked": result}


async def test_asking_often_runs_the_checks_once() -> None:
    runs = 0

    async def count() -> bool:
        nonlocal runs
        runs += 1
        return True

    readiness = Readiness({"count": count}, fresh_seconds=60)
    await asyncio.gather(*(readiness.ask() for _ in range(50)))
    assert runs == 1


async def test_the_disk_needs_its_share_free(tmp_path: Path) -> None:
    assert await disk_check(tmp_path, least_free_share=0.0)()
    assert not await disk_check(tmp_path, least_free_share=1.1)()


async def test_a_stopping_process_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_stopping", False)
    readiness = Readiness({"yes": _yes})
    assert await readiness.ask() == {"yes": "ok"}
    health.begin_stop()
    assert await readiness.ask() == {"stopping": "yes", "yes": "ok"}
