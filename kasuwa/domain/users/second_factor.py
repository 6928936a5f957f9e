"""A second factor at log-in: codes of an app (RFC 6238), and recovery codes for whoever lost it.

Each code works once. Tries are counted in transactions of their own, before it is known whether they are
right: for the user at an address, and over all addresses where nobody is logged in as them.
"""

import base64
import hmac
import secrets
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.problems import FieldFault
from kasuwa.base.tries import Tries, forgive_tries, take_tries
from kasuwa.domain.proofs.errors import WrongCode
from kasuwa.domain.users.confirming import confirm_password, require_login
from kasuwa.domain.users.errors import (
    SecondFactorOff,
    SecondFactorOn,
    SecondFactorRequired,
    WrongSecondFactor,
)
from kasuwa.domain.users.queries import get_me

STEP_SECONDS = 30
RECOVERY_CODES = 10

# Who has the password and asks from everywhere has a few more tries than at one address, then this many.
_EVERYWHERE_FACTOR = 4
_FORGOTTEN_A_MINUTE = 0.1

_ISSUER = "Kasuwa"
_SECRET_BYTES = 20
# No letter that is read as another one or as a digit.
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_RECOVERY_CHARS = 10


_FACTOR = """
    SELECT sealed_secret, last_step, confirmed_at, created_at FROM second_factor
    WHERE merchant_id = current_merchant() AND user_id = :user_id
"""


class FactorState(Struct, frozen=True):
    """Whether log-in asks for a second factor; `pending` until a first code was right."""

    status: Literal["off", "pending", "on"]
    confirmed_at: datetime | None = None
    recovery_codes_left: int = 0


class FactorSecret(Struct, frozen=True):
    """What an app makes codes of: in base 32, and as an otpauth address for a QR code."""

    secret: str
    uri: str


class _Factor(Struct, frozen=True):
    sealed_secret: bytes
    last_step: int
    confirmed_at: datetime | None
    created_at: datetime


async def get_factor(context: Context) -> FactorState:
    """The state of the caller's own."""
    async with context.reading() as db:
        return await _state(db, _me(context))


async def enrol(context: Context, password: str) -> FactorSecret:
    """A secret for the caller, which does nothing until `confirm`; until then it is the same again.

    Raises WrongPassword, SecondFactorOn, TooManyRequests, AtTill.
    """
    await confirm_password(context, password)
    user = await get_me(context)
    async with context.transaction() as db:
        await db.execute(
            """
            INSERT INTO second_factor (merchant_id, user_id, sealed_secret)
            VALUES (current_merchant(), :user_id, :sealed) ON CONFLICT (merchant_id, user_id) DO NOTHING
            """,
            user_id=user.user_id,
            sealed=context.services.sealer.seal(secrets.token_bytes(_SECRET_BYTES)),
        )
        factor = await _find(db, user.user_id)
        assert factor is not None
        if factor.confirmed_at is not None:
            raise SecondFactorOn("Turn it off first to begin with another app.")
        await write_audit(context, db, "second_factor.enrol", "user", user.user_id)
    key = context.services.sealer.open(factor.sealed_secret)
    uri = _totp(key).get_provisioning_uri(user.username, _ISSUER)
    return FactorSecret(base64.b32encode(key).decode(), uri)


async def confirm(context: Context, code: str) -> list[str]:
    """Turn the caller's second factor on by its first code; recovery codes, shown this once.

    Raises WrongCode, SecondFactorOn, SecondFactorOff, TooManyRequests, AtTill.
    """
    require_login(context)
    user_id = _me(context)
    async with context.reading() as db:
        is_known = await _is_logged_in_at(db, user_id, context.sender.address)
    asking = _tries(context, user_id, is_known=is_known)
    await take_tries(context.services.pool, list(asking))
    async with context.transaction() as db:
        factor = await _find(db, user_id, lock=True)
        if factor is None:
            raise SecondFactorOff("Enrol first.")
        if factor.confirmed_at is not None:
            raise SecondFactorOn()
        await _spend_step(context, db, user_id, factor, code)
        await db.execute(
            """
            UPDATE second_factor SET confirmed_at = now()
            WHERE merchant_id = current_merchant() AND user_id = :user_id
            """,
            user_id=user_id,
        )
        codes = await _new_recovery_codes(context, db, user_id)
        await write_audit(context, db, "second_factor.on", "user", user_id)
    await forgive_tries(context.services.pool, asking)
    return codes


