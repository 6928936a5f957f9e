"""Products in and out by files over /manage: HTTP to the database and back."""

import csv
import io
import os
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kasuwa.base.context import Context
from kasuwa.base.ids import new_id
from kasuwa.base.problems import Unavailable
from kasuwa.domain.exchange import imports, jobs
from kasuwa.domain.exchange.overlap import Turn
from kasuwa.domain.permissions import Role
from tests.base.tables.test_xlsx import write
from tests.client import Web
from tests.conftest import picture_bytes
from tests.contract.cast import hire
from tests.domain.test_exchange import WHOLE, faults, product_of, simple
from tests.put_aside import put_aside
from tests.shop import Shop, new_shop

Json = dict[str, Any]
CSV = "text/csv"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


async def call(web: Web, shop: Shop, method: str, path: str, **options: Any) -> httpx.Response:
    headers = {"sessiontoken": shop.session} | options.pop("headers", {})
    return await web.call(method, f"/manage/{shop.store_id}{path}", headers=headers, **options)


async def send(
    web: Web, shop: Shop, content: Any, *, media: str = CSV, path: str = "/product-imports", **query: Any
) -> httpx.Response:
    body = content.encode() if isinstance(content, str) else content
    return await call(web, shop, "POST", path, content=body, params=query, headers={"content-type": media})


async def progress(web: Web, shop: Shop, import_id: str) -> Json:
    answer = await call(web, shop, "GET", f"/product-imports/{import_id}")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def load(web: Web, shop: Shop, content: Any, **options: Any) -> Json:
    """Send the file, have a worker import it, and ask what became of it."""
    answer = await send(web, shop, content, **options)
    assert answer.status_code == 202, answer.text
    await web.services.jobs.run_due()
    return await progress(web, shop, answer.json()["importId"])


async def export(web: Web, shop: Shop, kind: str = "csv") -> bytes:
    answer = await call(web, shop, "GET", "/product-exports", params={"format": kind})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == f'attachment; filename="products.{kind}"'
    return answer.content


async def count(shop: Shop, table: str) -> int:
    async with shop.owner.reading() as db:
        found: int = await db.value(f"SELECT count(*) FROM {table}")
    return found


def left_behind(web: Web) -> list[int]:
    """The sizes of files that the application still has put aside."""
    return put_aside(os.getpid(), web.services.settings.data_folder())


@pytest.mark.parametrize("kind", ["csv", "jsonl", "xlsx"])
async def test_what_is_exported_imports_elsewhere_and_exports_the_same_bytes(
    web: Web, shop: Shop, kind: str
) -> None:
    done = await load(web, shop, WHOLE, filename="whole.csv")
    assert (done["status"], done["created"], done["failed"], done["fraction"]) == ("done", 3, 0, 1)
    assert (done["fileName"], done["kind"], done["endedAt"] is None) == ("whole.csv", "products", False)
    first = await export(web, shop, kind)
    same = await new_shop(web.services)
    media = {"csv": CSV, "jsonl": "application/jsonl", "xlsx": XLSX}[kind]
    assert (await load(web, same, first, media=media))["created"] == 3
    assert await export(web, same, kind) == first
    assert await faults(shop.owner) == await faults(same.owner) == []
    assert left_behind(web) == []


async def test_an_import_is_answered_with_where_to_ask_for_it(web: Web, shop: Shop) -> None:
    answer = await send(web, shop, simple("A,Malt,5,1"))
    assert answer.status_code == 202
    place = answer.headers["location"]
    assert place.endswith(f"/manage/{shop.store_id}/product-imports/{answer.json()['importId']}")
    assert (answer.json()["status"], answer.json()["startedAt"]) == ("waiting", None)
    polled = await web.get(place, headers={"sessiontoken": shop.session})
    assert polled.json() == answer.json()
    again = await web.get(
        place, headers={"sessiontoken": shop.session, "if-none-match": polled.headers["etag"]}
    )
    assert again.status_code == 304


