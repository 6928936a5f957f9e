"""The account that a user's wallet is paid out to."""

from uuid import UUID

from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.domain.banking.errors import AccountInactive, AccountNotFound
from kasuwa.domain.banking.queries import COLUMNS, find_wallet_account, opened, user_id
from kasuwa.domain.banking.records import BankAccount, number_marks
from kasuwa.domain.permissions import HOLDS_PERMISSION, Permission, holding
from kasuwa.domain.reference.banks import find_bank


class WalletChoice(Struct, frozen=True, kw_only=True):
    """An account by its id, else by bank and number. `store_id` None: of the session's store."""

    store_id: UUID | None = None
    account_id: UUID | None = None
    bank_code: str = ""
    number: str = ""


async def choose_wallet_account(context: Context, choice: WalletChoice) -> BankAccount:
    """Pay the user's wallet out to this account from now on. Safe to repeat.

    The account is one of a store where the user may write accounts. Raises AccountNotFound, AccountInactive.
    """
    context.require(Permission.BANK_WRITE)
    bank = find_bank(choice.bank_code)
    async with context.transaction() as db:
        account = await db.one(
            f"""
            SELECT {COLUMNS} FROM bank_account a
            JOIN membership m ON m.merchant_id = a.merchant_id AND m.store_id = a.store_id
              AND m.user_id = :user_id AND m.status = 'active'
              AND {HOLDS_PERMISSION}
            WHERE a.merchant_id = current_merchant() AND a.store_id = :store_id
              AND (a.bank_account_id = :account_id
                   OR (a.bank_code = :bank_code AND a.number_mark = ANY(:marks::bytea[])))
            FOR UPDATE OF a
            """,  # noqa: S608 - our own columns
            into=opened(context),
            missing=AccountNotFound(),
            user_id=user_id(context),
            **holding(Permission.BANK_WRITE),
            store_id=choice.store_id or context.store_id,
            account_id=choice.account_id,
            bank_code=None if bank is None else bank.code,
            marks=number_marks(context.services.sealer, context.merchant_id, choice.number)
            if choice.number
            else [],
        )
        if not account.active:
            raise AccountInactive("Choose one that is in use.")
        before = await find_wallet_account(context)
        if before is not None and before.bank_account_id == account.bank_account_id:
            return account
        await db.execute(
            """
            INSERT INTO wallet_bank (merchant_id, user_id, bank_account_id)
            VALUES (current_merchant(), :user_id, :account_id)
            ON CONFLICT (merchant_id, user_id)
            DO UPDATE SET bank_account_id = excluded.bank_account_id, chosen_at = clock_timestamp()
            """,
            user_id=user_id(context),
            account_id=account.bank_account_id,
        )
        await write_audit(
            context,
            db,
            "wallet.bank",
            "user",
            user_id(context),
            before=None if before is None else {"bankId": before.bank_account_id, **before.facts()},
            after={"bankId": account.bank_account_id, **account.facts()},
        )
    return account
