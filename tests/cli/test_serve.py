"""`kasuwa serve` and `kasuwa demo` as an operator runs them."""

import asyncio
import json
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from kasuwa.app import APIS
from kasuwa.cli.demo_shop import PHOTOGRAPHS
from kasuwa.cli.serving import is_private_address, is_sample_key, public_address_warnings
from kasuwa.database import visiting_database
from kasuwa.handover import ORDER_VARIABLE
from kasuwa.settings import SettingWrong, read_settings
from tests import checked
from tests.cli.staging import Installation, Serving, serving
from tools.demo_photographs import photographer

SAMPLE_KEY = "Y2hhbmdlLW1lLWNoYW5nZS1tZS1jaGFuZ2UtbWUhISE="
RANDOM_KEY = "q7l0c3XfQdS4mHnWv1b8yJr2kZp9uTe6oGiAaNxLsCE="


@pytest.fixture(scope="module")
def installation(new_installation: Callable[..., Installation]) -> Installation:
    return new_installation(empty=True)


@pytest.fixture(scope="module")
def demo(installation: Installation) -> Iterator[Serving]:
    """A server that has just filled its demo."""
    with serving(installation, "--demo") as running:
        running.wait_for(r"Shoplazza:\n +curl .*\n")
        yield running


def curls(said: str) -> dict[str, str]:
    """The commands that the server printed, by API."""
    return {name.lower(): line for name, line in re.findall(r"(\w+):\n +(curl .*)", said)}


def test_every_printed_curl_uploads_a_picture(demo: Serving) -> None:
    printed = curls(demo.said)
    assert set(printed) == {"storeharmony", "bigcommerce", "shoplazza"}
    for name in {api.dialect.name for api in APIS} & set(printed):
        command = [*shlex.split(printed[name]), "--silent", "--write-out", "\n%{http_code}"]
        answer, _, status = subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout.rpartition("\n")
        assert status in {"200", "201"}, (name, status, answer)
        shown = re.search(r"/media/[^\"\\ ]+\.jpg", answer)
        assert shown is not None, answer
        picture = checked.get(demo.url + shown.group())
        assert (picture.status_code, picture.headers["content-type"][:6]) == (200, "image/")


def test_the_demo_has_thirty_products_with_different_pictures_and_stock_at_both_locations(
    demo: Serving, installation: Installation
) -> None:
    access = json.loads(installation.ask("demo", "--show", "--json"))
    products = []
    for page in (1, 2):
        answer = checked.get(
            f"{demo.url}/cloudapi/app/{access['store_id']}/stock",
            params={"page": page, "size": 50},
            headers={"sessiontoken": access["session"]},
        )
        assert answer.status_code == 200, answer.text
        products += answer.json()["data"]
    assert len(products) >= 30
    paths = {re.search(r"/media/[^\"]+?/([0-9a-f]{64})/", json.dumps(p)).group(1) for p in products}  # type: ignore[union-attr]
    assert len(paths) == len(products)
    item = checked.get(
        f"{demo.url}/cloudapi/app/{access['store_id']}/stock/{products[0]['itemId']}",
        headers={"sessiontoken": access["session"]},
    ).json()
    there = {location["storeId"]: location["quantity"] for location in item["locations"]}
    assert set(there) == {access["store_id"], access["second_store_id"]}
    assert all(quantity > 0 for quantity in there.values())


def test_the_demo_says_by_whom_its_photographs_are(demo: Serving, installation: Installation) -> None:
    assert "photographs: npm @vendure/create" in demo.said
    assert "first published on Unsplash; licence MIT" in demo.said
    access = json.loads(installation.ask("demo", "--show", "--json"))
    shown = checked.get(
        f"{demo.url}/cloudapi/app/{access['store_id']}/stock",
        params={"size": 50},
        headers={"sessiontoken": access["session"]},
    ).json()["data"]
    named = {photographer(path.name) for path in PHOTOGRAPHS.glob("*.jpg")}
    for product in shown:
        # The test of the printed commands adds pictures of its own.
        texts = [picture["alt"] for picture in product["images"]]
        assert any(f"(photograph: {name})" in text for text in texts for name in named), texts


def test_a_repeated_fill_changes_nothing_even_beside_another(
    demo: Serving, installation: Installation
) -> None:
    before = json.loads(installation.ask("demo", "--show", "--json"))
    words = [sys.executable, "-m", "kasuwa", "demo", "--json"]
    both = [subprocess.Popen(words, env=installation.environment, stdout=subprocess.PIPE) for _ in range(2)]
    for process in both:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        after = json.loads(out)
        assert {**after, "curls": None} == {**before, "curls": None}
    doubled = json.loads(installation.ask("demo", "--show", "--json"))
    total = checked.get(
        f"{demo.url}/cloudapi/app/{doubled['store_id']}/stock",
        headers={"sessiontoken": doubled["session"]},
    ).json()["totalElements"]
    assert total == 54


