"""Every expected no of messages, and what may go wrong on the way out."""

from kasuwa.base.problems import Conflict, Invalid, NotFound


class MessageNotFound(NotFound):
    code = "message-not-found"
    title = "There is no such message"
    advice = "Take its id from the list of messages of your store."


class MessageNotFailed(Conflict):
    """It has left, or is still being tried."""

    code = "message-not-failed"
    title = "Only a message that failed can be sent again"


class MessageForgotten(Conflict):
    code = "message-forgotten"
    title = "The words of this message are no longer kept"


class LanguageUnknown(Invalid):
    code = "language-unknown"
    title = "There are no texts in that language"


class DeliveryFailed(Exception):
    """A message did not leave. `reason` is a text of ours: never an answer that may repeat words or keys.

    `permanent`: another try would end alike. `retry_after_seconds`: what the other side asked to wait.
    """

    def __init__(self, reason: str, *, permanent: bool = False, retry_after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent
        self.retry_after_seconds = retry_after_seconds