async def test_progress_is_told_while_it_runs_and_goes_on_part_by_part(
    web: Web, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "ROWS_AT_ONCE", 10)
    monkeypatch.setattr(jobs, "_SECONDS", 0.0)
    seen: list[Json] = []
    enqueue = jobs._enqueue

    async def look(context: Context, db: Any, run: Any) -> None:
        await enqueue(context, db, run)
        if run.rows_done:
            seen.append(await progress(web, shop, str(run.import_id)))

    monkeypatch.setattr(jobs, "_enqueue", look)
    done = await load(web, shop, simple(*(f"S-{n},Item {n},{n},{n}" for n in range(35))))
    assert [(one["rowsDone"], one["created"]) for one in seen][:2] == [(11, 10), (21, 20)]
    assert {one["status"] for one in seen} == {"running"}
    assert all(one["secondsLeft"] >= 0 and one["rowsPerSecond"] > 0 for one in seen)
    fractions = [one["fraction"] for one in seen]
    assert fractions == sorted(fractions)
    assert (done["rowsDone"], done["created"], done["secondsLeft"]) == (36, 35, None)
    assert await count(shop, "import_file") == 0


async def test_a_job_that_dies_is_gone_on_with_and_makes_nothing_twice(
    web: Web, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "ROWS_AT_ONCE", 10)
    text = simple(*(f"S-{n},Item {n},{n},{n}" for n in range(35)))
    started = (await send(web, shop, text)).json()
    take = imports._Import.take
    taken = 0

    async def die(self: Any, part: Any, turn: Turn) -> None:
        nonlocal taken
        taken += 1
        if taken == 3:
            await turn()
            raise ConnectionResetError("the database went away")
        await take(self, part, turn)

    with monkeypatch.context() as dying:
        dying.setattr(imports._Import, "take", die)
        await web.services.jobs.run_due()
    half = await progress(web, shop, started["importId"])
    assert (half["status"], half["created"]) == ("running", 20)
    async with shop.owner.reading() as db:
        assert await db.value("SELECT count(*) FROM product") == 20
    # What the queue does when its time has come again; or the caller, who sends the file once more.
    again = await send(web, shop, text)
    assert again.json()["importId"] == started["importId"]
    await web.services.jobs.run_due()
    done = await progress(web, shop, started["importId"])
    assert (done["status"], done["created"], done["failed"]) == ("done", 35, 0)
    assert await count(shop, "product") == 35
    assert await faults(shop.owner) == []


async def test_each_mistake_is_told_with_its_place_and_its_rows_can_be_loaded_again(
    web: Web, shop: Shop
) -> None:
    done = await load(web, shop, simple("A,Malt,500,5", "B,Beer,cheap,5", "C,Cola,free,5", "D,,5,5"))
    assert (done["status"], done["created"], done["failed"], done["failedRows"]) == ("done", 1, 3, 3)
    assert done["faults"][0] == {
        "column": "price",
        "code": "number",
        "hint": "Write a number like 1234.50.",
        "count": 2,
        "places": [{"row": 3, "value": "cheap"}, {"row": 4, "value": "free"}],
    }
    answer = await call(web, shop, "GET", f"/product-imports/{done['importId']}/failed-rows")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [(row["sku"], row["row"]) for row in rows] == [("B", "3"), ("C", "4"), ("D", "5")]
    mended = answer.text.replace("cheap", "7").replace("free", "8").replace("D,,", "D,Dry gin,")
    assert (await load(web, shop, mended))["created"] == 3
    assert await count(shop, "product") == 4


async def test_a_dry_run_tells_the_changes_and_makes_none(web: Web, shop: Shop) -> None:
    await load(web, shop, simple("A,Malt,500,5"))
    before = await export(web, shop)
    text = simple("A,Malt,550,5", "B,Beer,700,5")
    done = await load(web, shop, text, dryrun="true", onduplicate="update")
    assert (done["options"]["dryRun"], done["created"], done["updated"]) == (True, 1, 1)
    change = {"sku": "A", "column": "price", "before": "500", "after": "550"}
    assert change in done["changes"]
    assert await export(web, shop) == before
    assert (await load(web, shop, text, onduplicate="update"))["updated"] == 1


async def test_stock_is_set_where_it_is_what_the_file_expects_or_overwritten_when_asked(
    web: Web, shop: Shop
) -> None:
    await load(web, shop, simple("A,Malt,500,5", "B,Beer,500,5"))
    text = "sku,quantity,expected quantity\nA,9,4\nB,9,5\n"
    done = await load(web, shop, text, onduplicate="update", setstock="true")
    assert (done["options"]["setStock"], done["options"]["overwriteStock"]) == (True, False)
    assert (done["updated"], done["failed"]) == (1, 1)
    assert done["faults"] == [
        {
            "column": "expected quantity",
            "code": "changed",
            "hint": "The quantity is now 5: look again, then give 5 as what you expect.",
            "count": 1,
            "places": [{"row": 2, "value": "4"}],
        }
    ]
    bare = "sku,quantity\nA,7\nB,9\n"
    done = await load(web, shop, bare, onduplicate="update", setstock="true")
    assert (done["skipped"], done["faults"][0]["code"]) == (1, "required")
    assert "overwritestock=true" in done["faults"][0]["hint"]
    done = await load(web, shop, bare, onduplicate="update", overwritestock="true")
    assert (done["updated"], done["skipped"], done["options"]["overwriteStock"]) == (1, 1, True)


