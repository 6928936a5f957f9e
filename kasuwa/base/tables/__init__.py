"""Tables in files: CSV, XLSX and JSON lines, read row by row whatever their size; XLSX is written so too.

Nothing here keeps more than a few rows; see docs/decisions/table-files.md.
"""

from kasuwa.base.tables.opening import open_table
from kasuwa.base.tables.records import BadRow, Table, TableRow, TableWrong
from kasuwa.base.tables.xlsx_files import write_xlsx

__all__ = ["BadRow", "Table", "TableRow", "TableWrong", "open_table", "write_xlsx"]
