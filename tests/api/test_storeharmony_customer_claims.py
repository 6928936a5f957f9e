"""An address that several customers gave is theirs who proves it: to give it first brings nobody anything."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from kasuwa.base.limits import Quota
from kasuwa.domain.customers import actions, claims, passwords
from kasuwa.domain.customers.actions import register
from kasuwa.domain.customers.claims import prove_address
from kasuwa.domain.customers.errors import CustomerNameTaken, CustomerNotFound
from kasuwa.domain.customers.records import NewCustomer
from kasuwa.domain.messages.queries import read_messages_to
from kasuwa.domain.proofs.records import Channel
from tests.accounts import in_e164, messages_to
from tests.api.test_storeharmony_customers import ask, code_for, person, pointers
from tests.client import Web
from tests.conftest import SchemaOwner
from tests.shop import Shop

Json = dict[str, Any]

ADDRESSES = [("email", "mobile"), ("mobile", "email")]


def owned(body: Json, channel: str) -> str:
    """Where messages over the channel go."""
    return in_e164(body) if channel == "mobile" else str(body["email"])


async def themselves(shop: Shop, body: Json) -> Json:
    """Registered by their own request, as in an online store."""
    new = NewCustomer(
        first_name=body["firstname"],
        username=body.get("username", ""),
        password=body.get("password"),
        email=body.get("email", ""),
        mobile=in_e164(body) if "mobile" in body else "",
    )
    context = shop.owner.acting_as(shop.owner.caller)
    made = await register(context, new, address="203.0.113.9")
    return {"customerId": str(made.customer_id)}


async def both(web: Web, shop: Shop, channel: str) -> tuple[Json, Json, Json, Json]:
    """A stranger who registers somebody's address first, and the somebody: their bodies and their records."""
    hers = person()
    his = person(**{channel: hers[channel], "password": "five quick foxes"})
    first = await ask(web, shop, "register", his)
    # The stranger's code has left before hers does.
    assert await messages_to(web.services, owned(hers, channel))
    return his, first, hers, await themselves(shop, hers)


async def seen(web: Web, shop: Shop, customer_id: str) -> Json:
    answer = await web.get(
        f"/manage/{shop.store_id}/customers/{customer_id}", headers={"sessiontoken": shop.session}
    )
    found: Json = answer.json()["customer"]
    return found


@pytest.mark.parametrize(("channel", "other"), ADDRESSES, ids=["email", "mobile"])
async def test_whoever_proves_an_address_has_it_and_whoever_gave_it_first_loses_it(
    web: Web, shop: Shop, channel: str, other: str
) -> None:
    his, first, hers, second = await both(web, shop, channel)
    code = await code_for(web, owned(hers, channel))
    proved = await ask(web, shop, f"verify{channel}", {channel: hers[channel], "code": code})
    assert (proved["status"], proved["customerId"]) == ("verified", second["customerId"])
    login = {"username": hers[channel], "password": hers["password"]}
    assert (await ask(web, shop, "login", login))["customerId"] == second["customerId"]
    await ask(web, shop, "login", login | {"password": his["password"]}, status=401)
    # The stranger keeps what is theirs.
    left = await seen(web, shop, first["customerId"])
    assert (left[channel], left[f"{channel}Verified"]) == (None, False)
    assert left[other] == owned(his, other)
    assert (await ask(web, shop, "login", {"username": his["username"], "password": his["password"]}))[
        "customerId"
    ] == first["customerId"]
    # Their code is over, and the address is taken from now on.
    again = {channel: hers[channel], "customerId": first["customerId"]}
    await ask(web, shop, f"verify{channel}", again, status=404)
    taken = await ask(web, shop, "register", person(**{channel: hers[channel]}), status=409)
    assert pointers(taken) == [f"/{channel}"]


