"""Send every file of the hostile corpus to a server over HTTP, and say what it answered.

Run: python -m tests.faults.hostile_uploads [--every 1]    (exit 1 on any answer but a 2xx and a 4xx)
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence

import httpx

from tests.client import check_answer
from tests.faults.installation import Installation, new_folder
from tests.faults.uploads import UPLOADS, Call, Stage, new_product, staged
from tools.hostile_corpus import read_corpus

# Sent through each API, they stay below what a product may show.
_FILES_A_PRODUCT = 300


async def send_all(
    stage: Stage, calls: Sequence[tuple[str, Call]], *, may_be_taken: bool = True, is_promised: bool = True
) -> tuple[Counter[int], list[str]]:
    """Send them four at a time; the statuses, and every answer that may not be.

    That is what is neither 4xx nor a 2xx that is allowed, or (`is_promised`) not as the contract says.
    """
    least = 200 if may_be_taken else 400
    statuses: Counter[int] = Counter()
    faults: list[str] = []
    waiting = iter(calls)

    async def work(client: httpx.AsyncClient) -> None:
        for words, call in waiting:
            try:
                answer = await client.request(
                    call.method, stage.server.url + call.path, headers=call.headers, content=call.content
                )
            except httpx.TransportError as error:
                faults.append(f"{words}: {error!r}")
                continue
            statuses[answer.status_code] += 1
            if not least <= answer.status_code < 500 or answer.status_code == 429:
                faults.append(f"{words}: {answer.status_code} {answer.text[:200]}")
                continue
            if not is_promised:
                continue
            try:
                check_answer(answer)
            except AssertionError as breach:
                faults.append(f"{words}: not as the contract says: {breach}")

    async with httpx.AsyncClient(timeout=30) as client:
        await asyncio.gather(*(work(client) for _ in range(4)))
    return statuses, faults


async def send_files(
    installation: Installation, files: Sequence[tuple[str, bytes]]
) -> tuple[Counter[int], list[str]]:
    """Each file through each API; a worker that died is a fault."""
    async with staged(installation) as stage:
        async with installation.services() as services:
            products = [
                await new_product(services, stage.shop) for _ in range(0, len(files), _FILES_A_PRODUCT)
            ]
        workers = stage.server.workers()
        calls = [
            (f"{api} {name}", upload(stage, products[number // _FILES_A_PRODUCT], content, 1))
            for number, (name, content) in enumerate(files)
            for api, upload in UPLOADS.items()
        ]
        statuses, faults = await send_all(stage, calls)
        if stage.server.workers() != workers:
            faults.append("a worker died")
        stage.server.stop()
    return statuses, faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="send every n-th file alone")
    files = list(read_corpus())[:: parser.parse_args().every]
    with new_folder() as folder:
        begun = time.perf_counter()
        statuses, faults = asyncio.run(send_files(Installation(folder / "data"), files))
    counts = ", ".join(f"{count} times {status}" for status, count in sorted(statuses.items()))
    took_seconds = time.perf_counter() - begun
    sys.stdout.write(f"{len(files)} files through {len(UPLOADS)} APIs in {took_seconds:.0f} s: {counts}\n")
    sys.stdout.write("\n".join([*faults, f"{len(faults)} faults"]) + "\n")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
