"""Users: passwords, codes, links, log-in and new passwords, called as verbs."""

import asyncio
import random
import statistics
import sys
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any
from uuid import UUID

import pytest
from msgspec import structs

from kasuwa.base import passwords
from kasuwa.base.context import Context, MerchantId, Services
from kasuwa.base.ids import new_id, token_hash
from kasuwa.base.once import Once
from kasuwa.base.passwords import verify_password
from kasuwa.base.problems import TooManyRequests
from kasuwa.base.tries import Tries, forgive_tries, require_no_wait, take_tries
from kasuwa.domain.merchants.authentication import resolve_session
from kasuwa.domain.merchants.errors import LoginNameTaken
from kasuwa.domain.merchants.records import NewStore
from kasuwa.domain.proofs import codes
from kasuwa.domain.proofs.codes import issue_code, spend_try, use_code
from kasuwa.domain.proofs.errors import WrongCode
from kasuwa.domain.users import login
from kasuwa.domain.users.actions import (
    VERIFY_PURPOSE,
    add_link,
    as_user,
    register,
    use_link,
    verify_by_code,
    verify_by_link,
)
from kasuwa.domain.users.errors import LinkNotFound, LinkUsed, WrongCredentials
from kasuwa.domain.users.login import WEB_SESSION, enter_by_link, log_in
from kasuwa.domain.users.passwords import ask_for_reset, finish_reset
from kasuwa.domain.users.queries import find_login
from kasuwa.domain.users.records import Applicant, Registered
from tests.accounts import messages_to, other_code, registration
from tests.conftest import SchemaOwner
from tests.faults.enumeration import mann_whitney
from tests.shop import PASSWORD, Shop

STORE = NewStore(name="Ngozi Fabrics", country_code="NG", currency="NGN", country="Nigeria")


def applicant(**changes: Any) -> Applicant:
    body = registration()
    facts = {
        "username": body["email"],
        "email": body["email"],
        "mobile": f"+234{body['mobile'][1:]}",
        "first_name": "Ngozi",
        "last_name": "Eze",
        "password": body["password"],
    }
    return Applicant(**(facts | changes))


@pytest.fixture
def nobody(services: Services) -> Context:
    """A request before anybody proved themselves."""
    return Context(services, request_id="test")


async def opened(nobody: Context, who: Applicant | None = None) -> Registered:
    return await register(nobody, STORE, who or applicant(), address=new_id().hex)


async def merchant_of(services: Services, user_id: UUID) -> MerchantId:
    async with services.pool.autocommit() as db:
        found = await db.value("SELECT find_account(:user_id)", user_id=user_id)
    return MerchantId(UUID(int=found.int))


async def code_of(context: Context, user_id: UUID) -> tuple[Context, MerchantId, str]:
    """A new code for the e-mail of the user, whose merchant is found."""
    merchant_id = await merchant_of(context.services, user_id)
    acting = as_user(context, merchant_id, user_id)
    async with acting.transaction() as db:
        code, _ = await issue_code(acting, db, user_id, "email", "email")
    return acting, merchant_id, code


# Codes --------------------------------------------------------------------------------------------


async def guess(context: Context, merchant_id: MerchantId, user_id: UUID, code: str) -> bool:
    try:
        await spend_try(context, merchant_id, user_id, "email", code)
    except WrongCode:
        return False
    return True


async def test_of_ten_thousand_guesses_none_succeeds(nobody: Context) -> None:
    user_id = (await opened(nobody)).user_id
    acting, merchant_id, code = await code_of(nobody, user_id)
    begin = (int(code) + 1) % 1_000_000
    guesses = [f"{(begin + n) % 1_000_000:06d}" for n in range(9_999)]
    # The right one is among them, but not among the first five.
    guesses.insert(random.randrange(5, 9_999), code)
    hits = 0
    for block in range(0, len(guesses), 50):
        tried = await asyncio.gather(
            *(guess(acting, merchant_id, user_id, one) for one in guesses[block : block + 50])
        )
        hits += sum(tried)
    assert len(guesses) == 10_000
    assert hits == 0


