"""An address that several customers say is theirs: whoever proves it has it, and the others lose it."""

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from kasuwa.base.audit import AuditEntry, write_audit, write_audits
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.limits import Quota
from kasuwa.base.problems import FieldFault, Invalid
from kasuwa.domain.customers.errors import CustomerNotFound
from kasuwa.domain.customers.queries import read_customer
from kasuwa.domain.customers.records import Customer
from kasuwa.domain.merchants.actions import login_key
from kasuwa.domain.proofs.codes import allow_sending, drop_codes_over
from kasuwa.domain.proofs.records import Channel

# Each of those who claim an address has a code of their own, so that a guess is compared with several.
_CODES_OF_CLAIMED = (Quota("customer-claim.day", requests=20, seconds=86_400),)


class Claim(Struct, frozen=True):
    """A customer who says that the address is theirs; `is_sure` once it is proved: then they are alone."""

    customer_id: UUID
    is_sure: bool


class Proof(Struct, frozen=True):
    """A customer whose address is proved; `was_proved` says that it was before."""

    customer: Customer
    was_proved: bool


async def read_claims(context: Context, channel: Channel, owned: str) -> list[Claim]:
    """Who says that the address `owned`, normalised, is theirs; whoever has proved it is alone, or first."""
    async with context.reading() as db:
        return await db.all(
            """
            SELECT customer_id, is_sure FROM customer_name
            WHERE merchant_id = current_merchant() AND name = :name AND kind = :channel
            ORDER BY is_sure DESC, customer_id
            """,
            into=Claim,
            name=login_key(owned),
            channel=channel,
        )


async def is_proved_by_another(db: Database, customer: Customer, channel: Channel) -> bool:
    is_proved: bool = await db.value(
        """
        SELECT EXISTS (SELECT FROM customer_name
                       WHERE merchant_id = current_merchant() AND name = :name AND is_sure
                         AND customer_id <> :customer_id)
        """,
        name=login_key(customer.address(channel)),
        customer_id=customer.customer_id,
    )
    return is_proved


def claims_of(claims: Sequence[Claim], customer_id: UUID | None) -> Sequence[Claim]:
    """The claim of the customer, of the one who has proved the address, or all. Raises CustomerNotFound."""
    if customer_id is not None:
        claims = [claim for claim in claims if claim.customer_id == customer_id]
    if not claims:
        raise CustomerNotFound()
    return claims[:1] if claims[0].is_sure else claims


def only_claim(claims: Sequence[Claim]) -> Claim:
    """Raises Invalid for several: a code that is asked for must not go out for somebody else's record."""
    if len(claims) > 1:
        fault = FieldFault(
            "/customerId", "required", "Several customers gave this address: name the one who is to prove it."
        )
        raise Invalid(faults=[fault])
    return claims[0]


async def allow_claim_code(context: Context, owned: str) -> None:
    """Count one code for an address that several may claim. Raises TooManyRequests."""
    await allow_sending(context, f"{context.merchant_id}/{login_key(owned)}", _CODES_OF_CLAIMED)


async def lock_names(db: Database, names: Sequence[str]) -> None:
    """Wait for whoever else of the shop registers somebody by one of the names at this moment."""
    await db.values(
        """
        SELECT pg_advisory_xact_lock(hashtextextended(current_merchant() || '/customer/' || n.name, 0))
        FROM (SELECT name FROM unnest(:names::text[]) AS n (name) ORDER BY name OFFSET 0) n
        """,
        names=list(names),
    )


async def hold_claimants(db: Database, names: Sequence[str]) -> None:
    """Wait for whoever proves one of the names at this moment: afterwards it is known whose it is."""
    await db.execute(
        """
        SELECT FROM customer WHERE merchant_id = current_merchant() AND customer_id IN (
            SELECT customer_id FROM customer_name
            WHERE merchant_id = current_merchant() AND name = ANY (:names))
        ORDER BY customer_id FOR SHARE
        """,
        names=list(names),
    )