async def test_the_same_file_is_one_import_while_it_is_not_done(web: Web, shop: Shop) -> None:
    text = simple("A,Malt,5,1")
    first, second = await send(web, shop, text), await send(web, shop, text)
    assert first.json()["importId"] == second.json()["importId"]
    other = await send(web, shop, text, dryrun="true")
    assert other.json()["importId"] != first.json()["importId"]
    await web.services.jobs.run_due()
    assert await count(shop, "product") == 1


async def test_a_repeat_with_its_key_is_answered_again_and_imports_once(web: Web, shop: Shop) -> None:
    headers = {"content-type": CSV, "idempotency-key": f"till-{new_id().hex}"}
    text = simple("A,Malt,5,1").encode()
    answers = []
    for _ in range(2):
        answers.append(await call(web, shop, "POST", "/product-imports", content=text, headers=headers))
        await web.services.jobs.run_due()
    assert answers[0].json() == answers[1].json()
    assert answers[0].headers["location"] == answers[1].headers["location"]
    other = await call(web, shop, "POST", "/product-imports", content=text + b"B,Beer,5,1\n", headers=headers)
    assert other.status_code == 409
    assert await count(shop, "import_run") == 1
    assert left_behind(web) == []


async def test_the_list_is_the_stores_own_and_goes_on_page_by_page(web: Web, shop: Shop) -> None:
    ids = [(await send(web, shop, simple(f"A{n},Malt,5,1"))).json()["importId"] for n in range(3)]
    first = (await call(web, shop, "GET", "/product-imports", params={"size": 2})).json()
    assert [one["importId"] for one in first["data"]] == [ids[2], ids[1]]
    cursor = first["nextCursor"]
    rest = (await call(web, shop, "GET", "/product-imports", params={"size": 2, "cursor": cursor})).json()
    assert ([one["importId"] for one in rest["data"]], rest["nextCursor"]) == ([ids[0]], None)
    wrong = await call(web, shop, "GET", "/product-imports", params={"cursor": "nonsense"})
    assert wrong.status_code == 422


async def test_a_cancel_keeps_what_is_done_and_takes_no_more(
    web: Web, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "ROWS_AT_ONCE", 10)
    started = (await send(web, shop, simple(*(f"S-{n},Item {n},{n},{n}" for n in range(35))))).json()
    path = f"/product-imports/{started['importId']}"
    take = imports._Import.take

    async def cancel_amid(self: Any, part: Any, turn: Turn) -> None:
        await turn()
        if self.run.rows_done:
            assert (await call(web, shop, "POST", f"{path}/cancel")).json()["status"] == "cancelled"
        await take(self, part, turn)

    with monkeypatch.context() as amid:
        amid.setattr(imports._Import, "take", cancel_amid)
        await web.services.jobs.run_due()
    ended = await progress(web, shop, started["importId"])
    assert (ended["status"], ended["created"]) == ("cancelled", 10)
    assert (await count(shop, "product"), await count(shop, "import_file")) == (10, 0)
    again = await call(web, shop, "POST", f"{path}/cancel")
    assert again.status_code == 409


