"""Customers under /manage: found, their consents, all of their data, and that it goes."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from kasuwa.base.ids import new_id
from kasuwa.cli.backup.programs import find_program
from kasuwa.database import DatabaseUrls
from kasuwa.domain.customers.sessions import resolve_customer_session
from kasuwa.domain.permissions import Role
from kasuwa.handover import WorkerSetup
from tests.accounts import in_e164, messages_to
from tests.api.test_manage_complaints import attachment, complain
from tests.api.test_storeharmony_customers import ask as crm
from tests.api.test_storeharmony_customers import person
from tests.api.test_storeharmony_products import deduct, make
from tests.base.database import Connection, connected, superuser_url
from tests.client import Web
from tests.conftest import SchemaOwner
from tests.contract.cast import hire
from tests.shop import Shop

Json = dict[str, Any]
Seen = Callable[[list[str]], Awaitable[set[str]]]


async def ask(
    web: Web,
    shop: Shop,
    path: str,
    *,
    method: str = "GET",
    status: int = 200,
    session: str = "",
    key: str = "",
    **options: Any,
) -> Json:
    headers = {"sessiontoken": session or shop.session} | ({"idempotency-key": key} if key else {})
    answer = await web.call(method, f"/manage/{shop.store_id}/{path}", headers=headers, **options)
    assert answer.status_code == status, answer.text
    body: Json = answer.json()
    return body


async def found(web: Web, shop: Shop, **query: str) -> list[str]:
    page = await ask(web, shop, "customers", params=query)
    return [customer["firstName"] for customer in page["data"]]


async def test_customers_are_found_by_address_and_by_how_a_name_begins(
    web: Web, shop: Shop, other_shop: Shop
) -> None:
    efe = person(firstname="Éfé", lastname="Umar Bello")
    await crm(web, shop, "register", efe)
    await crm(web, shop, "register", person(firstname="Umaru", lastname="Efemena"))
    await crm(web, other_shop, "register", person(firstname="Efe of another"))
    assert await found(web, shop) == ["Umaru", "Éfé"]
    assert await found(web, shop, email=efe["email"].upper()) == ["Éfé"]
    assert await found(web, shop, mobile=efe["mobile"]) == ["Éfé"]
    assert await found(web, shop, mobile=in_e164(efe), name="efe") == ["Éfé"]
    assert await found(web, shop, name="EFE") == ["Umaru", "Éfé"]
    assert await found(web, shop, name="umar b") == ["Éfé"]
    assert await found(web, shop, name="mar") == []
    # A user name is no e-mail.
    assert await found(web, shop, email=efe["username"]) == []
    await ask(web, shop, "customers", params={"mobile": "12"}, status=422)
    await ask(web, shop, "customers", params={"cursor": "nonsense"}, status=422)
    first = await ask(web, shop, "customers", params={"size": 1})
    second = await ask(web, shop, "customers", params={"size": 1, "cursor": first["nextCursor"]})
    assert [page["data"][0]["firstName"] for page in (first, second)] == ["Umaru", "Éfé"]
    assert second["nextCursor"] is None


async def test_each_answer_on_a_consent_is_kept_with_who_wrote_it_down(web: Web, shop: Shop) -> None:
    made = await crm(web, shop, "register", person(consents=["terms", "marketing_email"]))
    place = f"customers/{made['customerId']}"
    answers = [{"purpose": "marketing_email", "given": False, "evidence": "by telephone"}]
    now = await ask(web, shop, f"{place}/consents", method="POST", json={"consents": answers})
    shown = [(one["purpose"], one["given"], one["evidence"]) for one in now["consents"]]
    assert shown == [("marketing_email", False, "by telephone"), ("terms", True, "")]
    assert {one["notedBy"] for one in now["consents"]} == {str(shop.user_id)}
    assert (await ask(web, shop, place))["consents"] == now["consents"]
    data = await ask(web, shop, f"{place}/export", method="POST")
    given = [one["given"] for one in data["consents"] if one["purpose"] == "marketing_email"]
    assert given == [True, False]
    twice = {"consents": answers * 2}
    await ask(web, shop, f"{place}/consents", method="POST", json=twice, status=422)


async def test_an_export_has_all_that_is_kept_and_no_secret(web: Web, shop: Shop) -> None:
    body = person(address="3 Marina", birthday=1, birthmonth=5)
    made = await crm(web, shop, "register", body)
    code = (await messages_to(web.services, body["email"]))[0]["code"]
    entered = await crm(web, shop, "login", {"username": body["email"], "password": body["password"]})
    data = await ask(web, shop, f"customers/{made['customerId']}/export", method="POST")
    customer = data["customer"]
    assert (customer["email"], customer["mobile"]) == (body["email"], in_e164(body))
    assert (customer["address"], customer["birthday"], customer["birthmonth"]) == ("3 Marina", 1, 5)
    assert data["hasPassword"]
    assert [one["template"] for one in data["messages"]] == [
        "customer-verify-email",
        "customer-verify-mobile",
    ]
    assert len(data["sessions"]) == 1
    actions = [one["action"] for one in data["changes"]]
    assert actions == ["customer.register", "customer.log_in", "customer.export"]
    text = json.dumps(data)
    assert not any(secret in text for secret in (code, body["password"], entered["customertoken"], "argon2"))


async def test_who_may_see_and_who_may_erase(web: Web, shop: Shop, other_shop: Shop) -> None:
    made = await crm(web, shop, "register", person())
    place = f"customers/{made['customerId']}"
    for role, erases in ((Role.CASHIER, 403), (Role.MANAGER, 403), (Role.OWNER, 200)):
        session = (await hire(shop, role, shop.store_id)).session
        await ask(web, shop, place, session=session)
        # Everything in one file takes as much as letting it go.
        await ask(web, shop, f"{place}/export", method="POST", session=session, status=erases)
        await ask(web, shop, f"{place}/erase", method="POST", session=session, status=erases)
    theirs = await crm(web, other_shop, "register", person())
    for customer_id in (theirs["customerId"], str(new_id()), "nonsense", made["customerId"]):
        place = f"customers/{customer_id}"
        await ask(web, shop, place, status=404)
        await ask(web, shop, f"{place}/export", method="POST", status=404)
        answers = {"consents": [{"purpose": "terms", "given": True}]}
        await ask(web, shop, f"{place}/consents", method="POST", json=answers, status=404)
        if customer_id != made["customerId"]:
            await ask(web, shop, f"{place}/erase", method="POST", status=404)


# Erasure -------------------------------------------------------------------------------------------


class Canary:
    """A customer each of whose facts is a word that stands nowhere else."""

    def __init__(self) -> None:
        self.mark = new_id().hex[-12:]
        number = f"{int(self.mark, 16) % 10**7:07d}"
        self.mobile = f"+234803{number}"
        self.domain = f"zqdomain{self.mark}.example"
        self.body = person(
            firstname=f"zqfirst{self.mark}",
            lastname=f"zqlast{self.mark}",
            username=f"zquser{self.mark}",
            email=f"zqmail{self.mark}@{self.domain}",
            mobile=f"0803{number}",
            address=f"zqstreet{self.mark}",
            lga=f"zqlga{self.mark}",
            state=f"zqstate{self.mark}",
            zipcode=f"zq{self.mark}",
            consents=["terms"],
        )
        self.words = [self.mark, self.mobile, f"0803{number}"]
        self.customer_id = ""
        self.place = ""
        self.token = ""
        # What the register operation answered for this key.
        self.key = f"key-{new_id().hex}"

    async def live(self, web: Web, shop: Shop) -> None:
        """Leave traces everywhere: messages sent and unsent, codes, sessions, kept answers, consents."""
        made = await crm(web, shop, "register", self.body, key=self.key)
        self.customer_id = made["customerId"]
        self.place = f"customers/{self.customer_id}"
        sent = await messages_to(web.services, self.body["email"], self.mobile)
        assert len(sent) == 2
        [code] = [one["code"] for one in sent if one["channel"] == "email"]
        await crm(web, shop, "verifyemail", {"email": self.body["email"], "code": code})
        await crm(web, shop, "resetpassword", {"username": self.body["email"]})
        code = (await messages_to(web.services, self.body["email"]))[-1]["code"]
        password = f"zqpassword {self.mark}"
        finish = {"username": self.body["email"], "code": code, "newPassword": password}
        await crm(web, shop, "resetpassword", finish)
        login = {"username": self.body["username"], "password": password}
        entered = await crm(web, shop, "login", login, key=f"login-{self.key}")
        self.token = entered["customertoken"]
        answers = [{"purpose": "profiling", "given": True, "evidence": f"zqform{self.mark}"}]
        await ask(
            web,
            shop,
            f"{self.place}/consents",
            method="POST",
            key=f"consent-{self.key}",
            json={"consents": answers},
        )
        await ask(web, shop, f"{self.place}/export", method="POST", key=f"export-{self.key}")
        # One that waits, and a job that looks for somebody by name.
        await crm(web, shop, "verifymobile", {"mobile": self.mobile})
        await crm(web, shop, "resetpassword", {"username": self.mobile, "channel": "mobile"})
        await self.leave_traces(web, shop)

    async def leave_traces(self, web: Web, shop: Shop) -> None:
        """What others asked and wrote: a check of their e-mail, and complaints that were answered."""
        headers = {"sessiontoken": shop.session}
        checked = await web.get(
            "/cloudapi/utils/verify/email", headers=headers, params={"email": self.body["email"]}
        )
        assert checked.status_code == 200, checked.text
        file = attachment(b"%PDF-1.7 " + self.mark.encode(), "application/pdf", f"zq{self.mark}.pdf")
        words: Json = {"subject": f"zqsubject{self.mark}", "message": f"zqwords{self.mark}"}
        words["attachments"] = [file]
        await complain(web, shop, contactEmail=self.body["email"], contactMobile=self.mobile, **words)
        # Nobody to answer to, but the person by name and number.
        await complain(web, shop, message=f"zqcaller{self.mark} calls from 0803{self.mobile[-7:]}")
        newest = (await ask(web, shop, "complaints"))["data"][:2]
        for one in newest:
            await ask(
                web,
                shop,
                f"complaints/{one['complaintId']}/status",
                method="PUT",
                key=f"status-{new_id().hex}",
                json={"status": "CLOSED", "note": f"zqnote{self.mark}"},
            )


async def tables_with(superuser: Connection, words: list[str]) -> set[str]:
    """Every table in a row of which one of the words stands."""
    tables = await superuser.fetch(
        "SELECT c.oid::regclass::text AS name FROM pg_class c"
        " WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
    )
    assert len(tables) > 40
    hits = set()
    for table in tables:
        # In hexadecimal too: a column of bytes is shown so.
        hexed = [word.encode().hex() for word in words]
        count = await superuser.fetchval(
            f"SELECT count(*) FROM {table['name']} t"
            " WHERE EXISTS (SELECT FROM unnest($1::text[]) w WHERE position(w IN t::text) > 0)",
            [*words, *hexed],
        )
        if count:
            hits.add(table["name"])
    return hits


def files_with(data_folder: Path, words: list[str]) -> set[str]:
    """Every file of the data folder, but for PostgreSQL's own, in which one of the words stands."""
    hits = set()
    needles = [word.encode() for word in words]
    for path in data_folder.rglob("*"):
        # The database's own files hold what its tables held, until it writes over them; its log stays.
        if path.is_file() and not _is_postgres(path.relative_to(data_folder)):
            content = path.read_bytes()
            if any(needle in content for needle in needles):
                hits.add(path.name)
    return hits


