"""Every expected no of pictures, beside those of the fetcher and the decoder."""

from kasuwa.base.problems import Conflict, Forbidden, NotFound


class PictureNotFound(NotFound):
    code = "picture-not-found"
    title = "There is no such picture on this product"


class TooManyPictures(Forbidden):
    code = "too-many-pictures"
    title = "A product shows at most 1000 pictures"


class OrderWrong(Conflict):
    code = "order-wrong"
    title = "The order names pictures that the product does not have"
