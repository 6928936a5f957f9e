"""Every expected no of complaints."""

from kasuwa.base.problems import NotFound


class ComplaintNotFound(NotFound):
    """Unknown and another store's look the same."""

    code = "complaint-not-found"
    title = "There is no such complaint at this store"
    advice = "Take its id from the list of complaints of your store."


class AttachmentNotFound(NotFound):
    code = "attachment-not-found"
    title = "The complaint has no such file"
    advice = "Take its position from the complaint: the file may have been removed."
