"""Bank accounts of a store and of a user in StoreHarmony's words."""

from typing import Any
from uuid import UUID

from msgspec import UNSET

from kasuwa.api.storeharmony.contract import (
    BankAccountData,
    BankAccountLookup,
    DeactivateStoreBankAccountPath,
    DeleteStoreBankAccountPath,
    GetStoreBankAccountDetailsPath,
    GetStoreBankAccountListQuery,
    GetUserBankAccountDetailsPath,
    LookupBankAccountPath,
    SetDefaultStoreBankPath,
    StoreBankAccount,
    StoreBankAccountDeactivate,
    StoreBankAccountRemoved,
    StoreBankAccountWrite,
    UpdateStoreBankAccountPath,
    WalletBankAccountSelection,
)
from kasuwa.api.storeharmony.paging import page_view
from kasuwa.api.storeharmony.service import api
from kasuwa.base.context import Context
from kasuwa.base.http.api import Answer, Exchange
from kasuwa.base.http.caching import etag, require_match
from kasuwa.base.http.contract import encode
from kasuwa.base.ids import read_id
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.banking.actions import (
    create_account,
    deactivate_account,
    delete_account,
    set_default,
    update_account,
)
from kasuwa.domain.banking.checking import check_details, number_fault
from kasuwa.domain.banking.errors import BankNotFound
from kasuwa.domain.banking.holders import look_up
from kasuwa.domain.banking.queries import get_account, get_users_account, list_accounts, read_account
from kasuwa.domain.banking.records import AccountDetails, AccountWish, BankAccount, Removal
from kasuwa.domain.banking.wallets import WalletChoice, choose_wallet_account
from kasuwa.domain.reference.banks import find_bank
from kasuwa.domain.reference.nuban import is_nuban

# Looked for where an id cannot be read as one: nobody has it.
_NOBODYS = UUID(int=0)


@api.operation("getStoreBankAccountList")
async def get_store_bank_account_list(context: Context, query: GetStoreBankAccountListQuery) -> Any:
    page = await list_accounts(
        context,
        AccountWish(active=query.activated, page=query.page, size=query.size, cursor=query.cursor),
    )
    return page_view(page, account_view)


@api.operation("createStoreBankAccount")
async def create_store_bank_account(context: Context, body: StoreBankAccountWrite) -> Answer:
    if body.internalAccountNo:
        message = "Leave it out: a new account gets its id here."
        raise Invalid(faults=[FieldFault("/internalAccountNo", "not-yours", message)])
    checked = await check_details(context, _details(body))
    return _answered(await create_account(context, checked))


@api.operation("getStoreBankAccountDetails")
async def get_store_bank_account_details(
    context: Context, path: GetStoreBankAccountDetailsPath
) -> StoreBankAccount:
    return account_view(await get_account(context, read_id(path.bankid)))


@api.operation("updateStoreBankAccount")
async def update_store_bank_account(
    context: Context, exchange: Exchange, path: UpdateStoreBankAccountPath, body: StoreBankAccountWrite
) -> Answer:
    account_id = read_id(path.bankid)
    # Before the provider is asked: what is not there, or has changed, needs no answer of theirs.
    before = await get_account(context, account_id)
    require_match(exchange.request, _tag(before))
    if body.internalAccountNo and body.internalAccountNo != str(before.bank_account_id):
        message = "Leave it out, or send the account's own: it is what the path says."
        raise Invalid(faults=[FieldFault("/internalAccountNo", "other-account", message)])
    checked = await check_details(context, _details(body), before=before)
    async with context.transaction():
        await _require_unchanged(context, exchange, account_id)
        return _answered(await update_account(context, account_id, checked))


@api.operation("deleteStoreBankAccount")
async def delete_store_bank_account(
    context: Context, path: DeleteStoreBankAccountPath
) -> StoreBankAccountRemoved:
    return _removal_view(await delete_account(context, read_id(path.bankid)), "deleted")


@api.operation("deactivateStoreBankAccount")
async def deactivate_store_bank_account(
    context: Context,
    exchange: Exchange,
    path: DeactivateStoreBankAccountPath,
    body: StoreBankAccountDeactivate | None,
) -> StoreBankAccountRemoved:
    wish = body or StoreBankAccountDeactivate()
    replacement = wish.replacementBankId
    account_id = read_id(path.bankid)
    async with context.transaction():
        await _require_unchanged(context, exchange, account_id)
        removal = await deactivate_account(
            context,
            account_id,
            reason=wish.reason or "",
            replacement_id=None if replacement is UNSET else read_id(replacement) or _NOBODYS,
        )
    return _removal_view(removal, "deactivated")


