"""Every expected no of users."""

from kasuwa.base.problems import Conflict, Forbidden, Invalid, NotFound, Unauthenticated


class UserNotFound(NotFound):
    code = "account-not-found"
    title = "There is no such account"
    advice = "Look for the id or the address again: the account may have been closed."


class WrongCredentials(Unauthenticated):
    """Unknown user, wrong password and suspended account look the same."""

    code = "wrong-credentials"
    title = "User name or password is wrong"
    advice = "Check the user name and the password."


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


class SessionNotFound(NotFound):
    """Unknown, ended, foreign and at another location look the same."""

    code = "session-not-found"
    title = "There is no such session"


class AtTill(Forbidden):
    code = "at-till"
    title = "A session that was opened by PIN cannot do that"


class SecondFactorRequired(Unauthenticated):
    """The password was right."""

    code = "second-factor-required"
    title = "This log-in takes a second factor too"


class WrongSecondFactor(Unauthenticated):
    """Wrong, too old and used before look the same."""

    code = "wrong-second-factor"
    title = "This code is no second factor now"


class SecondFactorOn(Conflict):
    code = "second-factor-on"
    title = "The second factor is on already"
    advice = "Turn it off first to begin with another app."


class SecondFactorOff(Conflict):
    code = "second-factor-off"
    title = "No second factor is on, or waits for its first code"


class StoreNotOpen(Forbidden):
    """Unknown, foreign, closed and not allowed look the same."""

    code = "store-not-open"
    title = "This user cannot open that store"
