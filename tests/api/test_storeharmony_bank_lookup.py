"""Looking up the holder of a bank account: without a provider, and with one on loopback."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from kasuwa.base.limits import Quota
from kasuwa.domain.banking import holders
from kasuwa.settings import SettingWrong, read_settings
from tests.api.bank_provider import BankProvider, bank_provider
from tests.banking import body, new_number, wrong_number
from tests.client import Web
from tests.shop import Shop

KEY = "sk_test_zqSecretOfTheOperator"
NUMBER = new_number("058", "123456789")


@pytest.fixture
async def provider(web: Web, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BankProvider]:
    async with bank_provider() as running:
        choose(web, monkeypatch, running, "paystack")
        yield running


def choose(web: Web, monkeypatch: pytest.MonkeyPatch, provider: BankProvider, name: str) -> None:
    settings = msgspec.structs.replace(
        web.services.settings,
        bank_lookup=name,
        bank_lookup_url=provider.url + "/",
        bank_lookup_key=KEY,
        bank_lookup_seconds=0.5,
    )
    monkeypatch.setattr(web.services, "settings", settings)


async def look_up(web: Web, shop: Shop, code: str = "058", number: str = NUMBER) -> httpx.Response:
    return await web.get(
        f"/cloudapi/utils/banks/{code}/accounts/{number}", headers={"sessiontoken": shop.session}
    )


def paystack(name: str = "ADA STORES LTD", number: str = NUMBER) -> dict[str, Any]:
    return {
        "status": True,
        "message": "Account number resolved",
        "data": {"account_number": number, "account_name": name, "bank_id": 9},
    }


# Without a provider -------------------------------------------------------------------------------


async def test_without_a_provider_the_bank_and_the_check_digit_are_all_that_is_claimed(
    web: Web, shop: Shop
) -> None:
    answer = await look_up(web, shop)
    assert answer.status_code == 200
    told = answer.json()
    assert told.pop("lookedUpAt")
    assert told == {
        "bankCode": "058",
        "bankFullName": "Guaranty Trust Bank Plc",
        "userBankAccNo": NUMBER,
        "checkDigitValid": True,
        "resolved": False,
        "source": "CHECK_DIGIT",
    }
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers


async def test_six_digits_with_a_nine_are_the_five_of_the_institution(web: Web, shop: Shop) -> None:
    told = (await look_up(web, shop, "950211", new_number("50211"))).json()
    assert (told["bankCode"], told["bankFullName"]) == ("50211", "Kuda MFB")


async def test_a_wrong_check_digit_is_refused_with_its_code_and_without_the_number(
    web: Web, shop: Shop
) -> None:
    number = wrong_number("058")
    answer = await look_up(web, shop, "058", number)
    assert answer.status_code == 422
    assert [(one["pointer"], one["code"]) for one in answer.json()["errors"]] == [
        ("#/path/accountno", "nuban_check_digit")
    ]
    assert number not in answer.text


@pytest.mark.parametrize("code", ["999", "000", "00013", "000013", "123456"])
async def test_an_unknown_bank_is_not_found(web: Web, shop: Shop, code: str) -> None:
    answer = await look_up(web, shop, code)
    assert (answer.status_code, answer.json()["type"]) == (404, "/docs/problems#bank-not-found")


@pytest.mark.parametrize(
    ("code", "number"),
    [
        ("05", NUMBER),
        ("0580", NUMBER),
        ("05a", NUMBER),
        ("٠٥٨", NUMBER),
        ("058", NUMBER[:9]),
        ("058", NUMBER + "0"),
        ("058", "01234S6789"),
        ("058", "٠١٢٣٤٥٦٧٨٩"),
        ("058", "%00" * 10),
        ("058", "1" * 3000),
    ],
)
async def test_what_is_no_code_or_number_is_refused(web: Web, shop: Shop, code: str, number: str) -> None:
    answer = await look_up(web, shop, code, number)
    assert answer.status_code in (400, 422)


# With a provider ----------------------------------------------------------------------------------


async def test_a_provider_is_asked_in_its_own_form_and_its_name_is_told(
    web: Web, shop: Shop, provider: BankProvider
) -> None:
    provider.says(paystack("  ADA   STORES LTD "))
    told = (await look_up(web, shop)).json()
    assert (told["resolved"], told["source"], told["userBankAccName"]) == (True, "PROVIDER", "ADA STORES LTD")
    (asked,) = provider.asked
    assert (asked.method, asked.target) == (
        "GET",
        f"/bank/resolve?account_number={NUMBER}&bank_code=058",
    )
    assert asked.headers["authorization"] == f"Bearer {KEY}"


async def test_another_provider_gets_a_post_with_the_network_code_of_a_small_bank(
    web: Web, shop: Shop, provider: BankProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(web, monkeypatch, provider, "flutterwave")
    number = new_number("50211")
    provider.says({"status": "success", "data": {"account_number": number, "account_name": "Ada Obi"}})
    told = (await look_up(web, shop, "50211", number)).json()
    assert (told["resolved"], told["userBankAccName"]) == (True, "Ada Obi")
    provider.says({"status": "success", "data": {"account_number": NUMBER, "account_name": "Ada Obi"}})
    await look_up(web, shop)
    assert [(asked.method, asked.target) for asked in provider.asked] == [
        ("POST", "/v3/accounts/resolve")
    ] * 2
    assert [json.loads(asked.body) for asked in provider.asked] == [
        {"account_number": number, "account_bank": "090267"},
        {"account_number": NUMBER, "account_bank": "058"},
    ]


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_an_account_that_the_bank_does_not_know_is_not_found(
    web: Web, shop: Shop, provider: BankProvider, status: int
) -> None:
    provider.says({"status": False, "message": "Could not resolve account name."}, status)
    answer = await look_up(web, shop)
    assert (answer.status_code, answer.json()["type"]) == (404, "/docs/problems#no-such-holder")
    assert NUMBER not in answer.text


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (500, b"{}"),
        (401, b'{"status": false, "message": "Invalid key"}'),
        (429, b'{"status": false}'),
        (302, b"{}"),
        (404, b""),
        (200, b""),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"\xff\xfe"),
        (200, b'{"status": true, "data": null}'),
        (200, b'{"status": true, "data": {"account_number": 1, "account_name": 2}}'),
        (200, json.dumps(paystack(number=new_number("058", "987654321"))).encode()),
        (200, json.dumps(paystack(name="  ")).encode()),
        (200, json.dumps(paystack() | {"status": False}).encode()),
        (200, json.dumps(paystack("x" * 100_000)).encode()),
    ],
)
async def test_an_answer_that_says_nothing_leaves_the_name_open(
    web: Web, shop: Shop, provider: BankProvider, status: int, answer: bytes
) -> None:
    provider.status, provider.body = status, answer
    found = await look_up(web, shop)
    assert found.status_code == 200
    told = found.json()
    assert (told["resolved"], told["source"], "userBankAccName" in told) == (False, "CHECK_DIGIT", False)
    assert len(provider.asked) == 1, "a redirect is not followed and nothing is asked twice"


@pytest.mark.parametrize("mode", ["silent", "slow"])
async def test_a_provider_that_takes_too_long_is_not_waited_for(
    web: Web, shop: Shop, provider: BankProvider, mode: str
) -> None:
    provider.says(paystack())
    provider.mode = mode
    told = (await look_up(web, shop)).json()
    assert (told["resolved"], told["source"]) == (False, "CHECK_DIGIT")


async def test_a_provider_that_is_not_there_leaves_the_name_open(
    web: Web, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bank_provider() as gone:
        choose(web, monkeypatch, gone, "paystack")
    assert (await look_up(web, shop)).json()["resolved"] is False


async def test_a_wrong_number_never_reaches_the_provider(
    web: Web, shop: Shop, provider: BankProvider
) -> None:
    await look_up(web, shop, "058", wrong_number("058"))
    await look_up(web, shop, "999")
    assert provider.asked == []


async def test_strangers_names_are_told_so_often_and_no_more(
    web: Web, shop: Shop, provider: BankProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "_QUOTA", Quota("bank-lookup-test", requests=2, seconds=3600))
    provider.says(paystack())
    statuses = [(await look_up(web, shop)).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert len(provider.asked) == 2


# Accounts that are confirmed ----------------------------------------------------------------------


async def create(web: Web, shop: Shop, **changes: Any) -> dict[str, Any]:
    answer = await web.post(
        f"/cloudapi/app/{shop.store_id}/admin/banks",
        headers={"sessiontoken": shop.session},
        json=body(**changes),
    )
    assert answer.status_code == 200, answer.text
    account: dict[str, Any] = answer.json()
    return account


@pytest.mark.parametrize(
    ("theirs", "verified"),
    [
        ("ADA STORES LTD", True),
        ("Ltd., Ada  Stores", True),
        ("ADA STORES", False),
        ("BOLA STORES LTD", False),
    ],
)
async def test_an_account_is_verified_when_the_bank_has_the_same_name(
    web: Web, shop: Shop, provider: BankProvider, theirs: str, verified: bool
) -> None:
    provider.says(paystack(theirs))
    assert (await create(web, shop, userBankAccNo=NUMBER))["verified"] is verified


@pytest.mark.parametrize("mode", ["unknown", "silent"])
async def test_an_account_is_kept_unverified_when_nobody_confirms_it(
    web: Web, shop: Shop, provider: BankProvider, mode: str
) -> None:
    provider.says({"status": False}, 422)
    provider.mode = mode
    assert (await create(web, shop))["verified"] is False


async def test_a_confirmation_holds_until_number_or_holder_change(
    web: Web, shop: Shop, provider: BankProvider
) -> None:
    provider.says(paystack())
    account = await create(web, shop, userBankAccNo=NUMBER)
    path = f"/cloudapi/app/{shop.store_id}/admin/banks/{account['bankId']}"
    headers = {"sessiontoken": shop.session}
    provider.says(paystack("SOMEBODY ELSE"))
    kept = await web.put(path, headers=headers, json=body(userBankAccNo=NUMBER, accountType="savings"))
    assert (kept.json()["verified"], len(provider.asked)) == (True, 1)
    changed = await web.put(
        path, headers=headers, json=body(userBankAccNo=NUMBER, userBankAccName="Ada and Sons")
    )
    assert (changed.json()["verified"], len(provider.asked)) == (False, 2)


async def test_with_an_idempotency_key_the_provider_is_asked_before_the_transaction(
    web: Web, shop: Shop, provider: BankProvider
) -> None:
    provider.says(paystack())
    headers = {"sessiontoken": shop.session, "Idempotency-Key": "bank-account-1"}
    path, sent = f"/cloudapi/app/{shop.store_id}/admin/banks", body(userBankAccNo=NUMBER)
    first = await web.post(path, headers=headers, json=sent)
    again = await web.post(path, headers=headers, json=sent)
    assert first.json() == again.json()
    assert first.json()["verified"] is True
    assert len(provider.asked) == 1
    other = await web.post(path, headers=headers, json=body())
    assert other.status_code == 409


# The setting --------------------------------------------------------------------------------------


def test_a_provider_is_known_and_has_a_key() -> None:
    read_settings({}).check_bank_lookup()
    read_settings({}, bank_lookup="paystack", bank_lookup_key=KEY).check_bank_lookup()
    for wrong in ({"bank_lookup": "nobody"}, {"bank_lookup": "paystack"}):
        with pytest.raises(SettingWrong, match="KASUWA_BANK_LOOKUP"):
            read_settings({}, **wrong).check_bank_lookup()
    assert set(holders.PROVIDERS) == {"paystack", "flutterwave"}
