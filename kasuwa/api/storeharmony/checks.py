"""Checks of addresses by a one-time code, in StoreHarmony's words."""

from typing import Any

from msgspec import UNSET

from kasuwa.api.storeharmony.contract import (
    EmailVerification,
    MobileVerification,
    VerifyEmailAddressQuery,
    VerifyMobileQuery,
)
from kasuwa.api.storeharmony.service import api
from kasuwa.base.context import Context
from kasuwa.base.http.api import Exchange
from kasuwa.base.http.origin import caller_address
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.proofs.records import Channel
from kasuwa.domain.reference.contacts import describe_mobile, read_any_number, read_email
from kasuwa.domain.users.checks import Check, send_check, try_check


@api.operation("verifyEmailAddress")
async def verify_email_address(
    context: Context, exchange: Exchange, query: VerifyEmailAddressQuery
) -> EmailVerification:
    email = read_email(query.email, "#/query/email")
    check = await _check(exchange, "email", email, query.code, query.reference)
    return EmailVerification(email=email, valid=True, **_state(check))


@api.operation("verifyMobile")
async def verify_mobile(context: Context, exchange: Exchange, query: VerifyMobileQuery) -> MobileVerification:
    mobile = read_any_number(query.mobile, query.countrycode, "#/query/mobile")
    facts = describe_mobile(mobile)
    known: dict[str, Any] = {
        "nationalFormat": facts.national[:20],
        "countryCode": facts.country_code or UNSET,
    }
    if not facts.is_valid:
        # Its length is right and no mobile network has it: a code would reach nobody.
        return MobileVerification(mobile=mobile, valid=False, codeSent=False, verified=False, **known)
    check = await _check(exchange, "mobile", mobile, query.code, query.reference)
    return MobileVerification(mobile=mobile, valid=True, **_state(check), **known)


async def _check(
    exchange: Exchange, channel: Channel, address: str, code: str | None, reference: str | None
) -> Check:
    context = exchange.context
    if code is None:
        return await send_check(context, channel, address, caller=caller_address(exchange.request))
    if reference is None:
        fault = FieldFault("#/query/reference", "required", "Give back what came with the code.")
        raise Invalid(faults=[fault])
    return await try_check(context, channel, address, reference, code)


def _state(check: Check) -> dict[str, Any]:
    state: dict[str, Any] = {"codeSent": check.code_sent, "verified": check.is_verified}
    if check.reference is not None:
        state |= {"reference": check.reference, "expiresAt": check.expires_at}
    if not check.is_verified:
        state["attemptsLeft"] = check.tries_left
    return state
