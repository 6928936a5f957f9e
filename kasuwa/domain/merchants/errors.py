"""Every expected no of merchants and their proofs."""

from kasuwa.base.problems import Conflict, Invalid, NotFound


class LoginNameTaken(Conflict):
    code = "login-name-taken"
    title = "This e-mail, mobile or user name is taken"


class StoreNotFound(NotFound):
    code = "store-not-found"
    title = "There is no such store"


class MerchantNotFound(NotFound):
    code = "merchant-not-found"
    title = "There is no such merchant"


class TokenNotFound(NotFound):
    code = "token-not-found"
    title = "There is no such token or key"


class TokenEnding(Conflict):
    code = "token-ending"
    title = "The token or key was rotated already"


class TooManyTokens(Conflict):
    code = "too-many-tokens"
    title = "The store has as many tokens as it may"


class UnknownScope(Invalid):
    code = "unknown-scope"
    title = "There is no such scope"
