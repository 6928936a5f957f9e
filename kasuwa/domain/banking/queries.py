"""Questions about bank accounts."""

from collections.abc import Callable, Set
from typing import Any
from uuid import UUID

import msgspec

from kasuwa.base.context import Context
from kasuwa.base.cursors import wrong_cursor
from kasuwa.base.db import Database
from kasuwa.base.ids import read_id
from kasuwa.base.pages import Page
from kasuwa.base.problems import Unauthenticated
from kasuwa.domain.banking.errors import AccountNotFound
from kasuwa.domain.banking.records import AccountWish, BankAccount, masked
from kasuwa.domain.permissions import HOLDS_PERMISSION, Permission, holding

COLUMNS = """
    a.bank_account_id, a.store_id, a.bank_code, a.bank_name, a.sealed_number, a.holder_name, a.account_type,
    a.active, a.is_default, a.verified, a.created_at, a.created_by, a.updated_at
"""


def opened(context: Context) -> Callable[..., BankAccount]:
    """Makes an account of a row of `COLUMNS`: the number comes out of its seal."""

    def open_row(*, sealed_number: bytes, **row: Any) -> BankAccount:
        return BankAccount(number=context.services.sealer.open(sealed_number).decode(), **row)

    return open_row


async def get_account(context: Context, account_id: UUID | None) -> BankAccount:
    """The account of the caller's store. Raises AccountNotFound; None is an id that no account can have."""
    context.require(Permission.BANK_READ)
    async with context.reading() as db:
        return await read_account(context, db, account_id)


async def read_account(
    context: Context, db: Database, account_id: UUID | None, *, lock: bool = False
) -> BankAccount:
    """Inside a transaction; `lock` keeps it as it is until the end of that. Raises AccountNotFound."""
    return await db.one(
        f"""
        SELECT {COLUMNS} FROM bank_account a
        WHERE a.merchant_id = current_merchant() AND a.bank_account_id = :account_id
          AND a.store_id = :store_id {"FOR UPDATE" if lock else ""}
        """,  # noqa: S608 - our own words
        into=opened(context),
        missing=AccountNotFound(),
        account_id=account_id,
        store_id=context.store_id,
    )


async def list_accounts(context: Context, wish: AccountWish) -> Page[BankAccount]:
    """Accounts of the caller's store: the default one, then the others in the order they were added."""
    context.require(Permission.BANK_READ)
    past_default, after = _read_cursor(wish.cursor)
    async with context.reading() as db:
        rows = await db.all(
            f"""
            SELECT {COLUMNS} FROM bank_account a
            WHERE a.merchant_id = current_merchant() AND a.store_id = :store_id
              AND (:active::boolean IS NULL OR a.active = :active)
              AND (:after::uuid IS NULL
                   OR (NOT a.is_default, a.bank_account_id) > (:past_default::boolean, :after))
            ORDER BY NOT a.is_default, a.bank_account_id LIMIT :size OFFSET :offset
            """,  # noqa: S608 - our own columns
            into=opened(context),
            store_id=context.store_id,
            active=wish.active,
            past_default=past_default,
            after=after,
            size=wish.size + 1,
            offset=0 if wish.cursor is not None else (wish.page - 1) * wish.size,
        )
        total: int = await db.value(
            """
            SELECT count(*) FROM bank_account
            WHERE merchant_id = current_merchant() AND store_id = :store_id
              AND (:active::boolean IS NULL OR active = :active)
            """,
            store_id=context.store_id,
            active=wish.active,
        )
    shown = rows[: wish.size]
    cursor = _write_cursor(shown[-1]) if len(rows) > wish.size else None
    return Page(tuple(shown), wish.page, wish.size, total, True, cursor)


async def accounts_shown(context: Context, store_id: UUID, permissions: Set[str]) -> list[BankAccount]:
    """The accounts in use of a store of the caller's, as they may see them there, the default first.

    Who may not read accounts gets the numbers masked. The caller has been found to belong to the store.
    """
    async with context.reading() as db:
        rows = await db.all(
            f"""
            SELECT {COLUMNS} FROM bank_account a
            WHERE a.merchant_id = current_merchant() AND a.store_id = :store_id AND a.active
            ORDER BY NOT a.is_default, a.bank_account_id
            """,  # noqa: S608 - our own columns
            into=opened(context),
            store_id=store_id,
        )
    if Permission.BANK_READ in permissions:
        return rows
    return [msgspec.structs.replace(row, number=masked(row.number)) for row in rows]


async def get_users_account(context: Context, account_id: UUID | None) -> BankAccount:
    """An account of any store where the user may read accounts. Raises AccountNotFound."""
    context.require(Permission.BANK_READ)
    async with context.reading() as db:
        return await db.one(
            f"""
            SELECT {COLUMNS} FROM bank_account a
            JOIN membership m ON m.merchant_id = a.merchant_id AND m.store_id = a.store_id
              AND m.user_id = :user_id AND m.status = 'active'
              AND {HOLDS_PERMISSION}
            WHERE a.merchant_id = current_merchant() AND a.bank_account_id = :account_id
            """,  # noqa: S608 - our own columns
            into=opened(context),
            missing=AccountNotFound(),
            user_id=user_id(context),
            account_id=account_id,
            **holding(Permission.BANK_READ),
        )


async def find_wallet_account(context: Context) -> BankAccount | None:
    """The account that the user's wallet is paid out to, if one was chosen."""
    async with context.reading() as db:
        return await db.find(
            f"""
            SELECT {COLUMNS} FROM wallet_bank w
            JOIN bank_account a ON a.merchant_id = w.merchant_id AND a.bank_account_id = w.bank_account_id
            WHERE w.merchant_id = current_merchant() AND w.user_id = :user_id
            """,  # noqa: S608 - our own columns
            into=opened(context),
            user_id=user_id(context),
        )


async def show_wallet_account(context: Context) -> BankAccount | None:
    """The same, its number masked for whoever may not read accounts at the location whose account it is."""
    async with context.reading() as db:
        account = await find_wallet_account(context)
        if account is None:
            return None
        may_read = await db.value(
            f"""
            SELECT EXISTS (
              SELECT FROM membership m
              WHERE m.merchant_id = current_merchant() AND m.store_id = :store_id AND m.user_id = :user_id
                AND m.status = 'active' AND {HOLDS_PERMISSION})
            """,  # noqa: S608 - our own condition
            store_id=account.store_id,
            user_id=user_id(context),
            **holding(Permission.BANK_READ),
        )
    # A session at a till may less than whoever sits there.
    if may_read and context.may(Permission.BANK_READ):
        return account
    return msgspec.structs.replace(account, number=masked(account.number))


def user_id(context: Context) -> UUID:
    if context.caller.user_id is None:
        raise Unauthenticated("Log in as a user.")
    return context.caller.user_id


def _write_cursor(last: BankAccount) -> str:
    return f"{int(not last.is_default)}.{last.bank_account_id}"


def _read_cursor(cursor: str | None) -> tuple[bool, UUID | None]:
    """Whether the page before ended after the default one, and with which account."""
    if cursor is None:
        return False, None
    found = read_id(cursor[2:])
    if found is None or cursor[:2] not in ("0.", "1."):
        raise wrong_cursor()
    return cursor[0] == "1", found
