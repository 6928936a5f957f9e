"""The pool of rendering processes, and the one verb: `render`."""

import asyncio
import contextlib
import hashlib
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Literal

from msgspec import Struct

from kasuwa.base.imaging.problems import ImagingBusy, NotAPicture, PictureTooBig
from kasuwa.base.imaging.process import ProcessLost, RenderingProcess, says_killed, says_too_slow
from kasuwa.base.rendering import messages
from kasuwa.base.rendering.messages import CONTENT_LIMIT_BYTES, Format, Rendition

DEFAULT_SIZES: Mapping[str, tuple[int, int]] = {
    "zoom": (1280, 1280),
    "standard": (386, 513),
    "thumbnail": (190, 250),
    "tiny": (40, 53),
}
ALL_FORMATS: frozenset[str] = frozenset(
    ("JPEG", "PNG", "GIF", "WEBP", "BMP", "WBMP", "XBM", "JPEG2000", "AVIF")
)
SIGNATURES: Mapping[str, bytes] = {
    "image/jpeg": b"\xff\xd8\xff",
    "image/png": b"\x89PNG",
    "image/webp": b"RIFF",
}
MEBIBYTE = 1024 * 1024
# Address space of a child, of which it has 40 MB before its first picture: a picture can add 300 MB at most.
MEMORY_BYTES = 340 * MEBIBYTE
JOBS_A_PROCESS = 500
RESIDENT_LIMIT_BYTES = 96 * MEBIBYTE  # of an idle process; a fresh one has about 30
TOO_SLOW = "The picture takes too long to decode. Save it anew, or send a smaller one."


class Rendered(Struct, frozen=True):
    """A picture, ready to be served: for each name one JPEG or PNG, and one WebP.

    `sha256` is hex, of the bytes that came in; the size is that of the upright picture.
    """

    sha256: str
    format: Format
    width_px: int
    height_px: int
    renditions: tuple[Rendition, ...]


class Counts(Struct):
    """What became of the children since the start."""

    processes_started: int = 0
    processes_lost: int = 0
    processes_retired: int = 0


Outcome = Literal["done", "refused", "busy"]
Observe = Callable[[Outcome, float], None]
"""Told what became of a picture, and its seconds, without the wait for a child except where it was busy."""


def _unobserved(outcome: Outcome, seconds: float) -> None:
    """What is told where nobody keeps count."""


