"""No API that takes a picture by its address follows a name that turns to our own network."""

import httpx
import msgspec
import pytest

from kasuwa.base import fetch
from kasuwa.base.fetch import Fetched, Fetcher, read_address
from tests.api.editors import APIS, Editor, check_refused, new_editor
from tests.api.picture_server import PictureServer
from tests.base.fetch.staging import PRIVATE, PUBLIC, Stage, reply
from tests.client import Web
from tests.conftest import picture_bytes
from tests.shop import Shop

# StoreHarmony takes no addresses.
FETCHING = tuple(api for api in APIS if api != "storeharmony")
NAME = "public.test.example"


class CheckingFirst(Fetcher):
    """The control: looks the name up, checks it, and looks it up again to connect."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(resolver=stage.names)
        self._stage = stage

    async def fetch(self, url: str, **_options: object) -> Fetched:
        for text in await self._stage.names.resolve(NAME):
            address = read_address(text)
            assert address is not None
            assert fetch.is_public(address)
        again = await self._stage.names.resolve(NAME)
        async with httpx.AsyncClient(trust_env=False) as client:
            got = await client.get(f"http://{again[0]}:{self._stage.port}/")
        return Fetched(url=url, status=200, content_type="image/png", content=got.content)


async def send(editor: Editor, pictures: PictureServer, change: str, url: str) -> httpx.Response:
    """The change with that address in the place of the picture that it names."""
    wanted = editor.changes[change]
    options = msgspec.json.encode(wanted.options).replace(
        msgspec.json.encode(pictures.good(7))[1:-1], msgspec.json.encode(url)[1:-1]
    )
    return await editor.send(msgspec.structs.replace(wanted, options=msgspec.json.decode(options)))


def check_clear(api: str, answer: httpx.Response) -> None:
    """The API's own error, which names neither an address of ours nor why it was refused."""
    check_refused(api, answer, 400 if api.startswith("bigcommerce") else 422)
    if api.startswith("bigcommerce"):
        assert "could not be downloaded and may be invalid." in answer.text
    assert PRIVATE not in answer.text


@pytest.mark.parametrize("change", ["add", "replace"])
@pytest.mark.parametrize("api", FETCHING)
async def test_a_name_that_turns_to_a_private_address_leads_nobody_there(
    fetching_web: Web,
    shop: Shop,
    pictures: PictureServer,
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    api: str,
    change: str,
) -> None:
    editor = await new_editor(api, fetching_web, shop, pictures)
    monkeypatch.setattr(fetching_web.services, "fetcher", stage.fetcher)
    stage.names.answers[NAME] = [[PUBLIC], [PRIVATE]]
    stage.public.answer = reply(picture_bytes("PNG", size=(40, 30), seed=9), head="Connection: close")
    url = f"{stage.url}/a.png"
    first = await send(editor, pictures, change, url)
    assert first.is_success, first.text
    assert (stage.public.connections, stage.names.asked) == (1, [NAME])
    check_clear(api, await send(editor, pictures, change, url))
    assert stage.names.asked == [NAME, NAME]
    assert (stage.public.connections, stage.private.connections) == (1, 0)


@pytest.mark.parametrize("api", FETCHING)
async def test_a_fetcher_that_looks_a_name_up_twice_is_led_there(
    fetching_web: Web,
    shop: Shop,
    pictures: PictureServer,
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    api: str,
) -> None:
    """The control."""
    editor = await new_editor(api, fetching_web, shop, pictures)
    monkeypatch.setattr(fetching_web.services, "fetcher", CheckingFirst(stage))
    stage.names.answers[NAME] = [[PUBLIC], [PRIVATE]]
    await send(editor, pictures, "add", f"{stage.url}/a.png")
    assert (stage.public.connections, stage.private.connections) == (0, 1)
