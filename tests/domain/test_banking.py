"""Bank accounts as verbs: what is checked, which one is the default, what is sealed, what the audit keeps."""

import asyncio
from typing import Any
from uuid import UUID

import msgspec
import pytest

from kasuwa.base.context import Context, StoreId
from kasuwa.base.ids import new_id
from kasuwa.base.problems import Forbidden, Invalid
from kasuwa.domain.banking import actions
from kasuwa.domain.banking.actions import (
    deactivate_account,
    delete_account,
    set_default,
    update_account,
)
from kasuwa.domain.banking.checking import check_details
from kasuwa.domain.banking.errors import (
    AccountInactive,
    AccountInUse,
    AccountListed,
    AccountNotFound,
    DefaultNeeded,
    TooManyAccounts,
)
from kasuwa.domain.banking.queries import (
    accounts_shown,
    find_wallet_account,
    get_account,
    get_users_account,
    list_accounts,
    show_wallet_account,
)
from kasuwa.domain.banking.records import AccountDetails, AccountWish, BankAccount
from kasuwa.domain.banking.wallets import WalletChoice, choose_wallet_account
from kasuwa.domain.merchants.actions import join_store
from kasuwa.domain.permissions import PERMISSIONS_OF_ROLE, Role
from tests.banking import new_account, new_number, wrong_number
from tests.conftest import SchemaOwner
from tests.contract.cast import hire
from tests.shop import Shop


def details(account: BankAccount, **changes: Any) -> AccountDetails:
    """What the account has, with changes."""
    return msgspec.structs.replace(
        AccountDetails(
            bank_code=account.bank_code,
            bank_name=account.bank_name,
            number=account.number,
            holder_name=account.holder_name,
        ),
        **changes,
    )


async def change(context: Context, account: BankAccount, **changes: Any) -> BankAccount:
    checked = await check_details(context, details(account, **changes), before=account)
    return await update_account(context, account.bank_account_id, checked)


async def everything(context: Context) -> list[BankAccount]:
    return list((await list_accounts(context, AccountWish(size=200))).rows)


async def default_of(context: Context) -> UUID | None:
    found = [account.bank_account_id for account in await everything(context) if account.is_default]
    assert len(found) <= 1
    return found[0] if found else None


def second_store(shop: Shop) -> Context:
    caller = msgspec.structs.replace(shop.owner.caller, store_id=StoreId(shop.second_store_id))
    return shop.owner.acting_as(caller)


async def refusals(context: Context, **changes: Any) -> set[tuple[str, str]]:
    """Pointer and code of each fault of an account that cannot be."""
    with pytest.raises(Invalid) as refused:
        await new_account(context, **changes)
    assert await everything(context) == []
    return {(fault.pointer, fault.code) for fault in refused.value.faults}


# What is checked ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"bank_code": "999", "number": new_number()}, {("/bankCode", "unknown")}),
        ({"bank_code": "0058", "number": new_number()}, {("/bankCode", "unknown")}),
        ({"bank_code": "030"}, {("/bankCode", "inactive")}),
        ({"bank_name": "Zenith Bank Plc"}, {("/bankFullName", "other-bank")}),
        ({"bank_name": " zenith  BANK "}, {("/bankFullName", "other-bank")}),
        ({"bank_name": "  "}, {("/bankFullName", "blank")}),
        ({"holder_name": " "}, {("/userBankAccName", "blank")}),
        ({"holder_name": "Ada\u202estores"}, {("/userBankAccName", "control")}),
        ({"holder_name": "Ada\x00"}, {("/userBankAccName", "control")}),
        ({"number": wrong_number()}, {("/userBankAccNo", "nuban_check_digit")}),
        ({"number": "01234S6789"}, {("/userBankAccNo", "nuban_check_digit")}),
        ({"number": "٠١٢٣٤٥٦٧٨٩"}, {("/userBankAccNo", "nuban_check_digit")}),
        ({"number": "1" * 4000}, {("/userBankAccNo", "nuban_check_digit")}),
        ({"active": False, "make_default": True}, {("/defaultAccount", "inactive")}),
    ],
)
async def test_what_cannot_be_an_account_is_refused_naming_the_field(
    context: Context, changes: dict[str, Any], faults: set[tuple[str, str]]
) -> None:
    assert await refusals(context, **changes) == faults


