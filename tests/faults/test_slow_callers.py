"""Slow and rude callers against the whole server: they are cut, everybody else is served."""

import asyncio
import statistics
import sys
from collections.abc import AsyncIterator, Callable
from time import monotonic

import httpx
import pytest
from msgspec import Struct

from tests.conftest import picture_bytes
from tests.contract.harness import validate_answer
from tests.faults.creations import new_creation
from tests.faults.installation import Installation
from tests.faults.uploads import UPLOADS, Call, Stage, new_product, staged

SLOW_HEADS = 200
SLOW_BODIES = 100
# A body must bring 8 KB/s over 15 s; whoever does not is cut at the next look.
_BODY_SECONDS = 20
_STEADY_BYTES_PER_SECOND = 24 * 1024


class Told(Struct, frozen=True):
    """How many slow callers were still there at the end, how the steady one ended, and how others fared."""

    heads_held: int
    bodies_held: int
    steady_status: int
    others_failed: int
    others_seconds: list[float]

    def line(self) -> str:
        p99 = statistics.quantiles(self.others_seconds, n=100)[98]
        return f"{len(self.others_seconds)} answers meanwhile, p99 {p99 * 1000:.0f} ms"


async def drip(port: int, first: bytes, drop: bytes, seconds: float) -> bool:
    """Send `first`, then `drop` each half second; True when the server has not closed after so long."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    until = monotonic() + seconds
    try:
        writer.write(first)
        while monotonic() < until:
            writer.write(drop)
            try:
                async with asyncio.timeout(0.5):
                    while await reader.read(4096):
                        pass
                    return False
            except TimeoutError:
                continue
        return True
    except ConnectionError:
        return False
    finally:
        writer.close()


async def steady_upload(stage: Stage, call: Call) -> int:
    """The status of an upload that takes as long as the slow ones, and brings enough all the while."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(call.content), _STEADY_BYTES_PER_SECOND // 2):
            yield call.content[start : start + _STEADY_BYTES_PER_SECOND // 2]
            await asyncio.sleep(0.5)

    headers = {**call.headers, "content-length": str(len(call.content))}
    async with stage.installation.client(timeout=60) as client:
        return (
            await client.request(call.method, stage.server.url + call.path, headers=headers, content=pieces())
        ).status_code


async def others(stage: Stage, until: float) -> tuple[int, list[float]]:
    """Somebody who works on meanwhile: how many calls failed, and how long each took."""
    failed, seconds = 0, []
    async with stage.installation.client(timeout=30) as client:
        while monotonic() < until:
            begun = monotonic()
            call = new_creation(stage, f"Soap {begun}")
            answer = await client.request(
                call.method, stage.server.url + call.path, headers=call.headers, content=call.content
            )
            failed += answer.status_code != 200
            seconds.append(monotonic() - begun)
            await asyncio.sleep(0.05)
    return failed, seconds


async def bring_slow_callers(installation: Installation) -> Told:
    async with staged(installation) as stage:
        async with installation.services() as services:
            product = await new_product(services, stage.shop)
        # Bytes after the picture's own end are read by no decoder.
        content = picture_bytes("PNG") + bytes(int(_STEADY_BYTES_PER_SECOND * (_BODY_SECONDS - 3)))
        upload = UPLOADS["storeharmony"](stage, product, content, 1)
        names = "".join(f"{name}: {value}\r\n" for name, value in upload.headers.items())
        head = f"POST {upload.path} HTTP/1.1\r\nHost: a\r\n{names}Content-Length: 1000000\r\n\r\n".encode()
        port = installation.port
        heads = [drip(port, b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n", 8) for _ in range(SLOW_HEADS)]
        bodies = [drip(port, head, b"x" * 100, _BODY_SECONDS) for _ in range(SLOW_BODIES)]
        held, held_bodies, steady, (failed, seconds) = await asyncio.gather(
            asyncio.gather(*heads),
            asyncio.gather(*bodies),
            steady_upload(stage, upload),
            others(stage, monotonic() + _BODY_SECONDS),
        )
        stage.server.stop()
    return Told(sum(held), sum(held_bodies), steady, failed, seconds)


@pytest.fixture(scope="module")
async def both(install: Callable[..., Installation]) -> tuple[Told, Told]:
    """The server as it is, and one that waits for everybody, side by side to save time."""
    settings = {"KASUWA_HEADER_SECONDS": "2"}
    built, broken = await asyncio.gather(
        bring_slow_callers(install(**settings)),
        bring_slow_callers(install("wait-for-ever", **settings)),
    )
    sys.stdout.write(f"as built: {built.line()}\nwithout deadlines: {broken.line()}\n")
    return built, broken


def test_slow_callers_are_cut_and_everybody_else_is_served(both: tuple[Told, Told]) -> None:
    built, _ = both
    assert built.heads_held == 0
    assert built.bodies_held == 0
    assert built.steady_status == 200
    assert built.others_failed == 0


def test_the_check_sees_a_server_without_deadlines(both: tuple[Told, Told]) -> None:
    _, broken = both
    assert broken.heads_held == SLOW_HEADS
    assert broken.bodies_held == SLOW_BODIES


async def refused_in_overload(installation: Installation) -> dict[str, list[httpx.Response]]:
    """Fifty callers at once of each API; the answers that are not 200."""
    async with staged(installation) as stage:
        async with installation.services() as services:
            product = await new_product(services, stage.shop)
        calls = {name: upload(stage, product, b"", 1) for name, upload in UPLOADS.items()}
        paths = {
            "storeharmony": f"/cloudapi/app/{stage.shop.store_id}/stock/{product.product_id}",
            "bigcommerce": calls["bigcommerce"].path,
            "shoplazza": calls["shoplazza"].path,
        }
        refused: dict[str, list[httpx.Response]] = {name: [] for name in paths}

        async def ask(client: httpx.AsyncClient, name: str) -> None:
            answer = await client.get(stage.server.url + paths[name], headers=calls[name].headers)
            if answer.status_code != 200:
                refused[name].append(answer)

        limits = httpx.Limits(max_connections=200)
        async with stage.installation.client(timeout=30, limits=limits) as client:
            for _ in range(3):
                await asyncio.gather(*(ask(client, name) for name in paths for _ in range(50)))
        stage.server.stop()
    return refused


async def test_what_is_over_the_capacity_is_told_503_in_each_apis_words(
    install: Callable[..., Installation],
) -> None:
    refused = await refused_in_overload(install(KASUWA_MAX_IN_FLIGHT="3"))
    for name, answers in refused.items():
        assert answers, f"nobody was refused in {name}"
        assert {answer.status_code for answer in answers} == {503}
        for answer in answers:
            assert int(answer.headers["retry-after"]) >= 1
            path = answer.request.url.path
            validate_answer(name, "GET", path, 503, answer.headers, answer.content)
    slowest = max(answer.elapsed.total_seconds() for found in refused.values() for answer in found)
    sys.stdout.write(f"slowest 503 after {slowest * 1000:.0f} ms\n")


async def test_the_check_sees_a_server_without_a_capacity(install: Callable[..., Installation]) -> None:
    refused = await refused_in_overload(install(KASUWA_MAX_IN_FLIGHT="100000"))
    assert not any(answers for answers in refused.values())