def _is_postgres(path: Path) -> bool:
    return path.parts[0].startswith(("postgres", "pg")) and path.name != "postgres.log"


async def is_dumped(setup: WorkerSetup, url: str, words: list[str]) -> bool:
    """Whether a dump of the whole database, as a backup or a copy takes it, has one of the words."""
    program = find_program(setup.settings, "pg_dump")
    dumping = await asyncio.create_subprocess_exec(
        program.path, "--dbname", url, stdout=asyncio.subprocess.PIPE
    )
    text, _ = await dumping.communicate()
    assert dumping.returncode == 0
    assert b"PostgreSQL database dump complete" in text
    return any(needle in text for word in words for needle in (word.encode(), word.encode().hex().encode()))


async def ledgers_of(superuser: Connection, shop: Shop) -> list[tuple[Any, ...]]:
    """What each ledger of the merchant sums up to, and where its chains stand."""
    rows = await superuser.fetch(
        """
        SELECT 'movements', state, count(*), sum(quantity), sum(value_change)
        FROM stock_movement WHERE merchant_id = $1 GROUP BY 2
        UNION ALL
        SELECT 'balances', max(encode(head, 'hex')), count(*), sum(on_hand + reserved + in_transit),
               sum(cost_value)
        FROM stock_balance WHERE merchant_id = $1
        ORDER BY 1, 2
        """,
        shop.merchant_id,
    )
    return [tuple(row) for row in rows]


