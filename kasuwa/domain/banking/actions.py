"""Changes of bank accounts. Those of one store come one after the other: its row is held."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database, settles
from kasuwa.base.ids import new_id
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.banking.checking import identity
from kasuwa.domain.banking.errors import (
    AccountInactive,
    AccountInUse,
    AccountListed,
    DefaultNeeded,
    TooManyAccounts,
)
from kasuwa.domain.banking.queries import read_account
from kasuwa.domain.banking.records import BankAccount, CheckedDetails, Removal, number_marks
from kasuwa.domain.permissions import Permission

# Far beyond any shop's need; so a page of them is never long to make.
MOST_ACCOUNTS = 200
_LISTED = AccountListed("Use the account that is listed, or put it into use again.")
_SETTLED = {"bank_account_listed_once": _LISTED}


async def create_account(context: Context, checked: CheckedDetails) -> BankAccount:
    """Add the account to the caller's store; the first one in use becomes the default.

    Raises AccountListed, TooManyAccounts.
    """
    context.require(Permission.BANK_WRITE)
    details, account_id = checked.details, new_id()
    active = details.active is not False
    async with context.transaction() as db:
        await hold_store(context, db)
        if await db.value(_COUNT, store_id=context.store_id) >= MOST_ACCOUNTS:
            raise TooManyAccounts("Delete one that is not used any more.")
        await _refuse_listed(context, db, checked, None)
        with settles(_SETTLED):
            await db.execute(
                """
                INSERT INTO bank_account (merchant_id, bank_account_id, store_id, bank_code, bank_name,
                                          sealed_number, number_mark, last_digits, holder_name, account_type,
                                          active, verified, created_by)
                VALUES (current_merchant(), :account_id, :store_id, :bank_code, :bank_name, :sealed, :mark,
                        :last_digits, :holder_name, :account_type, :active, :verified, :user_id)
                """,
                account_id=account_id,
                store_id=context.store_id,
                active=active,
                user_id=context.caller.user_id,
                **_columns(context, checked),
            )
        if active and (details.make_default or await _default_id(context, db) is None):
            await _make_default(context, db, account_id)
        account = await read_account(context, db, account_id)
        await write_audit(context, db, "bank.create", "bank_account", account_id, after=account.facts())
    return account


async def update_account(context: Context, account_id: UUID | None, checked: CheckedDetails) -> BankAccount:
    """Replace the details. Out of use is a default one only when it is the last in use.

    Raises AccountNotFound, AccountListed, AccountInUse, AccountInactive, DefaultNeeded.
    """
    context.require(Permission.BANK_WRITE)
    details = checked.details
    async with context.transaction() as db:
        await hold_store(context, db)
        before = await read_account(context, db, account_id, lock=True)
        active = before.active if details.active is None else details.active
        if details.make_default and not active:
            raise AccountInactive("Put it into use with activated: true to make it the default.")
        if details.make_default is False and before.is_default and active:
            raise DefaultNeeded("Make another account the default; this one is then none any more.")
        await _refuse_listed(context, db, checked, before.bank_account_id)
        if before.active and not active:
            await _release(context, db, before, None)
        with settles(_SETTLED):
            await db.execute(
                """
                UPDATE bank_account
                SET bank_code = :bank_code, bank_name = :bank_name, sealed_number = :sealed,
                    number_mark = :mark, last_digits = :last_digits, holder_name = :holder_name,
                    account_type = :account_type, active = :active, verified = :verified,
                    updated_at = clock_timestamp()
                WHERE merchant_id = current_merchant() AND bank_account_id = :account_id
                """,
                account_id=before.bank_account_id,
                active=active,
                **_columns(context, checked, before),
            )
        if active and (details.make_default or await _default_id(context, db) is None):
            await _make_default(context, db, before.bank_account_id)
        account = await read_account(context, db, account_id)
        await write_audit(
            context,
            db,
            "bank.update",
            "bank_account",
            account.bank_account_id,
            before=before.facts(),
            after=account.facts(),
        )
    return account


async def deactivate_account(
    context: Context, account_id: UUID | None, *, reason: str = "", replacement_id: UUID | None = None
) -> Removal:
    """Take the account out of use; what was paid out to it goes to the replacement. Safe to repeat.

    The last account in use needs none: then the store has no default. Raises AccountNotFound, AccountInUse,
    and Invalid for a replacement that is no other account of the store in use.
    """
    context.require(Permission.BANK_WRITE)
    async with context.transaction() as db:
        await hold_store(context, db)
        before = await read_account(context, db, account_id, lock=True)
        if replacement_id is not None:
            await _require_replacement(context, db, before, replacement_id)
        if not before.active:
            return Removal(before.bank_account_id, await _default_id(context, db), before.updated_at)
        await _release(context, db, before, replacement_id)
        at: datetime = await db.value(
            """
            UPDATE bank_account SET active = false, updated_at = clock_timestamp()
            WHERE merchant_id = current_merchant() AND bank_account_id = :account_id RETURNING updated_at
            """,
            account_id=before.bank_account_id,
        )
        after = await read_account(context, db, account_id)
        await write_audit(
            context,
            db,
            "bank.deactivate",
            "bank_account",
            before.bank_account_id,
            before=before.facts(),
            after={**after.facts(), "reason": reason},
        )
        return Removal(before.bank_account_id, await _default_id(context, db), at)


async def delete_account(context: Context, account_id: UUID | None) -> Removal:
    """Delete the account for good; the audit keeps that it was there.

    Raises AccountNotFound, and AccountInUse while it is the default or a wallet is paid out to it.
    """
    context.require(Permission.BANK_WRITE)
    async with context.transaction() as db:
        await hold_store(context, db)
        before = await read_account(context, db, account_id, lock=True)
        if before.is_default:
            raise AccountInUse("It is the default: make another account the default, or take it out of use.")
        in_use = AccountInUse("A wallet is paid out to it: choose another account there first.")
        with settles({"wallet_bank_account": in_use}):
            at: datetime = await db.value(
                """
                DELETE FROM bank_account
                WHERE merchant_id = current_merchant() AND bank_account_id = :account_id
                RETURNING clock_timestamp()
                """,
                account_id=before.bank_account_id,
            )
        await write_audit(
            context, db, "bank.delete", "bank_account", before.bank_account_id, before=before.facts()
        )
        return Removal(before.bank_account_id, await _default_id(context, db), at)


async def set_default(context: Context, account_id: UUID | None) -> BankAccount:
    """Pay out to this account of the store from now on. Safe to repeat.

    Raises AccountNotFound, AccountInactive.
    """
    context.require(Permission.BANK_WRITE)
    async with context.transaction() as db:
        await hold_store(context, db)
        before = await read_account(context, db, account_id, lock=True)
        if before.is_default:
            return before
        if not before.active:
            raise AccountInactive("Put it into use first: send its details with activated: true.")
        former = await _default_id(context, db)
        await _make_default(context, db, before.bank_account_id)
        after = await read_account(context, db, account_id)
        await write_audit(
            context,
            db,
            "bank.default",
            "bank_account",
            before.bank_account_id,
            before={"defaultBankId": former},
            after={"defaultBankId": before.bank_account_id, **after.facts()},
        )
    return after


async def hold_store(context: Context, db: Database) -> None:
    """Nobody else changes accounts of the caller's store until the transaction ends."""
    await db.execute(
        """
        SELECT 1 FROM store WHERE merchant_id = current_merchant() AND store_id = :store_id
        FOR NO KEY UPDATE
        """,
        store_id=context.store_id,
    )


