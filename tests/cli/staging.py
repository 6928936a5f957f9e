"""Installations for the tests of the command: a data folder, an environment of its own, real processes."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.domain.catalogue.actions import create_product
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OpeningStock, Price
from kasuwa.domain.media.actions import show_picture
from kasuwa.domain.media.keeping import keep_bytes
from kasuwa.domain.media.records import STOREHARMONY_FORMATS, Place
from tests.conftest import picture_bytes

DEADLINE_SECONDS = 120.0
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")


class Installation(Struct, frozen=True):
    """One data folder, and what the environment says beside it."""

    data: Path
    settings: dict[str, str] = {}

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return {**kept, "KASUWA_DATA": str(self.data), **self.settings}

    def run(self, *words: str, timeout_seconds: float = DEADLINE_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run `kasuwa` with these words to its end."""
        return subprocess.run(
            [sys.executable, "-m", "kasuwa", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )

    def ask(self, *words: str) -> str:
        """What `kasuwa` prints when it succeeds."""
        done = self.run(*words)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


class Serving:
    """A running `kasuwa serve`: what it has printed, and its address once it is ready."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.said = ""
        self.url = self.wait_for(r"ready on (http\S+)").group(1)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read on until the output has the pattern."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (found := re.search(pattern, self.said)) is None:
            assert time.monotonic() < deadline, f"no {pattern!r} in:\n{self.said}"
            if select.select([self.process.stdout], [], [], 0.5)[0]:
                read = os.read(self.process.stdout.fileno(), 65536)
                assert read, f"it ended ({self.process.wait()}) after:\n{self.said}"
                self.said += read.decode()
        return found


@contextmanager
def serving(installation: Installation, *words: str, module: str = "kasuwa") -> Iterator[Serving]:
    """`kasuwa serve` on a free port; at the end SIGTERM, and it must end with 0.

    `module` is what is run in place of the command: the negative controls build a fault in.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module, "serve", "--port", "0", *words],
        env=installation.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield Serving(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


async def add_product(owner: Context, seed: int) -> None:
    """A product with ten in stock and two pictures, which differ with the seed."""
    opening = (OpeningStock(owner.store_id, Decimal(10)),)
    price = Price(currency="NGN", selling_minor=1000)
    product = await create_product(
        owner, NewProduct(name=f"Rice {seed}", variants=(NewVariant(price=price, opening=opening),))
    )
    for number in (seed, seed + 10):
        kept = await keep_bytes(owner, picture_bytes("PNG", seed=number), STOREHARMONY_FORMATS)
        await show_picture(owner, product.product_id, kept, Place())
