"""What a person may ask for about their data: all of it in one document, and that it goes."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.once import forget_answers
from kasuwa.domain.audit.queries import AuditEntry, read_changes_of
from kasuwa.domain.complaints.persons import Person, forget_complaints, read_complaints_about
from kasuwa.domain.complaints.records import Complaint
from kasuwa.domain.customers.errors import CustomerNotFound
from kasuwa.domain.customers.queries import read_consents, read_customer
from kasuwa.domain.customers.records import Consent, Customer
from kasuwa.domain.customers.sessions import end_customer_sessions
from kasuwa.domain.messages.actions import forget_customer
from kasuwa.domain.messages.queries import read_messages_to
from kasuwa.domain.messages.records import MessageSummary
from kasuwa.domain.permissions import Permission
from kasuwa.domain.proofs.codes import drop_codes


class SessionSeen(Struct, frozen=True):
    """A session of the customer, without what opens it."""

    store_id: UUID
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


class PersonData(Struct, frozen=True, kw_only=True):
    """All that is kept of a customer over the merchant's stores, but for secrets, which nobody can read."""

    taken_at: datetime
    customer: Customer
    has_password: bool
    consents: list[Consent]
    messages: list[MessageSummary]
    complaints: list[Complaint]
    sessions: list[SessionSeen]
    changes: list[AuditEntry]


class Erased(Struct, frozen=True):
    customer_id: UUID
    erased_at: datetime


class _Facts(Struct, frozen=True):
    taken_at: datetime
    has_password: bool


class _Tombstone(Struct, frozen=True):
    erased_at: datetime | None
    email: str
    mobile: str


async def export_customer(context: Context, customer_id: UUID) -> PersonData:
    """Everything that is kept of the customer; that it was taken is noted. Raises CustomerNotFound."""
    # Who sells sees one fact at a time; a whole life in one file is for whoever may also let it go.
    context.require(Permission.CUSTOMER_ERASE)
    async with context.transaction() as db:
        customer = await read_customer(db, customer_id, lock=True)
        await write_audit(context, db, "customer.export", "customer", customer_id)
        await context.note_person(db, customer_id)
        facts = await db.one(
            """
            SELECT now() AS taken_at, password_hash <> '' AS has_password FROM customer
            WHERE merchant_id = current_merchant() AND customer_id = :customer_id
            """,
            into=_Facts,
            missing=CustomerNotFound(),
            customer_id=customer_id,
        )
        return PersonData(
            taken_at=facts.taken_at,
            customer=customer,
            has_password=facts.has_password,
            consents=await read_consents(db, customer_id, history=True),
            messages=await read_messages_to(db, customer_id),
            complaints=await read_complaints_about(
                db, Person(customer_id=customer_id, email=customer.email, mobile=customer.mobile)
            ),
            sessions=await db.all(
                """
                SELECT store_id, created_at, last_seen_at, expires_at
                FROM sessions_of_customer(:customer_id)
                """,
                into=SessionSeen,
                customer_id=customer_id,
            ),
            changes=await read_changes_of(db, "customer", customer_id),
        )


async def erase_customer(context: Context, customer_id: UUID) -> Erased:
    """Take everything that tells of the customer away; an empty row stays, which others may refer to.

    Erasing again changes nothing. Raises CustomerNotFound.
    """
    context.require(Permission.CUSTOMER_ERASE)
    async with context.transaction() as db:
        # Whoever writes about a customer holds this row: they are done by now, or find nobody.
        tombstone = await db.one(
            """
            SELECT erased_at, email, mobile FROM customer
            WHERE merchant_id = current_merchant() AND customer_id = :customer_id FOR UPDATE
            """,
            into=_Tombstone,
            missing=CustomerNotFound(),
            customer_id=customer_id,
        )
        if tombstone.erased_at is not None:
            return Erased(customer_id, tombstone.erased_at)
        for table in ("customer_name", "customer_consent"):
            await db.execute(
                f"DELETE FROM {table}"  # noqa: S608 - our own tables
                " WHERE merchant_id = current_merchant() AND customer_id = :customer_id",
                customer_id=customer_id,
            )
        await drop_codes(db, customer_id)
        await end_customer_sessions(db, customer_id)
        person = Person(customer_id=customer_id, email=tombstone.email, mobile=tombstone.mobile)
        complaint_ids = await forget_complaints(db, person)
        await forget_customer(
            context, db, customer_id, complaint_ids=complaint_ids, addresses=person.addresses
        )
        await forget_answers(db, customer_id)
        erased_at = await _empty(db, customer_id)
        await write_audit(context, db, "customer.erase", "customer", customer_id)
    return Erased(customer_id, erased_at)


async def _empty(db: Database, customer_id: UUID) -> datetime:
    erased_at: datetime = await db.value(
        """
        UPDATE customer SET
          status = 'erased', erased_at = now(), updated_at = now(), username = '', email = '', mobile = '',
          first_name = '', last_name = '', name_key = '', surname_key = '', street = '', lga = '',
          lga_code = '', state = '', state_code = '', country = '', country_code = '', zip_code = '',
          birth_day = NULL, birth_month = NULL, birth_year = NULL, password_hash = '',
          password_changed_at = NULL, email_verified_at = NULL, mobile_verified_at = NULL,
          last_login_at = NULL
        WHERE merchant_id = current_merchant() AND customer_id = :customer_id
        RETURNING erased_at
        """,
        customer_id=customer_id,
    )
    return erased_at
