"""The second factor: turned on and off over /manage, and asked for at each way to log in."""

import asyncio
import random
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import pytest

from kasuwa.base.context import Context
from kasuwa.base.problems import TooManyRequests
from kasuwa.base.tries import Tries
from kasuwa.domain.merchants.actions import claim_login
from kasuwa.domain.permissions import Role
from kasuwa.domain.users.actions import as_user
from kasuwa.domain.users.errors import WrongSecondFactor
from kasuwa.domain.users.recovery import recover_account
from kasuwa.domain.users.second_factor import require_factor
from tests.client import Web
from tests.conftest import SchemaOwner
from tests.contract.cast import hire
from tests.people import code_of
from tests.second_factors import code_at, code_now, step_now
from tests.shop import PASSWORD, Shop, new_developer_key
from tests.ways_in import log_in_at_store, manage


@pytest.fixture(scope="session")
async def key(web: Web) -> str:
    return await new_developer_key(web.services)


async def call(web: Web, shop: Shop, path: str, **body: str) -> httpx.Response:
    return await manage(web, shop, "POST", f"second-factor{path}", json=body)


async def turn_on(web: Web, shop: Shop) -> tuple[str, list[str]]:
    """The secret and the recovery codes of the owner's new second factor, none of whose codes is used up."""
    secret: str = (await call(web, shop, "", password=PASSWORD)).json()["secret"]
    confirmed = await call(web, shop, "/confirm", code=code_now(secret))
    assert confirmed.status_code == 200, confirmed.text
    await forget_use(shop)
    return secret, confirmed.json()["recoveryCodes"]


async def forget_use(shop: Shop) -> None:
    """As if the last code had been used an hour ago: tests wait for no new one."""
    async with shop.owner.transaction() as db:
        await db.execute(
            "UPDATE second_factor SET last_step = last_step - 120 WHERE merchant_id = current_merchant()"
        )


async def test_it_is_on_once_a_code_was_right_and_off_by_the_password(web: Web, shop: Shop, key: str) -> None:
    assert (await call(web, shop, "/confirm", code="123456")).status_code == 409
    wrong = await call(web, shop, "", password="guess")
    assert (wrong.status_code, code_of(wrong)) == (422, "wrong-password")
    enrolled = (await call(web, shop, "", password=PASSWORD)).json()
    uri = urlsplit(enrolled["uri"])
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    facts = {name: value for name, [value] in parse_qs(uri.query).items()}
    assert facts == {
        "secret": enrolled["secret"],
        "issuer": "Kasuwa",
        "algorithm": "SHA1",
        "digits": "6",
        "period": "30",
    }
    # Nothing is asked for yet, and a page that is opened again shows the same secret.
    assert (await log_in_at_store(web, key, shop)).status_code == 200
    assert (await call(web, shop, "", password=PASSWORD)).json() == enrolled
    wrong = await call(web, shop, "/confirm", code=code_now(enrolled["secret"], steps=9))
    assert (wrong.status_code, code_of(wrong)) == (422, "wrong-code")
    confirmed = await call(web, shop, "/confirm", code=code_now(enrolled["secret"]))
    assert len(set(confirmed.json()["recoveryCodes"])) == 10
    state = (await manage(web, shop, "GET", "second-factor")).json()
    assert (state["status"], state["recoveryCodesLeft"]) == ("on", 10)
    for path, body in (("", {"password": PASSWORD}), ("/confirm", {"code": "123456"})):
        assert (await call(web, shop, path, **body)).status_code == 409
    assert (await log_in_at_store(web, key, shop)).status_code == 401
    assert (await call(web, shop, "/turn-off", password="guess")).status_code == 422
    assert (await log_in_at_store(web, key, shop)).status_code == 401
    off = await call(web, shop, "/turn-off", password=PASSWORD)
    assert off.json() == {"status": "off", "confirmedAt": None, "recoveryCodesLeft": 0}
    assert (await log_in_at_store(web, key, shop)).status_code == 200