@api.operation("setDefaultStoreBank")
async def set_default_store_bank(context: Context, path: SetDefaultStoreBankPath) -> Answer:
    return _answered(await set_default(context, read_id(path.bankid)))


@api.operation("getUserBankAccountDetails")
async def get_user_bank_account_details(
    context: Context, path: GetUserBankAccountDetailsPath
) -> BankAccountData:
    return account_data(await get_users_account(context, read_id(path.internalaccountno)))


@api.operation("setDefaultWalletBankAccount")
async def set_default_wallet_bank_account(
    context: Context, body: WalletBankAccountSelection
) -> BankAccountData:
    account_id = None if body.internalAccountNo is UNSET else read_id(body.internalAccountNo)
    store_id = None if body.storeId is UNSET else read_id(body.storeId) or _NOBODYS
    account = await choose_wallet_account(
        context,
        WalletChoice(
            store_id=store_id,
            account_id=account_id,
            bank_code=body.bankCode or "",
            number=body.userBankAccNo or "",
        ),
    )
    return account_data(account)


@api.operation("lookupBankAccount")
async def lookup_bank_account(context: Context, path: LookupBankAccountPath) -> Answer:
    bank = find_bank(path.bankcode)
    if bank is None:
        raise BankNotFound("Give a code from the list of banks, such as 058.")
    if not is_nuban(bank.code, path.accountno):
        raise Invalid(faults=[number_fault("#/path/accountno", bank)])
    found = await look_up(context, bank, path.accountno)
    answer = BankAccountLookup(
        bankCode=bank.code,
        bankFullName=bank.name,
        userBankAccNo=path.accountno,
        checkDigitValid=True,
        resolved=found.name is not None,
        userBankAccName=UNSET if found.name is None else found.name,
        source=found.source,
        lookedUpAt=found.at,
    )
    # A stranger's name: no cache keeps it.
    return Answer(answer, headers={"Cache-Control": "no-store"})


def account_data(account: BankAccount) -> BankAccountData:
    """The account where it stands beside other things; its number may be masked."""
    return BankAccountData(
        bankCode=account.bank_code,
        internalAccountNo=str(account.bank_account_id),
        bankFullName=account.bank_name,
        userBankAccNo=account.number,
        userBankAccName=account.holder_name,
        activated=account.active,
        defaultAccount=account.is_default,
        accountType=account.account_type,
    )


def account_view(account: BankAccount) -> StoreBankAccount:
    return StoreBankAccount(
        bankCode=account.bank_code,
        internalAccountNo=str(account.bank_account_id),
        bankFullName=account.bank_name,
        userBankAccNo=account.number,
        userBankAccName=account.holder_name,
        activated=account.active,
        defaultAccount=account.is_default,
        accountType=account.account_type,
        bankId=str(account.bank_account_id),
        storeId=str(account.store_id),
        verified=account.verified,
        createdAt=account.created_at,
        createdBy=None if account.created_by is None else str(account.created_by),
        updatedAt=account.updated_at,
    )


def _details(body: StoreBankAccountWrite) -> AccountDetails:
    return AccountDetails(
        bank_code=body.bankCode,
        bank_name=body.bankFullName,
        number=body.userBankAccNo,
        holder_name=body.userBankAccName,
        account_type=None if body.accountType is UNSET else body.accountType,
        active=None if body.activated is UNSET else body.activated,
        make_default=None if body.defaultAccount is UNSET else body.defaultAccount,
    )


async def _require_unchanged(context: Context, exchange: Exchange, account_id: UUID | None) -> None:
    """With If-Match: raises PreconditionFailed when the account reads otherwise by now."""
    if "if-match" in exchange.request.headers:
        async with context.transaction() as db:
            require_match(exchange.request, _tag(await read_account(context, db, account_id, lock=True)))


def _tag(account: BankAccount) -> str:
    """The ETag with which a read of the account is answered."""
    return etag(encode(account_view(account)))


def _answered(account: BankAccount) -> Answer:
    """The account, with the ETag that If-Match takes."""
    return Answer(account_view(account), headers={"ETag": _tag(account)})


def _removal_view(removal: Removal, status: Any) -> StoreBankAccountRemoved:
    return StoreBankAccountRemoved(
        bankId=str(removal.bank_account_id),
        status=status,
        defaultBankId=None if removal.default_id is None else str(removal.default_id),
        removedAt=removal.at,
    )
