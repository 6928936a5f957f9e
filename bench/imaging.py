"""What rendering a 12 MP photograph costs through `Imaging`, against plain Pillow doing the same renditions.

The floor runs in a fresh process of its own, without limits and pipes: draft mode, each size from the next
larger one, one JPEG and one WebP of each. Rounds alternate, so both see the same machine.
"""

import asyncio
import resource
import statistics
import subprocess
import sys
from pathlib import Path

from bench.photograph import make_photograph
from bench.processes import peak_bytes as peak_bytes_of
from bench.tables import Figure, Report
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


def measure(*, smoke: bool = False) -> Report:
    """Both costs, their ratio and the peaks."""
    return asyncio.run(_measure(1 if smoke else 9, make_photograph(800, 600) if smoke else make_photograph()))


async def _measure(rounds: int, content: bytes) -> Report:
    ours: list[float] = []
    floors: list[float] = []
    floor_peak = 0
    imaging = Imaging(processes=1)
    await imaging.start()
    await imaging.render(content)
    for _ in range(rounds):
        seconds, peak = measure_floor(content)
        floors.append(seconds * 1000)
        floor_peak = max(floor_peak, peak)
        (child,) = imaging.processes()
        before = _own_cpu_seconds() + _cpu_seconds(child.pid)
        await imaging.render(content)
        ours.append((_own_cpu_seconds() + _cpu_seconds(child.pid) - before) * 1000)
    (child,) = imaging.processes()
    peak_bytes, idle_bytes = peak_bytes_of(child.pid), child.resident_bytes()
    await imaging.close()
    ratio = statistics.median(our / floor for our, floor in zip(ours, floors, strict=True))
    return Report(
        title=f"Rendering a JPEG of {len(content) / 1e6:.1f} MB through Imaging, {rounds} rounds",
        figures=[
            Figure(name="Imaging.render", value=statistics.median(ours), unit="CPU-ms"),
            Figure(name="floor: Pillow alone", value=statistics.median(floors), unit="CPU-ms"),
            Figure(
                name="ratio to the floor", value=ratio, unit="times", limit=1.3, note="median over the rounds"
            ),
            Figure(name="picture process, peak", value=peak_bytes / 2**20, unit="MB RSS"),
            Figure(name="picture process, idle", value=idle_bytes / 2**20, unit="MB RSS"),
            Figure(name="floor, peak", value=floor_peak / 1024, unit="MB RSS"),
        ],
    )
