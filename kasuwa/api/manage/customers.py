"""Finding customers, their consents, keeping one out, and what they may ask for about their data."""

from typing import Any
from uuid import UUID

from kasuwa.api.manage.audit import view as change_view
from kasuwa.api.manage.complaints import view as complaint_view
from kasuwa.api.manage.contract import (
    EraseCustomerPath,
    ExportCustomerPath,
    GetCustomerPath,
    ListCustomersQuery,
    NewCustomerConsents,
    NoteCustomerConsentsPath,
    ResumeCustomerPath,
    SuspendCustomerPath,
)
from kasuwa.api.manage.messages import view as message_view
from kasuwa.api.manage.paging import page, read_cursor
from kasuwa.api.manage.service import api
from kasuwa.base.context import Context
from kasuwa.base.ids import read_id
from kasuwa.domain.customers.consents import Answer, note_consents
from kasuwa.domain.customers.erasure import erase_customer, export_customer
from kasuwa.domain.customers.errors import CustomerNotFound
from kasuwa.domain.customers.queries import CustomerFilter, list_customers
from kasuwa.domain.customers.queries import get_customer as find_customer
from kasuwa.domain.customers.records import Consent, Customer
from kasuwa.domain.customers.standing import resume_customer, suspend_customer
from kasuwa.domain.merchants.actions import login_key
from kasuwa.domain.reference.contacts import read_mobile
from kasuwa.domain.stores.queries import country_of

Json = dict[str, Any]


@api.operation("listCustomers")
async def list_page(context: Context, query: ListCustomersQuery) -> Json:
    mobile = query.mobile
    if mobile is not None:
        mobile = read_mobile(mobile, await country_of(context), "#/query/mobile")
    wanted = CustomerFilter(
        email=None if query.email is None else login_key(query.email), mobile=mobile, name=query.name
    )
    after = read_cursor(query.cursor)
    rows = await list_customers(context, wanted, after=after, size=query.size + 1)
    return page(rows, query.size, _view, lambda row: row.customer_id)


@api.operation("getCustomer")
async def get_customer(context: Context, path: GetCustomerPath) -> Json:
    return _details(*await find_customer(context, _id(path.customerid)))


@api.operation("noteCustomerConsents")
async def note(context: Context, path: NoteCustomerConsentsPath, body: NewCustomerConsents) -> Json:
    answers = [
        Answer(purpose=one.purpose, is_given=one.given, evidence=one.evidence or "") for one in body.consents
    ]
    return _details(*await note_consents(context, _id(path.customerid), answers))


@api.operation("exportCustomer")
async def export(context: Context, path: ExportCustomerPath) -> Json:
    data = await export_customer(context, _id(path.customerid))
    return {
        "takenAt": data.taken_at,
        "customer": _view(data.customer),
        "hasPassword": data.has_password,
        "passwordChangedAt": data.customer.password_changed_at,
        "consents": [_consent(one) for one in data.consents],
        "messages": [message_view(one) for one in data.messages],
        "complaints": [complaint_view(one) for one in data.complaints],
        "sessions": [
            {
                "storeId": one.store_id,
                "createdAt": one.created_at,
                "lastSeenAt": one.last_seen_at,
                "expiresAt": one.expires_at,
            }
            for one in data.sessions
        ],
        "changes": [change_view(one) for one in data.changes],
    }


@api.operation("suspendCustomer")
async def suspend(context: Context, path: SuspendCustomerPath) -> Json:
    return _details(*await suspend_customer(context, _id(path.customerid)))


@api.operation("resumeCustomer")
async def resume(context: Context, path: ResumeCustomerPath) -> Json:
    return _details(*await resume_customer(context, _id(path.customerid)))


@api.operation("eraseCustomer")
async def erase(context: Context, path: EraseCustomerPath) -> Json:
    erased = await erase_customer(context, _id(path.customerid))
    return {"customerId": erased.customer_id, "erasedAt": erased.erased_at}


def _id(text: str) -> UUID:
    found = read_id(text)
    if found is None:
        raise CustomerNotFound()
    return found


def _details(customer: Customer, consents: list[Consent]) -> Json:
    return {"customer": _view(customer), "consents": [_consent(one) for one in consents]}


def _consent(consent: Consent) -> Json:
    return {
        "purpose": consent.purpose,
        "given": consent.is_given,
        "at": consent.at,
        "storeId": consent.store_id,
        "notedBy": consent.noted_by,
        "evidence": consent.evidence,
    }


def _view(customer: Customer) -> Json:
    return {
        "customerId": customer.customer_id,
        "storeId": customer.store_id,
        "username": customer.username,
        "email": customer.email or None,
        "emailVerified": customer.is_verified("email"),
        "mobile": customer.mobile or None,
        "mobileVerified": customer.is_verified("mobile"),
        "firstName": customer.first_name,
        "lastName": customer.last_name,
        "address": customer.street,
        "lga": customer.lga,
        "lgaCode": customer.lga_code,
        "state": customer.state,
        "stateCode": customer.state_code,
        "country": customer.country,
        "countryCode": customer.country_code,
        "zipCode": customer.zip_code,
        "birthday": customer.birth_day,
        "birthmonth": customer.birth_month,
        "birthyear": customer.birth_year,
        "status": customer.status,
        "createdAt": customer.created_at,
        "updatedAt": customer.updated_at,
        "lastLoginAt": customer.last_login_at,
    }
