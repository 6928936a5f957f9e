"""Hostile forms and file names over HTTP, wherever a picture is taken: a clear no, and no harm."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import msgspec
from msgspec import Struct

from kasuwa.base.ids import new_id
from tests.base.watched import begin_peak, peak_mb
from tests.conftest import picture_bytes
from tests.faults.doors import FormDoor, Shown, form_doors, operations_with_forms, show_one, url_doors
from tests.faults.hostile_forms import NAMES, OURS, form_of, hostile_forms
from tests.faults.hostile_uploads import send_all
from tests.faults.installation import Installation
from tests.faults.uploads import Call, Stage, staged

MOST_MB = 50
NEVER_TAKEN = {"id", "position", "media", "kind of a picture"}
# PostgreSQL's own, the counters and what the server says.
_OTHERS = re.compile(r"postgres.*|run|metrics")
_OUR_WORDS = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}/(zoom|standard|thumbnail|tiny)-\d+x\d+\.(jpg|png|webp)")


class Named(Struct, frozen=True):
    """What became of the uploads: how many were taken at each place, faults, and files that are not where
    pictures belong."""

    taken: dict[str, int]
    faults: list[str]
    elsewhere: list[str]


async def upload_by_names(installation: Installation, names: Sequence[str], temporary: Path) -> Named:
    """Each name at each place where a caller may write one, always with another picture."""
    async with staged(installation) as stage:
        shown = await show_one(stage)
        before = files(installation, temporary)
        calls: defaultdict[str, list[tuple[str, Call]]] = defaultdict(list)
        for name in names:
            content = picture_bytes("PNG", size=(24, 16)) + new_id().bytes
            for place, call in calls_with_name(stage, shown, name, content):
                calls[place].append((f"{place} {name!r}", call))
        taken, faults = {}, []
        for place, named in calls.items():
            in_path = place in NEVER_TAKEN
            # A slash in a path is decoded before it is parted: which operation was meant, nobody can say.
            statuses, worse = await send_all(stage, named, may_be_taken=not in_path, is_promised=not in_path)
            taken[place] = sum(count for status, count in statuses.items() if status < 300)
            faults += worse
        ours = installation.data / "files" / str(stage.shop.merchant_id)
        new = files(installation, temporary) - before
        stage.server.stop()
    strange = [one for one in new if not _OUR_WORDS.fullmatch(one.removeprefix(f"{ours}/"))]
    return Named(taken, faults, strange)


def files(installation: Installation, temporary: Path) -> set[str]:
    """Every file around the data folder and at the places that the names point to."""
    found = {path for path in installation.data.parent.rglob("*") if path.is_file()}
    found |= {path for path in temporary.rglob("*") if path.is_file()}
    found |= {folder / OURS for folder in (Path("/"), Path("/tmp"), Path.home()) if (folder / OURS).exists()}
    return {str(path) for path in found if path.suffix != ".log" and not _is_others(installation, path)}


def _is_others(installation: Installation, path: Path) -> bool:
    if not path.is_relative_to(installation.data):
        return False
    return _OTHERS.fullmatch(path.relative_to(installation.data).parts[0]) is not None


def calls_with_name(stage: Stage, shown: Shown, name: str, content: bytes) -> Iterator[tuple[str, Call]]:
    quoted = quote(name, safe="")
    for words, door in form_doors(stage, shown).items():
        yield words, door.call(*form_of(door.field, name, content))
    path = "/" + quote(name, safe="/%")
    stage.pictures.files[path] = content
    yield "shoplazza src", url_doors(stage, shown)["shoplazza create_product_image"](stage.pictures.url(path))
    session = {"sessiontoken": stage.shop.session, "content-type": "application/json"}
    complaint = {
        "subject": "The printer",
        "message": "It prints every receipt twice.",
        "category": "HARDWARE",
        "attachments": [{"fileName": name, "contentType": "application/pdf", "data": "JVBERi0xLjc="}],
    }
    yield (
        "complaint",
        Call(
            "POST",
            f"/cloudapi/user/{stage.shop.user_id}/complaint",
            session,
            msgspec.json.encode(complaint),
        ),
    )
    table = Call(
        "POST",
        f"/manage/{stage.shop.store_id}/product-imports?filename={quoted}",
        {"sessiontoken": stage.shop.session, "content-type": "text/csv"},
        b"sku,name,price\nS-1,Malt,5\n",
    )
    yield "import", table
    logo = Call("PUT", f"/manage/{stage.shop.store_id}/pictures/{quoted}", session, content)
    yield "kind of a picture", logo
    stock = f"/cloudapi/app/{stage.shop.store_id}/stock"
    raw = {"sessiontoken": stage.shop.session, "content-type": "image/png"}
    yield "id", Call("POST", f"{stock}/{quoted}/addpicture", raw, content)
    position = f"{stock}/{shown.product.product_id}/addpicture?position={quoted}"
    yield "position", Call("POST", position, raw, content)
    yield "media", Call("GET", f"/media/{stage.shop.merchant_id}/aa/{'a' * 64}/{quoted}", {}, b"")


async def test_a_hostile_name_of_a_file_stays_a_word(
    install: Callable[..., Installation], tmp_path: Path
) -> None:
    assert len(set(NAMES)) > 60
    named = await upload_by_names(install(TMPDIR=str(tmp_path)), NAMES, tmp_path)
    assert named.faults == []
    assert named.elsewhere == []
    # A name may be refused for what it is; most are words like any other, and what they name is kept.
    for place in {*operations_with_forms(), "shoplazza src", "complaint", "import"}:
        assert named.taken[place] > len(NAMES) // 3, named.taken


async def test_the_check_sees_a_build_that_takes_a_name_for_a_path(
    install: Callable[..., Installation], tmp_path: Path
) -> None:
    broken = install("trust-file-names", TMPDIR=str(tmp_path))
    named = await upload_by_names(broken, [f"../{OURS}"], tmp_path)
    assert named.elsewhere == [str(broken.data / OURS)]


async def send_forms(installation: Installation) -> tuple[list[str], float]:
    """What was not refused, and by how much the worker's memory grew meanwhile, in MB."""
    png = picture_bytes("PNG")
    async with staged(installation) as stage:
        shown = await show_one(stage)
        doors = form_doors(stage, shown)
        assert set(doors) == operations_with_forms()
        async with installation.client(timeout=30) as client:
            for name, door in doors.items():
                good = door.call(*form_of(door.field, "a.png", png))
                url = stage.server.url + good.path
                answer = await client.request(good.method, url, headers=good.headers, content=good.content)
                assert answer.is_success, f"{name}: {answer.text}"
        (worker,) = stage.server.workers()
        before_mb = begin_peak(worker)
        faults = []
        for name, door in (doors | doors_without_forms(stage, shown)).items():
            calls = [(f"{name}: {words}", call) for words, call in hostile_forms(door, png)]
            faults += (await send_all(stage, calls, may_be_taken=False))[1]
        assert stage.server.workers() == [worker]
        grown_mb = peak_mb(worker) - before_mb
        stage.server.stop()
    return faults, grown_mb


def doors_without_forms(stage: Stage, shown: Shown) -> dict[str, FormDoor]:
    """Two that take pictures, and no forms."""
    images = f"/openapi/2022-01/products/{shown.product.product_id}/images"
    settings = f"/manage/{stage.shop.store_id}/pictures/logo"
    return {
        "shoplazza": FormDoor("POST", images, {"access-token": stage.shop.token}, "image"),
        "manage": FormDoor("PUT", settings, {"sessiontoken": stage.shop.session}, "file"),
    }


async def test_hostile_forms_are_refused_in_little_memory(install: Callable[..., Installation]) -> None:
    faults, grown_mb = await send_forms(install())
    assert faults == []
    assert grown_mb <= MOST_MB


async def test_the_check_sees_a_build_that_reads_any_form_and_forgets_none(
    install: Callable[..., Installation],
) -> None:
    faults, grown_mb = await send_forms(install("read-any-form"))
    assert any("a missing end: 200" in fault for fault in faults), faults
    assert grown_mb > MOST_MB
