"""The expected noes of imaging."""

from kasuwa.base.problems import Problem, Unavailable


class NotAPicture(Problem):
    """`reason` is a sentence that says what is wrong with the file."""

    status = 400
    code = "not-a-picture"
    title = "The file is not a picture we can read"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PictureTooBig(Problem):
    """More pixels, frames, scans, bytes or memory than the cap, which `reason` names."""

    status = 400
    code = "picture-too-big"
    title = "The picture is over the limit"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ImagingBusy(Unavailable):
    code = "imaging-busy"
    title = "Too many pictures are being rendered"
