"""Every expected no of the catalogue."""

from kasuwa.base.problems import Conflict, FieldFault, Invalid, NotFound


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


class CategoryNotFound(NotFound):
    code = "category-not-found"
    title = "There is no such category"


class CategoryNameTaken(Conflict):
    code = "category-name-taken"
    title = "Another category at the same place has this name"


class CategoryLoop(Conflict):
    code = "category-loop"
    title = "A category cannot stand below itself"


class CategoryTooDeep(Conflict):
    code = "category-too-deep"
    title = "Categories stand at most six levels deep"


class CategoryHasChildren(Conflict):
    code = "category-has-children"
    title = "There are categories below this one"


class TooManyCategories(Conflict):
    code = "too-many-categories"
    title = "A shop has at most 10,000 categories"


class UnknownLocation(Invalid):
    code = "unknown-location"
    title = "There is no such location"


class PageTooDeep(Invalid):
    code = "page-too-deep"
    title = "This page is too far in; go on with the cursor"


class VariantsWrong(Invalid):
    code = "variants-wrong"
    title = "The options and variants do not fit together"


class ChoiceTaken(Conflict):
    code = "combination-taken"
    title = "The product has a variant with these options"


class NoOptions(Conflict):
    code = "no-options"
    title = "This product has no options yet"


class StillStocked(Conflict):
    code = "still-stocked"
    title = "There is still stock"


class UnitTooCoarse(Conflict):
    code = "unit-too-coarse"
    title = "The stock has fractions that this unit does not have"


class LastVariant(Conflict):
    code = "last-variant"
    title = "A product with options keeps at least one variant"


class VariantNotFound(Invalid):
    code = "unknown-variant"
    title = "There is no such variant of the product"


class PriceUnfit(Conflict):
    code = "price-unfit"
    title = "A promotion or wholesale price does not fit the selling price"


class OtherCurrency(Conflict):
    code = "other-currency"
    title = "This store sells in another currency"


# By the constraint's name: the unit of a product follows what lies of it.
UNIT_SETTLED = {
    "stock_fits_unit": UnitTooCoarse(
        faults=[FieldFault("/unit", "decimals", "Bring the stock to whole units first: count or deduct it.")]
    )
}