_COUNT = "SELECT count(*) FROM bank_account WHERE merchant_id = current_merchant() AND store_id = :store_id"


def _columns(
    context: Context, checked: CheckedDetails, before: BankAccount | None = None
) -> dict[str, object]:
    details = checked.details
    return {
        "bank_code": details.bank_code,
        "bank_name": details.bank_name,
        "sealed": context.services.sealer.seal(details.number.encode()),
        "mark": number_marks(context.services.sealer, context.merchant_id, details.number)[0],
        "last_digits": details.number[-4:],
        "holder_name": details.holder_name,
        "account_type": details.account_type or (before.account_type if before else "current"),
        "verified": before.verified
        if before is not None and identity(before) == identity(details)
        else checked.verified,
    }


async def _refuse_listed(
    context: Context, db: Database, checked: CheckedDetails, own_id: UUID | None
) -> None:
    """Beside the constraint: a number that was marked with an older key is found too."""
    details = checked.details
    if await db.value(
        """
        SELECT 1 FROM bank_account
        WHERE merchant_id = current_merchant() AND store_id = :store_id AND bank_code = :bank_code
          AND number_mark = ANY(:marks::bytea[]) AND bank_account_id IS DISTINCT FROM :own_id
        """,
        store_id=context.store_id,
        bank_code=details.bank_code,
        marks=number_marks(context.services.sealer, context.merchant_id, details.number),
        own_id=own_id,
    ):
        raise AccountListed(_LISTED.detail)


