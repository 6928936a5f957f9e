"""What rendering a 12 MP photograph costs through `Imaging`, against plain Pillow doing the same renditions.

The floor runs in a fresh process of its own, without limits and pipes: draft mode, each size from the next
larger one, one JPEG and one WebP of each. Rounds alternate, so both see the same machine.

Run: python -m bench.imaging [rounds]
"""

import asyncio
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.photograph import HEIGHT_PX, WIDTH_PX, make_photograph
from kasuwa.base.imaging import DEFAULT_SIZES, Imaging
from kasuwa.base.rendering import encode

FLOOR = """
import io, resource, sys
from PIL import Image
content = sys.stdin.buffer.read()
boxes, quality, webp_quality, method = eval(sys.argv[1])
def round_trip():
    image = Image.open(io.BytesIO(content))
    image.draft(None, boxes[0])
    for box in boxes:
        image.thumbnail(box, Image.Resampling.LANCZOS, reducing_gap=2.0)
        image.save(io.BytesIO(), "JPEG", quality=quality)
        image.save(io.BytesIO(), "WEBP", quality=webp_quality, method=method)
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
round_trip()
before = cpu()
round_trip()
print(cpu() - before, open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


def measure_floor(content: bytes) -> tuple[float, int]:
    """CPU seconds of one picture, and peak memory in KiB."""
    settings = [*DEFAULT_SIZES.values()], encode.JPEG_QUALITY, encode.WEBP_QUALITY, encode.WEBP_METHOD
    out = subprocess.run(
        [sys.executable, "-c", FLOOR, repr(settings)], input=content, capture_output=True, check=True
    )
    seconds, peak = out.stdout.split()
    return float(seconds), int(peak)


def _own_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _cpu_seconds(pid: int) -> float:
    """Finer than the ticks of `stat`; a rendering process has one thread."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _peak_kib(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0])


async def measure(rounds: int) -> None:
    """Print both costs, their ratio and the peaks."""
    content = make_photograph()
    ours: list[float] = []
    floors: list[float] = []
    walls: list[float] = []
    floor_peak = 0
    imaging = Imaging(processes=1)
    await imaging.start()
    await imaging.render(content)
    for _ in range(rounds):
        seconds, peak = measure_floor(content)
        floors.append(seconds)
        floor_peak = max(floor_peak, peak)
        (child,) = imaging.processes()
        before = _own_cpu_seconds() + _cpu_seconds(child.pid)
        begun = time.perf_counter()
        rendered = await imaging.render(content)
        walls.append(time.perf_counter() - begun)
        ours.append(_own_cpu_seconds() + _cpu_seconds(child.pid) - before)
    (child,) = imaging.processes()
    total = sum(len(rendition.content) for rendition in rendered.renditions)
    floor_ms, our_ms = statistics.median(floors) * 1000, statistics.median(ours) * 1000
    peak_mb, idle_mb = _peak_kib(child.pid) / 1024, child.resident_bytes() / 2**20
    print(f"JPEG {WIDTH_PX}x{HEIGHT_PX}, {len(content):,} bytes in, {total:,} bytes out in 8 files")
    print(f"floor (Pillow alone) {floor_ms:5.0f} CPU-ms, peak {floor_peak / 1024:.0f} MB")
    print(f"Imaging.render       {our_ms:5.0f} CPU-ms, wall {statistics.median(walls) * 1000:.0f} ms")
    print(f"child                peak {peak_mb:.0f} MB, idle {idle_mb:.0f} MB")
    print(f"ratio of the medians {our_ms / floor_ms:.2f} over {rounds} rounds")
    await imaging.close()


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 9))
