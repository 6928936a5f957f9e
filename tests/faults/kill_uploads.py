"""Kill parts of a server amid uploads, start it again, and look at what is left.

Run: python -m tests.faults.kill_uploads --rounds 100
With --broken NAME the control, which must end with 1.
"""

import asyncio
import random
import statistics
import sys
from collections.abc import Sequence

from msgspec import Struct

from tests.faults.by_hand import read_options
from tests.faults.installation import Installation, new_folder
from tests.faults.uploads import Stage, faults_in, staged, uploading

KINDS = ("everything", "parent", "worker", "postgres")


class Told(Struct, frozen=True, kw_only=True):
    """`faults` break the promise; the rest is for people."""

    faults: list[str]
    rounds: int
    acknowledged: int
    cut_off: int
    back_seconds: list[float]

    def line(self) -> str:
        return (
            f"{self.rounds} kills: {self.acknowledged} uploads acknowledged, {self.cut_off} calls cut off,"
            f" {len(self.faults)} faults; first 200 after {statistics.median(self.back_seconds):.2f} s"
            f" (median), {max(self.back_seconds):.2f} s (longest)"
        )


async def kill_rounds(installation: Installation, *, kinds: Sequence[str], seed: int = 1) -> Told:
    """Kill each of these in turn amid uploads; then everything is examined, and the server is stopped."""
    chance = random.Random(seed)
    back_seconds = []
    async with staged(installation) as stage:
        async with uploading(stage, uploaders_of_each=1) as working:
            for kind in kinds:
                await working.acknowledged_more()
                await asyncio.sleep(chance.uniform(0, 0.15))
                back_seconds.append(await strike(stage, kind))
            await working.acknowledged_more(len(working.uploaders))
        log = working.log
        faults = log.faults + await faults_in(installation, working.uploaders)
        stage.server.stop()
    faults += installation.examine()
    return Told(
        faults=faults,
        rounds=len(kinds),
        acknowledged=log.acknowledged,
        cut_off=sum(count for name, count in log.statuses.items() if not name.isdigit()),
        back_seconds=back_seconds,
    )


async def strike(stage: Stage, kind: str) -> float:
    """Kill that part, start the server again where it does not do so itself; seconds until it answers."""
    server = stage.server
    getattr(server, "kill_" + kind)()
    if kind not in ("everything", "parent"):
        return await server.first_answer()
    await stage.start_again()
    return stage.server.age_seconds


def main() -> None:
    broken = "answer-before-files leave-files answer-before-commit forget-keys"
    options = read_options(__doc__, broken=broken, rounds=100)
    with new_folder() as folder:
        kinds = [KINDS[number % len(KINDS)] for number in range(options.rounds)]
        installation = Installation(folder / "data", broken=options.broken)
        told = asyncio.run(kill_rounds(installation, kinds=kinds))
    sys.stdout.write("\n".join([told.line(), *told.faults]) + "\n")
    sys.exit(1 if told.faults else 0)


if __name__ == "__main__":
    main()
