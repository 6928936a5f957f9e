"""The children: confined, replaced when they die, few, and gone when nobody needs them."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from kasuwa.base.imaging import Imaging, ImagingBusy, NotAPicture, Rendered, process
from kasuwa.base.imaging.pool import MEMORY_BYTES
from tests.base.pictures import jpeg_of_scans, scene, write

PICTURE = write(scene(2_000, 1_500), "JPEG")
SLOW = jpeg_of_scans(190, 4_000)


@pytest_asyncio.fixture
async def imaging() -> AsyncIterator[Imaging]:
    imaging = Imaging(processes=2, seconds=60, max_waiting=64)
    await imaging.start()
    yield imaging
    await imaging.close()
    assert imaging.processes() == []


async def until(true: Callable[[], bool]) -> None:
    """Wait for what must come; pytest's time-out is the only limit."""
    while not true():  # noqa: ASYNC110 - the kernel sets no event
        await asyncio.sleep(0.01)


def read_proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


def status_of(pid: int) -> dict[str, str]:
    lines = read_proc(pid, "status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def is_running(pid: int) -> bool:
    """Whether it exists and is more than a dead child that nobody has collected."""
    try:
        return not status_of(pid)["State"].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_killed_children_cost_at_most_their_own_request(imaging: Imaging) -> None:
    ends: list[str] = []

    async def send() -> None:
        try:
            rendered = await imaging.render(PICTURE)
            assert rendered.width_px == 2_000
            ends.append("rendered")
        except ImagingBusy as busy:
            ends.append("busy for " + busy.headers["Retry-After"])

    async def kill() -> None:
        rounds = 0
        while len(ends) < 24 and rounds < 40:
            rounds += 1
            await asyncio.sleep(0.03)
            for child in imaging.processes():
                with suppress(ProcessLookupError):  # gone, and not noticed yet
                    os.kill(child.pid, signal.SIGKILL)

    async with asyncio.TaskGroup() as group:
        group.create_task(kill())
        for _ in range(24):
            group.create_task(send())
    assert len(ends) == 24
    assert imaging.counts.processes_lost >= 10
    assert (await imaging.render(PICTURE)).format == "JPEG"


async def test_a_child_that_is_killed_once_costs_nothing(imaging: Imaging) -> None:
    rendering = asyncio.create_task(imaging.render(SLOW))
    await until(lambda: len(imaging.processes()) == 1)
    os.kill(imaging.processes()[0].pid, signal.SIGKILL)
    assert (await rendering).format == "JPEG"
    assert (imaging.counts.processes_started, imaging.counts.processes_lost) == (2, 1)


@pytest.mark.parametrize(
    ("signal_number", "end"), [(signal.SIGKILL, ImagingBusy), (signal.SIGSEGV, NotAPicture)]
)
async def test_a_file_that_kills_twice_is_refused_but_not_blamed_for_a_foreign_kill(
    imaging: Imaging, signal_number: signal.Signals, end: type[Exception]
) -> None:
    rendering = asyncio.create_task(imaging.render(SLOW))
    for started in (1, 2):
        await until(lambda started=started: imaging.counts.processes_started == started)  # type: ignore[misc]
        await until(lambda: len(imaging.processes()) == 1)
        os.kill(imaging.processes()[0].pid, signal_number)
    with pytest.raises(end):
        await rendering
    assert imaging.counts.processes_lost == 2


async def test_an_idle_child_that_was_killed_is_replaced(imaging: Imaging) -> None:
    await imaging.render(PICTURE)
    os.kill(imaging.processes()[0].pid, signal.SIGKILL)
    assert (await imaging.render(PICTURE)).format == "JPEG"


async def test_beyond_its_queue_it_says_busy_at_once_and_does_the_rest() -> None:
    observed: list[str] = []
    imaging = Imaging(
        processes=1, seconds=60, max_waiting=2, observe=lambda outcome, seconds: observed.append(outcome)
    )
    await imaging.start()
    ends = await asyncio.gather(*(imaging.render(SLOW) for _ in range(6)), return_exceptions=True)
    busy = [end for end in ends if isinstance(end, ImagingBusy)]
    assert [one.status for one in busy] == [503] * 3
    assert busy[0].headers == {"Retry-After": "2"}
    assert sum(isinstance(end, Rendered) for end in ends) == 3
    assert observed == ["busy"] * 3 + ["done"] * 3
    assert imaging.counts.processes_started == 1
    await imaging.close()


async def test_no_more_children_than_allowed_run_and_all_requests_are_served(imaging: Imaging) -> None:
    files = [write(scene(100 + number, 80), "PNG") for number in range(20)]
    tasks = [asyncio.create_task(imaging.render(content)) for content in files]
    most = 0
    while not all(task.done() for task in tasks):
        most = max(most, len(imaging.processes()))
        await asyncio.sleep(0)
    assert most == 2
    assert [(await task).width_px for task in tasks] == list(range(100, 120))  # each got its own picture


async def test_a_caller_that_goes_away_leaves_no_work_and_no_foreign_answer(imaging: Imaging) -> None:
    rendering = asyncio.create_task(imaging.render(SLOW))
    await until(lambda: len(imaging.processes()) == 1)
    child = imaging.processes()[0]
    await asyncio.sleep(0.2)
    rendering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rendering
    await until(lambda: not child.is_alive)
    assert (await imaging.render(write(scene(77, 55), "PNG"))).width_px == 77


async def test_children_start_with_the_first_picture_and_end_when_idle() -> None:
    imaging = Imaging(processes=2, seconds=60, idle_seconds=0.2)
    await imaging.start()
    assert imaging.counts.processes_started == 0
    await imaging.render(PICTURE)
    child = imaging.processes()[0]
    await until(lambda: not child.is_alive)
    assert imaging.processes() == []
    assert imaging.counts.processes_retired == 1
    await imaging.close()


async def test_closing_ends_all_children_and_work_in_hand_becomes_busy() -> None:
    imaging = Imaging(processes=2, seconds=60)
    await imaging.start()
    rendering = asyncio.create_task(imaging.render(SLOW))
    await until(lambda: len(imaging.processes()) == 1)
    child = imaging.processes()[0]
    await asyncio.sleep(0.1)
    await imaging.close()
    with pytest.raises(ImagingBusy):
        await rendering
    assert not child.is_alive
    with pytest.raises(ImagingBusy):
        await imaging.render(PICTURE)


async def test_a_child_is_confined_and_inherits_nothing(
    imaging: Imaging, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KASUWA_SECRET_KEY", "canary-5e11")
    with (tmp_path / "open").open("wb") as held:
        os.set_inheritable(held.fileno(), True)
        await imaging.render(PICTURE)
        pid = imaging.processes()[0].pid
        assert len(os.listdir(f"/proc/{pid}/fd")) == 3
    status = status_of(pid)
    assert status["NoNewPrivs"] == "1"
    assert int(status["SigIgn"], 16) >> (signal.SIGINT - 1) & 1
    assert status["Threads"] == "1"
    assert "canary-5e11" not in read_proc(pid, "environ")
    limits = read_proc(pid, "limits")
    words = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()}
    assert words["Max address space"] == [str(MEMORY_BYTES)] * 2
    assert words["Max open files"] == ["3", "3"]
    assert words["Max file size"] == ["0", "0"]
    assert words["Max core file size"] == ["0", "0"]
    assert words["Max cpu time"][0] != "unlimited"
    assert os.getsid(pid) == pid


ATTEMPTS = """
    import mmap, os, socket, sys
    from kasuwa.base.rendering import confine
    if sys.argv[1] == "confined":
        confine.confine(512 * 1024 * 1024)
    done = []
    for name, attempt in {
        "socket": lambda: socket.socket(),
        "file": lambda: open("/etc/hostname"),
        "memory": lambda: mmap.mmap(-1, 1024 * 1024 * 1024),
    }.items():
        try:
            attempt()
            done.append(name)
        except (OSError, MemoryError):
            pass
    print(",".join(done))
"""


@pytest.mark.parametrize(("mode", "done"), [("confined", ""), ("free", "socket,file,memory")])
def test_confined_code_opens_no_socket_and_no_file(mode: str, done: str) -> None:
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ATTEMPTS), mode], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == done


