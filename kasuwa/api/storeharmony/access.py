"""Registration, its confirmation, log-in and new passwords in StoreHarmony's words."""

from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET

from kasuwa.api.storeharmony.contract import (
    AccountPasswordResetResult,
    AppLoginRequest,
    AppLoginResponse,
    AppStoreToken,
    AuthenticatedUser,
    AuthenticateUserQuery,
    AuthenticateUserRequest,
    AuthenticateUserResponse,
    RegistrationVerification,
    RegistrationVerificationResult,
    ResetUserPasswordBody,
    StoreRegistration,
    StoreRegistrationResult,
    WebRegistrationVerification,
)
from kasuwa.api.storeharmony.service import api
from kasuwa.api.storeharmony.store_views import default_store
from kasuwa.base.context import Context
from kasuwa.base.http.api import Exchange
from kasuwa.base.http.origin import caller_address, is_loopback
from kasuwa.base.ids import read_id
from kasuwa.domain.merchants.records import NewStore
from kasuwa.domain.reference.contacts import read_email, read_mobile
from kasuwa.domain.reference.places import read_country, read_currency, read_degrees, read_tax_rate
from kasuwa.domain.users.actions import (
    link_to,
    register,
    send_verification_code,
    verify_by_code,
    verify_by_link,
)
from kasuwa.domain.users.errors import UserNotFound
from kasuwa.domain.users.login import ENTER_PATH, log_in, log_in_at
from kasuwa.domain.users.passwords import ask_for_reset, finish_reset
from kasuwa.domain.users.records import Applicant, Verification
from kasuwa.settings import words


@api.operation("registerNewStore")
async def register_new_store(
    context: Context, exchange: Exchange, body: StoreRegistration
) -> StoreRegistrationResult:
    address = caller_address(exchange.request)
    opened = await register(context, _new_store(body), _applicant(body), address=address)
    return StoreRegistrationResult(
        accountId=str(opened.user_id),
        storeId=str(opened.store_id),
        status="pending_verification",
        verificationChannels=list(opened.channels),
        verificationExpires=opened.codes_expire_at,
    )


@api.operation("verifyUserRegistration")
async def verify_user_registration(
    context: Context, exchange: Exchange, body: RegistrationVerification
) -> RegistrationVerificationResult:
    user_id = read_id(body.accountId)
    if user_id is None:
        raise UserNotFound()
    if body.code is UNSET:
        address = caller_address(exchange.request)
        return _verified(await send_verification_code(context, user_id, body.channel, address=address))
    return _verified(await verify_by_code(context, user_id, body.channel, body.code))


@api.operation("verifyUserRegistrationFromWebsite")
async def verify_user_registration_from_website(
    context: Context, body: WebRegistrationVerification
) -> RegistrationVerificationResult:
    result = _verified(await verify_by_link(context, body.token))
    wanted = body.redirectUrl or ""
    return msgspec.structs.replace(result, webRedirectUrl=wanted if _is_ours(context, wanted) else None)


@api.operation("userLoginForApps")
async def user_login_for_apps(
    context: Context, exchange: Exchange, body: AppLoginRequest
) -> AppLoginResponse:
    entered = await log_in(
        context,
        body.username,
        body.password,
        second_factor=exchange.request.headers.get("x-second-factor", ""),
        platform=body.platformId or "",
        address=caller_address(exchange.request),
    )
    answer = AppLoginResponse(
        accountId=str(entered.user.user_id),
        accessToken=entered.account_token,
        tokens=[
            AppStoreToken(
                storeId=str(store.store_id),
                sessiontoken=store.token,
                role=store.role,
                expiresAt=store.expires_at,
            )
            for store in entered.stores
        ],
    )
    if not context.url_base:
        # Without an address of ours that is sure there is no link: a forged Host is never repeated.
        return answer
    return msgspec.structs.replace(
        answer,
        webRedirectUrl=link_to(context.url_base, ENTER_PATH, entered.link_token),
        webRedirectUrlExpire=entered.link_expires_at,
    )


