"""What the doctor found."""

from collections.abc import Collection

from msgspec import Struct
from msgspec.structs import replace

# More of one kind says nothing new; the count is always whole.
MOST_SHOWN = 50


class Finding(Struct, frozen=True):
    """One fault: where, and what is wrong in words that name the rows or files."""

    text: str
    merchant_id: str | None = None


class Examined(Struct, frozen=True, kw_only=True):
    """The outcome of one check: how many things were looked at, and its faults; a report has the first."""

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
        shown=tuple(findings),
        note=note,
    )


def reported(check: Examined, leaving: Collection[str]) -> Examined:
    """The outcome without the merchants that are being removed, of whom anything may be missing."""
    findings = [finding for finding in check.shown if finding.merchant_id not in leaving]
    return replace(check, faults=len(findings), shown=tuple(findings[:MOST_SHOWN]))


class Report(Struct, frozen=True, kw_only=True):
    """`ok` when no check found a fault; `removed` says what --gc took away."""

    ok: bool
    merchants: int
    checks: tuple[Examined, ...]
    removed: dict[str, int] = {}
