"""Kill the processes that decode pictures, again and again, while pictures arrive.

Run: python -m tests.faults.decoder_kills --uploads 100   (the suite sends 50: each loses two processes)
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
from tests.faults.uploads import new_product, staged, storeharmony_upload

_PROCESSES = 2
# By then it has loaded everything and is at its picture, which takes several times as long.
_DECODING_CPU_SECONDS = 0.2


class Told(Struct, frozen=True):
    """How often a process was killed, the answers to the uploads meanwhile, and what is wrong."""

    kills: int
    statuses: Counter[int]
    faults: list[str]


async def kill_decoders(installation: Installation, uploads: int) -> Told:
    """Send so many pictures; whatever process takes one of them is killed, and so is the one after it."""
    slow = jpeg_of_scans(190, 4_000)
    statuses: Counter[int] = Counter()
    faults: list[str] = []
    async with staged(installation) as stage:
        async with installation.services() as services:
            product = await new_product(services, stage.shop)
        workers = stage.server.workers()
        waiting = iter(range(uploads))

        async def send(client: httpx.AsyncClient, content: bytes) -> int:
            call = storeharmony_upload(stage, product, content, 1)
            answer = await client.post(stage.server.url + call.path, headers=call.headers, content=content)
            if answer.status_code == 503 and "retry-after" not in answer.headers:
                faults.append(f"503 without Retry-After: {answer.text}")
            return answer.status_code

        async def send_slow(client: httpx.AsyncClient) -> None:
            for _ in waiting:
                statuses[await send(client, slow + new_id().bytes)] += 1

        async with httpx.AsyncClient(timeout=60) as client:
            killing = asyncio.create_task(kill_all(psutil.Process(workers[0])))
            await asyncio.gather(*(send_slow(client) for _ in range(_PROCESSES)))
            killing.cancel()
            kills = len(await killing)
            for number in range(3):
                if (status := await send(client, picture_bytes("PNG", seed=number))) != 200:
                    faults.append(f"a good picture afterwards: {status}")
        if stage.server.workers() != workers:
            faults.append("a worker died")
        stage.server.stop()
    return Told(kills, statuses, faults + installation.examine())


async def kill_all(worker: psutil.Process) -> set[int]:
    """Kill each child of the worker, at once or amid its picture, until this is cancelled; their ids."""
    killed: set[int] = set()
    ways = cycle([(signal.SIGKILL, 0.0), (signal.SIGSEGV, 0.0), (signal.SIGKILL, _DECODING_CPU_SECONDS)])
    plan: dict[int, tuple[signal.Signals, float]] = {}
    with suppress(asyncio.CancelledError):
        while True:
            for process in worker.children():
                with suppress(psutil.NoSuchProcess):
                    number, after_seconds = plan.setdefault(process.pid, next(ways))
                    times = process.cpu_times()
                    if process.pid not in killed and times.user + times.system >= after_seconds:
                        process.send_signal(number)
                        killed.add(process.pid)
            await asyncio.sleep(0.01)
    return killed


async def main(uploads: int) -> int:
    with new_folder() as folder:
        settings = {"KASUWA_PICTURE_PROCESSES": str(_PROCESSES)}
        told = await kill_decoders(Installation(folder / "0", **settings), uploads)
    sys.stdout.write(f"{told.kills} kills, answers {dict(told.statuses)}, faults {told.faults or 'none'}\n")
    return 1 if told.faults or set(told.statuses) - {400, 503} else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=100)
    sys.exit(asyncio.run(main(parser.parse_args().uploads)))
