"""Customers of a store, registered and signed in by its own people or app, in StoreHarmony's words."""

from typing import Any

from msgspec import UNSET

from kasuwa.api.storeharmony.contract import (
    AccountPasswordResetResult,
    CrmCustomer,
    CrmCustomerLogin,
    CrmCustomerRegistration,
    CrmCustomerSession,
    CrmEmailVerification,
    CrmMobileVerification,
    CrmResetCustomerPasswordBody,
    CrmVerificationResult,
)
from kasuwa.api.storeharmony.service import api
from kasuwa.base.context import Context
from kasuwa.base.http.api import Exchange
from kasuwa.base.http.origin import caller_address
from kasuwa.base.ids import new_id, read_id
from kasuwa.domain.customers.actions import register, send_verification_code, verify_by_code
from kasuwa.domain.customers.login import log_in
from kasuwa.domain.customers.passwords import ask_for_reset, finish_reset
from kasuwa.domain.customers.records import Birthday, Customer, NewCustomer, Verification
from kasuwa.domain.proofs.records import Channel
from kasuwa.domain.reference.contacts import read_email, read_mobile
from kasuwa.domain.reference.places import read_country
from kasuwa.domain.stores.queries import country_of


@api.operation("crmRegisterCustomer")
async def crm_register_customer(context: Context, body: CrmCustomerRegistration) -> CrmCustomer:
    return _customer(await register(context, await _new_customer(context, body)))


@api.operation("crmLoginCustomer")
async def crm_login_customer(
    context: Context, exchange: Exchange, body: CrmCustomerLogin
) -> CrmCustomerSession:
    entered = await log_in(context, body.username, body.password, address=caller_address(exchange.request))
    return CrmCustomerSession(
        customerId=str(entered.customer.customer_id),
        accessToken=entered.token,
        customertoken=entered.token,
        expiresAt=entered.expires_at,
        customer=_customer(entered.customer),
    )


@api.operation("crmVerifyCustomerEmail")
async def crm_verify_customer_email(context: Context, body: CrmEmailVerification) -> CrmVerificationResult:
    return await _verify(context, "email", read_email(body.email, "/email"), body)


@api.operation("crmVerifyCustomerMobile")
async def crm_verify_customer_mobile(context: Context, body: CrmMobileVerification) -> CrmVerificationResult:
    mobile = read_mobile(body.mobile, await country_of(context), "/mobile")
    return await _verify(context, "mobile", mobile, body)


@api.operation("crmResetCustomerPassword")
async def crm_reset_customer_password(
    context: Context, body: CrmResetCustomerPasswordBody
) -> AccountPasswordResetResult:
    if body.code is not UNSET and body.newPassword is not UNSET:
        await finish_reset(context, body.username, body.code, body.newPassword)
        return AccountPasswordResetResult(status="password_changed", sentTo=None, codeExpires=None)
    asked = await ask_for_reset(context, body.username, body.channel or "email")
    return AccountPasswordResetResult(
        status="code_sent", sentTo=asked.sent_to, codeExpires=asked.codes_expire_at
    )


async def _new_customer(context: Context, body: CrmCustomerRegistration) -> NewCustomer:
    country = read_country(
        body.countryCode or "", body.country or "", code_pointer="/countryCode", name_pointer="/country"
    )
    dialled_in = await country_of(context) if country is None else country.code
    return NewCustomer(
        username=body.username or "",
        email=read_email(body.email, "/email") if body.email else "",
        mobile=read_mobile(body.mobile, dialled_in, "/mobile") if body.mobile else "",
        first_name=body.firstname,
        last_name=body.lastname or "",
        street=body.address or "",
        lga=body.lga or "",
        lga_code=body.lgaCode or "",
        state=body.state or "",
        state_code=body.stateCode or "",
        country="" if country is None else country.name,
        country_code="" if country is None else country.code,
        zip_code=body.zipcode or "",
        birthday=Birthday(body.birthday or None, body.birthmonth or None, body.birthyear or None),
        password=None if body.password is UNSET else body.password,
        consents=tuple(body.consents or ()),
    )


async def _verify(
    context: Context, channel: Channel, owned: str, body: CrmEmailVerification | CrmMobileVerification
) -> CrmVerificationResult:
    # What is no id is as unknown as any other.
    customer_id = None if body.customerId is UNSET else read_id(body.customerId) or new_id()
    if body.code is UNSET:
        verification = await send_verification_code(context, channel, owned, customer_id=customer_id)
    else:
        verification = await verify_by_code(context, channel, owned, body.code, customer_id=customer_id)
    return _verified(verification, channel)


def _verified(verification: Verification, channel: Channel) -> CrmVerificationResult:
    customer = verification.customer
    is_proved = customer.is_verified(channel)
    return CrmVerificationResult(
        status="verified" if is_proved else "code_sent",
        customerId=str(customer.customer_id) if is_proved else None,
        emailVerified=customer.is_verified("email"),
        mobileVerified=customer.is_verified("mobile"),
        codeExpires=verification.expires_at,
        attemptsLeft=UNSET if verification.tries_left is None else verification.tries_left,
    )


def _customer(customer: Customer) -> CrmCustomer:
    told: dict[str, Any] = {
        "mobile": customer.mobile,
        "address": customer.street,
        "lga": customer.lga,
        "lgaCode": customer.lga_code,
        "state": customer.state,
        "stateCode": customer.state_code,
        "country": customer.country,
        "countryCode": customer.country_code,
        "zipcode": customer.zip_code,
        "birthday": customer.birth_day,
        "birthmonth": customer.birth_month,
        "birthyear": customer.birth_year,
    }
    return CrmCustomer(
        customerId=str(customer.customer_id),
        storeId=str(customer.store_id),
        username=customer.username,
        email=customer.email or None,
        firstname=customer.first_name,
        lastname=customer.last_name,
        emailVerified=customer.is_verified("email"),
        mobileVerified=customer.is_verified("mobile"),
        status=customer.status,
        createdAt=customer.created_at,
        updatedAt=customer.updated_at,
        # What the customer has not said is left out.
        **{name: value for name, value in told.items() if value},
    )
