"""Asking somebody else's API: what has no answer says so, and nothing of what was asked."""

import pytest

from kasuwa.base.outside import OutsideAnswer, OutsideSilent, ask_json
from tests.api.bank_provider import bank_provider

SECRET = "zqSecret0583"


async def test_an_answer_is_its_status_and_its_json() -> None:
    async with bank_provider() as provider:
        provider.says({"a": [1, "b"]}, 422)
        answer = await ask_json("GET", f"{provider.url}/x?y=1", query={"z": "ü &"}, seconds=5)
        assert answer == OutsideAnswer(422, {"a": [1, "b"]})
        assert provider.asked[0].target == "/x?y=1&z=%C3%BC+%26"
        provider.body, provider.status = b"", 204
        assert await ask_json("POST", provider.url, json={"a": 1}, seconds=5) == OutsideAnswer(204, None)
        assert provider.asked[1].body == '{"a": 1}'


@pytest.mark.parametrize("mode", ["silent", "slow", "no JSON", "too long", "gone", "no address"])
async def test_silence_names_neither_the_address_nor_what_was_sent(mode: str) -> None:
    async with bank_provider() as provider:
        provider.mode = mode
        provider.body = {"no JSON": b"<p>", "too long": b"1" * 70_000}.get(
            mode, b"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"
        )
        url = "not an address" if mode == "no address" else provider.url
        if mode != "gone":
            with pytest.raises(OutsideSilent) as silent:
                await ask_json("GET", f"{url}/{SECRET}", headers={"Authorization": SECRET}, seconds=0.3)
    if mode == "gone":
        with pytest.raises(OutsideSilent) as silent:
            await ask_json("GET", f"{url}/{SECRET}", headers={"Authorization": SECRET}, seconds=0.3)
    assert SECRET not in str(silent.value)
    assert "127.0.0.1" not in str(silent.value)
