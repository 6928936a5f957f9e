"""What a customer consents to: each answer is kept, with its time, its place and who wrote it down."""

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.customers.queries import read_consents, read_customer
from kasuwa.domain.customers.records import Consent, Customer, Purpose
from kasuwa.domain.permissions import Permission


class Answer(Struct, frozen=True, kw_only=True):
    """What the customer said. `evidence` says how, such as a signed form."""

    purpose: Purpose
    is_given: bool
    evidence: str = ""


async def note_consents(
    context: Context, customer_id: UUID, answers: Sequence[Answer]
) -> tuple[Customer, list[Consent]]:
    """Write down what the customer said; the customer and what holds now.

    Raises CustomerNotFound, and Invalid for two answers on one purpose.
    """
    context.require(Permission.CUSTOMER_WRITE)
    if len({answer.purpose for answer in answers}) < len(answers):
        raise Invalid(faults=[FieldFault("/consents", "unique", "Give one answer for each purpose.")])
    async with context.transaction() as db:
        customer = await read_customer(db, customer_id, lock=True)
        await keep_answers(context, db, customer_id, answers)
        await write_audit(
            context,
            db,
            "customer.consent",
            "customer",
            customer_id,
            after={answer.purpose: answer.is_given for answer in answers},
        )
        await context.note_person(db, customer_id)
        return customer, await read_consents(db, customer_id)


async def keep_answers(context: Context, db: Database, customer_id: UUID, answers: Sequence[Answer]) -> None:
    await db.execute(
        """
        INSERT INTO customer_consent (merchant_id, consent_id, customer_id, purpose, is_given, store_id,
                                      noted_by, evidence)
        SELECT current_merchant(), a.consent_id, :customer_id, a.purpose, a.is_given, :store_id, :noted_by,
               a.evidence
        FROM unnest(:consent_ids::uuid[], :purposes::text[], :given::boolean[], :evidence::text[])
          AS a (consent_id, purpose, is_given, evidence)
        """,
        customer_id=customer_id,
        store_id=context.store_id,
        noted_by=context.caller.user_id,
        consent_ids=[new_id() for _ in answers],
        purposes=[answer.purpose for answer in answers],
        given=[answer.is_given for answer in answers],
        evidence=[answer.evidence for answer in answers],
    )
