"""Showing pictures on products. The files are there already: what is here is short and transactional."""

from collections.abc import Sequence, Sized
from uuid import UUID

from msgspec import UNSET, Struct

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.domain.catalogue.actions import lock_product, note_change
from kasuwa.domain.catalogue.categories import CategoryChange, lock_category, update_category
from kasuwa.domain.catalogue.queries import read_pictures
from kasuwa.domain.catalogue.records import Category, Product, ShownPicture
from kasuwa.domain.media.errors import OrderWrong, PictureNotFound, TooManyPictures
from kasuwa.domain.media.keeping import enqueue_sweep
from kasuwa.domain.media.records import MOST_PICTURES, KeptPicture, PictureChange, Place, Placed
from kasuwa.domain.permissions import Permission

_MOST_SORT_ORDER = 2**31 - 1


def require_room(shown: Sized, wanted: int = 1) -> None:
    """Raises TooManyPictures when a product that shows these has no room for more.

    Asked under the product's lock, and before anything slow is done.
    """
    if len(shown) + wanted > MOST_PICTURES:
        raise TooManyPictures()


async def show_picture(context: Context, product_id: UUID, kept: KeptPicture, place: Place) -> Placed:
    """Show a kept picture on a product. The first picture is the thumbnail. Raises TooManyPictures."""
    (placed,) = await show_pictures(context, product_id, [(kept, place)])
    return placed


async def show_pictures(
    context: Context, product_id: UUID, wanted: Sequence[tuple[KeptPicture, Place]]
) -> list[Placed]:
    """Show several pictures, one after the other, in one change of the product."""
    context.require(Permission.STOCK_WRITE)
    async with context.transaction() as db:
        before = await lock_product(db, product_id)
        slots = [_Slot.of(picture) for picture in before.pictures]
        require_room(slots, len(wanted))
        new_ids = []
        for kept, place in wanted:
            slot = await _insert(db, before, slots, kept, place)
            new_ids.append(slot.product_picture_id)
        await _write_order(db, slots)
        after = await note_change(context, db, "picture.add", before)
    shown = {picture.product_picture_id: picture for picture in after.pictures}
    return [Placed(shown[new_id], after) for new_id in new_ids]


async def change_picture(
    context: Context, product_id: UUID, product_picture_id: UUID, change: PictureChange
) -> Placed:
    """Change a picture's bytes, alt text, place or thumbnail flag. Raises PictureNotFound."""
    context.require(Permission.STOCK_WRITE)
    async with context.transaction() as db:
        before = await lock_product(db, product_id)
        slots = [_Slot.of(picture) for picture in before.pictures]
        slot = _get(slots, product_picture_id)
        await _write_facts(db, slot, change)
        if change.sort_order is not UNSET:
            _sort_at(slots, slot, change.sort_order)
        if change.position is not UNSET:
            _move_to(slots, slot, change.position)
        if change.is_thumbnail is not UNSET:
            await _flag(db, slots, slot, change.is_thumbnail)
        await _write_order(db, slots)
        await enqueue_sweep(db, context)
        after = await note_change(context, db, "picture.change", before)
    return Placed(_shown(after, product_picture_id), after)


async def remove_picture(context: Context, product_id: UUID, product_picture_id: UUID) -> Product:
    """Take a picture off a product. The next one in order becomes the thumbnail if this one was."""
    return await arrange_pictures(context, product_id, remove=[product_picture_id])


async def arrange_pictures(
    context: Context, product_id: UUID, *, remove: Sequence[UUID] = (), order: Sequence[int] = ()
) -> Product:
    """Take pictures off, then put the rest in order.

    `order` lists present positions (before the removal) in their new order; those left out follow.
    Raises PictureNotFound, OrderWrong.
    """
    context.require(Permission.STOCK_WRITE)
    async with context.transaction() as db:
        before = await lock_product(db, product_id)
        slots = [_Slot.of(picture) for picture in before.pictures]
        if any(not 1 <= position <= len(slots) for position in order):
            raise OrderWrong(f"The product has {len(slots)} pictures.")
        wanted = [slots[position - 1] for position in order]
        for product_picture_id in remove:
            await _take_off(db, slots, _get(slots, product_picture_id))
        if order:
            first = [slot for slot in wanted if slot in slots]
            slots[:] = first + [slot for slot in slots if slot not in first]
            _share_out(slots)
        await _write_order(db, slots)
        if remove:
            await enqueue_sweep(db, context)
        return await note_change(context, db, "picture.remove" if remove else "picture.arrange", before)


