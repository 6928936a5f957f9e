"""What was removed is gone for every operation that names it, in every API."""

from typing import Any

import pytest

from kasuwa.api.bigcommerce import images
from tests.client import Web
from tests.contract.callers import right_caller
from tests.contract.cast import Cast, new_cast
from tests.contract.recipes import Entry, built

# A thing has a name of its own; a place that is emptied can be filled again.
_PLACES = frozenset({"removeStorePicture"})
REMOVALS = [
    entry
    for entry in built()
    if entry.operation.method.upper() == "DELETE"
    and entry.operation.path.endswith("}")
    and entry.operation.operation_id not in _PLACES
]
STAYS = {"getProductAudit": "what was done to a product is told for good, its removal too"}


def users_of(removal: Entry) -> list[Entry]:
    """The operations on the thing, or on something of it."""
    return [
        entry
        for entry in built()
        if entry.contract.name == removal.contract.name
        and f"{entry.operation.path}/".startswith(f"{removal.operation.path}/")
        and entry.operation.operation_id not in STAYS
    ]


async def status_of(web: Web, cast: Cast, entry: Entry, ids: dict[str, str]) -> int:
    call = entry.call(cast).by(await right_caller(cast, web.services, entry.key))
    call.path = {name: ids.get(name, value) for name, value in call.path.items()}
    return (await call.send(web)).status_code


async def used_after_removal(web: Web, removal: Entry) -> dict[str, int]:
    """The operations that still find what was removed, with their answers."""
    cast = await new_cast(web.services)
    ids = removal.call(cast).path
    removed = await status_of(web, cast, removal, ids)
    assert 200 <= removed < 300, removed
    answers = {
        entry.operation.operation_id: await status_of(web, cast, entry, ids) for entry in users_of(removal)
    }
    return {name: status for name, status in answers.items() if status != 404}


@pytest.mark.parametrize("removal", REMOVALS, ids=str)
async def test_nothing_finds_what_was_removed(web: Web, removal: Entry) -> None:
    assert await used_after_removal(web, removal) == {}


@pytest.mark.parametrize("removal", REMOVALS, ids=str)
async def test_before_it_is_removed_it_is_found(web: Web, removal: Entry) -> None:
    """By all that name nothing else, which might not be there."""
    alone = [e for e in users_of(removal) if e.path_names == removal.path_names and not e.operation.body]
    assert alone
    for entry in alone:
        cast = await new_cast(web.services)
        status = await status_of(web, cast, entry, removal.call(cast).path)
        assert status != 404, entry.operation.operation_id


async def test_an_image_that_stays_is_found(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a removal that is only said."""

    async def nothing(*_: Any) -> None:
        return None

    monkeypatch.setattr(images, "remove_picture", nothing)
    (removal,) = (entry for entry in REMOVALS if entry.operation.operation_id == "deleteProductImage")
    assert "getProductImage" in await used_after_removal(web, removal)


def test_what_stays_is_built() -> None:
    assert STAYS.keys() <= {entry.operation.operation_id for entry in built()}
