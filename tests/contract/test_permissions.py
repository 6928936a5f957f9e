"""Every operation as every caller: the answer is what docs/permissions.md says."""

import msgspec
import pytest

from kasuwa.api.storeharmony.dialect import StoreHarmony
from kasuwa.domain.merchants.actions import join_store
from kasuwa.domain.permissions import KEY_SCOPES, Role
from tests.client import Web
from tests.contract.callers import Caller, customer_of, with_token
from tests.contract.cast import Cast, hire, new_cast
from tests.contract.proofs import begin_factor, prepare
from tests.contract.recipes import Entry, built
from tests.shop import new_developer_key
from tools.document_permissions import (
    CALLERS,
    KEY_CALLERS,
    PAGE,
    cell,
    key_cell,
    needs_both,
    page,
    takes_key,
)


async def everybody(cast: Cast, developer_key: str) -> dict[str, Caller]:
    """The callers of the page, at the cast's shop. Each tries what they have wherever a secret is taken."""
    shop = cast.shop
    found = {
        "owner": with_token(cast, shop.session, "owner"),
        "read token": with_token(cast, shop.read_token, "read token"),
        "write token": with_token(cast, shop.token, "write token"),
        "app key": with_token(cast, developer_key, "app key"),
        "till": with_token(cast, cast.till_token, "till"),
        "customer": await customer_of(cast, cast),
        "nobody": Caller(name="nobody", cast=cast),
    }
    for name, role in (("manager", Role.MANAGER), ("cashier", Role.CASHIER)):
        staff = await hire(shop, role, shop.store_id)
        secret = await begin_factor(shop, staff.user_id)
        # Nobody opens stock at a location of others; where they may is tried with the ids of locations.
        async with shop.owner.transaction() as db:
            await join_store(db, staff.user_id, shop.second_store_id, role)
        theirs = msgspec.structs.replace(
            cast, user_id=staff.user_id, email=staff.email, factor_secret=secret, session_id=staff.session_id
        )
        found[name] = with_token(theirs, staff.session, name)
    assert found.keys() == set(CALLERS)
    return found


async def cells(web: Web, entry: Entry, developer_key: str) -> dict[str, str]:
    """What the operation answers to each caller, in the page's words; refusals first, on one shop."""
    found: dict[str, str] = {}
    expected = {name: cell(entry.dialect, entry.operation, name) for name in CALLERS}
    cast = await new_cast(web.services)
    for name in sorted(CALLERS, key=lambda name: expected[name] == "yes"):
        if entry.writes and "yes" in found.values():
            cast = await new_cast(web.services)
        caller = (await everybody(cast, developer_key))[name]
        if needs_both(entry.operation) and name in ("owner", "manager", "cashier"):
            secrets = {**caller.secrets, "developerKey": developer_key}
            caller = msgspec.structs.replace(caller, secrets=secrets)
        await prepare(caller.cast, entry.key)
        answer = await entry.call(caller.cast).by(caller).send(web)
        found[name] = "yes" if answer.is_success else str(answer.status_code)
    return found


@pytest.mark.parametrize("entry", built(), ids=str)
async def test_each_cell_of_the_table_holds(web: Web, developer_key: str, entry: Entry) -> None:
    expected = {name: cell(entry.dialect, entry.operation, name) for name in CALLERS}
    assert await cells(web, entry, developer_key) == expected


WITH_KEYS = [entry for entry in built() if takes_key(entry.operation)]


async def key_cells(web: Web, entry: Entry) -> dict[str, str]:
    """What the operation answers to a developer key with each scope alone, beside a session if need be."""
    found: dict[str, str] = {}
    for scope in sorted(KEY_CALLERS, key=lambda scope: scope == entry.operation.scope):
        cast = await new_cast(web.services)
        secrets = {"developerKey": await new_developer_key(web.services, scope)}
        if needs_both(entry.operation):
            secrets["sessiontoken"] = cast.shop.session
        caller = Caller(name=scope, cast=cast, secrets=secrets)
        answer = await entry.call(cast).by(caller).send(web)
        found[scope] = "yes" if answer.is_success else str(answer.status_code)
    return found


@pytest.mark.parametrize("entry", WITH_KEYS, ids=str)
async def test_a_developer_key_opens_what_its_scope_says(web: Web, entry: Entry) -> None:
    assert await key_cells(web, entry) == {scope: key_cell(entry.operation, scope) for scope in KEY_CALLERS}


async def test_a_key_whose_scopes_nobody_looks_at_is_found(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StoreHarmony, "_check_scope", lambda self, app, exchange: None)
    entry = next(one for one in WITH_KEYS if one.key == ("storeharmony", "getCountries"))
    assert set((await key_cells(web, entry)).values()) == {"yes"}


def test_each_operation_that_takes_a_key_names_one_of_its_scopes() -> None:
    named = {entry.operation.scope for entry in WITH_KEYS}
    assert named == KEY_SCOPES


def test_the_page_says_what_the_code_does() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.fixture(scope="session")
async def developer_key(web: Web) -> str:
    return await new_developer_key(web.services)


async def test_a_role_with_one_permission_too_many_is_found(
    web: Web, developer_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = next(one for one in built() if one.key == ("storeharmony", "createStoreCategory"))
    before = await cells(web, entry, developer_key)
    monkeypatch.setattr("kasuwa.base.context.Context.require", lambda self, permission: None)
    after = await cells(web, entry, developer_key)
    assert (before["cashier"], after["cashier"]) == ("403", "yes")