async def test_the_fifth_try_may_be_right_and_the_sixth_may_not(nobody: Context) -> None:
    for wrong, expected in ((4, True), (5, False)):
        user_id = (await opened(nobody)).user_id
        acting, merchant_id, code = await code_of(nobody, user_id)
        for _ in range(wrong):
            assert not await guess(acting, merchant_id, user_id, other_code(code))
        assert await guess(acting, merchant_id, user_id, code) is expected


async def test_a_code_is_for_one_user_and_one_purpose_and_ten_minutes(
    nobody: Context, schema_owner: SchemaOwner
) -> None:
    first, second = (await opened(nobody)).user_id, (await opened(nobody)).user_id
    acting, merchant_id, code = await code_of(nobody, first)
    # Another user's row that holds the very same bytes does not make it theirs.
    kept = await schema_owner.fetchval(
        "SELECT code_hash FROM verification_code WHERE holder_id = $1 AND purpose = 'email'", first
    )
    assert code.encode() not in kept
    assert len(kept) == 32
    await schema_owner.execute(
        """
        UPDATE verification_code SET code_hash = $1
        WHERE holder_id = $2 OR (holder_id = $3 AND purpose = 'mobile')
        """,
        kept,
        second,
        first,
    )
    other = await merchant_of(nobody.services, second)
    assert not await guess(acting, other, second, code)
    with pytest.raises(WrongCode):
        await spend_try(acting, merchant_id, first, "mobile", code)
    life = await schema_owner.fetchval(
        "SELECT expires_at - created_at FROM verification_code WHERE holder_id = $1 AND purpose = 'email'",
        first,
    )
    assert life <= timedelta(minutes=10)
    assert await guess(acting, merchant_id, first, code)
    await schema_owner.execute("UPDATE verification_code SET expires_at = now() WHERE holder_id = $1", first)
    assert not await guess(acting, merchant_id, first, code)


async def test_a_code_works_once_even_for_many_at_once(nobody: Context) -> None:
    user_id = (await opened(nobody)).user_id
    acting, merchant_id, code = await code_of(nobody, user_id)
    spent = [await spend_try(acting, merchant_id, user_id, "email", code) for _ in range(3)]

    async def use(one: codes.SpentTry) -> bool:
        try:
            async with acting.services.pool.transaction(merchant_id) as db:
                await use_code(db, user_id, "email", one)
        except WrongCode:
            return False
        return True

    assert sorted(await asyncio.gather(*(use(one) for one in spent))) == [False, False, True]


async def test_an_idempotency_key_does_not_give_a_try_back(
    nobody: Context, schema_owner: SchemaOwner
) -> None:
    """A keyed request that is refused is undone as a whole; the count of its try must not be."""
    user_id = (await opened(nobody)).user_id
    _, _, code = await code_of(nobody, user_id)
    for number in range(5):
        request = Context(nobody.services, request_id="test")
        key = f"guess-{number:04d}"
        request.answer_once(Once(nobody.services.sealer, caller=str(user_id), key=key, request=b"guess"))
        with pytest.raises(WrongCode):
            await verify_by_code(request, user_id, "email", other_code(code))
        await request.complete(None)
    with pytest.raises(WrongCode):
        await verify_by_code(nobody, user_id, "email", code)
    left = "SELECT tries_left FROM verification_code WHERE holder_id = $1 AND purpose = 'email'"
    assert await schema_owner.fetchval(left, user_id) == 0
    # The control: counted inside the request's transaction, the refusal gives the try back.
    await schema_owner.execute("UPDATE verification_code SET tries_left = 5 WHERE holder_id = $1", user_id)
    acting = as_user(nobody, await merchant_of(nobody.services, user_id), user_id)
    with pytest.raises(WrongCode):
        await counted_with_the_request(acting, user_id)
    assert await schema_owner.fetchval(left, user_id) == 5


async def counted_with_the_request(acting: Context, user_id: UUID) -> None:
    """The broken variant of `spend_try`."""
    async with acting.transaction() as db:
        await db.execute(
            "UPDATE verification_code SET tries_left = tries_left - 1 WHERE holder_id = :user_id",
            user_id=user_id,
        )
        raise WrongCode()