async def prove_address(context: Context, db: Database, customer_id: UUID, channel: Channel) -> Proof:
    """Note in the open transaction that the address is the customer's, and take it from all others.

    Before any other write about the customer: all who claim the address are locked in one order. Raises
    CustomerNotFound for whoever has lost the address, was erased in this moment, or came after its proof.
    """
    await db.execute(
        """
        SELECT FROM customer WHERE merchant_id = current_merchant() AND customer_id IN (
            SELECT others.customer_id FROM customer_name own
            JOIN customer_name others ON others.merchant_id = own.merchant_id AND others.name = own.name
            WHERE own.merchant_id = current_merchant() AND own.customer_id = :customer_id
              AND own.kind = :channel)
        ORDER BY customer_id FOR UPDATE
        """,
        customer_id=customer_id,
        channel=channel,
    )
    before = await read_customer(db, customer_id)
    name = login_key(before.address(channel))
    proved = await db.execute(
        """
        UPDATE customer_name own SET is_sure = true
        WHERE merchant_id = current_merchant() AND name = :name AND kind = :channel
          AND customer_id = :customer_id
          AND NOT EXISTS (SELECT FROM customer_name others
                          WHERE others.merchant_id = own.merchant_id AND others.name = own.name
                            AND others.customer_id <> own.customer_id AND others.is_sure)
        """,
        name=name,
        channel=channel,
        customer_id=customer_id,
    )
    if not proved:
        raise CustomerNotFound()
    others = await db.values(
        """
        SELECT customer_id FROM customer_name
        WHERE merchant_id = current_merchant() AND name = :name AND customer_id <> :customer_id
        """,
        name=name,
        customer_id=customer_id,
    )
    await lose_address(context, db, [UUID(int=other.int) for other in others], channel)
    await db.execute(
        """
        UPDATE customer SET updated_at = now(),
          email_verified_at = CASE WHEN :channel = 'email' THEN coalesce(email_verified_at, now())
                              ELSE email_verified_at END,
          mobile_verified_at = CASE WHEN :channel = 'mobile' THEN coalesce(mobile_verified_at, now())
                               ELSE mobile_verified_at END
        WHERE merchant_id = current_merchant() AND customer_id = :customer_id
        """,
        channel=channel,
        customer_id=customer_id,
    )
    await write_audit(context, db, "customer.verify", "customer", customer_id, after={"channel": channel})
    await context.note_person(db, customer_id)
    return Proof(await read_customer(db, customer_id), was_proved=before.is_verified(channel))


async def lose_address(
    context: Context, db: Database, customer_ids: Sequence[UUID], channel: Channel
) -> None:
    """Take the unproved address from the customers, whose rows are locked, with the codes that went to it.

    Whoever had it as their user name is called by their other address from now on, else by their id.
    """
    if not customer_ids:
        return
    await db.execute(
        """
        DELETE FROM customer_name
        WHERE merchant_id = current_merchant() AND customer_id = ANY (:customer_ids) AND kind = :channel
        """,
        customer_ids=list(customer_ids),
        channel=channel,
    )
    await db.execute(
        """
        UPDATE customer c SET updated_at = now(),
          email = CASE WHEN :channel = 'email' THEN '' ELSE email END,
          mobile = CASE WHEN :channel = 'mobile' THEN '' ELSE mobile END,
          username = CASE
            WHEN EXISTS (SELECT FROM customer_name n
                         WHERE n.merchant_id = c.merchant_id AND n.customer_id = c.customer_id
                           AND n.kind = 'username') THEN username
            ELSE coalesce(nullif(CASE WHEN :channel = 'email' THEN mobile ELSE email END, ''),
                          customer_id::text) END
        WHERE merchant_id = current_merchant() AND customer_id = ANY (:customer_ids)
        """,
        customer_ids=list(customer_ids),
        channel=channel,
    )
    await drop_codes_over(db, customer_ids, channel)
    entries = [AuditEntry(subject_id=one, after={"channel": channel}) for one in customer_ids]
    await write_audits(context, db, "customer.lose_address", "customer", entries)
