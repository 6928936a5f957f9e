"""Every expected no of the embedded PostgreSQL. The detail says what to do next."""

from kasuwa.base.problems import Problem


class DatabaseFault(Problem):
    """The database server cannot be used as asked; the command ends with the detail."""

    status = 503
    code = "database"
    title = "The database server cannot be used"


class NoBinaries(DatabaseFault):
    code = "database-no-binaries"
    title = "No PostgreSQL was found to run"


class NoPlainUser(DatabaseFault):
    code = "database-no-plain-user"
    title = "PostgreSQL does not run as root and there is no plain user for it"


class UnreachableFolder(DatabaseFault):
    code = "database-unreachable-folder"
    title = "The data folder cannot be used by the user that runs PostgreSQL"


class AlreadyRunning(DatabaseFault):
    """Another process holds the data folder; `pid` is 0 when it has not written its id yet."""

    code = "database-already-running"
    title = "Another process already serves this data folder"

    def __init__(self, detail: str, pid: int) -> None:
        super().__init__(detail)
        self.pid = pid


class OtherMajor(DatabaseFault):
    code = "database-other-major"
    title = "The data folder belongs to another version of PostgreSQL"


class StartFailed(DatabaseFault):
    code = "database-start-failed"
    title = "PostgreSQL did not start"


class BootstrapIncomplete(DatabaseFault):
    """Roles, database or extensions are missing; `statements` is the SQL an administrator has to run."""

    code = "database-bootstrap-incomplete"
    title = "The database is not prepared"

    def __init__(self, detail: str, statements: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.statements = statements
