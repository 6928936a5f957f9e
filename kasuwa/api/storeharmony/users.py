"""A person's own account in StoreHarmony's words."""

from datetime import UTC

from msgspec import UNSET

from kasuwa.api.storeharmony.banks import account_data
from kasuwa.api.storeharmony.contract import (
    BankAccountData,
    GetProfileImageQuery,
    PasswordChange,
    PasswordChangeResult,
    SetDefaultStorePath,
    SetStoreFinancialInfoPath,
    StoreFinancialInfo,
    StoreProfile,
    UserProfile,
    UserProfileUpdate,
)
from kasuwa.api.storeharmony.pictures import read_picture
from kasuwa.api.storeharmony.service import api
from kasuwa.api.storeharmony.stores import profile_of
from kasuwa.base.context import Context
from kasuwa.base.http.api import Exchange, RawFile
from kasuwa.base.http.caching import etag, require_match
from kasuwa.base.http.contract import encode
from kasuwa.base.ids import read_id, token_hash
from kasuwa.domain.banking.queries import show_wallet_account
from kasuwa.domain.media.keeping import keep_bytes
from kasuwa.domain.media.records import STOREHARMONY_FORMATS
from kasuwa.domain.reference.contacts import read_email, read_mobile
from kasuwa.domain.reference.places import read_currency, read_tax_rate
from kasuwa.domain.stores.actions import make_default, set_financial_info
from kasuwa.domain.stores.queries import country_of
from kasuwa.domain.stores.records import FinancialInfo
from kasuwa.domain.users.passwords import change_password
from kasuwa.domain.users.pictures import get_picture_file, set_picture
from kasuwa.domain.users.profile import (
    Profile,
    ProfileChange,
    allow_profile_change,
    get_profile,
    hold_account,
    own_id,
    read_profile,
    update_profile,
)

_STATUSES = {"pending": "PENDING_VERIFICATION", "active": "ACTIVE", "suspended": "SUSPENDED"}


@api.operation("getUserInformation")
async def get_user_information(context: Context) -> UserProfile:
    return await _profile(context, await get_profile(context))


@api.operation("updateUserInformation")
async def update_user_information(
    context: Context, exchange: Exchange, body: UserProfileUpdate
) -> UserProfile:
    change = ProfileChange(
        first_name=body.firstName,
        last_name=body.lastName,
        other_names=body.otherNames,
        gender=body.gender,
        birth_date=body.birthDate,
        address=body.address,
        city=body.city,
        state=body.state,
        state_code=body.stateCode,
        country=body.country,
        country_code=body.countryCode,
        locale=body.locale,
        time_zone=body.timezone,
        email=UNSET if body.email is UNSET else read_email(body.email, "/email"),
        mobile=UNSET
        if body.mobile is UNSET
        else read_mobile(body.mobile, await country_of(context), "/mobile"),
    )
    await allow_profile_change(context, change)
    async with context.transaction() as db:
        if "if-match" in exchange.request.headers:
            await hold_account(db, own_id(context))
            present = await _profile(context, await read_profile(context, db))
            require_match(exchange.request, etag(encode(present)))
        return await _profile(context, await update_profile(context, change))


@api.operation("changeUserPassword")
async def change_user_password(
    context: Context, exchange: Exchange, body: PasswordChange
) -> PasswordChangeResult:
    changed = await change_password(
        context,
        body.oldPassword,
        body.newPassword,
        present=token_hash(exchange.request.headers["sessiontoken"]),
        ends_others=body.revokeOtherSessions,
    )
    return PasswordChangeResult(
        success=True,
        changedAt=changed.at,
        sessionsRevoked=changed.sessions_ended,
        sessionId=changed.session.token,
        accessToken=changed.access_token,
        sessionExpires=changed.session.expires_at.astimezone(UTC),
    )


@api.operation("setDefaultStore")
async def set_default_store(context: Context, path: SetDefaultStorePath) -> StoreProfile:
    return await profile_of(context, await make_default(context, read_id(path.storeid)))


@api.operation("setStoreFinancialInfo")
async def set_store_financial_info(
    context: Context, path: SetStoreFinancialInfoPath, body: StoreFinancialInfo
) -> StoreProfile:
    info = FinancialInfo(
        tax_rate=read_tax_rate(body.taxRate, "/taxRate"),
        vat_type=body.vatType,
        currency=read_currency(body.currency, "/currency"),
    )
    return await profile_of(context, await set_financial_info(context, read_id(path.storeid), info))


@api.operation("uploadProfileImage", read=read_picture)
async def upload_profile_image(context: Context, body: bytes) -> str:
    kept = await keep_bytes(context, body, STOREHARMONY_FORMATS, permission=None)
    profile = await set_picture(context, kept)
    assert profile.picture_sha256 is not None
    return _picture_path(profile.user_id, profile.picture_sha256)


@api.operation("getProfileImage")
async def get_profile_image(context: Context, exchange: Exchange, query: GetProfileImageQuery) -> RawFile:
    wants_webp = "image/webp" in exchange.request.headers.get("accept", "")
    exchange.headers["Vary"] = "Accept"
    content, media_type = await get_picture_file(context, query.size, wants_webp=wants_webp)
    return RawFile(content, media_type)


async def _profile(context: Context, profile: Profile) -> UserProfile:
    wallet = await _wallet(context)
    return UserProfile(
        accountId=str(profile.user_id),
        username=profile.username,
        firstName=profile.first_name[:80],
        lastName=profile.last_name[:80],
        otherNames=profile.other_names,
        email=profile.email or None,
        emailVerified=profile.email_verified_at is not None,
        mobile=profile.mobile or UNSET,
        mobileVerified=profile.mobile_verified_at is not None,
        gender=profile.gender or UNSET,
        birthDate=profile.birth_date or UNSET,
        address=profile.address,
        city=profile.city,
        state=profile.state,
        stateCode=profile.state_code or UNSET,
        country=profile.country,
        countryCode=profile.country_code or UNSET,
        profileImageUrl=_picture_path(profile.user_id, profile.picture_sha256)
        if profile.picture_sha256
        else UNSET,
        userClass="OWNER" if profile.role == "OWNER" else "STAFF",
        storeRole=profile.role,
        status=_STATUSES[profile.status],  # type: ignore[arg-type]
        currentStoreId=str(context.store_id),
        defaultStoreId=str(profile.default_store_id),
        storeCount=profile.store_count,
        defaultWalletBank=UNSET if wallet is None else wallet,
        locale=profile.locale,
        timezone=profile.time_zone,
        createdAt=profile.created_at,
        updatedAt=profile.updated_at,
        lastLoginAt=profile.last_login_at or UNSET,
        passwordChangedAt=profile.password_changed_at or UNSET,
    )


async def _wallet(context: Context) -> BankAccountData | None:
    account = await show_wallet_account(context)
    return None if account is None else account_data(account)


def _picture_path(user_id: object, sha256: str) -> str:
    """Where its owner fetches it; the version makes a new picture another address for caches."""
    return f"/cloudapi/user/{user_id}/profileImage?v={sha256[:12]}"
