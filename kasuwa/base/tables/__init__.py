"""Tables in files: CSV, XLSX and JSON lines, read row by row whatever their size.

Nothing here keeps more than a few rows; see docs/decisions/table-files.md.
"""

from kasuwa.base.tables.opening import open_table
from kasuwa.base.tables.records import BadRow, Table, TableRow, TableWrong

__all__ = ["BadRow", "Table", "TableRow", "TableWrong", "open_table"]
