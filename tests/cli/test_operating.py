"""The operator of a platform: merchants and stores switched off and on, keys and tokens taken away."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

import kasuwa
from tests import checked
from tests.cli.staging import Installation, serving


class Platform:
    """A running server with the demo's merchant, and how its people and apps reach it."""

    def __init__(self, installation: Installation, url: str, said: str) -> None:
        self.installation = installation
        self.url = url
        self.session = found(r"sessiontoken: (\S+?)'", said)
        self.token = found(r"X-Auth-Token: (\S+?)'", said)
        self.store_id = found(r"cloudapi/app/([0-9a-f-]{36})/", said)
        self.store_hash = found(r"/stores/(\w+)/v3", said)
        self.password = found(r"with the password (\S+)", said)
        [merchant] = self.listed("merchant")
        self.merchant_id: str = merchant["merchant_id"]
        key = json.loads(installation.ask("key", "create", "--name", "till", "--json"))
        self.key: str = key["key"]

    def listed(self, what: str, *words: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.installation.ask(what, "list", *words, "--json"))
        return rows

    def answers(self) -> dict[str, int]:
        """What each way in answers, on every worker: several connections are asked."""
        return {
            "StoreHarmony": self._status(
                f"/cloudapi/app/{self.store_id}/stock", {"sessiontoken": self.session}
            ),
            "BigCommerce": self._status(
                f"/stores/{self.store_hash}/v3/catalog/products", {"X-Auth-Token": self.token}
            ),
            "Shoplazza": self._status("/openapi/2022-01/products", {"Access-Token": self.token}),
            "log-in": self.log_in().status_code,
        }

    def _status(self, path: str, headers: dict[str, str]) -> int:
        # Without the authorities' certificates, which nothing here needs and each call would load.
        seen = {checked.get(self.url + path, headers=headers, verify=False).status_code for _ in range(8)}
        assert len(seen) == 1, f"{path} answered {seen}"
        return seen.pop()

    def log_in(self) -> httpx.Response:
        return checked.post(
            f"{self.url}/cloudapi/app/access/login",
            headers={"Authorization": f"Bearer {self.key}"},
            json={"userToken": "demo", "passToken": self.password},
        )


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, f"no {pattern!r} in:\n{text}"
    return match.group(1)


@pytest.fixture(scope="module")
def platform(new_installation: Callable[..., Installation]) -> Iterator[Platform]:
    installation = new_installation()
    with serving(installation, "--demo", "--workers", "2") as running:
        running.wait_for(r"Shoplazza:\n +curl .*\n")
        yield Platform(installation, running.url, running.said)


OPEN = {"StoreHarmony": 200, "BigCommerce": 200, "Shoplazza": 200, "log-in": 200}


def test_the_merchant_is_listed_with_what_it_keeps(platform: Platform) -> None:
    [row] = platform.listed("merchant")
    assert (row["status"], row["stores"], row["users"]) == ("active", 2, 1)
    assert row["products"] >= 30
    assert row["picture_bytes"] > 1_000_000
    said = platform.installation.ask("merchant", "list")
    assert f"{platform.merchant_id}  active" in said
    assert "2 stores, 1 users" in said


def test_a_suspended_merchant_is_refused_at_once_and_goes_on_afterwards(platform: Platform) -> None:
    assert platform.answers() == OPEN
    said = platform.installation.ask("merchant", "suspend", platform.merchant_id)
    assert said == f"merchant {platform.merchant_id} is now suspended\n"
    refused = platform.answers()
    assert refused == dict.fromkeys(OPEN, 401), "a wrong password looks the same"
    again = json.loads(platform.installation.ask("merchant", "suspend", platform.merchant_id, "--json"))
    assert again == {"merchant_id": platform.merchant_id, "status": "suspended", "changed": False}
    platform.installation.ask("merchant", "resume", platform.merchant_id)
    assert platform.answers() == OPEN


def test_a_disabled_store_is_refused_and_its_merchant_enters_another(platform: Platform) -> None:
    platform.installation.ask("store", "disable", platform.store_id)
    refused = platform.answers()
    assert refused == OPEN | {"StoreHarmony": 401, "BigCommerce": 403, "Shoplazza": 403}
    words = checked.get(
        f"{platform.url}/openapi/2022-01/products", headers={"Access-Token": platform.token}
    ).text
    assert "store is not active" in words
    statuses = {row["store_id"]: row["status"] for row in platform.listed("store")}
    assert sorted(statuses.values()) == ["active", "disabled"]
    assert statuses[platform.store_id] == "disabled"
    assert platform.log_in().json()["user"]["defStore"]["id"] != platform.store_id
    platform.installation.ask("store", "enable", platform.store_id)
    assert platform.answers() == OPEN


