"""Cases B1 to B15: an image comes in, from a URL or as a file, or is refused in the vendor's words."""

import pytest

from kasuwa.domain.media.records import MOST_BYTES, MOST_PICTURES
from tests.api.bigcommerce_calls import TYPE, BigCommerceCalls, check_error
from tests.api.picture_server import PictureServer, serving_pictures
from tests.base.pictures import scene, write, write_wbmp
from tests.conftest import picture_bytes
from tests.shop import Shop

MISSING = "image_url must be present if uploading by url"
INVALID = "The field 'image_file' is invalid."
RENDITIONS = ("url_zoom", "url_standard", "url_thumbnail", "url_tiny")


def images_of(product: int) -> str:
    return f"/catalog/products/{product}/images"


async def test_b01_the_first_image_by_url_is_the_thumbnail(
    bc: BigCommerceCalls, product: int, pictures: PictureServer
) -> None:
    answer = await bc.post(images_of(product), {"image_url": pictures.good()})
    assert answer.status_code == 200
    body = answer.json()
    image = body["data"]
    assert body["meta"] == {}
    assert isinstance(image["id"], int)
    assert (image["product_id"], image["is_thumbnail"], image["sort_order"]) == (product, True, 0)
    assert image["description"] == ""
    assert "image_url" not in image
    assert all(image[name].startswith("http://127.0.0.1:8000/media/") for name in RENDITIONS)
    letter, number, name = image["image_file"].split("/")
    assert letter.isalpha()
    assert (len(letter), len(number)) == (1, 3)
    assert len(name.rpartition("__")[2].partition(".")[0]) == 5
    assert image["date_modified"].endswith("+00:00")


async def test_b02_the_thumbnail_flag_moves_to_the_new_image(
    bc: BigCommerceCalls, product: int, pictures: PictureServer
) -> None:
    url = pictures.good()
    await bc.post(images_of(product), {"image_url": url})
    body = {"image_url": url, "is_thumbnail": True, "sort_order": 5, "description": "Side"}
    second = (await bc.post(images_of(product), body)).json()["data"]
    assert (second["is_thumbnail"], second["sort_order"], second["description"]) == (True, 5, "Side")
    assert [image["is_thumbnail"] for image in await bc.images(product)] == [False, True]


async def test_b03_a_form_brings_a_file_and_its_texts_are_read(bc: BigCommerceCalls, product: int) -> None:
    await bc.upload(product, picture_bytes("PNG"))
    answer = await bc.upload(
        product, picture_bytes("PNG", seed=1), is_thumbnail="false", sort_order="2", description="Rücken"
    )
    assert answer.status_code == 200
    image = answer.json()["data"]
    assert (image["is_thumbnail"], image["sort_order"], image["description"]) == (False, 2, "Rücken")
    flagged = await bc.upload(product, picture_bytes("PNG", seed=2), is_thumbnail="1", sort_order="-3")
    assert (flagged.json()["data"]["is_thumbnail"], flagged.json()["data"]["sort_order"]) == (True, -3)


@pytest.mark.parametrize(
    ("fields", "field"), [({"is_thumbnail": "maybe"}, "is_thumbnail"), ({"sort_order": "2.5"}, "sort_order")]
)
async def test_b03_a_text_that_means_nothing_is_refused(
    bc: BigCommerceCalls, product: int, fields: dict[str, str], field: str
) -> None:
    answer = await bc.upload(product, picture_bytes("PNG"), **fields)
    assert list(check_error(answer, 422)["errors"]) == [field]
    assert await bc.images(product) == []


async def test_b04_a_form_with_image_url_only_is_refused(
    bc: BigCommerceCalls, product: int, pictures: PictureServer
) -> None:
    answer = await bc.post(images_of(product), files={"image_url": (None, pictures.good())})
    body = check_error(answer, 422)
    assert (body["title"], body["type"]) == (MISSING, TYPE)
    assert await bc.images(product) == []


@pytest.mark.parametrize("body", [{}, {"description": "x"}])
async def test_b05_json_without_image_url_is_refused(
    bc: BigCommerceCalls, product: int, body: dict[str, str]
) -> None:
    answer = check_error(await bc.post(images_of(product), body), 422)
    assert (answer["title"], answer["type"]) == (MISSING, TYPE)


async def test_b06_a_form_with_both_is_refused_and_stores_nothing(
    bc: BigCommerceCalls, product: int, pictures: PictureServer
) -> None:
    answer = await bc.upload(product, picture_bytes("PNG"), image_url=pictures.good())
    assert set(check_error(answer, 422)["errors"]) == {"image_file", "image_url"}
    assert await bc.images(product) == []


async def test_b07_json_with_both_is_refused(
    bc: BigCommerceCalls, product: int, pictures: PictureServer
) -> None:
    body = {"image_url": pictures.good(), "image_file": "o/381/a.png"}
    answer = await bc.post(images_of(product), body)
    assert set(check_error(answer, 422)["errors"]) == {"image_file", "image_url"}
    assert await bc.images(product) == []


async def test_b08_an_image_url_has_at_most_255_characters(
    bc: BigCommerceCalls, product: int, pictures: PictureServer
) -> None:
    url = pictures.good()
    longest = f"{url}?{'x' * (255 - len(url) - 1)}"
    assert len(longest) == 255
    assert (await bc.post(images_of(product), {"image_url": longest})).status_code == 200
    body = check_error(await bc.post(images_of(product), {"image_url": f"{longest}x"}), 422)
    assert "255" in body["errors"]["image_url"]