# Links --------------------------------------------------------------------------------------------


async def test_a_link_works_once_for_half_an_hour_and_for_its_purpose(
    nobody: Context, schema_owner: SchemaOwner
) -> None:
    user_id = (await opened(nobody)).user_id
    acting = as_user(nobody, await merchant_of(nobody.services, user_id), user_id)
    async with acting.transaction() as db:
        token, _ = await add_link(db, user_id, VERIFY_PURPOSE, timedelta(minutes=30))
        late, _ = await add_link(db, user_id, VERIFY_PURPOSE, timedelta(minutes=30))
    assert len(token) == 43
    assert await schema_owner.fetchval(
        "SELECT count(*) FROM one_time_link WHERE token_hash = $1", token_hash(token)
    )
    with pytest.raises(LinkNotFound):
        await enter_by_link(nobody, token)

    async def follow() -> str:
        try:
            await verify_by_link(Context(nobody.services), token)
        except LinkUsed:
            return "used"
        return "followed"

    assert sorted(await asyncio.gather(*(follow() for _ in range(8)))) == ["followed"] + ["used"] * 7
    await schema_owner.execute(
        "UPDATE one_time_link SET expires_at = now() WHERE token_hash = $1", token_hash(late)
    )
    with pytest.raises(LinkNotFound):
        await verify_by_link(nobody, late)


async def test_a_link_is_not_used_up_by_work_that_fails(nobody: Context) -> None:
    user_id = (await opened(nobody)).user_id
    acting = as_user(nobody, await merchant_of(nobody.services, user_id), user_id)
    async with acting.transaction() as db:
        token, _ = await add_link(db, user_id, VERIFY_PURPOSE, timedelta(minutes=30))

    async def fail_halfway() -> None:
        async with acting.transaction() as db:
            await use_link(db, token, VERIFY_PURPOSE)
            raise LookupError

    with pytest.raises(LookupError):
        await fail_halfway()
    assert (await verify_by_link(nobody, token)).user.status == "active"


async def test_the_web_is_entered_once_by_the_link_of_a_log_in(nobody: Context, shop: Shop) -> None:
    entered = await log_in(nobody, shop.email, PASSWORD, address=new_id().hex)
    web = await enter_by_link(nobody, entered.link_token)
    session = await resolve_session(nobody.services.pool, web.token, kind=WEB_SESSION)
    assert session is not None
    assert (session.user_id, session.merchant_id) == (shop.user_id, shop.merchant_id)
    hours = nobody.services.settings.web_session_absolute_hours
    assert web.expires_at <= datetime.now(UTC) + timedelta(hours=hours, minutes=1)
    with pytest.raises(LinkUsed):
        await enter_by_link(nobody, entered.link_token)


# Names --------------------------------------------------------------------------------------------


async def test_of_many_who_want_the_same_user_name_one_gets_it(nobody: Context) -> None:
    who = applicant(username=f"ngozi {new_id().hex}")

    async def want() -> bool:
        try:
            await register(Context(nobody.services, request_id="test"), STORE, who, address=new_id().hex)
        except LoginNameTaken:
            return False
        return True

    assert sorted(await asyncio.gather(*(want() for _ in range(6)))) == [False] * 5 + [True]


async def test_a_name_that_nobody_proved_within_a_day_is_free_again(
    nobody: Context, schema_owner: SchemaOwner
) -> None:
    name = f"ngozi {new_id().hex}"
    squatter, wanted = await opened(nobody, applicant(username=name)), applicant(username=name)
    with pytest.raises(LoginNameTaken):
        await opened(nobody, wanted)
    age = "UPDATE user_account SET created_at = now() - interval '25 hours' WHERE user_id = $1"
    await schema_owner.execute(age, squatter.user_id)
    owner = await opened(nobody, wanted)
    assert await holder(nobody, name) == owner.user_id
    # The name of an account that is open stays, however old.
    _, _, code = await code_of(nobody, owner.user_id)
    await verify_by_code(nobody, owner.user_id, "email", code)
    await schema_owner.execute(age, owner.user_id)
    with pytest.raises(LoginNameTaken):
        await opened(nobody, wanted)


