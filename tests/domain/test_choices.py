"""The rules of options and variants, which need no database."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kasuwa.domain.catalogue.choices import Limits, arrange_product, arrange_variants, widen_options
from kasuwa.domain.catalogue.errors import VariantsWrong
from kasuwa.domain.catalogue.records import NewProduct, NewVariant, OptionValue, Price, ProductOption

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
NAME = TEXT.filter(str.strip)
OPTIONS = st.lists(
    st.builds(ProductOption, NAME, st.lists(TEXT, min_size=1, max_size=5, unique=True).map(tuple)),
    min_size=1,
    max_size=3,
    unique_by=lambda option: option.name,
)


def combinations(options: Sequence[ProductOption]) -> list[tuple[OptionValue, ...]]:
    found: list[tuple[OptionValue, ...]] = [()]
    for option in options:
        found = [(*start, OptionValue(option.name, value)) for start in found for value in option.values]
    return found


def pointers(problem: VariantsWrong) -> set[str]:
    return {fault.pointer for fault in problem.faults}


@given(OPTIONS, st.randoms())
def test_every_combination_once_is_right_in_whatever_order_its_options_come(
    options: list[ProductOption], chance: random.Random
) -> None:
    wanted = combinations(options)
    sent = [NewVariant(options=tuple(chance.sample(choice, len(choice)))) for choice in wanted]
    arranged = arrange_variants(options, sent)
    assert [variant.options for variant in arranged] == wanted
    assert [variant.name for variant in arranged] == [" / ".join(v.value for v in c) for c in wanted]


SPOIL: dict[str, Any] = {
    "a combination twice": lambda options, variants: (options, [*variants, variants[0]]),
    "an option too few": lambda options, variants: (
        options,
        [*variants[:-1], NewVariant(options=variants[-1].options[1:])],
    ),
    "an option twice": lambda options, variants: (
        options,
        [*variants[:-1], NewVariant(options=variants[-1].options + variants[-1].options[:1])],
    ),
    "an unknown option": lambda options, variants: (
        options,
        [*variants, NewVariant(options=(*variants[0].options[:-1], OptionValue("no such option", "x")))],
    ),
    "an unknown value": lambda options, variants: (
        options,
        [*variants, NewVariant(options=(*variants[0].options[:-1], OptionValue(options[-1].name, "x" * 9)))],
    ),
    "an option named twice": lambda options, variants: ([*options, options[0]], variants),
    "a value named twice": lambda options, variants: (
        [ProductOption(options[0].name, options[0].values * 2), *options[1:]],
        variants,
    ),
    "no options": lambda options, variants: ([], variants),
    "no variants": lambda options, variants: (options, []),
}


@pytest.mark.parametrize("way", SPOIL)
@given(OPTIONS)
def test_each_way_to_spoil_it_is_refused(way: str, options: list[ProductOption]) -> None:
    variants = [NewVariant(options=choice) for choice in combinations(options)]
    with pytest.raises(VariantsWrong) as refused:
        arrange_variants(*SPOIL[way](options, variants))
    assert all(pointer.startswith(("/options", "/variants")) for pointer in pointers(refused.value))


def test_the_limits_are_the_callers() -> None:
    options = [ProductOption("Size", tuple(f"{n}" for n in range(61)))]
    variants = [NewVariant(options=choice) for choice in combinations(options)]
    with pytest.raises(VariantsWrong) as refused:
        arrange_variants(options, variants)
    assert pointers(refused.value) == {"/options/0/values"}
    assert len(arrange_variants(options, variants, limits=Limits(values=61))) == 61
    with pytest.raises(VariantsWrong) as refused:
        arrange_variants(options, variants, limits=Limits(values=61, variants=60))
    assert pointers(refused.value) == {"/variants"}


def test_a_simple_product_passes_as_it_is_and_five_hundred_with_variants_too() -> None:
    price = Price(currency="NGN", selling_minor=1)
    simple = NewProduct(name="Basket", variants=(NewVariant(price=price, sku="A"),))
    assert arrange_product(simple) is simple
    options = (ProductOption("Size", ("S", "M")), ProductOption("Colour", ("Red", "Blue")))
    variants = tuple(NewVariant(options=choice[::-1]) for choice in combinations(options))
    for number in range(500):
        new = NewProduct(
            name=f"Shirt {number}",
            kind="variant",
            options=options,
            main=NewVariant(price=price),
            variants=variants,
        )
        assert [variant.name for variant in arrange_product(new).variants] == [
            "S / Red",
            "S / Blue",
            "M / Red",
            "M / Blue",
        ]


@given(OPTIONS, OPTIONS)
def test_widening_keeps_every_value_and_adds_no_option(
    known: list[ProductOption], wanted: list[ProductOption]
) -> None:
    names = {option.name for option in known}
    if {option.name for option in wanted} - names:
        with pytest.raises(VariantsWrong):
            widen_options(known, wanted)
        wanted = [option for option in wanted if option.name in names]
    wide = widen_options(known, wanted)
    assert [option.name for option in wide] == [option.name for option in known]
    more = {option.name: option.values for option in wanted}
    for before, after in zip(known, wide, strict=True):
        assert set(after.values) == set(before.values) | set(more.get(before.name, ()))
        assert len(set(after.values)) == len(after.values)
    assert widen_options((), wanted) == tuple(wanted)
