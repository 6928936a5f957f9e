"""Every expected no of users."""

from kasuwa.base.problems import Conflict, Forbidden, Invalid, NotFound, Unauthenticated


class UserNotFound(NotFound):
    code = "account-not-found"
    title = "There is no such account"


class WrongCredentials(Unauthenticated):
    """Unknown user, wrong password and suspended account look the same."""

    code = "wrong-credentials"
    title = "User name or password is wrong"


class NotVerified(Unauthenticated):
    code = "not-verified"
    title = "The account is not confirmed yet"


class WrongPassword(Invalid):
    code = "wrong-password"
    title = "The present password is another one"


class LinkNotFound(NotFound):
    code = "link-not-found"
    title = "There is no such link, or it has expired"


class LinkUsed(Conflict):
    code = "link-used"
    title = "The link was used already"


class StoreNotOpen(Forbidden):
    """Unknown, foreign, closed and not allowed look the same."""

    code = "store-not-open"
    title = "This user cannot open that store"