@pytest.fixture
def seen(database_urls: DatabaseUrls, data_folder: Path) -> Seen:
    """A search through everything that is kept."""

    async def search(words: list[str]) -> set[str]:
        async with connected(superuser_url(database_urls)) as superuser:
            return await tables_with(superuser, words) | files_with(data_folder, words)

    return search


async def test_after_an_erasure_nothing_of_the_person_is_left_and_all_of_another(
    web: Web, shop: Shop, schema_owner: SchemaOwner, seen: Seen, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, stays = Canary(), Canary()
    for canary in (gone, stays):
        await canary.live(web, shop)
    # The search finds what there is: else it would find nothing afterwards either way.
    everywhere = {"customer", "customer_name", "customer_consent", "message", "outbox.jsonl"}
    assert await seen([gone.customer_id]) >= everywhere | {"once", "customer_session", "audit_entry"}
    everywhere |= {"complaint", "complaint_note", "complaint_attachment"}
    assert await seen(gone.words) == everywhere
    key = f"erase-{gone.key}"
    erased = await ask(web, shop, f"{gone.place}/erase", method="POST", key=key)
    assert erased["customerId"] == gone.customer_id
    # What waited is sent to nobody; the lines of the outbox go by a job.
    while await web.services.jobs.run_due():
        pass
    assert await seen(gone.words) == set()
    assert await seen(stays.words) == everywhere
    assert [one["to"] for one in await messages_to(web.services, stays.body["email"])] != []
    # What is left of them: a row without a word, the trail, used keys, and the job that looks once more.
    assert await seen([gone.customer_id]) == {"customer", "audit_entry", "once", "job"}
    assert await ask(web, shop, f"{gone.place}/erase", method="POST") == erased
    assert await ask(web, shop, f"{gone.place}/erase", method="POST", key=key) == erased
    faults = "SELECT fault FROM stock_faults() WHERE merchant_id = $1"
    assert await schema_owner.fetch(faults, shop.merchant_id) == []
    logs = capsys.readouterr().out
    assert "/customers/{customerid}/erase" in logs
    assert not any(word in logs for word in gone.words)
    assert await resolve_customer_session(web.services.pool, gone.token) is None
    assert await resolve_customer_session(web.services.pool, stays.token) is not None


async def test_an_erasure_is_whole_in_a_dump_and_moves_no_ledger(
    web: Web, shop: Shop, database_urls: DatabaseUrls, worker_setup: WorkerSetup
) -> None:
    url = superuser_url(database_urls)
    gone, stays = Canary(), Canary()
    item = await make(web, shop, quantity=7)
    for canary in (gone, stays):
        await canary.live(web, shop)
    async with connected(url) as superuser:
        before = await ledgers_of(superuser, shop)
        assert before
        assert await is_dumped(worker_setup, url, gone.words), "the search finds what there is"
        await ask(web, shop, f"{gone.place}/erase", method="POST")
        while await web.services.jobs.run_due():
            pass
        assert not await is_dumped(worker_setup, url, gone.words)
        assert await is_dumped(worker_setup, url, stays.words)
        assert await ledgers_of(superuser, shop) == before
        # The control: one piece sold is seen.
        await deduct(web, shop, item, quantity=1, reason="other")
        assert await ledgers_of(superuser, shop) != before


async def test_the_log_of_the_database_names_nobody_whom_it_refuses(
    web: Web, shop: Shop, database_urls: DatabaseUrls, data_folder: Path
) -> None:
    log = data_folder / "postgres.log"
    canary = Canary()
    await canary.live(web, shop)
    twice = "INSERT INTO customer SELECT * FROM customer WHERE customer_id = $1"
    async with connected(superuser_url(database_urls)) as superuser:
        # As it is set, and as PostgreSQL would have it.
        careless = "SET log_min_messages = 'error'; SET log_error_verbosity = 'default'"
        for setting, is_told in (("SELECT 1", False), (careless, True)):
            await superuser.execute(setting)
            with pytest.raises(asyncpg.UniqueViolationError):
                await superuser.execute(twice, UUID(canary.customer_id))
            # What is written down is there before the refusal is told.
            assert (canary.customer_id in log.read_text("utf-8", "replace")) is is_told


async def test_a_late_repeat_neither_tells_of_the_erased_nor_makes_them_again(web: Web, shop: Shop) -> None:
    gone = Canary()
    await gone.live(web, shop)
    await ask(web, shop, f"{gone.place}/erase", method="POST")
    late = await crm(web, shop, "register", gone.body, status=409, key=gone.key)
    assert late["type"].endswith("#answer-forgotten")
    assert gone.mark not in json.dumps(late)
    export = await ask(web, shop, f"{gone.place}/export", method="POST", key=f"export-{gone.key}", status=409)
    assert gone.mark not in json.dumps(export)
    assert (await ask(web, shop, "customers"))["data"] == []
    # The address is free again, for somebody new.
    anew = await crm(web, shop, "register", gone.body)
    assert anew["customerId"] != gone.customer_id


async def test_the_database_refuses_an_erased_row_that_still_names_somebody(
    web: Web, shop: Shop, schema_owner: SchemaOwner
) -> None:
    made = await crm(web, shop, "register", person())
    await ask(web, shop, f"customers/{made['customerId']}/erase", method="POST")
    for column in ("first_name", "email", "mobile", "street", "username", "zip_code", "surname_key"):
        with pytest.raises(Exception, match="customer_erased_whole"):
            await schema_owner.execute(
                f"UPDATE customer SET {column} = 'zq' WHERE customer_id = $1", made["customerId"]
            )


async def test_of_those_who_take_one_user_name_at_once_one_has_it(web: Web, shop: Shop) -> None:
    bodies = [person(username=f"efe.{shop.store_id.hex}") for _ in range(4)]
    answers = await asyncio.gather(*(register(web, shop, one) for one in bodies))
    assert sorted(answers) == [200, 409, 409, 409]
    assert len((await ask(web, shop, "customers"))["data"]) == 1


async def register(web: Web, shop: Shop, body: Json) -> int:
    answer = await web.post(
        f"/cloudapi/crm/{shop.store_id}/customers/register",
        headers={"sessiontoken": shop.session},
        json=body,
    )
    return answer.status_code


async def test_whoever_writes_while_somebody_is_erased_leaves_nothing_of_them(
    web: Web, shop: Shop, seen: Seen
) -> None:
    gone = Canary()
    await gone.live(web, shop)
    login = {"username": gone.body["username"], "password": f"zqpassword {gone.mark}"}
    answers = {"consents": [{"purpose": "terms", "given": False, "evidence": f"zq{gone.mark}"}]}
    calls = [
        ("POST", f"/cloudapi/crm/{shop.store_id}/customers/login", login),
        ("POST", f"/manage/{shop.store_id}/{gone.place}/consents", answers),
        ("POST", f"/cloudapi/crm/{shop.store_id}/customers/verifymobile", {"mobile": gone.mobile}),
        ("POST", f"/manage/{shop.store_id}/{gone.place}/erase", None),
        ("POST", f"/manage/{shop.store_id}/{gone.place}/export", None),
        ("POST", f"/cloudapi/crm/{shop.store_id}/customers/login", login),
        ("POST", f"/manage/{shop.store_id}/{gone.place}/consents", answers),
    ]
    await asyncio.gather(
        *(
            web.call(
                method,
                path,
                headers={"sessiontoken": shop.session, "idempotency-key": f"race-{new_id().hex}"},
                **({} if body is None else {"json": body}),
            )
            for method, path, body in calls
        )
    )
    while await web.services.jobs.run_due():
        pass
    assert await seen(gone.words) == set()
    assert await resolve_customer_session(web.services.pool, gone.token) is None
