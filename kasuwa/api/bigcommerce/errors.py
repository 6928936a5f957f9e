"""The noes that BigCommerce's documents word, word for word."""

from typing import Any

from kasuwa.base.fetch import FetchFailed
from kasuwa.base.imaging import NotAPicture, PictureTooBig
from kasuwa.base.problems import FieldFault, Invalid, Problem, TooLarge

DOCS = "/api-docs/getting-started/api-status-codes"
_DOCS_URL = "https://developer.bigcommerce.com" + DOCS


class LimitAboveMaximum(TooLarge):
    code = "limit-above-maximum"
    title = "The limit is above the maximum of 250 items a page."


class TooManyItems(TooLarge):
    code = "too-many-items"
    title = "The request payload is too large. The maximum items allowed in the array is 10."


class ImageUrlMissing(Invalid):
    code = "image-url-missing"
    title = "image_url must be present if uploading by url"


class ImageRefused(Problem):
    """An image that did not come or is none. Clients match the words of `invalid_reason`."""

    code = "image-refused"
    title = "The field 'image_file' is invalid."

    def __init__(self, invalid_reason: str, detail: str) -> None:
        super().__init__(detail)
        self.invalid_reason = invalid_reason

    def body(self) -> dict[str, Any]:
        """The one error body with a `code` and the long `type`."""
        return {
            "status": self.status,
            "code": self.status,
            "title": self.title,
            "type": _DOCS_URL,
            "detail": self.detail,
            "errors": {"invalid_reason": self.invalid_reason},
        }


def image_problem(problem: Problem, url: str | None) -> Problem:
    """What a picture's problem means here; `url` is where it came from, None for an uploaded file."""
    resource = "The uploaded file" if url is None else f"The resource at '{url}'"
    if isinstance(problem, FetchFailed):
        return ImageRefused(f"{resource} could not be downloaded and may be invalid.", problem.detail)
    if isinstance(problem, NotAPicture | PictureTooBig):
        reason = f"{resource} could not be processed and may not be valid image."
        return ImageRefused(reason, problem.detail)
    return problem


def exclusive(*names: str) -> Invalid:
    """Two fields came that cannot be used together."""
    others = " and ".join(names)
    return Invalid(
        f"{others} cannot be used together.",
        faults=[FieldFault(f"/{name}", "not_allowed", f"Give only one of {others}.") for name in names],
    )
