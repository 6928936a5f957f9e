"""Every operation as every caller: the answer is what docs/permissions.md says."""

import msgspec
import pytest

from kasuwa.api.storeharmony.dialect import StoreHarmony
from kasuwa.domain.merchants.actions import join_store, open_session
from kasuwa.domain.permissions import KEY_SCOPES, Role
from kasuwa.domain.staff.tills import open_till
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
    SESSIONS,
    cell,
    key_cell,
    needs_both,
    page,
    takes_key,
)


async def caller_named(name: str, cast: Cast, developer_key: str) -> Caller:
    """A caller of the page, at the cast's shop. Each tries what they have wherever a secret is taken."""
    shop = cast.shop
    match name:
        case "nobody":
            return Caller(name=name, cast=cast)
        case "customer":
            return await customer_of(cast, cast)
        case "manager" | "cashier":
            return await _colleague(cast, Role(name.upper()))
        case "owner by PIN":
            till = await open_till(shop.owner)
            async with shop.owner.transaction() as db:
                opened = await open_session(
                    shop.owner, db, shop.user_id, shop.store_id, till_id=till.session_id
                )
            return with_token(cast, opened.token, name)
    secrets = {
        "owner": shop.session,
        "read token": shop.read_token,
        "write token": shop.token,
        "app key": developer_key,
        "till": cast.till_token,
    }
    return with_token(cast, secrets[name], name)


async def _colleague(cast: Cast, role: Role) -> Caller:
    shop = cast.shop
    staff = await hire(shop, role, shop.store_id)
    secret = await begin_factor(shop, staff.user_id)
    # Nobody opens stock at a location of others; where they may is tried with the ids of locations.
    async with shop.owner.transaction() as db:
        await join_store(db, staff.user_id, shop.second_store_id, role)
    theirs = msgspec.structs.replace(
        cast, user_id=staff.user_id, email=staff.email, factor_secret=secret, session_id=staff.session_id
    )
    return with_token(theirs, staff.session, role.lower())


async def cells(web: Web, entry: Entry, developer_key: str, shared: Cast) -> dict[str, str]:
    """What the operation answers to each caller, in the page's words; who changes a shop has their own."""
    found: dict[str, str] = {}
    for name in CALLERS:
        changes = entry.writes and cell(entry.dialect, entry.operation, name) == "yes"
        cast = await new_cast(web.services) if changes else shared
        caller = await caller_named(name, cast, developer_key)
        if needs_both(entry.operation) and name in SESSIONS:
            secrets = {**caller.secrets, "developerKey": developer_key}
            caller = msgspec.structs.replace(caller, secrets=secrets)
        await prepare(caller.cast, entry.key)
        answer = await entry.call(caller.cast).by(caller).send(web)
        found[name] = "yes" if answer.is_success else str(answer.status_code)
    return found


@pytest.mark.parametrize("entry", built(), ids=str)
async def test_each_cell_of_the_table_holds(web: Web, developer_key: str, shared: Cast, entry: Entry) -> None:
    expected = {name: cell(entry.dialect, entry.operation, name) for name in CALLERS}
    assert await cells(web, entry, developer_key, shared) == expected


WITH_KEYS = [entry for entry in built() if takes_key(entry.operation)]


async def key_cells(web: Web, entry: Entry, shared: Cast) -> dict[str, str]:
    """What the operation answers to a developer key with each scope alone, beside a session if need be."""
    found: dict[str, str] = {}
    for scope in KEY_CALLERS:
        changes = entry.writes and scope == entry.operation.scope
        cast = await new_cast(web.services) if changes else shared
        secrets = {"developerKey": await new_developer_key(web.services, scope)}
        if needs_both(entry.operation):
            secrets["sessiontoken"] = cast.shop.session
        caller = Caller(name=scope, cast=cast, secrets=secrets)
        answer = await entry.call(cast).by(caller).send(web)
        found[scope] = "yes" if answer.is_success else str(answer.status_code)
    return found


@pytest.mark.parametrize("entry", WITH_KEYS, ids=str)
async def test_a_developer_key_opens_what_its_scope_says(web: Web, shared: Cast, entry: Entry) -> None:
    assert await key_cells(web, entry, shared) == {
        scope: key_cell(entry.operation, scope) for scope in KEY_CALLERS
    }


async def test_a_key_whose_scopes_nobody_looks_at_is_found(
    web: Web, shared: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StoreHarmony, "_check_scope", lambda self, app, exchange: None)
    entry = next(one for one in WITH_KEYS if one.key == ("storeharmony", "getCountries"))
    assert set((await key_cells(web, entry, shared)).values()) == {"yes"}


def test_each_operation_that_takes_a_key_names_one_of_its_scopes() -> None:
    named = {entry.operation.scope for entry in WITH_KEYS}
    assert named == KEY_SCOPES


def test_the_page_says_what_the_code_does() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.fixture(scope="session")
async def shared(web: Web) -> Cast:
    """The shop of all who read or are refused: they leave it as it is."""
    return await new_cast(web.services)


@pytest.fixture(scope="session")
async def developer_key(web: Web) -> str:
    return await new_developer_key(web.services)


async def test_a_pin_that_is_taken_for_a_log_in_is_found(
    web: Web, developer_key: str, shared: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = next(one for one in built() if one.key == ("storeharmony", "createStoreBankAccount"))
    before = await cells(web, entry, developer_key, shared)
    monkeypatch.setattr("kasuwa.domain.permissions.NOT_BY_PIN", frozenset())
    # What is taken now changes the shop.
    after = await cells(web, entry, developer_key, await new_cast(web.services))
    assert (before["owner by PIN"], after["owner by PIN"]) == ("403", "yes")


async def test_a_role_with_one_permission_too_many_is_found(
    web: Web, developer_key: str, shared: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = next(one for one in built() if one.key == ("storeharmony", "createStoreCategory"))
    before = await cells(web, entry, developer_key, shared)
    monkeypatch.setattr("kasuwa.base.context.Context.require", lambda self, permission: None)
    # What is taken now changes the shop.
    after = await cells(web, entry, developer_key, await new_cast(web.services))
    assert (before["cashier"], after["cashier"]) == ("403", "yes")