@api.operation("authenticateUser")
async def authenticate_user(
    context: Context, exchange: Exchange, query: AuthenticateUserQuery, body: AuthenticateUserRequest
) -> AuthenticateUserResponse:
    entered = await log_in_at(
        context,
        body.userToken,
        body.passToken,
        None if query.storeid is None else read_id(query.storeid),
        wants_default=query.storeid is None,
        second_factor=exchange.request.headers.get("x-second-factor", ""),
        address=caller_address(exchange.request),
    )
    user, opened = entered.user, entered.opened
    return AuthenticateUserResponse(
        user=AuthenticatedUser(
            accountId=str(user.user_id),
            sessionId=opened.token,
            username=user.username,
            firstname=user.first_name,
            lastname=user.last_name,
            email=user.email or UNSET,
            mobile=user.mobile or UNSET,
            role=opened.role,
            emailVerified=user.is_verified("email"),
            mobileVerified=user.is_verified("mobile"),
            defStore=default_store(entered.location, entered.account_token),
            sessionExpires=opened.expires_at,
        )
    )


@api.operation("resetUserPassword")
async def reset_user_password(
    context: Context, exchange: Exchange, body: ResetUserPasswordBody
) -> AccountPasswordResetResult:
    if body.code is not UNSET and body.newPassword is not UNSET:
        await finish_reset(context, body.username, body.code, body.newPassword)
        return AccountPasswordResetResult(status="password_changed", sentTo=None, codeExpires=None)
    address = caller_address(exchange.request)
    asked = await ask_for_reset(context, body.username, body.channel or "email", address=address)
    return AccountPasswordResetResult(
        status="code_sent", sentTo=asked.sent_to, codeExpires=asked.codes_expire_at
    )


def _applicant(body: StoreRegistration) -> Applicant:
    email = read_email(body.email, "/email")
    return Applicant(
        username=body.username or email,
        email=email,
        mobile=read_mobile(body.mobile, body.storeCountryCode, "/mobile"),
        first_name=body.firstname,
        last_name=body.lastname,
        password=body.password,
    )


def _new_store(body: StoreRegistration) -> NewStore:
    country = read_country(
        body.storeCountryCode,
        body.storeCountry or "",
        code_pointer="/storeCountryCode",
        name_pointer="/storeCountry",
    )
    assert country is not None
    given: dict[str, Any] = {"license_plan": body.licensePlan} if body.licensePlan else {}
    if body.referralCode:
        given["settings"] = {"referral_code": body.referralCode}
    return NewStore(
        name=body.storeName,
        country=country.name,
        country_code=country.code,
        state=body.storeState or "",
        state_code=body.storeStateCode or "",
        city=body.storeCity or "",
        city_code=body.storeCityCode or "",
        address=body.storeFullAddress or "",
        latitude=read_degrees(body.storeLocLat or "", 90, "/storeLocLat"),
        longitude=read_degrees(body.storeLocLng or "", 180, "/storeLocLng"),
        currency=read_currency(body.currency, "/currency"),
        tax_rate=read_tax_rate(body.taxRate, "/taxRate"),
        vat_type=body.vatType,
        profile_type=body.storeProfileType or "",
        **given,
    )


def _verified(verification: Verification) -> RegistrationVerificationResult:
    user = verification.user
    result = RegistrationVerificationResult(
        accountId=str(user.user_id),
        status="code_sent"
        if verification.code_sent
        else "pending_verification"
        if user.status == "pending"
        else "active",
        emailVerified=user.is_verified("email"),
        mobileVerified=user.is_verified("mobile"),
    )
    if verification.tries_left is None:
        return result
    return msgspec.structs.replace(result, attemptsLeft=verification.tries_left)


def _is_ours(context: Context, url: str) -> bool:
    """Whether the link leads to an address the operator named: a browser is sent nowhere else."""
    settings = context.services.settings
    parts = urlsplit(url)
    origins = {settings.public_url.rstrip("/"), *words(settings.cors_origins)}
    host = parts.hostname or ""
    named = (
        f"{parts.scheme}://{parts.netloc}" in origins or host in settings.host_names() or is_loopback(host)
    )
    return parts.scheme in ("http", "https") and bool(host) and "@" not in parts.netloc and named
