"""Every expected no of bank accounts."""

from kasuwa.base.problems import Conflict, NotFound


class AccountNotFound(NotFound):
    """Unknown, of another store and of another merchant look the same."""

    code = "bank-account-not-found"
    title = "There is no such bank account"


class BankNotFound(NotFound):
    code = "bank-not-found"
    title = "There is no such bank"


class NoSuchHolder(NotFound):
    code = "no-such-holder"
    title = "The bank has no such account"


class AccountListed(Conflict):
    code = "bank-account-listed"
    title = "The store has this account already"


class AccountInactive(Conflict):
    code = "bank-account-inactive"
    title = "The account is out of use"


class AccountInUse(Conflict):
    """Money is paid out to it, and nothing was said about where it goes then."""

    code = "bank-account-in-use"
    title = "Money is paid out to this account"


class DefaultNeeded(Conflict):
    code = "default-needed"
    title = "A store with accounts in use has one that is the default"


class TooManyAccounts(Conflict):
    code = "too-many-bank-accounts"
    title = "The store has as many accounts as it can have"
