"""Every expected no of importing and exporting."""

from kasuwa.base.problems import Conflict, NotFound
from kasuwa.base.tables import TableWrong


class ImportNotFound(NotFound):
    code = "import-not-found"
    title = "There is no such import"


class ImportElsewhere(Conflict):
    code = "import-elsewhere"
    title = "Somebody else goes on with this import"


class ImportEnded(Conflict):
    code = "import-ended"
    title = "This import has ended already"


class ArchiveWrong(TableWrong):
    code = "archive-wrong"
    title = "The file cannot be read as a zip of pictures"
