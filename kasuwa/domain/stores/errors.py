"""Every expected no of stores."""

from kasuwa.base.problems import Conflict, NotFound


class LocationNotFound(NotFound):
    """Unknown, foreign and not open to this user look the same."""

    code = "store-not-found"
    title = "There is no such store for this user"
    advice = "Give the id of a store where you work."


class CurrencyInUse(Conflict):
    code = "currency-in-use"
    title = "The store's goods are booked in its currency"


class LocationClosed(Conflict):
    code = "store-closed"
    title = "The store is closed"
