"""Every expected no of the inventory."""

from kasuwa.base.problems import Conflict, NotFound


class NotEnoughStock(Conflict):
    code = "not-enough-stock"
    title = "There is not enough in stock"


class NotStocked(NotFound):
    code = "not-stocked"
    title = "This product is not counted at this location"
