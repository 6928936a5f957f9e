"""Run the measurements: `python -m bench [name …] [--json] [--smoke]`; without a name all of them."""

import argparse
import os
import sys
from collections.abc import Callable

import msgspec

from bench import (
    bulk,
    imaging,
    importing,
    limits,
    list_products,
    log_in,
    price_feed,
    search,
    start,
    stock,
    upload,
)
from bench.tables import Report, written

MEASUREMENTS: dict[str, Callable[..., Report]] = {
    "list": list_products.measure,
    "upload": upload.measure,
    "imaging": imaging.measure,
    "start": start.measure,
    "limits": limits.measure,
    "login": log_in.measure,
    "import": importing.measure,
    "bulk": bulk.measure,
    "stock": stock.measure,
    "search": search.measure,
    "prices": price_feed.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(MEASUREMENTS))
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument(
        "--smoke", action="store_true", help="seconds instead of minutes; figures mean nothing"
    )
    options = parser.parse_args()
    unknown = set(options.names) - set(MEASUREMENTS)
    if unknown:
        parser.error(
            f"no measurement is called {', '.join(sorted(unknown))}: choose among {', '.join(MEASUREMENTS)}"
        )
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} processors, load {load:.1f} before we begin", file=sys.stderr)
    for name in options.names or MEASUREMENTS:
        report = MEASUREMENTS[name](smoke=options.smoke)
        print(msgspec.json.encode(report).decode() if options.json else written(report) + "\n", flush=True)


if __name__ == "__main__":
    main()
