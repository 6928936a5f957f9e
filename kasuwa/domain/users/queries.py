"""Questions about users."""

from uuid import UUID

from msgspec import Struct

from kasuwa.base.context import Context, MerchantId
from kasuwa.base.db import Database, Pool
from kasuwa.base.ids import new_id
from kasuwa.domain.users.errors import UserNotFound
from kasuwa.domain.users.records import Credentials, User


class _Login(Struct, frozen=True):
    merchant_id: UUID
    user_id: UUID


USER_COLUMNS = """
    user_id, username, email, mobile, first_name, last_name, status, email_verified_at, mobile_verified_at,
    default_store_id
"""
_USER = f"""
    SELECT {USER_COLUMNS} FROM user_account
    WHERE merchant_id = current_merchant() AND user_id = :user_id
"""  # noqa: S608 - our own words


async def find_login(pool: Pool, name: str) -> tuple[MerchantId, UUID] | None:
    """Merchant and user of a log-in name as `login_name` gives it."""
    async with pool.autocommit() as db:
        found = await db.find("SELECT merchant_id, user_id FROM find_login(:name)", into=_Login, name=name)
    return None if found is None else (MerchantId(_plain(found.merchant_id)), _plain(found.user_id))


async def find_credentials(pool: Pool, name: str) -> Credentials | None:
    """What a log-in with that name is compared with.

    An unknown name asks the database the same questions as a known one, so that both take as long.
    """
    async with pool.autocommit() as db:
        return await db.find(
            """
            SELECT merchant_id, user_id, password_hash, status, has_second_factor
            FROM find_credentials(:name, :no_merchant, :no_user)
            """,
            into=Credentials,
            name=name,
            no_merchant=new_id(),
            no_user=new_id(),
        )


async def find_merchant_of(pool: Pool, user_id: UUID) -> MerchantId | None:
    async with pool.autocommit() as db:
        found = await db.value("SELECT find_account(:user_id)", user_id=user_id)
    return None if found is None else MerchantId(_plain(found))


async def get_user(db: Database, user_id: UUID, *, lock: bool = False) -> User:
    """The user; locked until the end of the transaction if wished. Raises UserNotFound."""
    sql = f"{_USER} FOR UPDATE" if lock else _USER
    return await db.one(sql, into=User, missing=UserNotFound(), user_id=user_id)


async def get_me(context: Context) -> User:
    """The user who asks."""
    assert context.caller.user_id is not None
    async with context.reading() as db:
        return await get_user(db, context.caller.user_id)


def _plain(driver_id: UUID) -> UUID:
    return UUID(int=driver_id.int)
