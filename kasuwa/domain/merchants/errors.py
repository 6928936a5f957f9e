"""Every expected no of merchants and their proofs."""

from kasuwa.base.problems import Conflict, Forbidden, Invalid, NotFound


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
    title = "There is no such token"


class KeyNotFound(NotFound):
    code = "key-not-found"
    title = "There is no such developer key"


class TokenEnding(Conflict):
    code = "token-ending"
    title = "The token or key was rotated already"


class TooManyTokens(Conflict):
    code = "too-many-tokens"
    title = "The store has as many tokens as it may"


class TooManyKeys(Conflict):
    code = "too-many-keys"
    title = "The store has as many developer keys as it may"


class KeyScopeMissing(Forbidden):
    code = "key-scope-missing"
    title = "The developer key is not for this"


class UnknownScope(Invalid):
    code = "unknown-scope"
    title = "There is no such scope"