async def show_on_category(context: Context, category_id: UUID, kept: KeptPicture) -> Category:
    """Show a kept picture on a category, instead of the one that is there. Raises CategoryNotFound."""
    context.require(Permission.CATEGORY_WRITE)
    async with context.transaction() as db:
        before = await lock_category(db, category_id)
        if before.picture_id == kept.picture_id:
            return before
        change = CategoryChange(picture_id=kept.picture_id)
        category = await update_category(context, category_id, change, action="category.picture")
        await enqueue_sweep(db, context)
    return category


async def find_picture_id(db: Database, product_id: UUID, number: int) -> UUID | None:
    """The picture on the product with that number."""
    found = await db.value(
        """
        SELECT product_picture_id FROM product_picture
        WHERE merchant_id = current_merchant() AND product_id = :product_id AND number = :number
        """,
        product_id=product_id,
        number=number,
    )
    return None if found is None else UUID(int=found.int)


async def get_picture(context: Context, product_id: UUID, product_picture_id: UUID) -> ShownPicture:
    """One picture on a product. Raises PictureNotFound."""
    async with context.reading() as db:
        pictures = await read_pictures(db, product_id)
    for picture in pictures:
        if picture.product_picture_id == product_picture_id:
            return picture
    raise PictureNotFound()


class _Slot(Struct, eq=False):
    """A picture's place while it is being arranged."""

    product_picture_id: UUID
    number: int
    sort_order: int
    is_thumbnail: bool
    kept_sort_order: int | None = None

    @classmethod
    def of(cls, picture: ShownPicture) -> "_Slot":
        return cls(
            UUID(int=picture.product_picture_id.int),
            picture.number,
            picture.sort_order,
            picture.is_thumbnail,
            picture.sort_order,
        )


def _get(slots: list[_Slot], product_picture_id: UUID) -> _Slot:
    for slot in slots:
        if slot.product_picture_id == product_picture_id:
            return slot
    raise PictureNotFound()


async def _insert(
    db: Database, product: Product, slots: list[_Slot], kept: KeptPicture, place: Place
) -> _Slot:
    number = await db.value("SELECT take_numbers('product_picture')")
    slot = _Slot(new_id(), number, 0, False)
    if place.sort_order is not None:
        slot.sort_order = place.sort_order
        slots.append(slot)
        slots.sort(key=lambda s: (s.sort_order, s.number))
    else:
        index = len(slots) if place.position is None else min(place.position - 1, len(slots))
        if index < len(slots):
            slot.sort_order = slots[index].sort_order
        elif slots:
            slot.sort_order = slots[-1].sort_order + 1
        slots.insert(index, slot)
    await db.execute(
        """
        INSERT INTO product_picture (merchant_id, product_picture_id, number, product_id, picture_id,
                                     sort_order, alt_text)
        VALUES (current_merchant(), :product_picture_id, :number, :product_id, :picture_id,
                :sort_order, :alt_text)
        """,
        product_picture_id=slot.product_picture_id,
        number=number,
        product_id=product.product_id,
        picture_id=kept.picture_id,
        sort_order=min(slot.sort_order, _MOST_SORT_ORDER),
        alt_text=place.alt_text,
    )
    slot.kept_sort_order = min(slot.sort_order, _MOST_SORT_ORDER)
    if place.is_thumbnail or len(slots) == 1:
        await _flag(db, slots, slot, True)
    return slot