@pytest.mark.parametrize("url", ["ftp://x/a.png", "a.png", "//h/a.png", "http://", "http:///a.png", ""])
async def test_b09_an_image_url_is_absolute_with_its_protocol(
    bc: BigCommerceCalls, product: int, url: str
) -> None:
    body = check_error(await bc.post(images_of(product), {"image_url": url}), 422)
    assert body["errors"]["image_url"]


async def test_b10_a_url_that_gives_nothing_is_refused_in_the_vendors_words(
    bc: BigCommerceCalls, product: int, pictures: PictureServer
) -> None:
    # The last one never answers: an answer of ours at all says that the wait was cut.
    for url in (pictures.url("/missing"), "http://nowhere.invalid/a.png", pictures.url("/silent")):
        body = check_error(await bc.post(images_of(product), {"image_url": url}), 400)
        assert (body["code"], body["title"]) == (400, INVALID)
        assert body["type"] == f"https://developer.bigcommerce.com{TYPE}"
        reason = f"The resource at '{url}' could not be downloaded and may be invalid."
        assert body["errors"] == {"invalid_reason": reason}
        assert ("404" in body["detail"]) == url.endswith("missing")
    assert await bc.images(product) == []


async def test_b11_what_is_no_picture_is_refused_in_the_vendors_words(
    bc: BigCommerceCalls, product: int, pictures: PictureServer
) -> None:
    for path in ("/page.html", "/broken.png"):
        body = check_error(await bc.post(images_of(product), {"image_url": pictures.url(path)}), 400)
        assert body["title"] == INVALID
        assert "could not be processed and may not be valid image" in body["errors"]["invalid_reason"]
    uploaded = check_error(await bc.upload(product, pictures.files["/broken.png"]), 400)
    assert "could not be processed and may not be valid image" in uploaded["errors"]["invalid_reason"]
    assert await bc.images(product) == []


async def test_b12_private_addresses_are_never_asked(
    bc: BigCommerceCalls, product: int, pictures: PictureServer
) -> None:
    async with serving_pictures() as hidden:
        targets = [hidden.url(), "http://169.254.169.254/latest", "http://10.0.0.1/a.png"]
        for url in [*targets, *(pictures.url(f"/redirect?to={target}") for target in targets)]:
            body = check_error(await bc.post(images_of(product), {"image_url": url}), 400)
            assert "could not be downloaded and may be invalid" in body["errors"]["invalid_reason"]
            # The same words for every reason: else our network could be mapped from outside.
            assert "refused" not in str(body)
        assert hidden.asked == []
    # The control: a redirect to an address that is allowed is followed.
    allowed = pictures.url(f"/redirect?to={pictures.url()}")
    assert (await bc.post(images_of(product), {"image_url": allowed})).status_code == 200


async def test_b13_a_file_has_at_most_8_mb(
    bc: BigCommerceCalls, product: int, pictures: PictureServer
) -> None:
    picture = picture_bytes("PNG")
    # What follows a PNG's end is no part of the picture, and counts all the same.
    largest = picture + b"\0" * (MOST_BYTES - len(picture))
    pictures.files["/largest.png"], pictures.files["/larger.png"] = largest, largest + b"\0"
    assert (await bc.upload(product, largest)).status_code == 200
    assert (await bc.post(images_of(product), {"image_url": pictures.url("/largest.png")})).status_code == 200
    check_error(await bc.upload(product, largest + b"\0"), 413)
    check_error(await bc.post(images_of(product), {"image_url": pictures.url("/larger.png")}), 400)
    assert len(await bc.images(product)) == 2


async def test_b14_the_vendors_seven_formats_are_read_and_no_others(
    bc: BigCommerceCalls, product: int
) -> None:
    image = scene(60, 40)
    good = {name: write(image, name) for name in ("BMP", "GIF", "JPEG", "PNG", "WEBP")}
    good |= {"XBM": write(image.convert("1"), "XBM"), "WBMP": write_wbmp(image.convert("1"))}
    for name, content in good.items():
        answer = await bc.upload(product, content, f"a.{name.lower()}")
        assert answer.status_code == 200, f"{name}: {answer.text}"
    bad = {name: write(image, name) for name in ("TIFF", "AVIF", "PDF", "JPEG2000")}
    bad["SVG"] = (
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
    )
    for content in bad.values():
        body = check_error(await bc.upload(product, content), 400)
        assert "could not be processed and may not be valid image" in body["errors"]["invalid_reason"]
    assert len(await bc.images(product)) == len(good)


async def test_b15_a_product_shows_at_most_1000_images(
    bc: BigCommerceCalls, product: int, pictures: PictureServer
) -> None:
    await bc.show_many(product, MOST_PICTURES - 1, picture_bytes("PNG"))
    url = pictures.good(seed=3)
    assert (await bc.post(images_of(product), {"image_url": url})).status_code == 200
    fetched = len(pictures.asked)
    check_error(await bc.post(images_of(product), {"image_url": url}), 403)
    assert len(pictures.asked) == fetched
    answer = await bc.get(images_of(product))
    assert answer.json()["meta"]["pagination"]["total"] == MOST_PICTURES


async def test_our_own_addresses_are_read_without_the_network(
    bc: BigCommerceCalls, product: int, other_shop: Shop
) -> None:
    own = (await bc.upload(product, picture_bytes("PNG"))).json()["data"]
    again = await bc.post(images_of(product), {"image_url": own["url_zoom"]})
    assert again.status_code == 200
    assert again.json()["data"]["url_zoom"] == own["url_zoom"]
    other = BigCommerceCalls(bc.web, other_shop)
    number = (await other.new_product())["id"]
    # Another merchant's address looks like one at which nothing lies.
    check_error(await other.post(images_of(number), {"image_url": own["url_zoom"]}), 400)