async def test_nobody_else_sees_an_import(web: Web, shop: Shop, other_shop: Shop) -> None:
    import_id = (await send(web, shop, simple("A,Malt,cheap,1"))).json()["importId"]
    for method, path in (("GET", ""), ("GET", "/failed-rows"), ("POST", "/cancel")):
        answer = await call(web, other_shop, method, f"/product-imports/{import_id}{path}")
        unknown = await call(web, other_shop, method, f"/product-imports/{new_id()}{path}")
        odd = await call(web, other_shop, method, f"/product-imports/nothing{path}")
        assert answer.status_code == unknown.status_code == odd.status_code == 404
    assert (await call(web, other_shop, "GET", "/product-imports")).json()["data"] == []
    there = await hire(shop, Role.OWNER, shop.second_store_id)
    colleague = await web.get(
        f"/manage/{shop.second_store_id}/product-imports/{import_id}", headers={"sessiontoken": there.session}
    )
    assert colleague.status_code == 404
    cashier = await hire(shop, Role.CASHIER, shop.store_id)
    headers = {"sessiontoken": cashier.session, "content-type": CSV}
    path = f"/manage/{shop.store_id}/product-imports"
    assert (await web.post(path, content=b"sku\nA\n", headers=headers)).status_code == 403
    assert (await web.get(path, headers=headers)).status_code == 403
    assert (await web.post(path, content=b"sku\nA\n", headers={"content-type": CSV})).status_code == 401
    seen = await web.get(f"/manage/{shop.store_id}/product-exports", headers=headers)
    assert "cost price" not in seen.text.split("\r\n")[0]


def spreadsheet(folder: Path) -> bytes:
    """The columns sku, name, price and quantity; the price is a formula's last result."""
    head = "".join(f'<c t="str"><v>{name}</v></c>' for name in ("sku", "name", "price", "quantity"))
    row = '<c t="str"><v>A</v></c><c t="str"><v>Malt</v></c><c><f>5*100</f><v>500</v></c><c><v>3</v></c>'
    content = f"<worksheet><sheetData><row>{head}</row><row>{row}</row></sheetData></worksheet>"
    return write(folder / "products.xlsx", content).read_bytes()


async def test_a_spreadsheet_is_taken_with_what_its_formulas_gave(
    web: Web, shop: Shop, tmp_path: Path
) -> None:
    content = spreadsheet(tmp_path)
    done = await load(web, shop, content, media=XLSX, sheet="Products")
    assert (done["status"], done["created"], done["notes"][0][:16]) == ("done", 1, "sheet 'Products'")
    assert (await product_of(shop.owner, "A")).main.price.selling_minor == 50_000
    unknown = await send(web, shop, content, media=XLSX, sheet="Prices")
    assert unknown.status_code == 422
    assert "there are: Hidden, Products" in unknown.json()["detail"]
    cut = await send(web, shop, content[:-40], media=XLSX)
    assert (cut.status_code, "damaged archive" in cut.json()["detail"]) == (422, True)


# What is wrong as a whole -------------------------------------------------------------------------


def archive(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name.replace("__", "/"), content)
    return out.getvalue()


def bomb() -> bytes:
    return archive(**{"xl__workbook.xml": b" " * 40_000_000, "[Content_Types].xml": b"<x/>"})


def crowd() -> bytes:
    """A zip with more names in it than a server should make objects of."""
    entry = b"PK\x01\x02" + bytes(24) + (20).to_bytes(2, "little") + bytes(16) + b"A" * 20
    listed = entry * (9 * 1024 * 1024 // len(entry))
    end = b"PK\x05\x06" + bytes(8) + len(listed).to_bytes(4, "little") + bytes(6)
    return b"PK\x03\x04" + listed + end


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"", 422, "empty"),
        (b"sku,nmae,price\nA,Malt,5\n", 422, "did you mean 'name'"),
        (b"%PDF-1.7 ...", 422, "PDF"),
        (b"PK\x03\x04 cut short", 422, "damaged archive"),
        (bomb(), 422, "unpacks to 38 MB"),
        (crowd(), 422, "too many files"),
        (b"\x89PNG\r\n", 422, "picture"),
        (b'[{"sku": "A"}]', 422, "one JSON array"),
        (b"sku,quantity @ Nowhere\nA,1\n", 422, "Unknown columns"),
    ],
)
async def test_what_is_no_table_is_refused_at_once_and_leaves_nothing(
    web: Web, shop: Shop, content: bytes, status: int, said: str
) -> None:
    answer = await send(web, shop, content)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"]
    assert (await count(shop, "import_run"), await count(shop, "import_file")) == (0, 0)
    assert left_behind(web) == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"dry-run": "true"}, "Did you mean dryrun?"),
        ({"dryRun": "true"}, "Did you mean dryrun?"),
        ({"colour": "red"}, "There are filename, dryrun"),
        ({"dryrun": "yes"}, "boolean"),
        ({"onduplicate": "replace"}, "fail, skip, update"),
        ({"delimiter": ";;"}, "1"),
    ],
)
async def test_an_option_that_nobody_knows_is_refused(
    web: Web, shop: Shop, query: dict[str, str], said: str
) -> None:
    answer = await send(web, shop, simple("A,Malt,5,1"), **query)
    assert answer.status_code == 422
    assert said in answer.json()["errors"][0]["detail"]
    assert await count(shop, "import_run") == 0