def test_a_revoked_key_opens_no_session_and_a_revoked_token_reads_nothing(platform: Platform) -> None:
    made = json.loads(
        platform.installation.ask(
            "token", "create", "--store", platform.store_id, "--scopes", "read_product", "--json"
        )
    )
    address = f"{platform.url}/stores/{made['store_hash']}/v3/catalog/products"
    headers = {"X-Auth-Token": made["access_token"]}
    assert checked.get(address, headers=headers).status_code == 200
    *_, token = platform.listed("token", "--store", platform.store_id)
    assert (token["scopes"], token["revoked_at"]) == (["read_product"], None)
    platform.installation.ask("token", "revoke", token["token_id"])
    assert checked.get(address, headers=headers).status_code == 401
    assert platform.answers() == OPEN, "the others hold"
    [key] = [row for row in platform.listed("key") if row["name"] == "till"]
    platform.installation.ask("key", "revoke", key["key_id"])
    assert platform.answers() == OPEN | {"log-in": 401}
    assert "revoked" in platform.installation.ask("key", "list")
    listed = json.dumps([platform.listed("token"), platform.listed("key")])
    assert made["access_token"] not in listed
    assert platform.key not in listed


def test_a_rotated_token_and_key_work_beside_the_new_ones_and_without_overlap_they_end(
    platform: Platform,
) -> None:
    ask = platform.installation.ask
    scopes = ("--scopes", "read_product", "--name", "feed", "--json")
    tokens = [json.loads(ask("token", "create", "--store", platform.store_id, *scopes))]
    keys = [json.loads(ask("key", "create", "--name", "kiosk", "--json"))["key"]]

    def states() -> tuple[list[int], list[int]]:
        address = f"{platform.url}/stores/{platform.store_hash}/v3/catalog/products"
        reading = [
            checked.get(address, headers={"X-Auth-Token": one["access_token"]}).status_code for one in tokens
        ]
        address = f"{platform.url}/cloudapi/utils/countries"
        naming = [
            checked.get(address, headers={"Authorization": f"Bearer {one}"}).status_code for one in keys
        ]
        return reading, naming

    assert states() == ([200], [200])
    for overlap, expected in (("5", [200, 200]), ("0", [200, 401, 200])):
        *_, token = [row for row in platform.listed("token") if row["name"] == "feed"]
        *_, key = [row for row in platform.listed("key") if row["name"] == "kiosk"]
        tokens.append(json.loads(ask("token", "rotate", token["token_id"], "--overlap", overlap, "--json")))
        keys.append(json.loads(ask("key", "rotate", key["key_id"], "--overlap", overlap, "--json"))["key"])
        assert states() == (expected, expected)
    for what, row in (("token", token), ("key", key)):
        assert platform.installation.run(what, "rotate", str(row[f"{what}_id"])).returncode == 1
    assert "ending " in ask("key", "list")


def test_a_key_of_a_store_opens_what_it_is_for_and_lists_say_whose_it_is(platform: Platform) -> None:
    ask, store = platform.installation.ask, platform.store_id
    made = json.loads(
        ask("key", "create", "--name", "tablet", "--store", store, "--scopes", "read_reference", "--json")
    )
    headers = {"X-Developer-Key": made["key"]}

    def countries() -> int:
        return checked.get(f"{platform.url}/cloudapi/utils/countries", headers=headers).status_code

    assert countries() == 200
    log_in = {"username": "somebody", "password": "something"}
    assert (
        checked.post(f"{platform.url}/cloudapi/app/access/", headers=headers, json=log_in).status_code == 403
    )
    [row] = [row for row in platform.listed("key") if row["name"] == "tablet"]
    assert (row["store_id"], row["scopes"]) == (store, ["read_reference"])
    ask("key", "revoke", made["key_id"])
    assert countries() == 401
    refused = platform.installation.run(
        "key", "create", "--name", "x", "--store", store, "--scopes", "register_store"
    )
    assert (refused.returncode, "Give one or more of" in refused.stderr) == (1, True)