class Imaging:
    """Renders pictures in at most `processes` children at a time.

    Children start when they are needed and end after `idle_seconds` without work.
    `sizes` are boxes: name to width and height in px. `memory_bytes` is the address space of a child,
    `seconds` its CPU and wall time for one picture, and the longest wait for a free child. `on_lost` is
    called for each child that died, or had to be killed.
    """

    def __init__(
        self,
        *,
        processes: int,
        sizes: Mapping[str, tuple[int, int]] = DEFAULT_SIZES,
        memory_bytes: int = MEMORY_BYTES,
        seconds: float = 5.0,
        max_waiting: int = 16,
        idle_seconds: float = 30.0,
        observe: Observe = _unobserved,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self.counts = Counts()
        self._sizes = dict(sizes)
        self._memory_bytes = memory_bytes
        self._seconds = seconds
        self._max_waiting = max_waiting
        self._idle_seconds = idle_seconds
        self._observe = observe
        self._on_lost = on_lost
        self._slots = asyncio.Semaphore(processes)
        self._waiting = 0
        self._running = False
        self._idle: list[tuple[RenderingProcess, asyncio.TimerHandle]] = []
        self._busy: set[RenderingProcess] = set()
        self._endings: set[asyncio.Task[int]] = set()

    async def start(self) -> None:
        """Take work from now on. No process starts before the first picture."""
        self._running = True

    async def close(self) -> None:
        """End all children; a picture in work becomes ImagingBusy."""
        self._running = False
        for process, timer in self._idle:
            timer.cancel()
            self._end(process)
        self._idle.clear()
        for process in self._busy:
            process.kill()
        while self._endings or self._busy:
            await asyncio.gather(*self._endings)
            await asyncio.sleep(0.01)

    def processes(self) -> list[RenderingProcess]:
        """The children that run now, at work or idle."""
        return [*self._busy, *(process for process, _ in self._idle)]

    async def render(self, content: bytes, accepted: frozenset[str] = ALL_FORMATS) -> Rendered:
        """Decode the picture and make its renditions; `accepted` are the formats the caller's API takes.

        Raises NotAPicture, PictureTooBig, ImagingBusy.
        """
        begun = time.perf_counter()
        if len(content) > CONTENT_LIMIT_BYTES:
            self._observe("refused", 0.0)
            raise PictureTooBig(f"The file is over {CONTENT_LIMIT_BYTES // MEBIBYTE} MB. Send a smaller one.")
        try:
            async with self._slot():
                begun = time.perf_counter()
                answer = await self._answer(messages.encode(messages.Job(content, sorted(accepted))))
        except ImagingBusy:
            self._observe("busy", time.perf_counter() - begun)
            raise
        took_seconds = time.perf_counter() - begun
        if isinstance(answer, messages.Broken):
            raise RuntimeError(f"a rendering process has a fault: {answer.reason}")
        if isinstance(answer, messages.Refused):
            self._observe("refused", took_seconds)
            raise (PictureTooBig if answer.too_big else NotAPicture)(answer.reason)
        self._observe("done", took_seconds)
        digest = await asyncio.to_thread(hashlib.sha256, content)
        return Rendered(
            digest.hexdigest(), answer.format, answer.width_px, answer.height_px, tuple(answer.renditions)
        )

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """One of the places for a running child. Raises ImagingBusy when too many wait, or too long."""
        busy = ImagingBusy("Too many pictures are waiting. Send it again in a moment.", retry_after_seconds=2)
        if not self._running or (self._slots.locked() and self._waiting >= self._max_waiting):
            raise busy
        self._waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise busy from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()

    async def _answer(self, job: bytes) -> messages.Answer:
        """What a child says; a second child is asked when the first one died."""
        killed = False
        for _ in range(2):
            process = await self._take()
            used_seconds = process.cpu_seconds()
            try:
                async with asyncio.timeout(self._seconds):
                    answer = await process.ask(job)
                self._check(answer)
            except TimeoutError:
                used_seconds = process.cpu_seconds() - used_seconds
                await self._lose(process, grace_seconds=0)
                # On a machine that is too busy the file is not to blame.
                if used_seconds < self._seconds / 2:
                    break
                return messages.Refused(TOO_SLOW)
            except ProcessLost as lost:
                code = await self._lose(process, grace_seconds=1 if lost.ended else 0)
                if says_too_slow(code):
                    return messages.Refused(TOO_SLOW)
                killed = lost.ended and says_killed(code)
            except BaseException:  # the caller went away: what the child would answer now is for nobody
                self._busy.discard(process)
                self._end(process)
                raise
            else:
                self._put_back(process)
                return answer
        else:
            if not killed:
                return messages.Refused("The file cannot be processed: decoding it fails. Save it anew.")
        raise ImagingBusy("The picture could not be rendered now. Send it again in a moment.")

    def _check(self, answer: messages.Answer) -> None:
        """A child has read a stranger's bytes: believe it only what a rendering process can say."""
        if not isinstance(answer, messages.Done):
            return
        kinds = [(rendition.name, rendition.content_type == "image/webp") for rendition in answer.renditions]
        if kinds != [(name, is_webp) for name in self._sizes for is_webp in (False, True)]:
            raise ProcessLost("the renditions are not those asked for")
        for rendition in answer.renditions:
            width_px, height_px = self._sizes[rendition.name]
            if not (1 <= rendition.width_px <= width_px and 1 <= rendition.height_px <= height_px):
                raise ProcessLost("a rendition is not within its box")
            if not rendition.content.startswith(SIGNATURES[rendition.content_type]):
                raise ProcessLost("a rendition is not of its type")

    async def _take(self) -> RenderingProcess:
        while self._idle:
            process, timer = self._idle.pop()
            timer.cancel()
            if process.is_alive:
                self._busy.add(process)
                return process
            self._note_loss()
        if not self._running:
            raise ImagingBusy("The server is stopping.")
        try:
            process = await RenderingProcess.start(
                memory_bytes=self._memory_bytes, cpu_seconds=math.ceil(self._seconds), sizes=self._sizes
            )
        except OSError as error:  # the machine is out of processes, files or memory
            raise ImagingBusy("No process could be started for the picture. Send it again later.") from error
        self.counts.processes_started += 1
        self._busy.add(process)
        return process

    def _put_back(self, process: RenderingProcess) -> None:
        self._busy.discard(process)
        worn = process.jobs_done >= JOBS_A_PROCESS or process.resident_bytes() > RESIDENT_LIMIT_BYTES
        if worn or not self._running:
            self._retire(process)
            return
        timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._retire_idle, process)
        self._idle.append((process, timer))

    def _retire_idle(self, process: RenderingProcess) -> None:
        self._idle = [kept for kept in self._idle if kept[0] is not process]
        self._retire(process)

    def _retire(self, process: RenderingProcess) -> None:
        self.counts.processes_retired += 1
        self._end(process)

    async def _lose(self, process: RenderingProcess, *, grace_seconds: float) -> int:
        self._note_loss()
        self._busy.discard(process)
        return await process.end(grace_seconds=grace_seconds)

    def _note_loss(self) -> None:
        self.counts.processes_lost += 1
        self._on_lost()

    def _end(self, process: RenderingProcess) -> None:
        task = asyncio.create_task(process.end())
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
