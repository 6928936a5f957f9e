"""Bank accounts: what is sealed against what stands beside it, and one default for each store."""

from kasuwa.base.secrets import SealBroken, Sealer
from kasuwa.cli.doctor.report import Examined, Finding, examined
from kasuwa.cli.doctor.rows import Owner
from kasuwa.domain.banking.records import number_marks
from kasuwa.domain.reference.nuban import is_nuban


async def check_bank_accounts(owner: Owner, sealer: Sealer) -> Examined:
    """Each number opens, fits its bank and is found by its mark; a store with accounts has a default one."""
    findings: list[Finding] = []
    rows = await owner.fetch(
        """
        SELECT merchant_id, bank_account_id, bank_code, sealed_number, number_mark, last_digits
        FROM bank_account ORDER BY merchant_id, bank_account_id
        """
    )
    for row in rows:
        place = f"bank account {row['bank_account_id']}"
        try:
            number = sealer.open(row["sealed_number"]).decode()
        except SealBroken:
            findings.append(Finding(f"{place}: its number cannot be opened", str(row["merchant_id"])))
            continue
        if not number.endswith(row["last_digits"]) or not is_nuban(row["bank_code"], number):
            findings.append(Finding(f"{place}: its number is not what was written", str(row["merchant_id"])))
        if row["number_mark"] not in number_marks(sealer, row["merchant_id"], number):
            findings.append(Finding(f"{place}: its number is not found any more", str(row["merchant_id"])))
    without = await owner.fetch(
        """
        SELECT merchant_id, store_id FROM bank_account WHERE active
        GROUP BY merchant_id, store_id HAVING count(*) FILTER (WHERE is_default) <> 1
        """
    )
    findings += [
        Finding(f"store {row['store_id']}: no account is the default", str(row["merchant_id"]))
        for row in without
    ]
    return examined("bank accounts", len(rows), findings)
