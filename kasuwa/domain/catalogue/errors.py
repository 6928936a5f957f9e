"""Every expected no of the catalogue."""

from kasuwa.base.problems import Conflict, Invalid, NotFound


class ProductNotFound(NotFound):
    code = "product-not-found"
    title = "There is no such product"


class SkuTaken(Conflict):
    code = "sku-taken"
    title = "Another product has this SKU"


class BarcodeTaken(Conflict):
    code = "barcode-taken"
    title = "Another product has this barcode"


class NameTaken(Conflict):
    code = "name-taken"
    title = "Another product has this name"


class VersionOld(Conflict):
    code = "version-old"
    title = "The product has changed since it was read"


class UnknownCategory(Invalid):
    code = "unknown-category"
    title = "There is no such category"


class UnknownLocation(Invalid):
    code = "unknown-location"
    title = "There is no such location"


class PageTooDeep(Invalid):
    code = "page-too-deep"
    title = "This page is too far in; go on with the cursor"


class CursorWrong(Invalid):
    code = "cursor-wrong"
    title = "This cursor was not made by this list"


class PriceUnfit(Conflict):
    code = "price-unfit"
    title = "A promotion or wholesale price does not fit the selling price"


class UnknownVariant(Invalid):
    code = "unknown-variant"
    title = "This product has no such variant"


class OtherCurrency(Conflict):
    code = "other-currency"
    title = "This store sells in another currency"