def test_the_password_is_random_and_for_the_owner_alone(demo: Serving, installation: Installation) -> None:
    kept = installation.data / "demo.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    password = json.loads(kept.read_text())["password"]
    assert len(password) >= 16
    assert password in demo.said


def test_nobody_else_can_read_what_the_workers_are_told(demo: Serving) -> None:
    told = 0
    for child in psutil.Process(demo.process.pid).children():
        words = Path(f"/proc/{child.pid}/cmdline").read_bytes()
        assert b"postgresql://" not in words
        environment = Path(f"/proc/{child.pid}/environ")
        if ORDER_VARIABLE.encode() in environment.read_bytes():
            told += 1
            assert stat.S_IMODE(environment.stat().st_mode) == 0o400
    assert told == 1


def test_the_second_start_shows_the_same_log_in_and_fills_nothing(
    new_installation: Callable[..., Installation],
) -> None:
    installation = new_installation(empty=True)
    with serving(installation, "--demo") as first:
        first.wait_for(r"Shoplazza:\n +curl .*\n")
    with serving(installation) as second:
        second.wait_for(r"Shoplazza:\n +curl .*\n")
    password = re.compile(r"with the password (\S+)")
    assert password.findall(first.said) == password.findall(second.said) != []


def test_a_missing_photograph_is_told_with_the_way_out(
    installation: Installation, demo: Serving, tmp_path_factory: pytest.TempPathFactory
) -> None:
    done = installation.run("demo", "--photographs", str(tmp_path_factory.mktemp("none")))
    assert done.returncode == 1
    assert "make serve" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_server_on_the_same_data_says_who_has_it(demo: Serving, installation: Installation) -> None:
    done = installation.run("serve", "--port", "0")
    assert done.returncode == 1
    assert str(demo.process.pid) in done.stderr


def test_a_taken_port_is_told_with_the_way_out(
    demo: Serving, new_installation: Callable[..., Installation]
) -> None:
    done = new_installation(empty=True).run("serve", "--port", demo.url.rpartition(":")[2])
    assert done.returncode == 1
    assert "--port 0" in done.stderr


def test_keys_and_tokens_are_made_while_the_server_runs(demo: Serving, installation: Installation) -> None:
    key = json.loads(installation.ask("key", "create", "--name", "till", "--json"))["key"]
    assert len(key) == 43
    store_id = json.loads(installation.ask("demo", "--show", "--json"))["store_id"]
    words = ["token", "create", "--store", store_id, "--scopes", "read_product,write_product"]
    token = json.loads(installation.ask(*words, "--json"))
    assert set(token) == {"access_token", "store_hash", "shop", "store_id"}
    assert token["store_id"] == store_id
    assert "X-Auth-Token" in installation.ask(*words)


def test_data_of_a_newer_version_is_refused_in_words(new_installation: Callable[..., Installation]) -> None:
    installation = new_installation(empty=True)
    installation.ask("key", "create", "--name", "till")
    settings = read_settings({}, data=str(installation.data))

    async def be_newer(url: str) -> None:
        owner = await asyncpg.connect(url)
        await owner.execute("INSERT INTO schema_migration (name, sha256) VALUES ('9999_tomorrow', '')")
        await owner.close()

    with visiting_database(settings) as urls:
        asyncio.run(be_newer(urls.owner))
    done = installation.run("serve", "--port", "0")
    assert done.returncode == 1
    assert "newer version" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_token_without_a_known_scope_or_store_is_refused(installation: Installation) -> None:
    unknown = installation.run("token", "create", "--store", "nothing", "--scopes", "read_product")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    store_id = "0190aaaa-0000-7000-8000-000000000000"
    scope = installation.run("token", "create", "--store", store_id, "--scopes", "everything")
    assert scope.returncode == 1
    assert "read_product" in scope.stderr


def test_a_public_address_without_tls_is_warned_about() -> None:
    local = read_settings({}, host="127.0.0.1")
    public = read_settings({}, host="0.0.0.0")
    assert public_address_warnings(local, [SAMPLE_KEY]) == []
    assert "--behind-proxy" in public_address_warnings(public, [RANDOM_KEY])[0]
    assert public_address_warnings(read_settings({}, host="0.0.0.0", behind_proxy=True), []) == []
    with pytest.raises(SettingWrong, match="KASUWA_SECRET_KEY"):
        public_address_warnings(public, [RANDOM_KEY, SAMPLE_KEY])


def test_a_sample_key_is_told_from_a_random_one() -> None:
    assert is_sample_key(SAMPLE_KEY)
    assert is_sample_key("A" * 43 + "=")
    assert not is_sample_key(RANDOM_KEY)


@pytest.mark.parametrize(
    ("host", "private"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("shop.example", False)],
)
def test_private_addresses(host: str, private: bool) -> None:
    assert is_private_address(host) is private


def test_the_photographs_are_where_the_demo_looks() -> None:
    assert (PHOTOGRAPHS / "photographs.json").is_file(), "run `python -m tools.demo_photographs`"