async def _default_id(context: Context, db: Database) -> UUID | None:
    found: UUID | None = await db.value(
        """
        SELECT bank_account_id FROM bank_account
        WHERE merchant_id = current_merchant() AND store_id = :store_id AND is_default
        """,
        store_id=context.store_id,
    )
    return found


async def _make_default(context: Context, db: Database, account_id: UUID) -> None:
    # Two statements: within one the index would meet two defaults.
    await db.execute(
        """
        UPDATE bank_account SET is_default = false, updated_at = clock_timestamp()
        WHERE merchant_id = current_merchant() AND store_id = :store_id AND is_default
          AND bank_account_id <> :account_id
        """,
        store_id=context.store_id,
        account_id=account_id,
    )
    await db.execute(
        """
        UPDATE bank_account SET is_default = true, updated_at = clock_timestamp()
        WHERE merchant_id = current_merchant() AND bank_account_id = :account_id AND NOT is_default
        """,
        account_id=account_id,
    )


async def _require_replacement(
    context: Context, db: Database, account: BankAccount, replacement_id: UUID
) -> None:
    if replacement_id == account.bank_account_id or not await db.value(
        """
        SELECT 1 FROM bank_account
        WHERE merchant_id = current_merchant() AND store_id = :store_id AND active
          AND bank_account_id = :replacement_id
        """,
        store_id=context.store_id,
        replacement_id=replacement_id,
    ):
        message = "Name another account of this store that is in use."
        raise Invalid(faults=[FieldFault("/replacementBankId", "unknown", message)])


class _Use(Struct, frozen=True):
    """How the account is used, and whether another one of the store could take its place."""

    wallets: int
    others: int


async def _release(context: Context, db: Database, account: BankAccount, replacement_id: UUID | None) -> None:
    """Let nothing be paid out to the account any more. Raises AccountInUse: where to, is left to decide."""
    use = await db.one(
        """
        SELECT (SELECT count(*) FROM wallet_bank w
                WHERE w.merchant_id = current_merchant() AND w.bank_account_id = :account_id) AS wallets,
               (SELECT count(*) FROM bank_account a
                WHERE a.merchant_id = current_merchant() AND a.store_id = :store_id AND a.active
                  AND a.bank_account_id <> :account_id) AS others
        """,
        into=_Use,
        account_id=account.bank_account_id,
        store_id=context.store_id,
    )
    if not account.is_default and not use.wallets:
        return
    if replacement_id is None and use.others:
        raise AccountInUse(
            "Say in replacementBankId which account takes its place, or choose another default first."
        )
    if replacement_id is None:
        await db.execute(
            """
            DELETE FROM wallet_bank
            WHERE merchant_id = current_merchant() AND bank_account_id = :account_id
            """,
            account_id=account.bank_account_id,
        )
    else:
        await db.execute(
            """
            UPDATE wallet_bank SET bank_account_id = :replacement_id, chosen_at = clock_timestamp()
            WHERE merchant_id = current_merchant() AND bank_account_id = :account_id
            """,
            account_id=account.bank_account_id,
            replacement_id=replacement_id,
        )
    if account.is_default and replacement_id is not None:
        await _make_default(context, db, replacement_id)
    elif account.is_default:
        await db.execute(
            """
            UPDATE bank_account SET is_default = false
            WHERE merchant_id = current_merchant() AND bank_account_id = :account_id
            """,
            account_id=account.bank_account_id,
        )
