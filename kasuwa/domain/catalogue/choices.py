"""What makes a product with variants right, without a database: for one product and for a file of them.

Pointers lead into an object with `options` and `variants`, as every caller has one.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec import Struct

from kasuwa.base.problems import FieldFault
from kasuwa.domain.catalogue.errors import ChoiceTaken, VariantsWrong
from kasuwa.domain.catalogue.queries import sku_key
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OptionValue, ProductOption, Variant

Choice = tuple[OptionValue, ...]


class Limits(Struct, frozen=True):
    """How many there may be: options, values of each, variants of a product."""

    options: int = 3
    values: int = 60
    variants: int = 200


LIMITS = Limits()


def arrange_product(new: NewProduct, limits: Limits = LIMITS) -> NewProduct:
    """The product to be made, with each variant's options in the product's order and its name made of them.

    Raises VariantsWrong, which names every fault. A simple product is given back as it is.
    """
    if new.kind == "simple":
        return new
    variants = arrange_variants(new.options, new.variants, main=new.main, limits=limits)
    return msgspec.structs.replace(new, variants=variants)


def arrange_variants(
    options: Sequence[ProductOption],
    variants: Sequence[NewVariant],
    *,
    main: NewVariant | None = None,
    sold: Sequence[Variant] = (),
    pictures: int = 0,
    limits: Limits = LIMITS,
) -> tuple[NewVariant, ...]:
    """The variants to be made beside those that are sold, of a product with so many pictures.

    Raises VariantsWrong, and ChoiceTaken when that is all that is wrong.
    """
    faults = [
        *_option_faults(options, limits),
        *_count_faults(len(sold), len(variants), limits),
        *_repeated_codes(main, variants),
        *_picture_faults(variants, pictures),
    ]
    arranged = []
    for place, variant in enumerate(variants):
        choice = _read_choice(options, variant.options, f"/variants/{place}/options", faults)
        name = variant.name or " / ".join(value.value for value in choice)
        arranged.append(msgspec.structs.replace(variant, options=choice, name=name))
    if not faults:
        faults += _repeated_choices(arranged)
    if faults:
        raise VariantsWrong(faults=faults)
    _refuse_taken(arranged, sold)
    return tuple(arranged)


def widen_options(
    known: Sequence[ProductOption], wanted: Sequence[ProductOption]
) -> tuple[ProductOption, ...]:
    """The product's options with the values of those that are wanted. Raises VariantsWrong.

    New values follow those that are there; a list that has all of these gives the order too. An option that
    the product does not have cannot come in: what it sells already has no value of it.
    """
    if not known:
        return tuple(wanted)
    faults = list(_repeated_names(wanted))
    values = {option.name: option.values for option in known}
    for place, option in enumerate(wanted):
        if option.name not in values:
            text = "Name an option that the product has; its variants have no value of another."
            faults.append(FieldFault(f"/options/{place}/name", "unknown", text))
            continue
        there = values[option.name]
        if set(there) <= set(option.values):
            values[option.name] = option.values
        else:
            values[option.name] = there + tuple(value for value in option.values if value not in there)
    if faults:
        raise VariantsWrong(faults=faults)
    return tuple(ProductOption(option.name, values[option.name]) for option in known)


def _option_faults(options: Sequence[ProductOption], limits: Limits) -> Iterator[FieldFault]:
    if not options:
        yield FieldFault("/options", "required", "Say which options tell the variants apart.")
    if len(options) > limits.options:
        yield FieldFault("/options", "too_many", f"Give at most {limits.options} options.")
    yield from _repeated_names(options)
    for place, option in enumerate(options):
        pointer = f"/options/{place}"
        if not option.name.strip():
            yield FieldFault(f"{pointer}/name", "required", "Write a name that can be read.")
        if not 1 <= len(option.values) <= limits.values:
            yield FieldFault(f"{pointer}/values", "too_many", f"Give 1 to {limits.values} values.")
        if len(set(option.values)) < len(option.values):
            yield FieldFault(f"{pointer}/values", "duplicate", "Give each value once.")


def _count_faults(there: int, more: int, limits: Limits) -> Iterator[FieldFault]:
    if not more:
        yield FieldFault("/variants", "required", "Give at least one variant.")
    if there + more > limits.variants:
        beside = f"; it has {there}" if there else ""
        text = f"A product has at most {limits.variants} variants{beside}."
        yield FieldFault("/variants", "too_many", text)


def _repeated_codes(main: NewVariant | None, variants: Sequence[NewVariant]) -> Iterator[FieldFault]:
    """A SKU or a barcode that the body itself gives twice; what others have is for the database to know."""
    own = (main,) if main else ()
    for field in ("sku", "barcode"):
        seen: dict[str, str] = {}
        for place, variant in enumerate((*own, *variants), start=-len(own)):
            code = getattr(variant, field)
            if code is None:
                continue
            key = sku_key(code) if field == "sku" else code
            if key in seen:
                pointer = f"/variants/{place}/{field}"
                yield FieldFault(pointer, "duplicate", f"This is the {field} of {seen[key]}; give another.")
            seen.setdefault(key, "the product" if place < 0 else f"variant {place + 1}")


def _picture_faults(variants: Sequence[NewVariant], pictures: int) -> Iterator[FieldFault]:
    for place, variant in enumerate(variants):
        if variant.image_position is not None and not 1 <= variant.image_position <= pictures:
            has = f"has {pictures} pictures" if pictures else "has no pictures yet"
            text = f"The product {has}; add the picture first."
            yield FieldFault(f"/variants/{place}/imagePosition", "unknown", text)


def _read_choice(
    options: Sequence[ProductOption], chosen: Choice, pointer: str, faults: list[FieldFault]
) -> Choice:
    """One value of each option, in the product's order; what is wrong goes to `faults`."""
    known = {option.name: option.values for option in options}
    values: dict[str, str] = {}
    for place, one in enumerate(chosen):
        if one.name not in known:
            text = "Name an option of the product."
            faults.append(FieldFault(f"{pointer}/{place}/name", "unknown", text))
        elif one.name in values:
            faults.append(FieldFault(f"{pointer}/{place}/name", "duplicate", "Give each option once."))
        elif one.value not in known[one.name]:
            text = "Give one of the option's values, or add this one to them."
            faults.append(FieldFault(f"{pointer}/{place}/value", "unknown", text))
        values.setdefault(one.name, one.value)
    if known.keys() - values.keys():
        faults.append(FieldFault(pointer, "required", "Give one value of each option of the product."))
    return tuple(OptionValue(name, values.get(name, "")) for name in known)


def _repeated_choices(variants: Sequence[NewVariant]) -> Iterator[FieldFault]:
    seen: dict[Choice, int] = {}
    for place, variant in enumerate(variants):
        if variant.options in seen:
            text = f"Variant {seen[variant.options] + 1} has the same options; give each combination once."
            yield FieldFault(f"/variants/{place}/options", "duplicate", text)
        seen.setdefault(variant.options, place)


def _refuse_taken(variants: Sequence[NewVariant], sold: Sequence[Variant]) -> None:
    taken = {variant.options for variant in sold}
    faults = [
        FieldFault(f"/variants/{place}/options", "taken", "The product has this combination already.")
        for place, variant in enumerate(variants)
        if variant.options in taken
    ]
    if faults:
        raise ChoiceTaken(faults=faults)


def _repeated_names(options: Iterable[ProductOption]) -> Iterator[FieldFault]:
    seen = set()
    for place, option in enumerate(options):
        if option.name in seen:
            yield FieldFault(f"/options/{place}/name", "duplicate", "Give each option once.")
        seen.add(option.name)