LIARS = {
    "a pickle": "import pickle; answer = pickle.dumps(print)",
    "an answer without renditions": "answer = encode(Done('PNG', 1, 1, []))",
    "a rendition of another type": (
        "answer = encode(Done('PNG', 1, 1, [Rendition(n, t, 1, 1, b'<script>')"
        " for n in ('zoom','standard','thumbnail','tiny') for t in ('image/png', 'image/webp')]))"
    ),
    "a rendition outside its box": (
        "answer = encode(Done('PNG', 1, 1, [Rendition(n, t, 9999, 1, b'RIFF' if 'webp' in t else b'\\x89PNG')"
        " for n in ('zoom','standard','thumbnail','tiny') for t in ('image/png', 'image/webp')]))"
    ),
    "an endless answer": "answer = b''; out.write(b'\\xff\\xff\\xff\\xff')",
}
HONEST = (
    "answer = encode(Done('PNG', 1, 1, [Rendition(n, t, 1, 1, b'RIFF' if 'webp' in t else b'\\x89PNG')"
    " for n in ('zoom','standard','thumbnail','tiny') for t in ('image/png', 'image/webp')]))"
)


FOLDERS = process.command("{}")[6:]


def speak_instead(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """Put a child in place that reads a job and answers by these words."""
    program = (
        "import sys; sys.path += sys.argv[1:]; from kasuwa.base.rendering.messages import *\n"
        "out = sys.stdout.buffer\n"
        "sys.stdin.buffer.read(LENGTH.unpack(sys.stdin.buffer.read(4))[0])\n"
        f"{words}\n"
        "out.write(LENGTH.pack(len(answer)) + answer); out.flush(); sys.stdin.buffer.read()\n"
    )
    line = [sys.executable, "-I", "-S", "-c", program, *FOLDERS]
    monkeypatch.setattr(process, "command", lambda setup: line)


@pytest.mark.parametrize("liar", sorted(LIARS))
async def test_a_child_that_was_taken_over_is_not_believed(
    imaging: Imaging, monkeypatch: pytest.MonkeyPatch, liar: str
) -> None:
    speak_instead(monkeypatch, LIARS[liar])
    with pytest.raises(NotAPicture, match="cannot be processed"):
        await imaging.render(PICTURE)
    assert imaging.counts.processes_lost == 2
    speak_instead(monkeypatch, HONEST)  # the same child with a possible answer is believed
    assert (await imaging.render(PICTURE)).format == "PNG"


async def test_children_die_with_the_server() -> None:
    program = """
        import asyncio, sys
        from kasuwa.base.imaging import Imaging
        async def main():
            imaging = Imaging(processes=1, seconds=60)
            await imaging.start()
            asyncio.create_task(imaging.render(sys.stdin.buffer.read()))
            while not imaging.processes():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)
            print(imaging.processes()[0].pid, flush=True)
            await asyncio.sleep(600)
        asyncio.run(main())
    """
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(program), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(SLOW)
    server.stdin.close()
    child_pid = int(await server.stdout.readline())
    assert is_running(child_pid)
    server.kill()
    await server.wait()
    await until(
        lambda: not Path(f"/proc/{child_pid}").exists() or status_of(child_pid)["State"].startswith("Z")
    )