async def test_a_wrong_media_type_is_refused(web: Web, shop: Shop) -> None:
    answer = await send(web, shop, simple("A,Malt,5,1"), media="application/x-www-form-urlencoded")
    assert answer.status_code == 415
    assert "text/csv" in answer.json()["detail"]
    answer = await call(web, shop, "GET", "/product-exports", params={"format": "xml"})
    assert answer.status_code == 422


async def test_a_file_over_the_limit_is_cut_and_leaves_nothing(
    web: Web, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MOST_BYTES", 1000)
    asked, seen = 0, []

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            seen.extend(left_behind(web))
            yield b"sku,name\n" * 30

    declared = await send(web, shop, "sku,name\n" + "A,Malt\n" * 1000)
    chunked = await send(web, shop, endless())
    assert declared.status_code == chunked.status_code == 413
    assert "at most 1000 bytes" in chunked.json()["detail"]
    assert asked < 10
    assert await count(shop, "import_run") == 0
    assert left_behind(web) == []
    assert seen, "while it comes it is there"


# Pictures -----------------------------------------------------------------------------------------


async def test_pictures_come_from_a_zip_and_go_on_where_they_stopped(
    web: Web, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load(web, shop, simple("A,Malt,5,1", "B,Beer,5,1"))
    files = {
        f"x__{name}": picture_bytes("PNG", seed=n) for n, name in enumerate(("A.png", "A-2.png", "B.png"))
    }
    content = archive(**files, **{"nobody.png": picture_bytes("PNG", seed=9), "B-2.png": b"no picture"})
    # Each job takes one picture, and leaves the rest to the next.
    monkeypatch.setattr(jobs, "_SECONDS", 0.0)
    pictures = {"media": "application/zip", "path": "/picture-imports"}
    done = await load(web, shop, content, filename="p.zip", **pictures)
    assert (done["kind"], done["status"], done["rowsDone"], done["fraction"]) == ("pictures", "done", 5, 1)
    assert (done["created"], done["skipped"], done["failed"]) == (3, 0, 2)
    places = {place["value"]: fault["hint"] for fault in done["faults"] for place in fault["places"]}
    assert places["nobody.png"] == "No product has this SKU."
    malt = await product_of(shop.owner, "A")
    assert [picture.alt_text for picture in malt.pictures] == ["Malt", "Malt, 2"]
    again = await load(web, shop, content, **pictures)
    assert (again["created"], again["skipped"], again["failed"]) == (0, 3, 2)
    answer = await call(web, shop, "GET", f"/product-imports/{done['importId']}/failed-rows")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert sorted(row["file"] for row in rows) == ["B-2.png", "nobody.png"]


async def test_pictures_wait_for_a_store_of_files_that_cannot_be_reached(
    web: Web, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load(web, shop, simple("A,Malt,5,1"))
    content = archive(**{"A.png": picture_bytes("PNG")})

    async def away(*_: Any) -> None:
        raise Unavailable("The bucket for files cannot be reached now.")

    with monkeypatch.context() as broken:
        broken.setattr("kasuwa.domain.exchange.pictures.keep_bytes", away)
        half = await load(web, shop, content, media="application/zip", path="/picture-imports")
    assert (half["status"], half["failed"]) == ("running", 0)
    # The same file again is the same import, and need not wait until the queue tries again.
    done = await load(web, shop, content, media="application/zip", path="/picture-imports")
    assert (done["importId"], done["status"], done["created"]) == (half["importId"], "done", 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "damaged archive"),
        (b"sku,name\n", "damaged archive"),
        (archive(A=b"x")[:-30], "damaged archive"),
        (archive(), "no pictures"),
        (crowd(), "too many files"),
    ],
    # A zip's bytes tell the time: they are no name for a test.
    ids=["empty", "table", "cut", "no pictures", "crowd"],
)
async def test_what_is_no_zip_of_pictures_is_refused(web: Web, shop: Shop, content: bytes, said: str) -> None:
    answer = await send(web, shop, content, media="application/zip", path="/picture-imports")
    assert answer.status_code == 422, answer.text
    assert said in answer.json()["detail"]
    assert await count(shop, "import_run") == 0
    assert left_behind(web) == []