async def test_without_the_taking_the_address_would_be_two_peoples(
    web: Web, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: with a broken `lose_address` the test above would see the stranger keep it."""

    async def broken(*args: object) -> None:
        return None

    monkeypatch.setattr(claims, "lose_address", broken)
    _, first, hers, _ = await both(web, shop, "email")
    await ask(web, shop, "verifyemail", {"email": hers["email"], "code": await code_for(web, hers["email"])})
    assert (await seen(web, shop, first["customerId"]))["email"] == hers["email"]


@pytest.mark.parametrize(("channel", "other"), ADDRESSES, ids=["email", "mobile"])
async def test_an_address_alone_that_somebody_else_proves_leaves_a_record_without_one(
    web: Web, shop: Shop, channel: str, other: str
) -> None:
    hers = person()
    his = {"firstname": "Ife", channel: hers[channel], "password": "five quick foxes"}
    first = await ask(web, shop, "register", his)
    assert await messages_to(web.services, owned(hers, channel))
    await themselves(shop, hers)
    code = await code_for(web, owned(hers, channel))
    await ask(web, shop, f"verify{channel}", {channel: hers[channel], "code": code})
    left = await seen(web, shop, first["customerId"])
    assert (left["email"], left["mobile"], left["username"]) == (None, None, first["customerId"])
    await ask(web, shop, "login", {"username": hers[channel], "password": his["password"]}, status=401)


async def test_whoever_gave_it_first_proves_it_too_and_a_later_stranger_gains_nothing(
    web: Web, shop: Shop
) -> None:
    hers = person()
    first = await ask(web, shop, "register", hers)
    code = await code_for(web, hers["email"])
    his = person(email=hers["email"])
    second = await themselves(shop, his)
    # Until it is proved it logs in whoever gave it first.
    login = {"username": hers["email"], "password": hers["password"]}
    assert (await ask(web, shop, "login", login))["customerId"] == first["customerId"]
    # The stranger's code does not prove it for her, nor hers for the stranger.
    named = {"email": hers["email"], "code": code}
    await ask(web, shop, "verifyemail", named | {"customerId": second["customerId"]}, status=422)
    assert (await ask(web, shop, "verifyemail", named))["customerId"] == first["customerId"]
    assert (await seen(web, shop, second["customerId"]))["email"] is None


async def test_a_new_code_for_an_address_of_several_is_for_the_customer_who_is_named(
    web: Web, shop: Shop
) -> None:
    _, first, hers, second = await both(web, shop, "email")
    sent = len(await messages_to(web.services, hers["email"]))
    unnamed = await ask(web, shop, "verifyemail", {"email": hers["email"]}, status=422)
    assert pointers(unnamed) == ["/customerId"]
    for unknown in (str(UUID(int=1)), "nobody"):
        await ask(web, shop, "verifyemail", {"email": hers["email"], "customerId": unknown}, status=404)
    assert len(await messages_to(web.services, hers["email"])) == sent
    named = {"email": hers["email"], "customerId": second["customerId"]}
    assert (await ask(web, shop, "verifyemail", named))["status"] == "code_sent"
    proof = named | {"code": await code_for(web, hers["email"])}
    await ask(web, shop, "verifyemail", proof | {"customerId": first["customerId"]}, status=422)
    assert (await ask(web, shop, "verifyemail", proof))["customerId"] == second["customerId"]


async def test_a_record_that_is_taken_over_by_a_reset_loses_the_strangers_other_address(
    web: Web, shop: Shop
) -> None:
    hers, his = person(), person()
    trap = his | {"email": hers["email"]}
    made = await ask(web, shop, "register", trap)
    mobile_code = await code_for(web, in_e164(trap))
    await ask(web, shop, "resetpassword", {"username": hers["email"]})
    reset = {"username": hers["email"], "newPassword": "six tired donkeys"}
    await ask(web, shop, "resetpassword", reset | {"code": await code_for(web, hers["email"])})
    mine = await seen(web, shop, made["customerId"])
    assert (mine["emailVerified"], mine["mobile"]) == (True, None)
    # What the stranger registered opens nothing of it any more.
    await ask(web, shop, "verifymobile", {"mobile": trap["mobile"], "code": mobile_code}, status=404)
    await ask(web, shop, "login", {"username": trap["username"], "password": trap["password"]}, status=401)


async def test_without_that_the_stranger_would_reset_it_by_their_own_mobile(
    web: Web, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""

    async def broken(*args: object) -> None:
        return None

    monkeypatch.setattr(passwords, "lose_address", broken)
    trap = person()
    await ask(web, shop, "register", trap)
    await ask(web, shop, "resetpassword", {"username": trap["email"]})
    reset = {"username": trap["email"], "newPassword": "six tired donkeys"}
    await ask(web, shop, "resetpassword", reset | {"code": await code_for(web, trap["email"])})
    await ask(web, shop, "verifymobile", {"mobile": trap["mobile"]})
    code = await code_for(web, in_e164(trap))
    assert (await ask(web, shop, "verifymobile", {"mobile": trap["mobile"], "code": code}))["mobileVerified"]


async def test_a_code_that_went_to_a_lost_address_resets_nothing(web: Web, shop: Shop) -> None:
    hers = person()
    his = {"firstname": "Ife", "email": hers["email"], "password": "five quick foxes"}
    first = await ask(web, shop, "register", his)
    await ask(web, shop, "resetpassword", {"username": hers["email"]})
    reset_code = await code_for(web, hers["email"])
    second = await themselves(shop, hers)
    proof = {"email": hers["email"], "code": await code_for(web, hers["email"])}
    assert (await ask(web, shop, "verifyemail", proof))["customerId"] == second["customerId"]
    reset = {"code": reset_code, "newPassword": "six tired donkeys"}
    for name in (hers["email"], first["customerId"]):
        await ask(web, shop, "resetpassword", reset | {"username": name}, status=422)


async def after_registering(web: Web, shop: Shop, channel: Channel, address: str, code: str) -> list[Any]:
    """What a stranger sees who registers with the address and then tries to have it."""
    his = person(**{channel: address})
    context = shop.owner.acting_as(shop.owner.caller)
    new = NewCustomer(first_name="Ife", password="five quick foxes", email=his["email"], mobile=in_e164(his))
    made = await register(context, new, address="203.0.113.9")
    named = {channel: address, "customerId": str(made.customer_id)}
    asked = await ask(web, shop, f"verify{channel}", named)
    asked.pop("codeExpires")
    guessed = await ask(web, shop, f"verify{channel}", named | {"code": code}, status=422)
    await messages_to(web.services)
    async with context.reading() as db:
        sent = [
            (one.template, one.channel, one.status) for one in await read_messages_to(db, made.customer_id)
        ]
    return [made.status, made.address(channel) == owned(his, channel), asked, guessed["type"], sent]


@pytest.mark.parametrize("channel", ["email", "mobile"])
async def test_whoever_registers_themselves_with_a_proved_address_sees_what_others_see_and_gets_no_code(
    web: Web, shop: Shop, channel: Channel
) -> None:
    hers = person()
    first = await ask(web, shop, "register", hers)
    proof = {channel: hers[channel], "code": await code_for(web, owned(hers, channel))}
    await ask(web, shop, f"verify{channel}", proof)
    old = len(await messages_to(web.services, owned(hers, channel)))
    seen_of_hers = await after_registering(web, shop, channel, hers[channel], "000000")
    assert seen_of_hers == await after_registering(web, shop, channel, person()[channel], "000000")
    told = (await messages_to(web.services, owned(hers, channel)))[old:]
    assert [(one["code"], "yours there already" in one["text"]) for one in told] == [(None, True)] * 2
    login = {"username": hers[channel], "password": hers["password"]}
    assert (await ask(web, shop, "login", login))["customerId"] == first["customerId"]


async def test_without_the_look_at_proofs_its_owner_would_be_sent_a_strangers_code(
    web: Web, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""

    async def broken(*args: object) -> bool:
        return False

    monkeypatch.setattr(actions, "is_proved_by_another", broken)
    hers = person()
    await ask(web, shop, "register", hers)
    await ask(web, shop, "verifyemail", {"email": hers["email"], "code": await code_for(web, hers["email"])})
    new = NewCustomer(first_name="Ife", username=f"ife.{shop.store_id.hex}", email=hers["email"])
    made = await register(shop.owner, new, address="203.0.113.9")
    code = await code_for(web, hers["email"])
    assert code is not None
    # What proves an address is still no way to a second owner of it.
    stolen = {"email": hers["email"], "customerId": str(made.customer_id), "code": code}
    await ask(web, shop, "verifyemail", stolen, status=404)


async def test_many_who_claim_an_address_bring_a_guesser_few_codes(
    web: Web, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each code of the address is one that a guess may hit: beyond a number for the day none is made."""
    day = Quota("customer-claim.test", requests=3, seconds=86_400)
    monkeypatch.setattr(claims, "_CODES_OF_CLAIMED", (day,))
    hers = person()
    made = [await themselves(shop, person(email=hers["email"])) for _ in range(4)]
    codes = [one["code"] for one in await messages_to(web.services, hers["email"])]
    assert len(codes) == 3
    named = {"email": hers["email"], "customerId": made[3]["customerId"]}
    await ask(web, shop, "verifyemail", named, status=429)
    proved = await ask(web, shop, "verifyemail", {"email": hers["email"], "code": codes[0]})
    assert proved["customerId"] in {one["customerId"] for one in made[:3]}


async def test_a_wrong_guess_is_a_try_of_every_code(web: Web, shop: Shop, schema_owner: SchemaOwner) -> None:
    _, first, hers, second = await both(web, shop, "email")
    codes = {one["code"] for one in await messages_to(web.services, hers["email"])}
    wrong = next(code for code in ("000000", "111111", "222222") if code not in codes)
    await ask(web, shop, "verifyemail", {"email": hers["email"], "code": wrong}, status=422)
    left = await schema_owner.fetch(
        "SELECT tries_left FROM verification_code WHERE holder_id = ANY ($1) AND purpose = 'email'",
        [UUID(first["customerId"]), UUID(second["customerId"])],
    )
    assert [row["tries_left"] for row in left] == [4, 4]


async def test_of_two_who_prove_an_address_in_one_moment_one_has_it(web: Web, shop: Shop) -> None:
    new = NewCustomer(first_name="Efe", email=f"efe.{shop.store_id.hex}@shop.example")
    names = [f"efe{n}.{shop.store_id.hex}" for n in (1, 2)]
    people = [
        await register(shop.owner, replace(new, username=name), address="203.0.113.9") for name in names
    ]

    async def prove(customer_id: UUID) -> bool:
        context = shop.owner.acting_as(shop.owner.caller)
        channel: Channel = "email"
        try:
            async with context.transaction() as db:
                await prove_address(context, db, customer_id, channel)
        except CustomerNotFound:
            return False
        return True

    assert sorted(await asyncio.gather(*(prove(one.customer_id) for one in people))) == [False, True]
    views = [await seen(web, shop, str(one.customer_id)) for one in people]
    assert sorted(view["emailVerified"] for view in views) == [False, True]
    assert sorted(str(view["email"]) for view in views) == sorted([new.email, "None"])


async def test_a_reset_and_a_log_in_answer_alike_whether_several_gave_the_address_or_nobody(
    web: Web, shop: Shop
) -> None:
    _, _, hers, _ = await both(web, shop, "email")
    stranger = f"x{hers['email']}"
    guesses = [
        await ask(web, shop, "login", {"username": name, "password": "another one"}, status=401)
        for name in (hers["email"], stranger)
    ]
    assert {**guesses[0], "instance": ""} == {**guesses[1], "instance": ""}
    resets = [await ask(web, shop, "resetpassword", {"username": name}) for name in (hers["email"], stranger)]
    assert {**resets[0], "sentTo": "", "codeExpires": ""} == {**resets[1], "sentTo": "", "codeExpires": ""}


@pytest.mark.parametrize("channel", ["email", "mobile"])
async def test_to_the_shops_people_an_address_that_a_customer_gave_is_taken(
    web: Web, shop: Shop, channel: str
) -> None:
    """One person per merchant: whoever stands at the counter again is found, not made again."""
    there = person()
    await ask(web, shop, "register", there)
    taken = await ask(web, shop, "register", person(**{channel: there[channel]}), status=409)
    assert pointers(taken) == [f"/{channel}"]


async def at_five_tills(shop: Shop) -> int:
    """How many of five tills make a customer of the same address in the same moment."""
    new = NewCustomer(first_name="Efe", email=f"efe.{shop.store_id.hex}@shop.example")

    async def at_a_till(number: int) -> bool:
        context = shop.owner.acting_as(shop.owner.caller)
        try:
            await register(context, replace(new, username=f"efe{number}.{shop.store_id.hex}"))
        except CustomerNameTaken:
            return False
        return True

    return sum(await asyncio.gather(*(at_a_till(n) for n in range(5))))


async def test_tills_that_register_one_customer_in_one_moment_make_one(shop: Shop) -> None:
    assert await at_five_tills(shop) == 1


async def test_without_the_lock_several_would_be_made(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control. All have looked before anybody writes."""
    looked = asyncio.Barrier(5)

    async def nobody_waits(*args: object) -> None:
        await looked.wait()

    monkeypatch.setattr(actions, "lock_names", nobody_waits)
    assert await at_five_tills(shop) > 1
