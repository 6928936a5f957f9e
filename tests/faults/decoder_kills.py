"""Kill the processes that decode pictures, again and again, while pictures arrive.

Run: python -m tests.faults.decoder_kills --kills 1000   (the suite kills a hundred)
"""

import argparse
import asyncio
import signal
import sys
from collections import Counter
from contextlib import suppress
from itertools import cycle

import httpx
import psutil
from msgspec import Struct

from kasuwa.base.ids import new_id
from tests.base.pictures import jpeg_of_scans
from tests.conftest import picture_bytes
from tests.faults.installation import Installation, new_folder
from tests.faults.uploads import Product, Stage, new_product, staged, storeharmony_upload

# A picture costs two processes, one after the other; then it is refused.
REFUSED = {400, 503}
_PROCESSES = 2
SETTINGS = {"KASUWA_PICTURE_PROCESSES": str(_PROCESSES)}
# By then a process has loaded everything and is at its picture, which takes several times as long.
_DECODING_CPU_SECONDS = 0.15


class Told(Struct, frozen=True):
    """How many processes were killed, the answers to the uploads meanwhile, and what is wrong."""

    kills: int
    statuses: Counter[int]
    faults: list[str]


async def kill_decoders(installation: Installation, kills: int) -> Told:
    """Send pictures until so many of the processes that took them are killed; then good ones are taken."""
    slow = jpeg_of_scans(190, 3_000)
    statuses: Counter[int] = Counter()
    killed: set[int] = set()
    faults: list[str] = []
    async with staged(installation) as stage:
        async with installation.services() as services:
            product = await new_product(services, stage.shop)
        workers = stage.server.workers()

        async def send_slow(client: httpx.AsyncClient) -> None:
            while len(killed) < kills:
                statuses[await send(client, stage, product, slow + new_id().bytes)] += 1

        async with stage.installation.client(timeout=60) as client:
            killing = asyncio.create_task(kill_all(psutil.Process(workers[0]), killed))
            await asyncio.gather(*(send_slow(client) for _ in range(_PROCESSES)))
            killing.cancel()
            await asyncio.wait([killing])
            for number in range(3):
                status = await send(client, stage, product, picture_bytes("PNG", seed=number))
                faults += [f"a good picture afterwards: {status}"] if status != 200 else []
        faults += ["a worker died"] if stage.server.workers() != workers else []
        stage.server.stop()
    return Told(len(killed), statuses, faults + installation.examine())


async def send(client: httpx.AsyncClient, stage: Stage, product: Product, content: bytes) -> int:
    """The status of an upload; a 503 says when to come again."""
    call = storeharmony_upload(stage, product, content, 1)
    answer = await client.post(stage.server.url + call.path, headers=call.headers, content=content)
    assert answer.status_code != 503 or "retry-after" in answer.headers, answer.text
    return answer.status_code


async def kill_all(worker: psutil.Process, killed: set[int]) -> None:
    """Kill each child of the worker, at once or amid its picture, until this is cancelled."""
    ways = cycle([(signal.SIGKILL, 0.0), (signal.SIGSEGV, 0.0), (signal.SIGKILL, _DECODING_CPU_SECONDS)])
    plan: dict[int, tuple[signal.Signals, float]] = {}
    while True:
        for process in worker.children():
            with suppress(psutil.NoSuchProcess):
                number, after_seconds = plan.setdefault(process.pid, next(ways))
                times = process.cpu_times()
                if process.pid not in killed and times.user + times.system >= after_seconds:
                    process.send_signal(number)
                    killed.add(process.pid)
        await asyncio.sleep(0.01)


async def main(kills: int) -> int:
    with new_folder() as folder:
        told = await kill_decoders(Installation(folder / "0", **SETTINGS), kills)
    sys.stdout.write(f"{told.kills} kills, answers {dict(told.statuses)}, faults {told.faults or 'none'}\n")
    return 1 if told.faults or set(told.statuses) - REFUSED - {200} else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    sys.exit(asyncio.run(main(parser.parse_args().kills)))