async def test_each_way_to_log_in_asks_for_it_and_the_rest_of_the_shop_is_left_alone(
    web: Web, shop: Shop, key: str
) -> None:
    staff = await hire(shop, Role.CASHIER, shop.store_id)
    secret, _ = await turn_on(web, shop)
    apps = {"authorization": f"Bearer {key}"}
    body = {"username": shop.email, "password": PASSWORD}
    for code, expected in (
        (None, "second-factor-required"),
        ("000 000", "wrong-second-factor"),
        (code_now(secret, steps=9), "wrong-second-factor"),
    ):
        extra = {} if code is None else {"x-second-factor": code}
        for refused in (
            await log_in_at_store(web, key, shop, code=code),
            await web.post("/cloudapi/app/access/", headers={**apps, **extra}, json=body),
        ):
            assert (refused.status_code, code_of(refused)) == (401, expected)
    # A wrong password tells nothing of it.
    guess = await web.post("/cloudapi/app/access/", headers=apps, json={**body, "password": "guess"})
    assert code_of(guess) == "wrong-credentials"
    assert (await log_in_at_store(web, key, shop, code=code_now(secret))).status_code == 200
    await forget_use(shop)
    apps["x-second-factor"] = code_now(secret)
    assert (await web.post("/cloudapi/app/access/", headers=apps, json=body)).status_code == 200
    # Whoever has none is not asked, and a code that was not asked for does no harm.
    await name_for_login(shop, staff.user_id, staff.email)
    for unasked in (None, "123456"):
        answer = await log_in_at_store(web, key, shop, email=staff.email, code=unasked)
        assert answer.status_code == 200, answer.text


async def name_for_login(shop: Shop, user_id: UUID, email: str) -> None:
    async with shop.owner.transaction() as db:
        await claim_login(db, user_id, email, "email", is_proved=True)