def test_keys_of_the_installation_that_are_made_rotated_and_revoked_stand_in_its_trail(
    platform: Platform,
) -> None:
    ask = platform.installation.ask
    made = json.loads(ask("key", "create", "--name", "noted", "--scopes", "open_session", "--json"))
    new = json.loads(ask("key", "rotate", made["key_id"], "--overlap", "5", "--json"))
    ask("key", "revoke", new["key_id"])
    trail = json.loads(ask("audit", "--json"))
    noted = [
        (row["action"], row["subject_id"], row["actor_kind"])
        for row in trail
        if row["subject_id"] in (made["key_id"], new["key_id"])
    ]
    assert noted == [
        ("key.create", made["key_id"], "operator"),
        ("key.rotate", made["key_id"], "operator"),
        ("key.create", new["key_id"], "operator"),
        ("key.revoke", new["key_id"], "operator"),
    ]
    assert made["key"] not in json.dumps(trail)
    assert "key.rotate" in ask("audit")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("merchant", "suspend", str(uuid4())), "No merchant has the id"),
        (("merchant", "resume", "7"), "'7' is no id of a merchant"),
        (("store", "disable", str(uuid4())), "No store has the id"),
        (("store", "enable", "Lagos"), "is no store id"),
        (("key", "revoke", str(uuid4())), "see `kasuwa key list`"),
        (("token", "revoke", str(uuid4())), "see `kasuwa token list`"),
        (("key", "rotate", str(uuid4())), "see `kasuwa key list`"),
        (("token", "rotate", str(uuid4())), "see `kasuwa token list`"),
    ],
    ids=["suspend", "resume", "disable", "enable", "key", "token", "rotate key", "rotate token"],
)
def test_what_is_not_there_is_refused_with_advice(
    platform: Platform, words: tuple[str, ...], reason: str
) -> None:
    done = platform.installation.run(*words)
    assert done.returncode == 1
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_quotas_are_shown_set_and_left_to_the_setting_again(platform: Platform) -> None:
    def ask(*words: str) -> dict[str, tuple[int | None, bool]]:
        said = platform.installation.ask("merchant", "quota", platform.merchant_id, *words, "--json")
        return {one["kind"]: (one["most"], one["own"]) for one in json.loads(said)}

    assert set(ask().values()) == {(None, False)}
    changed = ask("--file-bytes", "2GB", "--products", "500", "--files", "none")
    assert changed["file_bytes"] == (2_000_000_000, True)
    assert (changed["products"], changed["files"]) == ((500, True), (None, True))
    assert ask("--products", "default", "--file-bytes", "default")["products"] == (None, False)
    wrong = platform.installation.run("merchant", "quota", platform.merchant_id, "--products", "many")
    assert (wrong.returncode, "give a number, such as 500" in wrong.stderr) == (1, True)


def test_every_switch_is_in_the_audit_trail(platform: Platform) -> None:
    ask, merchant, store = platform.installation.ask, platform.merchant_id, platform.store_id
    ask("token", "create", "--store", store, "--scopes", "read_product")
    *_, token = platform.listed("token", "--store", store)
    switches = [
        ("merchant", "suspend", merchant),
        ("merchant", "resume", merchant),
        ("store", "disable", store),
        ("store", "enable", store),
        ("token", "revoke", token["token_id"]),
    ]
    for words in switches:
        ask(*words)
    newest = checked.get(
        f"{platform.url}/manage/{store}/audit?size={len(switches)}",
        headers={"sessiontoken": platform.session},
    )
    actions = [entry["action"] for entry in newest.json()["data"]]
    assert actions[::-1] == [f"{what}.{done}" for what, done, _ in switches]


def test_the_command_says_which_version_it_is(platform: Platform) -> None:
    assert platform.installation.ask("--version") == f"kasuwa {kasuwa.__version__}\n"


def test_an_owner_who_lost_everything_logs_in_by_what_is_printed(platform: Platform) -> None:
    """The last one here: the session and the password of the others end."""
    platform.key = json.loads(platform.installation.ask("key", "create", "--name", "app", "--json"))["key"]
    assert platform.log_in().status_code == 200
    recovered = json.loads(platform.installation.ask("user", "reset", "demo", "--json"))
    assert (platform.log_in().status_code, platform.answers()["StoreHarmony"]) == (401, 401)
    platform.password = recovered["password"]
    assert platform.log_in().status_code == 200
