"""Lines as the database's move_stock() takes them, and the rows it answers."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.db import settles
from kasuwa.domain.inventory.errors import SERIAL_TAKEN_AT_ONCE, NotStocked, problem_of
from kasuwa.domain.inventory.records import Move, Moved

_SETTLED = {
    "stock_serial_in_one_place": SERIAL_TAKEN_AT_ONCE,
    "stock_closed_is_empty": NotStocked(),
}


class _Line(Struct, frozen=True, omit_defaults=True):
    line: int
    store_id: UUID
    variant_id: UUID
    kind: str
    state: str
    actor: str
    request_id: str
    reason: str
    reference: str
    note: str
    party: str
    # An empty text counts as given.
    device: str
    user_id: UUID | None = None
    change: Decimal | None = None
    target: Decimal | None = None
    expected: Decimal | None = None
    becomes: str | None = None
    beyond: str | None = None
    pack: str | None = None
    unit_cost: Decimal | int | None = None
    batch_no: str | None = None
    expires_on: date | None = None
    spare_expired: bool = False
    serials: tuple[str, ...] = ()


class MovedRow(Struct, frozen=True):
    """What the database says of a line."""

    line: int
    fault: str | None
    told: str | None
    movement_ids: list[UUID] | None
    at: datetime | None
    quantity: Decimal | None
    before: Decimal | None
    after: Decimal | None
    unit_cost: Decimal | None
    batch_no: str | None
    expires_on: date | None

    def moved(self, pointer: str) -> Moved:
        if self.fault is not None:
            return Moved(problem=problem_of(self.fault, self.told or "", pointer))
        assert self.quantity is not None
        assert self.before is not None
        assert self.after is not None
        return Moved(
            movement_ids=tuple(UUID(int=one.int) for one in self.movement_ids or ()),
            at=self.at,
            quantity=self.quantity,
            before=self.before,
            after=self.after,
            unit_cost_minor=self.unit_cost,
            batch_no=self.batch_no,
            expires_on=self.expires_on,
        )


COLUMNS = ", ".join(MovedRow.__struct_fields__)


def write_lines(moves: Sequence[tuple[Context, Move]]) -> str:
    """The lines as JSON, each with whoever moves it."""
    return msgspec.json.encode(list(_lines(moves))).decode()


def _lines(moves: Sequence[tuple[Context, Move]]) -> Iterator[_Line]:
    for number, (context, move) in enumerate(moves):
        caller = context.caller
        yield _Line(
            line=number,
            store_id=move.store_id,
            variant_id=move.variant_id,
            kind=move.kind,
            state=move.state,
            actor=f"{caller.kind}:{caller.id}",
            request_id=context.request_id,
            reason=move.reason,
            reference=move.reference,
            note=move.note,
            party=move.party,
            device="",
            user_id=caller.user_id,
            change=move.change,
            target=move.target,
            expected=move.expected,
            becomes=move.becomes,
            beyond=move.beyond,
            pack=move.pack,
            unit_cost=move.unit_cost_minor,
            batch_no=move.batch_no,
            expires_on=move.expires_on,
            spare_expired=move.spare_expired,
            serials=move.serials,
        )


def settled() -> AbstractContextManager[None]:
    """What only a constraint can tell of a race, as a Problem."""
    return settles(_SETTLED)
