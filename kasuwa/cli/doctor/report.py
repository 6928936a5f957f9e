"""What the doctor found."""

from msgspec import Struct

# More of one kind says nothing new; the count is always whole.
MOST_SHOWN = 50


class Finding(Struct, frozen=True):
    """One fault: where, and what is wrong in words that name the rows or files."""

    text: str
    merchant_id: str | None = None


class Examined(Struct, frozen=True, kw_only=True):
    """The outcome of one check: how many things were looked at, and the first of its faults."""

    check: str
    looked_at: int
    faults: int
    shown: tuple[Finding, ...] = ()
    note: str = ""

    @property
    def ok(self) -> bool:
        return self.faults == 0


def examined(check: str, looked_at: int, findings: list[Finding], *, note: str = "") -> Examined:
    return Examined(
        check=check,
        looked_at=looked_at,
        faults=len(findings),
        shown=tuple(findings[:MOST_SHOWN]),
        note=note,
    )


class Report(Struct, frozen=True, kw_only=True):
    """`ok` when no check found a fault; `removed` says what --gc took away."""

    ok: bool
    merchants: int
    checks: tuple[Examined, ...]
    removed: dict[str, int] = {}
