"""No merchant sees, learns of or changes another's things, whichever id is sent wherever one is taken."""

import sys
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import msgspec
import pytest

from kasuwa.base.ids import new_id
from kasuwa.base.postgres.bootstrap import bootstrap
from kasuwa.database import DatabaseUrls, migrated
from kasuwa.handover import WorkerSetup
from tests.base.database import Connection, connected, superuser_url
from tests.client import Web, running_web
from tests.contract.cast import new_cast
from tests.contract.isolation import TELLS, Findings, knock
from tests.contract.leaves import MissingRecipe
from tests.contract.recipes import Entry, built
from tests.contract.walls import open_functions, take_down_location_checks, take_down_our_checks
from tests.shop import new_developer_key


@pytest.fixture
async def superuser(database_urls: DatabaseUrls) -> AsyncIterator[Connection]:
    async with connected(superuser_url(database_urls)) as connection:
        yield connection


# For the control: operations that read or change by an id. Where a change also writes rows of the caller's
# merchant that refer to the thing, the foreign keys stop it even then, since merchant_id leads them.
_SAMPLE = {
    ("storeharmony", "getProductByItemId"),
    ("storeharmony", "removeProductByItemId"),
    ("bigcommerce", "getProductImages"),
    ("shoplazza", "product_show"),
    ("shoplazza", "delete_product"),
    ("manage", "suspendCustomer"),
    ("storeharmony", "getStoreBankAccountDetails"),
    ("storeharmony", "getStoreUser"),
    ("manage", "revokeAccessToken"),
    ("manage", "revokeDeveloperKey"),
    ("manage", "getTransfer"),
    ("manage", "getStocktake"),
    ("manage", "getComplaint"),
    ("manage", "removeComplaintAttachment"),
}

# Those that name a thing of one location.
_OF_A_LOCATION = {
    ("storeharmony", "getProductByItemId"),
    ("storeharmony", "getStoreBankAccountDetails"),
    ("storeharmony", "deactivateStoreBankAccount"),
    ("storeharmony", "getStoreUser"),
    ("storeharmony", "deleteStoreUser"),
    ("manage", "revokeAccessToken"),
    ("manage", "revokeDeveloperKey"),
    ("manage", "listTransfers"),
    ("manage", "getStocktake"),
    ("manage", "getComplaint"),
    ("manage", "removeComplaintAttachment"),
    ("manage", "listCustomers"),
}


# Those that list what one location has: nothing but their own rows could give another's away.
_LISTS_OF_A_LOCATION = {
    ("storeharmony", "getStoreBankAccountList"),
    ("manage", "listStocktakes"),
    ("manage", "listComplaints"),
    ("manage", "listProductImports"),
    ("manage", "listBanners"),
    ("manage", "listAccessTokens"),
    ("manage", "listDeveloperKeys"),
    ("manage", "getStoreSettings"),
    ("manage", "listAuditEntries"),
}


@pytest.fixture
async def open_database(database_urls: DatabaseUrls) -> AsyncIterator[str]:
    """A database of the test's own, as its superuser: what runs there spares no merchant."""
    name = "kasuwa_open"
    await bootstrap(database_urls.admin, name)
    urls = DatabaseUrls(
        database_urls.admin, _at(database_urls.owner, name), _at(database_urls.application, name)
    )
    await migrated(urls)
    yield _at(database_urls.admin, name)
    async with connected(database_urls.admin) as connection:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def open_web(worker_setup: WorkerSetup, open_database: str) -> AsyncIterator[Web]:
    """The application with a superuser's connection, past row-level security."""
    async with running_web(msgspec.structs.replace(worker_setup, application_url=open_database)) as running:
        yield running


def _at(url: str, database: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, f"/{database}", parts.query, ""))


def show(capsys: pytest.CaptureFixture[str], title: str, findings: Findings) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{title}: {findings.summary()}\n")


