"""KASUWA_ORIGINALS: the uploaded file is kept as it came or dropped, and nothing else differs."""

import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kasuwa.cli.doctor.examination import examine
from kasuwa.database import DatabaseUrls, sealing_keys, serving_database
from kasuwa.domain.media import keeping
from kasuwa.handover import WorkerSetup
from kasuwa.settings import Settings, read_settings
from tests.api.test_storeharmony_products import make, session, stock
from tests.cli.test_doctor import red
from tests.client import Web, running_web
from tests.conftest import picture_bytes
from tests.shop import Shop, new_shop


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    folder = Path(tempfile.mkdtemp(prefix="kasuwa-originals-"))
    folder.chmod(0o755)
    yield read_settings({}, data=str(folder))
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def urls(settings: Settings) -> Iterator[DatabaseUrls]:
    with serving_database(settings) as found:
        yield found


class House:
    """A shop on a server that is started anew with each use."""

    def __init__(self, settings: Settings, urls: DatabaseUrls) -> None:
        self.settings = settings
        self.urls = urls
        self.shop: Shop | None = None
        self.item: dict[str, Any] = {}

    @asynccontextmanager
    async def running(self, *, originals: bool) -> AsyncIterator[Web]:
        settings = msgspec.structs.replace(self.settings, originals=originals)
        setup = WorkerSetup(settings, self.urls.application, sealing_keys(settings))
        async with running_web(setup) as web:
            if self.shop is None:
                self.shop = await new_shop(web.services)
                self.item = await make(web, self.shop)
            yield web

    async def upload(self, web: Web, content: bytes) -> str:
        """The address of its zoom."""
        assert self.shop is not None
        answer = await web.post(
            stock(self.shop, f"/{self.item['itemId']}/addpicture"),
            headers=session(self.shop, **{"content-type": "image/png"}),
            content=content,
        )
        assert answer.status_code == 200, answer.text
        path: str = answer.json()
        return path

    def folder(self, content: bytes) -> Path:
        """Where the files of the picture lie."""
        assert self.shop is not None
        sha256 = hashlib.sha256(content).hexdigest()
        return self.settings.data_folder() / "files" / str(self.shop.merchant_id) / sha256[:2] / sha256

    def renditions(self, content: bytes) -> dict[str, bytes]:
        files = self.folder(content).iterdir()
        return {file.name: file.read_bytes() for file in files if file.name != "original"}

    def original(self, content: bytes) -> bytes | None:
        file = self.folder(content) / "original"
        return file.read_bytes() if file.exists() else None

    async def complaints(self) -> dict[str, str]:
        return red(await examine(self.settings, self.urls))


@pytest.fixture
def house(settings: Settings, urls: DatabaseUrls) -> House:
    return House(settings, urls)


@pytest.mark.parametrize("originals", [True, False])
async def test_the_setting_says_whether_the_file_is_kept_as_it_came(house: House, originals: bool) -> None:
    content = picture_bytes("PNG", seed=1)
    async with house.running(originals=originals) as web:
        zoom = await house.upload(web, content)
        assert house.original(content) == (content if originals else None)
        shown = (await web.get(zoom)).content
        # Private, kept or not.
        hidden = await web.get(f"{zoom.rpartition('/')[0]}/original")
        assert hidden.status_code == 404
    made = house.renditions(content)
    async with house.running(originals=originals) as web:
        assert (await web.get(zoom)).content == shown
    assert house.original(content) == (content if originals else None)
    assert house.renditions(content) == made
    assert await house.complaints() == {}


async def test_what_is_shown_is_made_of_the_upload_whether_it_is_kept_or_not(
    house: House, settings: Settings, urls: DatabaseUrls
) -> None:
    content = picture_bytes("PNG", size=(2000, 1500), seed=2)
    other = House(settings, urls)
    for one, originals in ((house, True), (other, False)):
        async with one.running(originals=originals) as web:
            await one.upload(web, content)
    assert house.renditions(content) == other.renditions(content)
    assert len(house.renditions(content)) >= 4


async def test_a_picture_that_comes_again_is_kept_once_the_setting_says_so(house: House) -> None:
    content = picture_bytes("PNG", seed=3)
    async with house.running(originals=False) as web:
        zoom = await house.upload(web, content)
        shown = (await web.get(zoom)).content
    made = house.renditions(content)
    async with house.running(originals=True) as web:
        # Nothing of what was there is missed: it is shown, and whole, without an original.
        assert (await web.get(zoom)).content == shown
        assert await house.complaints() == {}
        assert await house.upload(web, content) == zoom
    assert house.original(content) == content
    assert house.renditions(content) == made


async def test_what_was_kept_stays_when_the_setting_is_taken_back(house: House) -> None:
    content, later = picture_bytes("PNG", seed=4), picture_bytes("PNG", seed=5)
    async with house.running(originals=True) as web:
        await house.upload(web, content)
    async with house.running(originals=False) as web:
        await house.upload(web, content)
        await house.upload(web, later)
    assert house.original(content) == content
    assert house.original(later) is None
    report = await examine(house.settings, house.urls, collect=True, at_once=True)
    assert (red(report), report.removed["stray files"]) == ({}, 0)
    assert house.original(content) == content


@pytest.mark.parametrize(
    ("broken", "check", "words"),
    [
        (lambda content: content[:-1], "files of pictures", "bytes and should have"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "contents of pictures", "other bytes"),
    ],
    ids=["shortened", "altered"],
)
async def test_the_doctor_finds_an_original_that_is_not_what_came(
    house: House, broken: Any, check: str, words: str
) -> None:
    content = picture_bytes("PNG", seed=6)
    async with house.running(originals=True) as web:
        await house.upload(web, content)
    file = house.folder(content) / "original"
    file.write_bytes(broken(content))
    found = await house.complaints()
    file.write_bytes(content)
    assert set(found) == {check}
    assert words in found[check]
    assert await house.complaints() == {}


async def test_an_original_of_no_picture_is_a_stray(house: House) -> None:
    content = picture_bytes("PNG", seed=7)
    async with house.running(originals=True) as web:
        await house.upload(web, content)
    stray = house.folder(b"of no picture") / "original"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"of no picture")
    found = await house.complaints()
    shutil.rmtree(stray.parent.parent)
    assert set(found) == {"stray files"}


async def test_a_server_that_forgets_the_setting_would_be_noticed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: nothing is kept, and the first of these tests fails."""

    async def forget(*_: object) -> None:
        pass

    monkeypatch.setattr(keeping, "_keep_original", forget)
    with pytest.raises(AssertionError):
        await test_the_setting_says_whether_the_file_is_kept_as_it_came(house, True)