async def holder(nobody: Context, name: str) -> UUID | None:
    """Whom a log-in name finds."""
    found = await find_login(nobody.services.pool, name)
    return None if found is None else found[1]


async def test_an_address_is_the_log_in_name_of_the_first_account_that_proved_it(nobody: Context) -> None:
    who = applicant()
    first, second = [await opened(nobody, structs.replace(who, mobile=number)) for number in _NUMBERS]
    # Until then it finds whoever gave it first, for a new password alone.
    assert await holder(nobody, who.email) == first.user_id
    for account in (second, first):
        _, _, code = await code_of(nobody, account.user_id)
        assert (await verify_by_code(nobody, account.user_id, "email", code)).user.status == "active"
        assert await holder(nobody, who.email) == second.user_id
    # Addresses that an open account has not proved find it no more.
    assert [await holder(nobody, number) for number in _NUMBERS] == [None, None]


_NUMBERS = [f"+23480{10**7 + new_id().int % (9 * 10**7)}" for _ in range(2)]


async def test_taken_names_cannot_be_asked_for_without_end(nobody: Context) -> None:
    who = applicant(username=f"ngozi {new_id().hex}")
    await opened(nobody, who)
    address = new_id().hex
    for _ in range(20):
        with pytest.raises(LoginNameTaken):
            await register(nobody, STORE, who, address=address)
    with pytest.raises(TooManyRequests):
        await register(nobody, STORE, who, address=address)


# Guessing -----------------------------------------------------------------------------------------


async def test_waits_grow_from_the_first_try_that_is_not_free(
    services: Services, schema_owner: SchemaOwner
) -> None:
    tries = Tries("test", new_id().hex, 5)
    for _ in range(5):
        await take_tries(services.pool, [tries])
    waits = []
    for level in (4, 8, 11, 15, 40):
        await schema_owner.execute(
            "UPDATE rate_bucket SET level = $1, since = clock_timestamp() WHERE bucket = $2",
            level,
            tries.bucket,
        )
        try:
            await require_no_wait(services.pool, tries)
            waits.append(0)
        except TooManyRequests as problem:
            waits.append(int(problem.headers["Retry-After"]))
    assert waits[0] == 0
    assert waits == sorted(waits)
    assert len(set(waits)) == 4
    assert all(wait <= most for wait, most in zip(waits, (0, 8, 64, 900, 900), strict=True))
    await forgive_tries(services.pool, {tries: None})
    await take_tries(services.pool, [tries])


async def test_many_guesses_at_once_are_each_counted(services: Services, schema_owner: SchemaOwner) -> None:
    async def taken(tries: Tries, *, looks_first: bool) -> bool:
        try:
            if looks_first:
                # The broken variant: look, work, and count afterwards.
                await require_no_wait(services.pool, tries)
                await barrier.wait()
            else:
                await take_tries(services.pool, [tries])
        except TooManyRequests:
            return False
        return True

    barrier = asyncio.Barrier(30)
    tries = Tries("test", new_id().hex, 5)
    await schema_owner.execute(
        "INSERT INTO rate_bucket (bucket, level, since) VALUES ($1, 0, now() + interval '1 hour')",
        tries.bucket,
    )
    sure = await asyncio.gather(*(taken(tries, looks_first=False) for _ in range(30)))
    # A second or two after the fifth one more may pass; a hundred never do.
    assert 5 <= sum(sure) < 15
    broken = Tries("test", new_id().hex, 5)
    assert sum(await asyncio.gather(*(taken(broken, looks_first=True) for _ in range(30)))) == 30


async def test_two_counts_in_either_order_never_lock_up(services: Services) -> None:
    one, two = Tries("test", new_id().hex, 100), Tries("test", new_id().hex, 100)
    await asyncio.gather(*(take_tries(services.pool, pair) for pair in [[one, two], [two, one]] * 20))