@pytest.mark.timeout(900)
async def test_a_foreign_id_is_as_unknown_as_any_other(
    web: Web, superuser: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = await knock(web, superuser, built(), await new_developer_key(web.services))
    show(capsys, "isolation", findings)
    assert findings.unreached == []
    assert findings.breaches == []
    assert [*findings.leaks, *findings.effects, *findings.differences] == []
    assert findings.told == TELLS.keys()


@pytest.mark.timeout(900)
async def test_row_level_security_alone_keeps_merchants_apart(
    web: Web,
    superuser: Connection,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take_down_our_checks(monkeypatch)
    findings = await knock(web, superuser, built(), await new_developer_key(web.services), among="merchants")
    show(capsys, "isolation without our own checks", findings)
    assert findings.leaks == []
    assert findings.effects == []


async def test_without_the_walls_the_matrix_finds_leaks_effects_and_differences(
    open_web: Web,
    open_database: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take_down_our_checks(monkeypatch)
    take_down_location_checks(monkeypatch, open_web)
    entries = [entry for entry in built() if entry.key in _SAMPLE]
    async with connected(open_database) as connection:
        await open_functions(connection)
        key = await new_developer_key(open_web.services)
        findings = await knock(open_web, connection, entries, key, among="merchants")
    show(capsys, "isolation with every wall down", findings)
    for entry in entries:
        found = [*findings.effects, *findings.leaks]
        assert any(one.startswith(f"{entry} ") for one in found), f"{entry}: nothing was found"
    assert findings.differences


async def test_without_the_checks_of_locations_the_matrix_finds_each_family(
    open_web: Web,
    open_database: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take_down_location_checks(monkeypatch, open_web)
    wanted = _OF_A_LOCATION | _LISTS_OF_A_LOCATION
    entries = [entry for entry in built() if entry.key in wanted]
    assert len(entries) == len(wanted), wanted - {one.key for one in entries}
    async with connected(open_database) as connection:
        await open_functions(connection)
        key = await new_developer_key(open_web.services)
        findings = await knock(open_web, connection, entries, key, among="locations")
    show(capsys, "isolation of locations without our checks", findings)
    for entry in entries:
        found = [*findings.effects, *findings.leaks]
        own_call = f"{entry} by OWNER of another location{': ' if entry.key in _LISTS_OF_A_LOCATION else ''}"
        assert any(one.startswith(own_call) for one in found), f"{entry}: nothing was found"


async def test_files_are_found_by_their_whole_address_only(web: Web) -> None:
    """A picture is public to whoever has its address; nothing else leads to it or to its original."""
    victim, other = await new_cast(web.services), await new_cast(web.services)
    shown = await web.client.get(victim.media_path)
    assert shown.status_code == 200
    folder, _, name = victim.media_path.rpartition("/")
    merchant, _, shard_and_sha256 = folder.removeprefix("/media/").partition("/")
    foreign = f"/media/{other.shop.merchant_id}/{shard_and_sha256}/{name.replace('8x6', '9x9')}"
    unknown = await web.client.get(f"/media/{new_id()}/{'0' * 2}/{'0' * 64}/{name}")
    for path in (
        foreign,
        f"{folder}/original",
        f"{folder}/original.png",
        f"{folder}/",
        f"/media/{merchant}/",
        f"/media/{other.shop.merchant_id}/..%2F{merchant}/{shard_and_sha256}/{name}",
        f"/media/{other.shop.merchant_id}/{shard_and_sha256}/..%2F..%2F..%2F{merchant}%2F{name}",
    ):
        answer = await web.client.get(path)
        assert answer.status_code == unknown.status_code == 404, path
        assert victim.mark not in answer.text
        assert answer.content != shown.content


class _Unwritten(Entry):
    """An operation that somebody built and nobody wrote a recipe for."""

    def __init__(self, entry: Entry, *, key: tuple[str, str], path_names: list[str]) -> None:
        self.__dict__ |= entry.__dict__
        self.key = key
        self._path_names = path_names

    @property
    def path_names(self) -> list[str]:
        return self._path_names


async def test_an_operation_without_a_recipe_is_named(web: Web) -> None:
    entry = next(one for one in built() if one.key == ("storeharmony", "createSimpleProduct"))
    cast = await new_cast(web.services)
    with pytest.raises(MissingRecipe, match="createSimpleProduct: crateid looks like an id"):
        _Unwritten(entry, key=entry.key, path_names=["crateid"]).places()
    with pytest.raises(MissingRecipe, match="how to fill its body"):
        _Unwritten(entry, key=("storeharmony", "addCrate"), path_names=[]).call(cast)
    query = next(one for one in built() if one.key == ("storeharmony", "findBySKU"))
    with pytest.raises(MissingRecipe, match=r"give a value for \?sku"):
        _Unwritten(query, key=("storeharmony", "findCrate"), path_names=[]).call(cast)
