"""The words of tables."""

from collections.abc import Callable, Iterator

from msgspec import Struct

from kasuwa.base.problems import Invalid

# Characters. A quote that nobody closes would swallow the whole file into one cell.
MOST_CELL = 1024 * 1024
MOST_ROW = 4 * MOST_CELL


class TableWrong(Invalid):
    code = "table-wrong"
    title = "The file cannot be read as a table"


class TableRow(Struct, frozen=True):
    """A row as it stands in the file: its number (the header is row 1), and its cells as text."""

    number: int
    cells: list[str]


class BadRow(Struct, frozen=True):
    """A row that is not one of this table, and why; `cells` as far as they could be read."""

    number: int
    cells: list[str]
    reason: str


class Table(Struct, frozen=True, kw_only=True):
    """A table whose rows are read once, from the first to the last.

    `notes` say what was assumed about the file. `fraction` tells how much of it has been read. Whoever opened
    the table closes it.
    """

    kind: str
    header: list[str]
    notes: list[str]
    rows: Iterator[TableRow | BadRow]
    fraction: Callable[[], float]
    close: Callable[[], None]


def checked(number: int, cells: list[str], width: int) -> TableRow | BadRow:
    """The row with as many cells as the header has."""
    if len(cells) > width:
        if any(cell.strip() for cell in cells[width:]):
            reason = f"The row has {len(cells)} cells, the header {width}: put texts with commas in quotes."
            return BadRow(number, cells[:width], reason)
        del cells[width:]
    elif len(cells) < width:
        cells.extend([""] * (width - len(cells)))
    return TableRow(number, cells)
