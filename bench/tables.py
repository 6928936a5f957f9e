"""What a measurement says, for people and for programs."""

from msgspec import Struct


class Figure(Struct, frozen=True, kw_only=True):
    """One measured value. `limit` is the figure it should not pass, where there is one."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool | None:
        return None if self.limit is None else self.value <= self.limit


class Report(Struct, frozen=True, kw_only=True):
    title: str
    figures: list[Figure]


def written(report: Report) -> str:
    """The report as a table."""
    width = max(len(figure.name) for figure in report.figures)
    lines = [report.title]
    for figure in report.figures:
        limit = "" if figure.limit is None else f"<= {figure.limit:g}"
        verdict = {None: "", True: "ok", False: "OVER"}[figure.holds]
        value = f"{figure.value:>10.2f} {figure.unit:<7}"
        lines.append(f"  {figure.name:{width}}  {value} {limit:<8} {verdict:<5} {figure.note}")
    return "\n".join(line.rstrip() for line in lines)
