"""Replace and stop workers under load: nobody whose request was begun may notice.

Run: python -m tests.faults.rolling_stops --rounds 20
With --broken NAME the control, which must end with 1.
"""

import asyncio
import os
import signal
import sys
from time import monotonic

import httpx
from msgspec import Struct

from kasuwa.base.ids import new_id
from tests.faults.by_hand import read_options
from tests.faults.creations import faults_in_products, new_creation
from tests.faults.installation import Installation, new_folder
from tests.faults.uploads import Stage, staged

WRITERS = 6
_DEADLINE_SECONDS = 120


class Told(Struct, frozen=True, kw_only=True):
    """`faults` break the promise; `refused` are calls that found nobody listening while all was stopped."""

    faults: list[str]
    answered: int
    refused: int


class Visitors:
    """Callers that open a connection for each request, and count how it went."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.names: list[str] = []
        self.faults: list[str] = []
        self.refused = 0
        self.stopping = False
        # What goes on meanwhile, to name it in a fault.
        self.during = "replacement"

    async def run(self) -> None:
        while not self.stopping:
            name = f"Malt {new_id().hex}"
            call = new_creation(self.stage, name)
            url = self.stage.server.url + call.path
            try:
                async with self.stage.installation.client(timeout=30) as client:
                    answer = await client.post(url, headers=call.headers, content=call.content)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                self.refused += 1  # nobody listens: this request was never begun
                await asyncio.sleep(0.05)
            except httpx.TransportError as error:
                self.faults.append(f"{self.during}: {error!r}")
            else:
                if answer.status_code == 200:
                    self.names.append(name)
                else:
                    self.faults.append(f"{self.during}: {answer.status_code} {answer.text[:200]}")


async def rolling_stops(installation: Installation, *, replacements: int, stops: int) -> Told:
    """So many SIGHUPs, then so many SIGTERMs with a new start each, under load all the time."""
    async with staged(installation, workers=2) as stage:
        visitors = Visitors(stage)
        tasks = [asyncio.create_task(visitors.run()) for _ in range(WRITERS)]
        try:
            for _ in range(replacements):
                await replace_workers(stage)
            refused_while_replaced = visitors.refused
            for _ in range(stops):
                visitors.during = "start"
                await answered_more(visitors, WRITERS)
                visitors.during = "stop"
                code = await asyncio.to_thread(stage.server.stop)
                if code != 0:
                    visitors.faults.append(f"the server ended with {code}")
                await stage.start_again()
            await answered_more(visitors, WRITERS)
        finally:
            visitors.stopping = True
            await asyncio.gather(*tasks)
        faults = visitors.faults + await faults_in_products(stage, visitors.names)
        stage.server.stop()
    if refused_while_replaced:
        faults.append(f"{refused_while_replaced} calls found nobody while workers were replaced")
    return Told(faults=faults, answered=len(visitors.names), refused=visitors.refused)


async def replace_workers(stage: Stage) -> None:
    """SIGHUP, and wait until other workers run."""
    before = set(stage.server.workers())
    os.kill(stage.server.process.pid, signal.SIGHUP)
    deadline = monotonic() + _DEADLINE_SECONDS
    while before & set(stage.server.workers()):
        assert monotonic() < deadline, "the workers are not replaced"
        await asyncio.sleep(0.05)


async def answered_more(visitors: Visitors, count: int) -> None:
    wanted = len(visitors.names) + count
    deadline = monotonic() + _DEADLINE_SECONDS
    while len(visitors.names) < wanted:
        assert monotonic() < deadline, f"nobody is answered: {visitors.faults[:5]}"
        await asyncio.sleep(0.02)


def main() -> None:
    options = read_options(__doc__, broken="end-at-once", rounds=20)
    rounds = options.rounds
    with new_folder() as folder:
        installation = Installation(folder / "data", broken=options.broken)
        told = asyncio.run(rolling_stops(installation, replacements=rounds, stops=rounds))
    sys.stdout.write(f"{rounds} replacements and {rounds} stops: {told.answered} answered, {told.faults}\n")
    sys.exit(1 if told.faults else 0)


if __name__ == "__main__":
    main()
