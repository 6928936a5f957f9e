"""Pictures of products with variants from a zip: each in its place, and on its variant."""

import zipfile
from pathlib import Path

import pytest

from kasuwa.base.context import Context
from kasuwa.domain.exchange.pictures import import_pictures
from tests.conftest import picture_bytes
from tests.domain.test_exchange import load, product_of
from tests.domain.test_exchange_stock import VARIANTS

HAT = ",HAT,Hat,5,each,Size,S;M,\nHAT,HAT-S,,,,,S,1\nHAT,A-HAT-M,,,,,M,1\n"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "pictures.zip"


def pack(archive: Path, **seeds: int) -> None:
    """Pictures by their names without the ending; the same seed is the same picture."""
    with zipfile.ZipFile(archive, "w") as out:
        for name, seed in seeds.items():
            out.writestr(f"{name.replace('_', '-')}.png", picture_bytes("PNG", seed=seed))


async def shown(context: Context) -> tuple[list[str], dict[str, str]]:
    """The alt texts in their order, the thumbnail's with a star, and those of the variants by SKU."""
    hat = await product_of(context, "HAT")
    texts = {one.product_picture_id: one.alt_text for one in hat.pictures}
    ordered = [f"{one.alt_text}{'*' * one.is_thumbnail}" for one in hat.pictures]
    return ordered, {v.sku: texts[v.product_picture_id] for v in hat.variants if v.product_picture_id}


async def test_a_picture_of_a_variant_comes_last_and_stands_for_it(
    context: Context, tmp_path: Path, archive: Path
) -> None:
    await load(context, tmp_path / "a.csv", VARIANTS + HAT)
    # One variant's SKU comes before the product's own, the other's after it.
    pack(archive, A_HAT_M=1, HAT_S=2, HAT=3, HAT_2=4, HAT_S_2=5)
    assert await import_pictures(context, archive) == {"shown": 5, "skipped": 0, "failed": 0}
    expected = (
        ["Hat*", "Hat, 2", "Hat, M", "Hat, S", "Hat, S, 2"],
        {"HAT-S": "Hat, S", "A-HAT-M": "Hat, M"},
    )
    assert await shown(context) == expected
    assert await import_pictures(context, archive) == {"shown": 0, "skipped": 5, "failed": 0}
    assert await shown(context) == expected


async def test_one_picture_may_stand_for_several_variants(
    context: Context, tmp_path: Path, archive: Path
) -> None:
    await load(context, tmp_path / "a.csv", VARIANTS + HAT)
    pack(archive, HAT=1, HAT_S=2, A_HAT_M=2)
    assert await import_pictures(context, archive) == {"shown": 3, "skipped": 0, "failed": 0}
    assert await shown(context) == (["Hat*", "Hat, M"], {"HAT-S": "Hat, M", "A-HAT-M": "Hat, M"})
    # A variant that has one keeps it, unless a new one comes.
    pack(archive, HAT_S=1)
    assert await import_pictures(context, archive) == {"shown": 0, "skipped": 1, "failed": 0}
    pack(archive, HAT_S=3)
    assert await import_pictures(context, archive) == {"shown": 1, "skipped": 0, "failed": 0}
    assert (await shown(context))[1] == {"HAT-S": "Hat, S", "A-HAT-M": "Hat, M"}
