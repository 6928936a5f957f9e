"""Every expected no of transfers."""

from kasuwa.base.problems import Conflict, Invalid, NotFound


class TransferNotFound(NotFound):
    code = "transfer-not-found"
    title = "There is no such transfer"


class TransferNotDraft(Conflict):
    code = "transfer-not-draft"
    title = "The transfer has been shipped or cancelled"


class TransferNotShipped(Conflict):
    code = "transfer-not-shipped"
    title = "The transfer has not been shipped"


class TransferCancelled(Conflict):
    code = "transfer-cancelled"
    title = "The transfer was cancelled"


class TransferAccepted(Conflict):
    code = "transfer-accepted"
    title = "The transfer has arrived"


class TransferVersionOld(Conflict):
    code = "transfer-version-old"
    title = "The transfer has changed since it was read"


class NotAtThisEnd(Conflict):
    """The source ships and cancels, the destination receives."""

    code = "not-at-this-end"
    title = "This is for the other end of the transfer to do"


class OverReceipt(Invalid):
    code = "over-receipt"
    title = "More is said to have arrived than is on its way"


class TransferHolds(Conflict):
    code = "transfer-holds"
    title = "An open transfer holds this product"


class UnknownDestination(Invalid):
    code = "unknown-destination"
    title = "There is no such other location"


class UnknownLine(Invalid):
    code = "unknown-line"
    title = "The transfer has no such line"


class UnknownVariant(Invalid):
    code = "unknown-variant"
    title = "There is no such product to send"


class NotTracked(Conflict):
    code = "not-tracked"
    title = "The quantity of this product is not counted"


class WrongLines(Invalid):
    code = "wrong-lines"
    title = "The lines of the transfer are not acceptable"


class FateNeeded(Invalid):
    code = "fate-needed"
    title = "Say where the units went"
