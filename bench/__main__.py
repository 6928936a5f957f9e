"""Run the measurements: `python -m bench [name …] [--json] [--smoke | --broken]`; without a name all of them.

Ends with 1 when a figure is over its limit.
"""

import argparse
import inspect
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


_WITH_CONTROL = tuple(
    name for name, measure in MEASUREMENTS.items() if "broken" in inspect.signature(measure).parameters
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(MEASUREMENTS))
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument(
        "--smoke", action="store_true", help="seconds instead of minutes; figures mean nothing"
    )
    parser.add_argument(
        "--broken", action="store_true", help="the control: on a shop slow on purpose, which must end with 1"
    )
    options = parser.parse_args()
    unknown = set(options.names) - set(MEASUREMENTS)
    if unknown:
        parser.error(
            f"no measurement is called {', '.join(sorted(unknown))}: choose among {', '.join(MEASUREMENTS)}"
        )
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} processors, load {load:.1f} before we begin", file=sys.stderr)
    settings = {"smoke": options.smoke} | ({"broken": True} if options.broken else {})
    names = options.names or (_WITH_CONTROL if options.broken else MEASUREMENTS)
    if options.broken and (without := set(names) - set(_WITH_CONTROL)):
        parser.error(f"no control for {', '.join(sorted(without))}: choose among {', '.join(_WITH_CONTROL)}")
    over = False
    for name in names:
        report = MEASUREMENTS[name](**settings)
        over |= any(figure.holds is False for figure in report.figures)
        print(msgspec.json.encode(report).decode() if options.json else written(report) + "\n", flush=True)

    if over and not options.smoke:
        sys.exit(1)


if __name__ == "__main__":
    main()