async def renew_recovery_codes(context: Context, code: str) -> list[str]:
    """New recovery codes for the caller, shown this once; the old ones end.

    `code` is one of the app that was used nowhere yet: whoever found a recovery code must not make more.
    Raises WrongCode, SecondFactorOff, TooManyRequests, AtTill.
    """
    require_login(context)
    user_id = _me(context)
    async with context.reading() as db:
        is_known = await _is_logged_in_at(db, user_id, context.sender.address)
    asking = _tries(context, user_id, is_known=is_known)
    await take_tries(context.services.pool, list(asking))
    async with context.transaction() as db:
        factor = await _find(db, user_id, lock=True)
        if factor is None or factor.confirmed_at is None:
            raise SecondFactorOff("Turn it on first: that brings recovery codes.")
        await _spend_step(context, db, user_id, factor, code)
        await db.execute(
            "DELETE FROM recovery_code WHERE merchant_id = current_merchant() AND user_id = :user_id",
            user_id=user_id,
        )
        codes = await _new_recovery_codes(context, db, user_id)
        await write_audit(context, db, "second_factor.renew_codes", "user", user_id)
    await forgive_tries(context.services.pool, asking)
    return codes


async def turn_off(context: Context, password: str) -> FactorState:
    """Log the caller in by password alone from now on. Raises WrongPassword, TooManyRequests, AtTill."""
    await confirm_password(context, password)
    user_id = _me(context)
    async with context.transaction() as db:
        if await drop_factor(db, user_id):
            await write_audit(context, db, "second_factor.off", "user", user_id)
        return await _state(db, user_id)


async def drop_factor(db: Database, user_id: UUID) -> bool:
    """Take a user's second factor away with its recovery codes; whether there was one."""
    return bool(
        await db.execute(
            "DELETE FROM second_factor WHERE merchant_id = current_merchant() AND user_id = :user_id",
            user_id=user_id,
        )
    )


async def drop_unconfirmed(db: Database, user_id: UUID) -> None:
    """Take a second factor away that was begun and not turned on: whoever had the password has its secret."""
    await db.execute(
        """
        DELETE FROM second_factor
        WHERE merchant_id = current_merchant() AND user_id = :user_id AND confirmed_at IS NULL
        """,
        user_id=user_id,
    )


async def require_factor(context: Context, user_id: UUID, code: str) -> None:
    """Ask whoever has the password for their second factor, where it is on; `code` is "" without one.

    The code is used up whatever becomes of the request: not inside its transaction.
    Raises SecondFactorRequired, WrongSecondFactor, TooManyRequests.
    """
    pool = context.services.pool
    async with pool.transaction(context.merchant_id) as db:
        factor = await _find(db, user_id)
        is_known = await _is_logged_in_at(db, user_id, context.sender.address)
    if factor is None or factor.confirmed_at is None:
        return
    if not code:
        raise SecondFactorRequired(
            "Send the code that the user's app shows, or a recovery code, in the header X-Second-Factor."
        )
    asking = _tries(context, user_id, is_known=is_known)
    await take_tries(pool, list(asking))
    async with pool.transaction(context.merchant_id) as db:
        is_right = await _use(context, db, user_id, factor, code)
    if not is_right:
        raise WrongSecondFactor("Type the code that the app shows now; a code works once.")
    await forgive_tries(pool, asking)


async def forgive_everywhere(context: Context, user_id: UUID) -> None:
    """Forget the tries over all addresses: who made them had a password that is none any more."""
    await forgive_tries(context.services.pool, {_everywhere(context, user_id): None})


async def _use(context: Context, db: Database, user_id: UUID, factor: _Factor, code: str) -> bool:
    """Use the code up, if it is one: of two requests with the same code one alone is let in."""
    if len(code) == 6 and code.isascii() and code.isdecimal():
        step = _step_of(context.services.sealer.open(factor.sealed_secret), code, factor.last_step)
        if step is None:
            return False
        return bool(
            await db.execute(
                """
                UPDATE second_factor SET last_step = :step
                WHERE merchant_id = current_merchant() AND user_id = :user_id AND last_step < :step
                  AND created_at = :created_at
                """,
                user_id=user_id,
                step=step,
                created_at=factor.created_at,
            )
        )
    return bool(
        await db.execute(
            """
            UPDATE recovery_code SET used_at = now()
            WHERE merchant_id = current_merchant() AND user_id = :user_id AND code_mark = ANY (:marks)
              AND used_at IS NULL
            """,
            user_id=user_id,
            marks=_marks(context, user_id, code),
        )
    )


