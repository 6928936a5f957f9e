"""Coverage-guided fuzzing of everything that reads a stranger's picture.

Run: python -m tests.faults.fuzz_decoders --seconds 3600    (the suite runs one minute)

The fuzzer is a process of its own: what it finds ends it, with the file that did it named. A file may be
refused (NotRendered) or rendered; any other exception, a crash and more than SLOWEST_SECONDS for a file
(the suite shares a busy machine) are faults.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from tests.base.pictures import scene, write, write_wbmp
from tools.hostile_corpus import read_corpus

SEED_BYTES = 16 * 1024
# Far above what any takes, and far below for ever: a busy machine stops us for seconds.
SLOWEST_SECONDS = 20
MEMORY_MB = 2048  # the fuzzer's own tables included
SIZES = {"zoom": (64, 64), "tiny": (8, 8)}


class Fuzzed(Struct, frozen=True):
    """`executions` files were tried; `fault` is the end of what a fuzzer that found something said."""

    executions: int
    fault: str


def fuzz(seconds: int, *, target: str = "decoders") -> Fuzzed:
    """Let the fuzzer run for so long over the hostile corpus' small files and well-formed ones."""
    with tempfile.TemporaryDirectory(prefix="kasuwa-fuzz-") as folder:
        seeds, found = Path(folder) / "seeds", Path(folder) / "found"
        for path in (seeds, found):
            path.mkdir()
        write_seeds(seeds)
        words = [sys.executable, "-m", "tests.faults.fuzz_decoders", "--target", target, "--"]
        words += [str(found), str(seeds), f"-max_total_time={seconds}", f"-timeout={SLOWEST_SECONDS}"]
        words += [f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={folder}/", f"-max_len={SEED_BYTES}"]
        done = subprocess.run([*words, "-print_final_stats=1"], capture_output=True, text=True)
        counted = done.stderr.partition("stat::number_of_executed_units:")[2].split()
        said = done.stderr[-2000:] + done.stdout[-2000:]  # the exception stands in the second
        return Fuzzed(int(counted[0]) if counted else 0, said if done.returncode else "")


def write_seeds(folder: Path) -> None:
    """Small files of each format: well formed ones, and the corpus' odd ones."""
    for name in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "XBM", "JPEG2000", "AVIF"):
        mode = "1" if name == "XBM" else "RGB"
        (folder / f"well-formed.{name}").write_bytes(write(scene(60, 40, mode), name))
    (folder / "well-formed.WBMP").write_bytes(write_wbmp(scene(60, 40, "1")))
    for number, (_, content) in enumerate(read_corpus()):
        if len(content) <= SEED_BYTES:
            (folder / str(number)).write_bytes(content)


def run_target(name: str, arguments: list[str]) -> None:
    """Become the fuzzer. Only here is atheris imported: it instruments what is imported under it."""
    import atheris

    with atheris.instrument_imports(include=["kasuwa.base.rendering", "PIL"]):
        from kasuwa.base.rendering.decode import PILLOW_FORMATS, NotRendered, decode, prepare
        from kasuwa.base.rendering.encode import render

    prepare()
    accepted = (*PILLOW_FORMATS, "WBMP")

    def decoders(content: bytes) -> None:
        try:
            render(decode(content, accepted, SIZES["zoom"]), SIZES)
        except NotRendered:
            return

    def decoders_that_trust(content: bytes) -> None:
        """The control: a build that lets a decoder's own exceptions out."""
        try:
            render(decode(content, accepted, SIZES["zoom"]), SIZES)
        except NotRendered as refused:
            if refused.__cause__ is not None:
                raise refused.__cause__ from None

    targets: dict[str, Callable[[bytes], None]] = {
        "decoders": decoders,
        "decoders-that-trust": decoders_that_trust,
    }
    atheris.Setup([sys.argv[0], *arguments], targets[name])
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--target", help="for the fuzzer's own process")
    parser.add_argument("rest", nargs="*")
    arguments = parser.parse_args()
    if arguments.target:
        run_target(arguments.target, arguments.rest)
        return
    fuzzed = fuzz(arguments.seconds)
    sys.stdout.write(f"{fuzzed.executions} files in {arguments.seconds} s: {fuzzed.fault or 'no fault'}\n")
    sys.exit(1 if fuzzed.fault else 0)


if __name__ == "__main__":
    main()
