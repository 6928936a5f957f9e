"""Every expected no of importing and exporting."""

from kasuwa.base.problems import Conflict, NotFound


class ImportNotFound(NotFound):
    code = "import-not-found"
    title = "There is no such import"


class ImportElsewhere(Conflict):
    code = "import-elsewhere"
    title = "Somebody else goes on with this import"
