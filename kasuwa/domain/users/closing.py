"""What is left of an account that works nowhere any more: a name, so that the trail can be read."""

from uuid import UUID

from kasuwa.base.db import Database
from kasuwa.domain.proofs.codes import drop_codes
from kasuwa.domain.users.second_factor import drop_factor


async def close_account(db: Database, user_id: UUID) -> None:
    """End all ways in and take away what the account was reached and known by, but for the name.

    Nobody finds a closed account again: whoever comes back is invited anew. So nothing needs the rest.
    """
    await db.execute(
        """
        UPDATE user_account SET
          status = 'suspended', updated_at = now(), username = user_id::text, email = '', mobile = '',
          email_verified_at = NULL, mobile_verified_at = NULL, password_hash = '', other_names = '',
          gender = NULL, birth_date = NULL, address = '', city = '', state = '', state_code = '',
          country = '', country_code = '', picture_id = NULL
        WHERE merchant_id = current_merchant() AND user_id = :user_id
        """,
        user_id=user_id,
    )
    for ending in ("end_sessions_of", "drop_links_of", "drop_logins_of"):
        await db.value(f"SELECT {ending}(:user_id)", user_id=user_id)
    await drop_codes(db, user_id)
    await drop_factor(db, user_id)