async def _write_facts(db: Database, slot: _Slot, change: PictureChange) -> None:
    columns: dict[str, object] = {}
    if change.alt_text is not UNSET:
        columns["alt_text"] = change.alt_text
    if change.picture is not UNSET:
        columns["picture_id"] = change.picture.picture_id
    assignments = "".join(f"{name} = :{name}, " for name in columns)
    await db.execute(
        f"UPDATE product_picture SET {assignments} updated_at = now()"  # noqa: S608 - our own column names
        " WHERE merchant_id = current_merchant() AND product_picture_id = :product_picture_id",
        product_picture_id=slot.product_picture_id,
        **columns,
    )


def _sort_at(slots: list[_Slot], slot: _Slot, sort_order: int) -> None:
    """Give the picture that sort order; if it is taken, whatever is there and after it moves back by one."""
    others = [other for other in slots if other is not slot]
    if any(other.sort_order == sort_order for other in others):
        for other in others:
            if other.sort_order >= sort_order:
                other.sort_order += 1
    slot.sort_order = sort_order
    slots.sort(key=lambda s: (s.sort_order, s.number))


def _move_to(slots: list[_Slot], slot: _Slot, position: int) -> None:
    """Put the picture at the position; the others close up and make room."""
    slots.remove(slot)
    slots.insert(min(position - 1, len(slots)), slot)
    _share_out(slots)


def _share_out(slots: list[_Slot]) -> None:
    """Hand the sort orders that are there to the pictures in their new order."""
    for slot, sort_order in zip(slots, sorted(s.sort_order for s in slots), strict=True):
        slot.sort_order = sort_order


async def _flag(db: Database, slots: list[_Slot], slot: _Slot, wanted: bool) -> None:
    """Exactly one picture is the thumbnail: the flag moves, and cannot be taken from the only one."""
    holder = next((other for other in slots if other.is_thumbnail), None)
    if wanted:
        successor = slot
    elif holder is slot and len(slots) > 1:
        successor = next(other for other in slots if other is not slot)
    else:
        return
    if successor is holder:
        return
    if holder is not None:
        await _set_thumbnail(db, holder, False)
    await _set_thumbnail(db, successor, True)


async def _set_thumbnail(db: Database, slot: _Slot, value: bool) -> None:
    await db.execute(
        """
        UPDATE product_picture SET is_thumbnail = :value, updated_at = now()
        WHERE merchant_id = current_merchant() AND product_picture_id = :product_picture_id
        """,
        product_picture_id=slot.product_picture_id,
        value=value,
    )
    slot.is_thumbnail = value


async def _take_off(db: Database, slots: list[_Slot], slot: _Slot) -> None:
    index = slots.index(slot)
    slots.remove(slot)
    await db.execute(
        """
        DELETE FROM product_picture
        WHERE merchant_id = current_merchant() AND product_picture_id = :product_picture_id
        """,
        product_picture_id=slot.product_picture_id,
    )
    if slot.is_thumbnail and slots:
        await _set_thumbnail(db, slots[index % len(slots)], True)


async def _write_order(db: Database, slots: list[_Slot]) -> None:
    """Make the stored order that of `slots`, changing as few sort orders as that takes."""
    previous: _Slot | None = None
    for slot in slots:
        if previous is not None and (slot.sort_order, slot.number) <= (previous.sort_order, previous.number):
            slot.sort_order = previous.sort_order + (slot.number <= previous.number)
        previous = slot
    if any(slot.sort_order > _MOST_SORT_ORDER for slot in slots):
        for place, slot in enumerate(slots):
            slot.sort_order = place
    moved = [slot for slot in slots if slot.sort_order != slot.kept_sort_order]
    if moved:
        await db.execute(
            """
            UPDATE product_picture p SET sort_order = m.sort_order, updated_at = now()
            FROM unnest(:ids::uuid[], :orders::integer[]) AS m (product_picture_id, sort_order)
            WHERE p.merchant_id = current_merchant() AND p.product_picture_id = m.product_picture_id
            """,
            ids=[slot.product_picture_id for slot in moved],
            orders=[slot.sort_order for slot in moved],
        )


def _shown(product: Product, product_picture_id: UUID) -> ShownPicture:
    return next(p for p in product.pictures if p.product_picture_id == product_picture_id)
