"""The outbox without somebody's lines: the others stay, those too that are written in that very moment."""

import asyncio
import fcntl
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kasuwa.base.ids import new_id
from kasuwa.domain.messages import courier
from kasuwa.domain.messages.courier import Courier
from kasuwa.settings import read_settings
from tests.messaging import a_message


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    return tmp_path / "outbox.jsonl"


@pytest.fixture
def by_file(tmp_path: Path) -> Courier:
    return Courier(read_settings({}, data=str(tmp_path)))


def lines_of(outbox: Path) -> list[Any]:
    return [msgspec.json.decode(line)["text"] for line in outbox.read_bytes().splitlines()]


def modes_of(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.glob("outbox*")}


async def test_a_customers_lines_go_and_the_others_stay(by_file: Courier, outbox: Path) -> None:
    gone, stays = new_id(), new_id()
    await by_file.forget([gone], [])  # there is no file yet
    # Words that look like the mark of a line are no mark.
    forged = f'"customer_id":"{gone}"'
    for text, customer_id in (("1", gone), ("2", stays), (forged, None), ("3", gone), ("4", stays)):
        await by_file.deliver(new_id(), a_message(text=text, customer_id=customer_id))
    await by_file.forget([gone], [])
    assert lines_of(outbox) == ["2", forged, "4"]
    assert modes_of(outbox.parent) == {"outbox.jsonl": 0o600}
    await by_file.deliver(new_id(), a_message(text="5"))
    assert lines_of(outbox)[-1] == "5"


async def test_what_a_crash_left_behind_is_written_over(by_file: Courier, outbox: Path) -> None:
    await by_file.deliver(new_id(), a_message(text="1"))
    outbox.with_suffix(".new").write_bytes(b"zq" * 10_000)
    await by_file.forget([new_id()], [])
    assert lines_of(outbox) == ["1"]
    assert not outbox.with_suffix(".new").exists()


@pytest.mark.parametrize("looks_again", [True, False])
async def test_a_line_written_while_the_file_is_replaced_is_not_lost(
    by_file: Courier, outbox: Path, monkeypatch: pytest.MonkeyPatch, looks_again: bool
) -> None:
    """Without the second look at the file the line is lost: then this test sees it."""
    gone = new_id()
    await by_file.deliver(new_id(), a_message(text="1", customer_id=gone))
    await by_file.deliver(new_id(), a_message(text="2"))
    lock = fcntl.flock

    def waited(descriptor: int, how: int) -> None:
        # Whoever had the lock has put a new file in the place of this one.
        monkeypatch.setattr(fcntl, "flock", lock)
        courier._forget(outbox, lambda line: str(gone).encode() in line)
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", waited)
    if not looks_again:
        monkeypatch.setattr(courier, "_is_at", lambda descriptor, outbox: True)
    await by_file.deliver(new_id(), a_message(text="3"))
    assert lines_of(outbox) == (["2", "3"] if looks_again else ["2"])


async def test_many_writers_and_a_forgetter_lose_nothing(by_file: Courier, outbox: Path) -> None:
    gone = new_id()
    texts = [str(number) for number in range(60)]
    writing = [
        by_file.deliver(new_id(), a_message(text=text, customer_id=gone if int(text) % 3 == 0 else None))
        for text in texts
    ]
    await asyncio.gather(*writing, *(by_file.forget([gone], []) for _ in range(10)))
    await by_file.forget([gone], [])
    assert sorted(lines_of(outbox), key=int) == [text for text in texts if int(text) % 3]
