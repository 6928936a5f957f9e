"""Kill PostgreSQL under eight writers, and look at what they were told and what is left.

Run: python -m tests.faults.postgres_kills --rounds 20
With --broken NAME the control, which must end with 1.
"""

import asyncio
import signal
import sys
from time import monotonic

from msgspec import Struct

from tests.faults.by_hand import read_options
from tests.faults.creations import Creators, creating, faults_in_products
from tests.faults.installation import Installation, new_folder
from tests.faults.uploads import staged

WRITERS = 8
# SIGKILL for the main process; an immediate stop.
_SIGNALS = (signal.SIGKILL, signal.SIGQUIT)


class Told(Struct, frozen=True, kw_only=True):
    """`faults` break the promise; the rest is for people."""

    faults: list[str]
    acknowledged: int
    told_503: int
    slowest_seconds: float
    before_per_second: float
    after_per_second: float

    def line(self) -> str:
        return (
            f"{self.acknowledged} products acknowledged, {self.told_503} answers 503,"
            f" {len(self.faults)} faults; slowest answer {self.slowest_seconds:.1f} s;"
            f" {self.before_per_second:.0f} products/s before the kills, {self.after_per_second:.0f} after"
        )


async def postgres_kills(installation: Installation, *, rounds: int) -> Told:
    """So many kills; each one waits until writing goes on."""
    async with staged(installation) as stage:
        async with creating(stage, writers=WRITERS) as creators:
            await creators.acknowledged_more(WRITERS)
            before = await _rate(creators)
            for number in range(rounds):
                stage.server.kill_postgres(_SIGNALS[number % len(_SIGNALS)])
                await creators.acknowledged_more(3 * WRITERS)
            after = await _rate(creators)
        log = creators.log
        faults = log.faults + await faults_in_products(stage, creators.names)
        stage.server.stop()
    return Told(
        faults=faults + installation.examine(),
        acknowledged=len(creators.names),
        told_503=log.statuses["503"],
        slowest_seconds=log.slowest_seconds,
        before_per_second=before,
        after_per_second=after,
    )


async def _rate(creators: Creators, count: int = 40) -> float:
    """Products a second."""
    begun = monotonic()
    await creators.acknowledged_more(count)
    return count / (monotonic() - begun)


def main() -> None:
    options = read_options(__doc__, broken="let-errors-out", rounds=20)
    with new_folder() as folder:
        installation = Installation(folder / "data", broken=options.broken)
        told = asyncio.run(postgres_kills(installation, rounds=options.rounds))
    sys.stdout.write("\n".join([told.line(), *told.faults]) + "\n")
    sys.exit(1 if told.faults else 0)


if __name__ == "__main__":
    main()
