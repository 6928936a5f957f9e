"""Very many long histories of stock, each compared step by step with a model in plain Python.

Run: python -m tests.faults.histories --examples 5000 --steps 100   (hours; --seed repeats what it printed)
"""

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import get_state_machine_test
from msgspec import Struct

from kasuwa.cli.visiting import everything
from kasuwa.database import DatabaseUrls, visiting_database
from kasuwa.domain.inventory.records import State
from kasuwa.settings import read_settings
from tests.domain.stock_machine import StockMachine
from tests.domain.stock_model import Lot, Shelf
from tests.faults.installation import new_folder
from tests.shop import Shop, new_shop

# After so many the figures are told, and the next ones get a seed of their own.
EACH = 100


def too_dear() -> Callable[..., None]:
    """A model in which everything costs a millionth more."""
    right = Shelf.put

    def put(shelf: Shelf, state: State, quantity: Decimal, cost: Decimal | None = None) -> None:
        right(shelf, state, quantity, None if cost is None else cost + Decimal("0.000001"))

    return put


def last_first() -> Callable[..., None]:
    """A model that takes the batches that expire last."""
    right = Shelf.take

    def take(shelf: Shelf, quantity: Decimal, lots: list[Lot]) -> None:
        right(shelf, quantity, lots[::-1])

    return take


def named_by_expiry() -> Callable[..., None]:
    """A model that takes units with names from the batches that expire first."""

    def take_named(shelf: Shelf, names: set[str]) -> None:
        for name in names:
            del shelf.serials[name]
        shelf.take(Decimal(len(names)), shelf.next_lots())

    return take_named


# For the controls: a ledger that reckons otherwise than the model is found.
BROKEN: dict[str, tuple[str, Callable[[], Callable[..., None]]]] = {
    "put": ("put", too_dear),
    "take": ("take", last_first),
    "take named": ("take_named", named_by_expiry),
}


@contextmanager
def broken(name: str | None) -> Iterator[None]:
    """The model with that fault, or as it is."""
    if name is None:
        yield
        return
    method, wrong = BROKEN[name]
    with patch.object(Shelf, method, wrong()):
        yield


class Told(Struct):
    """How far it came. A fault is what the failing history did, step by step."""

    seed: int
    examples: int = 0
    steps: int = 0
    faults: list[str] = []

    def line(self, seconds: float) -> str:
        return (
            f"seed {self.seed}: {self.examples} histories, {self.steps} steps in {seconds:.0f} s,"
            f" {len(self.faults)} faults"
        )


def run_histories(
    urls: DatabaseUrls,
    shop: Shop,
    told: Told,
    *,
    examples: int,
    steps: int,
    phases: tuple[Phase, ...] = tuple(Phase),
) -> None:
    """Add so many histories to what is told; the first fault ends them."""

    class Here(StockMachine):
        context = shop.owner
        store_ids = (shop.store_id, shop.second_store_id)

    Here.urls = urls
    test = get_state_machine_test(
        Here,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=phases,
            report_multiple_bugs=False,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    try:
        seed(told.seed + told.examples)(test)()
    except (Exception, pytest.fail.Exception) as fault:
        told.faults.append("\n".join([repr(fault), *getattr(fault, "__notes__", [])]))
    told.examples += Here.histories
    told.steps += Here.steps


def run(options: argparse.Namespace) -> Told:
    told = Told(options.seed)
    begun = time.monotonic()
    with new_folder() as folder, visiting_database(read_settings({}, data=str(folder / "data"))) as urls:
        shop = asyncio.run(_open_shop(folder / "data", urls))
        while told.examples < options.examples and not told.faults:
            few = min(EACH, options.examples - told.examples)
            with broken(options.broken):
                run_histories(urls, shop, told, examples=few, steps=options.steps)
            sys.stdout.write(told.line(time.monotonic() - begun) + "\n")
            sys.stdout.flush()
    return told


async def _open_shop(data: Path, urls: DatabaseUrls) -> Shop:
    async with everything(read_settings({}, data=str(data)), urls) as services:
        return await new_shop(services)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=5000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9))
    parser.add_argument("--broken", choices=BROKEN, help="a model that is wrong in one way")
    told = run(parser.parse_args())
    sys.stdout.write("".join(f"{fault}\n" for fault in told.faults))
    sys.exit(1 if told.faults else 0)


if __name__ == "__main__":
    main()
