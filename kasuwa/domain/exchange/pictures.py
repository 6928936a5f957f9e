"""Pictures from a zip: SKU.jpg is the first of the product with that SKU, SKU-2.jpg the second.

With the SKU of a variant they come after those of the product, and the first stands for the variant.
"""

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
from kasuwa.domain.catalogue.queries import find_sku, get_product
from kasuwa.domain.catalogue.records import Product
from kasuwa.domain.catalogue.variants import show_variant_pictures
from kasuwa.domain.exchange.errors import ArchiveWrong
from kasuwa.domain.media.actions import show_picture
from kasuwa.domain.media.keeping import keep_bytes
from kasuwa.domain.media.records import MOST_BYTES, STOREHARMONY_FORMATS, KeptPicture, Place
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


def check_archive(path: Path) -> None:
    """Raises ArchiveWrong for what is no zip with files."""
    with open_pictures(path) as archive:
        if not named_pictures(archive):
            raise ArchiveWrong("The zip has no pictures: put in SKU.jpg, SKU-2.jpg and so on.")


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
        target = await _target_of(context, named)
        if target is None:
            return PictureOutcome(named.member, "failed", "No product has this SKU.")
        content = await asyncio.to_thread(_content, archive, named.member)
        kept = await keep_bytes(context, content, STOREHARMONY_FORMATS)
        is_new = await _show(context, await get_product(context, target.product_id), target, kept)
    except TableWrong as wrong:
        return PictureOutcome(named.member, "failed", wrong.detail)
    except Unavailable:
        # It is not the picture's fault that the server has too much to do.
        raise
    except Problem as problem:
        return PictureOutcome(named.member, "failed", problem.detail or problem.title)
    return PictureOutcome(named.member, "shown" if is_new else "skipped")


class _Target(Struct, frozen=True):
    """Where a file goes: to the product or one of its variants, as which of its pictures."""

    product_id: UUID
    variant_id: UUID
    place: int


async def _target_of(context: Context, named: Named) -> _Target | None:
    """A SKU may itself end in a number: the whole name wins."""
    stem = PurePosixPath(named.member.replace("\\", "/")).stem
    async with context.reading() as db:
        whole = await find_sku(db, stem)
        if whole is not None:
            return _Target(*whole, 1)
        found = await find_sku(db, named.stem)
    return None if found is None else _Target(*found, named.place)


async def _show(context: Context, product: Product, target: _Target, kept: KeptPicture) -> bool:
    """Show the picture; answer whether that changes anything."""
    there = next((one for one in product.pictures if one.picture_id == kept.picture_id), None)
    variant = next((one for one in product.variants if one.variant_id == target.variant_id), None)
    if product.kind == "simple" or variant is None:
        if there is None:
            await show_picture(context, product.product_id, kept, _first_places(product, target.place))
        return there is None
    # The first picture of a variant stands for it; its others are among those of the product.
    stands = target.place == 1
    if there is not None and not (stands and variant.product_picture_id is None):
        return False
    async with context.transaction():
        if there is None:
            alt = _alt_text(f"{product.name}, {variant.name}", target.place)
            there = (await show_picture(context, product.product_id, kept, Place(alt_text=alt))).picture
        if stands:
            pictures = {variant.variant_id: there.product_picture_id}
            await show_variant_pictures(context, product.product_id, pictures)
    return True


def _first_places(product: Product, place: int) -> Place:
    """Among the product's own, and before those of its variants, whichever came first."""
    of_variants = {variant.product_picture_id for variant in product.variants}
    thumbnails = [one.product_picture_id for one in product.pictures if one.is_thumbnail]
    return Place(
        position=place,
        alt_text=_alt_text(product.name, place),
        is_thumbnail=place == 1 and of_variants.issuperset(thumbnails),
    )


def _alt_text(name: str, place: int) -> str:
    return name if place == 1 else f"{name}, {place}"


def _content(archive: zipfile.ZipFile, member: str) -> bytes:
    info = archive.getinfo(member)
    if info.file_size > MOST_BYTES:
        raise TableWrong(f"A picture has at most {MOST_BYTES // 2**20} MB.")
    try:
        with open_member(archive, info) as file:
            return file.read(MOST_BYTES)
    except DAMAGED as error:
        raise TableWrong(f"The archive is damaged here: {error}.") from None
