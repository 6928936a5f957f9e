"""Opening a file as the table it is."""

from pathlib import Path

from kasuwa.base.tables.records import Table, TableWrong
from kasuwa.base.tables.survey import Survey
from kasuwa.base.tables.text_files import open_csv, open_jsonl
from kasuwa.base.tables.xlsx import open_xlsx


def open_table(
    path: Path, survey: Survey, *, delimiter: str | None = None, sheet: str | None = None
) -> Table:
    """The table in the file, judged by its content. Raises TableWrong."""
    try:
        if survey.kind == "xlsx":
            return open_xlsx(path, sheet)
        if survey.kind == "jsonl":
            return open_jsonl(path, survey)
        return open_csv(path, survey, delimiter)
    except UnicodeDecodeError as error:
        raise TableWrong(f"The text is damaged: {error.reason} at byte {error.start}.") from None
