"""Pictures from a zip: SKU.jpg is the first of the product with that SKU, SKU-2.jpg the second."""

import asyncio
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from uuid import UUID

from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.problems import Problem, Unavailable
from kasuwa.base.tables import TableWrong
from kasuwa.base.tables.archives import DAMAGED, open_archive, open_member
from kasuwa.base.tables.survey import Fingerprint, fingerprint
from kasuwa.domain.catalogue.queries import find_sku, get_product
from kasuwa.domain.exchange.errors import ArchiveWrong
from kasuwa.domain.media.actions import show_picture
from kasuwa.domain.media.keeping import keep_bytes
from kasuwa.domain.media.records import MOST_BYTES, STOREHARMONY_FORMATS, Place
from kasuwa.domain.permissions import Permission

MOST_FILES = 200_000
_NUMBERED = re.compile(r"(?P<sku>.+)-(?P<place>[1-9][0-9]{0,2})")


class PictureOutcome(Struct, frozen=True):
    """What became of a file: shown, skipped (it is there already) or failed, with the reason."""

    name: str
    status: str
    reason: str = ""


class Named(Struct, frozen=True, order=True):
    """A file, and what its name says: the stem as it is, and as a SKU with a place."""

    stem: str
    place: int
    member: str


async def import_pictures(
    context: Context, path: Path, *, watch: Callable[[PictureOutcome], None] = lambda outcome: None
) -> dict[str, int]:
    """Show the zip's pictures on the products that their names tell; answer how many of each status.

    What a product shows already is skipped, so that an import that was cut short may be repeated.
    Raises ArchiveWrong for what is no zip.
    """
    context.require(Permission.STOCK_WRITE)
    counts = {"shown": 0, "skipped": 0, "failed": 0}
    with open_pictures(path) as archive:
        for named in named_pictures(archive):
            outcome = await import_picture(context, archive, named)
            counts[outcome.status] += 1
            watch(outcome)
    return counts


def check_archive(path: Path) -> Fingerprint:
    """What the file is, when it is a zip with files. Raises ArchiveWrong."""
    with open_pictures(path) as archive:
        if not named_pictures(archive):
            raise ArchiveWrong("The zip has no pictures: put in SKU.jpg, SKU-2.jpg and so on.")
    return fingerprint(path)


def open_pictures(path: Path) -> zipfile.ZipFile:
    """The zip, for whoever closes it. Raises ArchiveWrong."""
    try:
        return open_archive(path, "The file")
    except TableWrong as wrong:
        raise ArchiveWrong(wrong.detail) from None


def named_pictures(archive: zipfile.ZipFile) -> list[Named]:
    """The files of the zip, always in the same order: the first picture of a product before its second."""
    return sorted(_named(archive))


def _named(archive: zipfile.ZipFile) -> Iterator[Named]:
    members = archive.infolist()
    if len(members) > MOST_FILES:
        raise ArchiveWrong(f"The zip has more than {MOST_FILES} files: part it.")
    for info in members:
        name = PurePosixPath(info.filename.replace("\\", "/"))
        # What macOS and file managers add.
        if info.is_dir() or name.name.startswith(".") or "__MACOSX" in name.parts:
            continue
        numbered = _NUMBERED.fullmatch(name.stem)
        if numbered:
            yield Named(numbered["sku"], int(numbered["place"]), info.filename)
        else:
            yield Named(name.stem, 1, info.filename)


async def import_picture(context: Context, archive: zipfile.ZipFile, named: Named) -> PictureOutcome:
    """Show one file of the zip on the product that its name tells. Raises Unavailable: try again later."""
    try:
        product_id, place = await _product_of(context, named)
        if product_id is None:
            return PictureOutcome(named.member, "failed", "No product has this SKU.")
        content = await asyncio.to_thread(_content, archive, named.member)
        kept = await keep_bytes(context, content, STOREHARMONY_FORMATS)
        product = await get_product(context, product_id)
        if any(picture.picture_id == kept.picture_id for picture in product.pictures):
            return PictureOutcome(named.member, "skipped")
        stem = PurePosixPath(named.member).stem
        alt = product.name if stem == named.stem else f"{product.name}, {place}"
        await show_picture(context, product_id, kept, Place(position=place, alt_text=alt))
    except TableWrong as wrong:
        return PictureOutcome(named.member, "failed", wrong.detail)
    except Unavailable:
        # It is not the picture's fault that the server has too much to do.
        raise
    except Problem as problem:
        return PictureOutcome(named.member, "failed", problem.detail or problem.title)
    return PictureOutcome(named.member, "shown")


async def _product_of(context: Context, named: Named) -> tuple[UUID | None, int]:
    """A SKU may itself end in a number: the whole name wins."""
    stem = PurePosixPath(named.member.replace("\\", "/")).stem
    async with context.reading() as db:
        whole = await find_sku(db, stem)
        if whole is not None:
            return whole[0], 1
        found = await find_sku(db, named.stem)
    return (None, 0) if found is None else (found[0], named.place)


def _content(archive: zipfile.ZipFile, member: str) -> bytes:
    info = archive.getinfo(member)
    if info.file_size > MOST_BYTES:
        raise TableWrong(f"A picture has at most {MOST_BYTES // 2**20} MB.")
    try:
        with open_member(archive, info) as file:
            return file.read(MOST_BYTES)
    except DAMAGED as error:
        raise TableWrong(f"The archive is damaged here: {error}.") from None
