"""Complaints that tell of a customer: exported with them, and emptied when they are erased."""

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from kasuwa.base.db import Database
from kasuwa.base.once import forget_answers
from kasuwa.domain.complaints.queries import read_whole
from kasuwa.domain.complaints.records import Complaint
from kasuwa.domain.reference.contacts import describe_mobile


class Person(Struct, frozen=True, kw_only=True):
    """What a customer is known by; "" is what they have not."""

    customer_id: UUID
    email: str
    mobile: str

    @property
    def addresses(self) -> list[str]:
        return [address for address in (self.email.lower(), self.mobile) if address]

    @property
    def words(self) -> list[str]:
        """How somebody who writes about them spells them: the id, the e-mail, the number as it is dialled."""
        words = [str(self.customer_id), *self.addresses]
        if self.mobile:
            national = describe_mobile(self.mobile).national
            words += [national, national.replace(" ", "")]
        return words


async def read_complaints_about(db: Database, person: Person) -> list[Complaint]:
    """The complaints of the merchant that tell of the person, the oldest first."""
    return [await read_whole(db, complaint_id) for complaint_id in await _find(db, person)]


async def forget_complaints(db: Database, person: Person) -> Sequence[UUID]:
    """Empty the complaints that tell of the person; ticket, status and who complained stay. Answers which.

    Their files go, the notes' words, and messages and kept answers about them.
    """
    complaint_ids = await _find(db, person, lock=True)
    if not complaint_ids:
        return complaint_ids
    for sql in (
        """
        UPDATE complaint SET subject = '', message = '', reference = '', contact_email = '',
                             contact_mobile = ''
        """,
        "UPDATE complaint_note SET note = ''",
        "DELETE FROM complaint_attachment",
        "DELETE FROM message",
    ):
        await db.execute(
            f"{sql} WHERE merchant_id = current_merchant() AND complaint_id = ANY (:complaint_ids)",
            complaint_ids=complaint_ids,
        )
    for complaint_id in complaint_ids:
        await forget_answers(db, complaint_id)
    return complaint_ids


async def _find(db: Database, person: Person, *, lock: bool = False) -> list[UUID]:
    """Complaints that name the person's address to answer to, or that tell of them in their words.

    An address that is also that of whoever complained is kept: they gave it as one of the store's people.
    """
    found = await db.values(
        f"""
        SELECT c.complaint_id FROM complaint c
        JOIN user_account u ON u.merchant_id = c.merchant_id AND u.user_id = c.user_id
        WHERE c.merchant_id = current_merchant() AND (
          lower(c.contact_email) = ANY (:addresses) AND lower(c.contact_email) <> lower(u.email)
          OR c.contact_mobile = ANY (:addresses) AND c.contact_mobile <> u.mobile
          OR EXISTS (
            SELECT FROM unnest(:words::text[]) AS w (word)
            WHERE position(w.word IN lower(concat_ws(' ', c.subject, c.message, c.reference))) > 0
               OR EXISTS (SELECT FROM complaint_note n
                          WHERE n.merchant_id = c.merchant_id AND n.complaint_id = c.complaint_id
                            AND position(w.word IN lower(n.note)) > 0)
               OR EXISTS (SELECT FROM complaint_attachment a
                          WHERE a.merchant_id = c.merchant_id AND a.complaint_id = c.complaint_id
                            AND position(w.word IN lower(a.file_name)) > 0)))
        ORDER BY c.complaint_id {"FOR UPDATE OF c" if lock else ""}
        """,  # noqa: S608 - our own words
        addresses=person.addresses,
        words=person.words,
    )
    return [UUID(int=one.int) for one in found]
