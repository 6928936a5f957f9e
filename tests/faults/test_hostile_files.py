"""Pictures made to break decoders: 1,163 files that others have collected."""

import io

from PIL import Image

from kasuwa.base.imaging import ALL_FORMATS, Imaging, Rendered
from tests.faults.hostile_files import PEAK_LIMIT_MB, Report, send, send_all
from tools.hostile_corpus import fetch, read_corpus


async def _send_corpus() -> Report:
    imaging = Imaging(processes=2, seconds=30, max_waiting=2)
    await imaging.start()
    try:
        return await send_all(read_corpus(), imaging)
    finally:
        await imaging.close()


async def test_every_hostile_file_ends_in_a_result_or_a_problem() -> None:
    fetch()
    report = await _send_corpus()
    assert len(report.outcomes) == 1163
    assert [outcome for outcome in report.outcomes if outcome.unexpected] == []
    assert [outcome for outcome in report.outcomes if outcome.result == "ImagingBusy"] == []
    assert report.counts.processes_lost == 0
    assert 0 < report.peak_mb <= PEAK_LIMIT_MB
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


class _Unguarded(Imaging):
    """Lets the decoder's own errors out, as a careless renderer would."""

    async def render(self, content: bytes, accepted: frozenset[str] = ALL_FORMATS) -> Rendered:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
        raise AssertionError("only broken files are sent here")


async def test_the_check_sees_an_error_that_is_no_problem() -> None:
    outcome = await send("cut.gif", b"GIF89a\x01", _Unguarded(processes=1))
    assert outcome.unexpected