async def test_a_code_works_once_however_many_send_it(web: Web, shop: Shop, key: str) -> None:
    secret, _ = await turn_on(web, shop)
    code = code_now(secret)
    answers = await asyncio.gather(*(log_in_at_store(web, key, shop, code=code) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]
    assert (await log_in_at_store(web, key, shop, code=code)).status_code == 401
    # An older one that nobody used is over too; the next one is not.
    await forget_tries(web, shop)
    assert (await log_in_at_store(web, key, shop, code=code_now(secret, steps=-1))).status_code == 401
    # The control: it was its use that ended it.
    await forget_use(shop)
    assert (await log_in_at_store(web, key, shop, code=code_now(secret))).status_code == 200


async def forget_tries(web: Web, shop: Shop) -> None:
    async with web.services.pool.autocommit() as db:
        subjects = [str(shop.user_id), *(f"{shop.user_id}\n{address}" for address in ("", "127.0.0.1"))]
        buckets = [Tries("second-factor", subject, 5).bucket for subject in subjects]
        await db.value("SELECT forgive_tries(:buckets, :all)", buckets=buckets, all=[None] * len(buckets))


@pytest.mark.parametrize(("steps", "expected"), [(-3, 401), (-1, 200), (1, 200), (3, 401)])
async def test_a_clock_may_be_one_step_off(
    web: Web, shop: Shop, key: str, monkeypatch: pytest.MonkeyPatch, steps: int, expected: int
) -> None:
    secret, _ = await turn_on(web, shop)
    step = step_now()
    # The server's clock stands in the middle of a step, whatever the machine does.
    monkeypatch.setattr("kasuwa.domain.users.second_factor._now", lambda: step * 30 + 15)
    answer = await log_in_at_store(web, key, shop, code=code_at(secret, step + steps))
    assert answer.status_code == expected


async def test_a_recovery_code_works_once_and_for_its_owner_alone(
    web: Web, shop: Shop, other_shop: Shop, key: str
) -> None:
    _, codes = await turn_on(web, shop)
    _, others = await turn_on(web, other_shop)
    assert (await log_in_at_store(web, key, shop, code=others[0])).status_code == 401
    typed = codes[0].upper().replace("-", " ")
    assert (await log_in_at_store(web, key, shop, code=typed)).status_code == 200
    assert (await log_in_at_store(web, key, shop, code=codes[0])).status_code == 401
    assert (await manage(web, shop, "GET", "second-factor")).json()["recoveryCodesLeft"] == 9


async def test_new_recovery_codes_end_the_old_ones_and_take_a_fresh_code_of_the_app(
    web: Web, shop: Shop, key: str
) -> None:
    assert (await call(web, shop, "/recovery-codes", code="123456")).status_code == 409
    await call(web, shop, "", password=PASSWORD)
    assert (await call(web, shop, "/recovery-codes", code="123456")).status_code == 409
    secret, old = await turn_on(web, shop)
    # The control: until they are renewed they let in.
    assert (await log_in_at_store(web, key, shop, code=old[0])).status_code == 200
    code = code_now(secret)
    assert (await log_in_at_store(web, key, shop, code=code)).status_code == 200
    for stale in (code, code_now(secret, steps=9), old[1]):
        refused = await call(web, shop, "/recovery-codes", code=stale)
        assert refused.status_code == 422
    await forget_use(shop)
    renewed = await call(web, shop, "/recovery-codes", code=code)
    assert renewed.status_code == 200, renewed.text
    new = renewed.json()["recoveryCodes"]
    assert (len(set(new)), set(new) & set(old)) == (10, set())
    assert (await log_in_at_store(web, key, shop, code=old[1])).status_code == 401
    assert (await log_in_at_store(web, key, shop, code=new[0])).status_code == 200
    assert (await manage(web, shop, "GET", "second-factor")).json()["recoveryCodesLeft"] == 9
    trail = (await manage(web, shop, "GET", "audit?subject=user")).json()["data"]
    assert "second_factor.renew_codes" in [entry["action"] for entry in trail]


async def test_secret_and_codes_are_kept_so_that_nobody_reads_them(
    web: Web, shop: Shop, schema_owner: SchemaOwner
) -> None:
    secret, codes = await turn_on(web, shop)
    rows = await schema_owner.fetch(
        "SELECT to_jsonb(f)::text FROM second_factor f WHERE merchant_id = $1"
        " UNION ALL SELECT to_jsonb(c)::text FROM recovery_code c WHERE merchant_id = $1",
        shop.merchant_id,
    )
    kept = "".join(row[0] for row in rows)
    assert len(rows) == 11
    # The control: an id is there as it is.
    assert str(shop.user_id) in kept
    for plain in (secret, *codes, *(code.replace("-", "") for code in codes)):
        assert plain not in kept
        assert plain.encode().hex() not in kept


# Guessing ------------------------------------------------------------------------------------------


async def guess(acting: Context, user_id: UUID, code: str) -> bool:
    try:
        await require_factor(acting, user_id, code)
    except (WrongSecondFactor, TooManyRequests):
        return False
    return True


async def test_of_ten_thousand_guesses_none_succeeds(web: Web, shop: Shop) -> None:
    secret, _ = await turn_on(web, shop)
    step = step_now()
    right = [code_at(secret, one) for one in range(step - 1, step + 10)]
    guesses = [one for one in (f"{number:06d}" for number in range(10_020)) if one not in right][:9_999]
    # A right one is among them, but not among the first five.
    guesses.insert(random.randrange(5, 9_999), right[1])
    acting = as_user(Context(web.services, request_id="test"), shop.owner.merchant_id, shop.user_id)
    hits = 0
    for block in range(0, len(guesses), 50):
        tried = await asyncio.gather(
            *(guess(acting, shop.user_id, one) for one in guesses[block : block + 50])
        )
        hits += sum(tried)
    assert (len(guesses), hits) == (10_000, 0)
    # The control: without the count the same code is let in.
    await forget_tries(web, shop)
    assert await guess(acting, shop.user_id, code_now(secret))


async def test_the_fifth_try_may_be_right_and_the_sixth_has_to_wait(web: Web, shop: Shop, key: str) -> None:
    secret, _ = await turn_on(web, shop)
    for wrong, expected in ((4, 200), (5, 429)):
        await forget_use(shop)
        for _ in range(wrong):
            refused = await log_in_at_store(web, key, shop, code=code_now(secret, steps=9))
            assert refused.status_code == 401
        answer = await log_in_at_store(web, key, shop, code=code_now(secret))
        assert answer.status_code == expected
    assert int(answer.headers["retry-after"]) >= 1


async def test_whoever_lost_it_is_let_in_by_the_operator(web: Web, shop: Shop, key: str) -> None:
    await turn_on(web, shop)
    recovered = await recover_account(Context(web.services, request_id="operator"), shop.user_id)
    assert (await log_in_at_store(web, key, shop, password=recovered.password)).status_code == 200
