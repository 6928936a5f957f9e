"""Categories: the shelves that products stand on."""

from uuid import UUID

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.domain.catalogue.actions import slug_of
from kasuwa.domain.permissions import Permission


async def create_category(context: Context, name: str, *, parent_id: UUID | None = None) -> UUID:
    """Add a category after the others; answer its id."""
    context.require(Permission.CATEGORY_WRITE)
    category_id = new_id()
    async with context.transaction() as db:
        number = await db.value("SELECT take_numbers('category')")
        await db.execute(
            """
            INSERT INTO category (merchant_id, category_id, number, parent_id, name, slug, position)
            VALUES (current_merchant(), :category_id, :number::bigint, :parent_id, :name, :slug,
                    :number::bigint::integer)
            """,
            category_id=category_id,
            number=number,
            parent_id=parent_id,
            name=name,
            slug=slug_of(name),
        )
        await write_audit(context, db, "category.create", "category", category_id, after={"name": name})
    return category_id


async def find_category_id(db: Database, name: str) -> UUID | None:
    """The first category of that name."""
    found = await db.value(
        """
        SELECT category_id FROM category
        WHERE merchant_id = current_merchant() AND name = :name ORDER BY number LIMIT 1
        """,
        name=name,
    )
    return None if found is None else UUID(int=found.int)