async def _spend_step(context: Context, db: Database, user_id: UUID, factor: _Factor, code: str) -> None:
    """Use the app's code up for the factor, whose row is locked. Raises WrongCode."""
    step = _step_of(context.services.sealer.open(factor.sealed_secret), code, factor.last_step)
    if step is None:
        fault = FieldFault("/code", "wrong", "Type the code that the app shows now; mind its clock.")
        raise WrongCode(faults=[fault])
    await db.execute(
        """
        UPDATE second_factor SET last_step = :step
        WHERE merchant_id = current_merchant() AND user_id = :user_id
        """,
        user_id=user_id,
        step=step,
    )


def _step_of(key: bytes, code: str, last_step: int) -> int | None:
    """The step that the code is of, the present one or a neighbour, later than the last one used."""
    now = int(_now()) // STEP_SECONDS
    totp = _totp(key)
    # Each is compared, so that the time tells nothing.
    found = [
        step
        for step in (now - 1, now, now + 1)
        if hmac.compare_digest(totp.generate(step * STEP_SECONDS), code.encode())
    ]
    later = [step for step in found if step > last_step]
    return later[0] if later else None


def _now() -> float:
    """Seconds since 1970."""
    return time.time()


def _totp(key: bytes) -> TOTP:
    # SHA-1 as apps expect it (RFC 6238's own default).
    return TOTP(key, 6, SHA1(), STEP_SECONDS)  # noqa: S303


async def _new_recovery_codes(context: Context, db: Database, user_id: UUID) -> list[str]:
    codes = ["".join(secrets.choice(_LETTERS) for _ in range(_RECOVERY_CHARS)) for _ in range(RECOVERY_CODES)]
    await db.execute(
        """
        INSERT INTO recovery_code (merchant_id, user_id, code_mark)
        SELECT current_merchant(), :user_id, m.mark FROM unnest(:marks::bytea[]) AS m (mark)
        """,
        user_id=user_id,
        marks=[_marks(context, user_id, code)[0] for code in codes],
    )
    return [f"{code[:5]}-{code[5:]}" for code in codes]


def _marks(context: Context, user_id: UUID, code: str) -> Sequence[bytes]:
    plain = code.replace("-", "").replace(" ", "").lower()
    return context.services.sealer.marks(f"recovery\n{user_id}\n{plain}".encode())


async def _state(db: Database, user_id: UUID) -> FactorState:
    factor = await _find(db, user_id)
    if factor is None:
        return FactorState("off")
    left: int = await db.value(
        """
        SELECT count(*) FROM recovery_code
        WHERE merchant_id = current_merchant() AND user_id = :user_id AND used_at IS NULL
        """,
        user_id=user_id,
    )
    return FactorState("pending" if factor.confirmed_at is None else "on", factor.confirmed_at, left)


async def _find(db: Database, user_id: UUID, *, lock: bool = False) -> _Factor | None:
    return await db.find(f"{_FACTOR} FOR UPDATE" if lock else _FACTOR, into=_Factor, user_id=user_id)


async def _is_logged_in_at(db: Database, user_id: UUID, address: str) -> bool:
    """Whether a session of the user was opened there: they have proved themselves at that address."""
    found: bool = await db.value(
        """
        SELECT EXISTS (SELECT FROM sessions_of(:user_id) s WHERE s.address = :address AND s.address <> '')
        """,
        user_id=user_id,
        address=address,
    )
    return found


def _tries(context: Context, user_id: UUID, *, is_known: bool) -> dict[Tries, int | None]:
    """What is counted, and how much of it a right code takes back.

    Where the user is logged in, what others do elsewhere does not count: they cannot keep the owner waiting.
    """
    free = context.services.settings.login_tries
    here = Tries("second-factor", f"{user_id}\n{context.sender.address}", free)
    return {here: None} if is_known else {here: None, _everywhere(context, user_id): 1}


def _everywhere(context: Context, user_id: UUID) -> Tries:
    free = context.services.settings.login_tries * _EVERYWHERE_FACTOR
    return Tries("second-factor", str(user_id), free, _FORGOTTEN_A_MINUTE)


def _me(context: Context) -> UUID:
    assert context.caller.user_id is not None
    return context.caller.user_id