async def test_every_fault_is_told_at_once_and_no_message_repeats_the_number(context: Context) -> None:
    number = wrong_number()
    with pytest.raises(Invalid) as refused:
        await new_account(context, number=number, bank_name="Zenith Bank", holder_name=" ")
    assert len(refused.value.faults) == 3
    assert number not in repr(refused.value.faults)


async def test_a_bank_may_be_named_freely_and_its_code_written_in_six_digits(context: Context) -> None:
    number = new_number("50211")
    account = await new_account(context, bank_code="950211", bank_name="My  bank", number=number)
    assert (account.bank_code, account.bank_name, account.number) == ("50211", "My bank", number)
    assert (account.account_type, account.active, account.verified) == ("current", True, False)


async def test_an_account_is_listed_once_in_a_store_whatever_the_spelling(shop: Shop) -> None:
    number = new_number("50211")
    await new_account(shop.owner, bank_code="50211", bank_name="Kuda", number=number)
    with pytest.raises(AccountListed):
        await new_account(shop.owner, bank_code="950211", bank_name="Kuda", number=number)
    assert len(await everything(shop.owner)) == 1
    # Another store may have it too.
    await new_account(second_store(shop), bank_code="50211", bank_name="Kuda", number=number)


async def test_a_change_into_an_account_that_is_listed_is_refused(context: Context) -> None:
    first, second = await new_account(context), await new_account(context)
    with pytest.raises(AccountListed):
        await change(context, second, number=first.number)
    assert (await get_account(context, second.bank_account_id)).number == second.number


async def test_a_store_has_so_many_accounts_and_no_more(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "MOST_ACCOUNTS", 2)
    for _ in range(2):
        await new_account(context)
    with pytest.raises(TooManyAccounts):
        await new_account(context)


# The default --------------------------------------------------------------------------------------


async def test_the_first_account_in_use_is_the_default_and_stays_it(context: Context) -> None:
    idle = await new_account(context, active=False)
    assert await default_of(context) is None
    first = await new_account(context)
    await new_account(context)
    assert await default_of(context) == first.bank_account_id
    assert not idle.is_default


async def test_another_default_takes_the_first_ones_place(context: Context) -> None:
    first = await new_account(context)
    second = await new_account(context, make_default=True)
    assert await default_of(context) == second.bank_account_id
    await set_default(context, first.bank_account_id)
    assert await default_of(context) == first.bank_account_id
    changed = await change(context, second, make_default=True)
    assert changed.is_default
    assert await default_of(context) == second.bank_account_id


async def test_a_store_never_loses_its_default_by_a_word(context: Context) -> None:
    first = await new_account(context)
    with pytest.raises(DefaultNeeded):
        await change(context, first, make_default=False)
    assert await default_of(context) == first.bank_account_id


async def test_the_default_goes_only_with_a_replacement_while_there_are_others(context: Context) -> None:
    first, second = await new_account(context), await new_account(context)
    with pytest.raises(AccountInUse):
        await deactivate_account(context, first.bank_account_id)
    with pytest.raises(AccountInUse):
        await change(context, first, active=False)
    removal = await deactivate_account(
        context, first.bank_account_id, replacement_id=second.bank_account_id, reason="closed"
    )
    assert removal.default_id == second.bank_account_id == await default_of(context)
    again = await deactivate_account(context, first.bank_account_id)
    assert again == removal


async def test_the_last_account_may_go_out_of_use_and_then_there_is_no_default(context: Context) -> None:
    only = await new_account(context)
    with pytest.raises(AccountInUse):
        await delete_account(context, only.bank_account_id)
    assert (await deactivate_account(context, only.bank_account_id)).default_id is None
    with pytest.raises(AccountInactive):
        await set_default(context, only.bank_account_id)
    with pytest.raises(AccountInactive):
        await change(context, only, make_default=True)
    back = await change(context, only, active=True)
    assert (back.active, back.is_default) == (True, True)


