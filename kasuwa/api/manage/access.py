"""Sessions, the second factor, and who owns a store."""

from typing import Any

from kasuwa.api.manage.contract import (
    EndSessionPath,
    EndUserSessionPath,
    EndUserSessionsPath,
    ListUserSessionsPath,
    MakeOwnerPath,
    PasswordConfirmation,
    SecondFactorCode,
)
from kasuwa.api.manage.service import api
from kasuwa.base.context import Context
from kasuwa.base.ids import read_id
from kasuwa.domain.staff import access
from kasuwa.domain.users import second_factor, sessions

Json = dict[str, Any]


@api.operation("listSessions")
async def list_sessions(context: Context) -> Json:
    return _list(context, await sessions.list_sessions(context))


@api.operation("endOtherSessions")
async def end_other_sessions(context: Context) -> Json:
    return {"ended": await sessions.end_other_sessions(context)}


@api.operation("endSession")
async def end_session(context: Context, path: EndSessionPath) -> Json:
    if path.sessionid == "current":
        return {"ended": await sessions.log_out(context)}
    return {"ended": await sessions.end_own_session(context, read_id(path.sessionid))}


@api.operation("listUserSessions")
async def list_user_sessions(context: Context, path: ListUserSessionsPath) -> Json:
    return _list(context, await access.list_staff_sessions(context, read_id(path.userid)))


@api.operation("endUserSessions")
async def end_user_sessions(context: Context, path: EndUserSessionsPath) -> Json:
    return {"ended": await access.end_staff_sessions(context, read_id(path.userid), None, every=True)}


@api.operation("endUserSession")
async def end_user_session(context: Context, path: EndUserSessionPath) -> Json:
    user_id, session_id = read_id(path.userid), read_id(path.sessionid)
    return {"ended": await access.end_staff_sessions(context, user_id, session_id)}


@api.operation("makeOwner")
async def make_owner(context: Context, path: MakeOwnerPath, body: PasswordConfirmation) -> Json:
    member = await access.make_owner(context, read_id(path.userid), body.password)
    return {"userId": member.user_id, "role": member.role}


@api.operation("getSecondFactor")
async def get_second_factor(context: Context) -> Json:
    return _factor(await second_factor.get_factor(context))


@api.operation("enrolSecondFactor")
async def enrol_second_factor(context: Context, body: PasswordConfirmation) -> Json:
    enrolled = await second_factor.enrol(context, body.password)
    return {"secret": enrolled.secret, "uri": enrolled.uri}


@api.operation("confirmSecondFactor")
async def confirm_second_factor(context: Context, body: SecondFactorCode) -> Json:
    return {"recoveryCodes": await second_factor.confirm(context, body.code)}


@api.operation("renewRecoveryCodes")
async def renew_recovery_codes(context: Context, body: SecondFactorCode) -> Json:
    return {"recoveryCodes": await second_factor.renew_recovery_codes(context, body.code)}


@api.operation("turnOffSecondFactor")
async def turn_off_second_factor(context: Context, body: PasswordConfirmation) -> Json:
    return _factor(await second_factor.turn_off(context, body.password))


def _list(context: Context, found: list[sessions.Session]) -> Json:
    return {
        "data": [
            {
                "sessionId": one.session_id,
                "kind": one.kind,
                "storeId": one.store_id,
                "storeName": one.store_name,
                "isCurrent": one.session_id == context.caller.session_id,
                "atTill": one.till_id is not None,
                "platform": one.platform,
                "device": one.user_agent,
                "address": one.address,
                "openedAt": one.created_at,
                "lastSeenAt": one.last_seen_at,
                "expiresAt": one.expires_at,
            }
            for one in found
        ]
    }


def _factor(state: second_factor.FactorState) -> Json:
    return {
        "status": state.status,
        "confirmedAt": state.confirmed_at,
        "recoveryCodesLeft": state.recovery_codes_left,
    }
