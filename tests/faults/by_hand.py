"""What the runs by hand may be told: how many, and which fault to build in."""

import argparse

from tests.faults.broken import FAULTS


def read_options(about: str | None, *, broken: str, **counts: int) -> argparse.Namespace:
    """`--NAME COUNT` for each of the counts, and `--broken NAME` for the negative control.

    `broken` names those of tests.faults.broken that this run is there to find, with spaces between them.
    """
    names = broken.split()
    assert set(names) <= set(FAULTS), names
    parser = argparse.ArgumentParser(description=about)
    for name, count in counts.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument(
        "--broken", choices=names, default="", help="the control: a server with this fault, must end with 1"
    )
    return parser.parse_args()