# Known and unknown --------------------------------------------------------------------------------


async def test_known_and_unknown_users_cost_one_hash_each(
    nobody: Context, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []
    verify = passwords._verify

    def count(kept: str, password: str) -> bool:
        compared.append(kept.rpartition("$")[0].rpartition("$")[0])
        return verify(kept, password)

    monkeypatch.setattr(passwords, "_verify", count)
    timings: dict[str, list[float]] = {"known": [], "unknown": []}
    for number in range(60):
        names = {"known": shop.email, "unknown": f"{new_id().hex}@shop.example"}
        for kind in random.sample(["known", "unknown"], 2):
            before, begun = len(compared), perf_counter()
            with pytest.raises(WrongCredentials):
                await log_in(nobody, names[kind], f"guess {number}", address=new_id().hex)
            timings[kind].append(perf_counter() - begun)
            assert len(compared) - before == 1, kind
    # The same parameters for both: it is not only one call, but as much work.
    assert set(compared) == {"$argon2id$v=19$m=19456,t=3,p=1"}
    p = mann_whitney(timings["known"], timings["unknown"])
    medians = {kind: round(statistics.median(times) * 1000, 1) for kind, times in timings.items()}
    sys.stdout.write(f"log-in, known and unknown: medians {medians} ms, Mann-Whitney p = {p:.3f}\n")

    # The control: without a hash for nobody the count gives the unknown user away.
    async def shortcut(kept: str | None, password: str) -> bool:
        return kept is not None and await verify_password(kept, password)

    monkeypatch.setattr(login, "verify_password", shortcut)
    before = len(compared)
    with pytest.raises(WrongCredentials):
        await log_in(nobody, f"{new_id().hex}@shop.example", "guess", address=new_id().hex)
    assert len(compared) == before


async def test_asking_for_a_reset_does_the_same_for_known_and_unknown(
    nobody: Context, shop: Shop, schema_owner: SchemaOwner
) -> None:
    """One job and nothing else; only the job looks for the user."""

    async def counts() -> list[int]:
        tables = ("job", "message", "verification_code", "audit_entry")
        return [await schema_owner.fetchval(f"SELECT count(*) FROM {table}") for table in tables]

    await messages_to(nobody.services)
    differences = []
    for name in (shop.email, f"{new_id().hex}@shop.example"):
        before = await counts()
        await ask_for_reset(nobody, name, "email", address=new_id().hex)
        differences.append([new - old for new, old in zip(await counts(), before, strict=True)])
    assert differences == [[1, 0, 0, 0], [1, 0, 0, 0]]
    assert [one["template"] for one in await messages_to(nobody.services, shop.email)] == ["reset-password"]


async def test_a_reset_code_lives_ten_minutes_from_the_asking(
    nobody: Context, shop: Shop, schema_owner: SchemaOwner
) -> None:
    asked = await ask_for_reset(nobody, shop.email, "email", address=new_id().hex)
    sent = (await messages_to(nobody.services, shop.email))[-1]
    kept = await schema_owner.fetchval(
        "SELECT expires_at FROM verification_code WHERE holder_id = $1 AND purpose = 'reset'", shop.user_id
    )
    assert abs(kept - asked.codes_expire_at) < timedelta(seconds=30)
    await schema_owner.execute(
        "UPDATE verification_code SET expires_at = now() WHERE holder_id = $1", shop.user_id
    )
    with pytest.raises(WrongCode):
        await finish_reset(nobody, shop.email, sent["code"], "nine brown kettles")


async def test_another_merchants_user_is_not_reached(nobody: Context, shop: Shop, other_shop: Shop) -> None:
    acting, _, code = await code_of(nobody, shop.user_id)
    # With the right code, but as another merchant: the row does not exist there.
    stranger = MerchantId(other_shop.merchant_id)
    with pytest.raises(WrongCode):
        await spend_try(acting, stranger, shop.user_id, "email", code)
    assert await guess(acting, MerchantId(shop.merchant_id), shop.user_id, code)
