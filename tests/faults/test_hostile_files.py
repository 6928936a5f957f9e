"""Pictures made to break decoders: 1,163 files that others have collected."""

import io
from collections.abc import Iterable

import pytest
from PIL import Image

from kasuwa.base.imaging import ALL_FORMATS, Rendered
from tests.base.pictures import jpeg_of_scans, scene, write
from tests.base.watched import WatchedImaging, lift_limits
from tests.faults import hostile_files
from tests.faults.hostile_files import Report, send, send_all
from tools.hostile_corpus import fetch, read_corpus

# Wall clock is the machine's affair here: what a child may use of the CPU is looked at afterwards.
PATIENCE_SECONDS = 60


async def test_every_hostile_file_ends_in_a_result_or_a_problem_within_its_limits() -> None:
    fetch()
    report = await send_all(read_corpus(), [WatchedImaging(seconds=PATIENCE_SECONDS) for _ in range(2)])
    assert len(report.outcomes) == 1163
    assert report.broken() == []
    assert [outcome for outcome in report.outcomes if outcome.result == "ImagingBusy"] == []
    # What was measured is what they cost.
    assert report.peak_mb > 100
    assert sum(outcome.cpu_seconds for outcome in report.outcomes) > 2
    read = [outcome for outcome in report.outcomes if not outcome.reason]
    assert {outcome.result for outcome in read} >= {
        "PNG",
        "JPEG",
        "GIF",
        "BMP",
        "WEBP",
        "AVIF",
        "JPEG2000",
        "XBM",
    }
    # The good ones among them are read: without this line a renderer that refuses all would pass.
    assert len(read) >= 600


class _Unguarded(WatchedImaging):
    """Lets the decoder's own errors out, as a careless renderer would."""

    async def render(self, content: bytes, accepted: frozenset[str] = ALL_FORMATS) -> Rendered:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
        raise AssertionError("only broken files are sent here")


async def test_the_check_sees_an_error_that_is_no_problem() -> None:
    outcome = await send("cut.gif", b"GIF89a\x01", _Unguarded())
    assert outcome.unexpected
    assert len(Report([outcome], started=0, lost=0, seconds=0).broken()) == 1


async def test_the_check_sees_children_that_take_more_than_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    lift_limits(monkeypatch)
    large = {"zoom": (4_000, 4_000)}
    lax = WatchedImaging(seconds=PATIENCE_SECONDS, memory_bytes=2 * 1024**3, sizes=large)
    noise = Image.effect_noise((5_000, 5_000), 60).convert("RGB")
    files = {
        "memory.webp": write(noise, "WEBP", lossless=True, quality=0, method=0),
        "work.jpg": jpeg_of_scans(1_100, 4_000),
        "good.png": write(scene(), "PNG"),
    }
    broken = (await send_all(files.items(), [lax])).broken()
    assert any(fault.startswith("memory.webp") and fault.endswith("MB") for fault in broken), broken
    assert any(fault.startswith("work.jpg") and fault.endswith("CPU time") for fault in broken), broken
    assert not any("good.png" in fault for fault in broken), broken


async def test_the_check_sees_a_child_that_died() -> None:
    hasty = WatchedImaging(seconds=0.001)
    assert "1 children died" in (await send_all([("a.png", write(scene(), "PNG"))], [hasty])).broken()


@pytest.mark.parametrize(("limit_mb", "code"), [(300.0, 0), (1.0, 1)], ids=["kept", "broken"])
async def test_by_hand_the_exit_code_tells_whether_a_limit_is_broken(
    limit_mb: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def few() -> Iterable[tuple[str, bytes]]:
        return [("good.png", write(scene(), "PNG"))]

    monkeypatch.setattr(hostile_files, "read_corpus", few)
    monkeypatch.setattr(hostile_files, "PEAK_MB", limit_mb)
    monkeypatch.setattr(hostile_files, "SECONDS", 60.0)
    assert await hostile_files.main() == code
    assert ("BROKEN: good.png" in capsys.readouterr().out) is bool(code)