@pytest.mark.parametrize("kind", ["itself", "out of use", "another store's", "nobody's"])
async def test_a_replacement_is_another_account_of_the_store_in_use(shop: Shop, kind: str) -> None:
    first, idle = await new_account(shop.owner), await new_account(shop.owner, active=False)
    elsewhere = await new_account(second_store(shop))
    ids = {
        "itself": first.bank_account_id,
        "out of use": idle.bank_account_id,
        "another store's": elsewhere.bank_account_id,
        "nobody's": new_id(),
    }
    with pytest.raises(Invalid) as refused:
        await deactivate_account(shop.owner, first.bank_account_id, replacement_id=ids[kind])
    assert [fault.pointer for fault in refused.value.faults] == ["/replacementBankId"]
    assert await default_of(shop.owner) == first.bank_account_id


async def test_what_was_deleted_is_gone_and_its_number_is_free(context: Context) -> None:
    await new_account(context)
    account = await new_account(context)
    await delete_account(context, account.bank_account_id)
    with pytest.raises(AccountNotFound):
        await get_account(context, account.bank_account_id)
    with pytest.raises(AccountNotFound):
        await delete_account(context, account.bank_account_id)
    await new_account(context, number=account.number)


async def test_many_at_once_leave_one_default(shop: Shop) -> None:
    def caller() -> Context:
        return shop.owner.acting_as(shop.owner.caller)

    made = await asyncio.gather(*(new_account(caller(), make_default=True) for _ in range(6)))
    assert sum(account.is_default for account in await everything(shop.owner)) == 1
    await asyncio.gather(*(set_default(caller(), account.bank_account_id) for account in made))
    assert await default_of(shop.owner) in {account.bank_account_id for account in made}
    number = new_number()
    results = await asyncio.gather(
        *(new_account(caller(), number=number) for _ in range(4)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["AccountListed"] * 3 + ["BankAccount"]


# Wallets ------------------------------------------------------------------------------------------


async def test_a_wallet_has_one_account_chosen_by_id_or_by_number(shop: Shop) -> None:
    first, second = await new_account(shop.owner), await new_account(shop.owner)
    elsewhere = await new_account(second_store(shop), bank_code="50211", bank_name="Kuda")
    assert await find_wallet_account(shop.owner) is None
    await choose_wallet_account(shop.owner, WalletChoice(account_id=first.bank_account_id))
    by_number = WalletChoice(bank_code="058", number=second.number)
    assert (await choose_wallet_account(shop.owner, by_number)).bank_account_id == second.bank_account_id
    there = WalletChoice(store_id=shop.second_store_id, bank_code="950211", number=elsewhere.number)
    await choose_wallet_account(shop.owner, there)
    found = await find_wallet_account(shop.owner)
    assert found is not None
    assert found.bank_account_id == elsewhere.bank_account_id


async def test_a_wallets_account_is_one_in_use_that_the_user_may_write(shop: Shop, other_shop: Shop) -> None:
    idle, elsewhere = await new_account(shop.owner, active=False), await new_account(second_store(shop))
    foreign = await new_account(other_shop.owner)
    with pytest.raises(AccountInactive):
        await choose_wallet_account(shop.owner, WalletChoice(account_id=idle.bank_account_id))
    for choice in (
        WalletChoice(account_id=elsewhere.bank_account_id),
        WalletChoice(account_id=foreign.bank_account_id),
        WalletChoice(store_id=other_shop.store_id, account_id=foreign.bank_account_id),
        WalletChoice(bank_code="058", number=foreign.number),
        WalletChoice(),
    ):
        with pytest.raises(AccountNotFound):
            await choose_wallet_account(shop.owner, choice)


async def test_a_wallet_follows_the_replacement_and_ends_with_the_last_account(shop: Shop) -> None:
    first, second = await new_account(shop.owner), await new_account(shop.owner)
    await choose_wallet_account(shop.owner, WalletChoice(account_id=second.bank_account_id))
    with pytest.raises(AccountInUse):
        await delete_account(shop.owner, second.bank_account_id)
    with pytest.raises(AccountInUse):
        await deactivate_account(shop.owner, second.bank_account_id)
    await deactivate_account(shop.owner, second.bank_account_id, replacement_id=first.bank_account_id)
    found = await find_wallet_account(shop.owner)
    assert found is not None
    assert found.bank_account_id == first.bank_account_id
    assert (await deactivate_account(shop.owner, first.bank_account_id)).default_id is None
    assert await find_wallet_account(shop.owner) is None


# Who may ------------------------------------------------------------------------------------------


async def as_role(shop: Shop, role: Role, *, also_second: Role | None = None) -> Context:
    staff = await hire(shop, role, shop.store_id)
    if also_second is not None:
        async with shop.owner.transaction() as db:
            await join_store(db, staff.user_id, shop.second_store_id, also_second)
    caller = msgspec.structs.replace(
        shop.owner.caller, user_id=staff.user_id, role=role, permissions=PERMISSIONS_OF_ROLE[role]
    )
    return shop.owner.acting_as(caller)


async def test_a_manager_reads_and_writes_nothing_a_cashier_neither(shop: Shop) -> None:
    account = await new_account(shop.owner)
    manager, cashier = await as_role(shop, Role.MANAGER), await as_role(shop, Role.CASHIER)
    assert (await get_account(manager, account.bank_account_id)).number == account.number
    assert (await get_users_account(manager, account.bank_account_id)).number == account.number
    for reading in (
        get_account(cashier, account.bank_account_id),
        get_users_account(cashier, account.bank_account_id),
        list_accounts(cashier, AccountWish()),
        new_account(manager),
        change(manager, account),
        deactivate_account(manager, account.bank_account_id),
        delete_account(manager, account.bank_account_id),
        set_default(manager, account.bank_account_id),
        choose_wallet_account(manager, WalletChoice(account_id=account.bank_account_id)),
    ):
        with pytest.raises(Forbidden):
            await reading
    assert await everything(shop.owner) == [account]


async def test_what_a_role_brings_holds_at_its_own_store_only(shop: Shop) -> None:
    account = await new_account(second_store(shop))
    nowhere = await as_role(shop, Role.MANAGER)
    selling = await as_role(shop, Role.OWNER, also_second=Role.CASHIER)
    managing = await as_role(shop, Role.OWNER, also_second=Role.MANAGER)
    for context in (nowhere, selling):
        with pytest.raises(AccountNotFound):
            await get_users_account(context, account.bank_account_id)
    assert (await get_users_account(managing, account.bank_account_id)).number == account.number
    there = WalletChoice(store_id=shop.second_store_id, account_id=account.bank_account_id)
    for context in (selling, managing):
        with pytest.raises(AccountNotFound):
            await choose_wallet_account(context, there)


async def test_who_may_not_read_accounts_sees_their_numbers_masked(shop: Shop) -> None:
    account = await new_account(shop.owner)
    await new_account(shop.owner, active=False)
    (shown,) = await accounts_shown(shop.owner, shop.store_id, PERMISSIONS_OF_ROLE[Role.CASHIER])
    assert shown.number == "******" + account.number[-4:]
    (shown,) = await accounts_shown(shop.owner, shop.store_id, PERMISSIONS_OF_ROLE[Role.MANAGER])
    assert shown.number == account.number


async def test_a_wallets_number_is_shown_by_the_rights_at_the_accounts_own_location(shop: Shop) -> None:
    account, elsewhere = await new_account(shop.owner), second_store(shop)
    await choose_wallet_account(shop.owner, WalletChoice(account_id=account.bank_account_id))
    # The control: rights at the location of the session alone change nothing.
    for store_id, number in (
        (shop.second_store_id, account.number),
        (shop.store_id, "******" + account.number[-4:]),
    ):
        async with shop.owner.transaction() as db:
            await db.execute(
                "UPDATE membership SET role = 'CASHIER' WHERE merchant_id = current_merchant()"
                " AND user_id = :user_id AND store_id = :store_id",
                user_id=shop.user_id,
                store_id=store_id,
            )
        shown = await show_wallet_account(elsewhere)
        assert shown is not None
        assert shown.number == number


async def test_another_merchant_and_another_store_find_nothing(shop: Shop, other_shop: Shop) -> None:
    account = await new_account(shop.owner)
    for context in (other_shop.owner, second_store(shop)):
        for knock in (
            get_account(context, account.bank_account_id),
            change(context, account),
            deactivate_account(context, account.bank_account_id),
            delete_account(context, account.bank_account_id),
            set_default(context, account.bank_account_id),
        ):
            with pytest.raises(AccountNotFound):
                await knock
        assert await everything(context) == []
    with pytest.raises(AccountNotFound):
        await get_users_account(other_shop.owner, account.bank_account_id)
    assert await everything(shop.owner) == [account]


# What is kept -------------------------------------------------------------------------------------


async def test_the_number_lies_sealed_and_no_row_of_the_audit_has_it(
    shop: Shop, schema_owner: SchemaOwner
) -> None:
    first, second = await new_account(shop.owner), await new_account(shop.owner)
    changed = await change(shop.owner, first, number=new_number(), holder_name="Ada & Sons")
    await set_default(shop.owner, second.bank_account_id)
    await choose_wallet_account(shop.owner, WalletChoice(account_id=second.bank_account_id))
    await choose_wallet_account(shop.owner, WalletChoice(account_id=first.bank_account_id))
    await deactivate_account(
        shop.owner, first.bank_account_id, replacement_id=second.bank_account_id, reason="closed"
    )
    await delete_account(shop.owner, first.bank_account_id)
    rows = await schema_owner.fetch("SELECT * FROM bank_account WHERE merchant_id = $1", shop.merchant_id)
    entries = await schema_owner.fetch(
        "SELECT action, before::text, after::text FROM audit_entry WHERE merchant_id = $1 ORDER BY audit_id",
        shop.merchant_id,
    )
    stored = "".join(str(dict(row)) for row in (*rows, *entries))
    for number in (first.number, second.number, changed.number):
        assert number not in stored
        assert number.encode().hex() not in stored
    assert changed.number[-4:] in stored
    actions_done = [entry["action"] for entry in entries if entry["action"].startswith(("bank.", "wallet."))]
    assert actions_done == [
        "bank.create",
        "bank.create",
        "bank.update",
        "bank.default",
        "wallet.bank",
        "wallet.bank",
        "bank.deactivate",
        "bank.delete",
    ]
    said = next(entry["after"] for entry in entries if entry["action"] == "bank.deactivate")
    assert msgspec.json.decode(said)["reason"] == "closed"


async def test_a_repeated_call_changes_and_notes_nothing(shop: Shop, schema_owner: SchemaOwner) -> None:
    account = await new_account(shop.owner)
    choice = WalletChoice(account_id=account.bank_account_id)
    await choose_wallet_account(shop.owner, choice)

    async def count() -> int:
        rows: int = await schema_owner.fetchval(
            "SELECT count(*) FROM audit_entry WHERE merchant_id = $1", shop.merchant_id
        )
        return rows

    before = await count()
    await choose_wallet_account(shop.owner, choice)
    await set_default(shop.owner, account.bank_account_id)
    assert await count() == before


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_pages_show_each_account_once_the_default_first(context: Context, size: int) -> None:
    made = [await new_account(context) for _ in range(5)]
    await set_default(context, made[3].bank_account_id)
    await deactivate_account(context, made[1].bank_account_id)
    order = [made[index].bank_account_id for index in (3, 0, 1, 2, 4)]
    cursor, seen = None, []
    while True:
        page = await list_accounts(context, AccountWish(size=size, cursor=cursor))
        seen += [account.bank_account_id for account in page.rows]
        assert (page.total, page.pages) == (5, -(-5 // size))
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert seen == order
    numbered = [await list_accounts(context, AccountWish(size=size, page=n)) for n in range(1, 7)]
    assert [account.bank_account_id for page in numbered for account in page.rows] == order
    assert (await list_accounts(context, AccountWish(active=False))).total == 1
    for wrong in ("x", f"2.{made[0].bank_account_id}", "0.", "1.\0", "9" * 500):
        with pytest.raises(Invalid):
            await list_accounts(context, AccountWish(cursor=wrong))
