"""Every expected no of stocktakes."""

from kasuwa.base.problems import Conflict, NotFound


class StocktakeNotFound(NotFound):
    code = "stocktake-not-found"
    title = "There is no such stocktake"


class StocktakeEnded(Conflict):
    code = "stocktake-ended"
    title = "The stocktake has ended"
