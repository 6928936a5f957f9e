"""An address that a caller wrote is read strictly."""

import pytest

from kasuwa.base.fetch import (
    ParsedUrl,
    UrlUnreadable,
    read_url,
)

# Reading a URL.


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("http://Shop.Example", ("http", "shop.example", 80, "/", False)),
        (" https://shop.example./a?b#c ", ("https", "shop.example", 443, "/a?b", False)),
        ("HTTPS://shop.example:8443/a/%C3%A4", ("https", "shop.example", 8443, "/a/%C3%A4", False)),
        (
            "http://shop.example:/a b/ä?q=ü|x",
            ("http", "shop.example", 80, "/a%20b/%C3%A4?q=%C3%BC%7Cx", False),
        ),
        ("http://bücher.example/", ("http", "xn--bcher-kva.example", 80, "/", False)),
        ("http://u:p@shop.example/", ("http", "shop.example", 80, "/", True)),
        ("http://1.1.1.1/", ("http", "1.1.1.1", 80, "/", False)),
        ("http://[2606:4700::1111]:81/", ("http", "2606:4700::1111", 81, "/", False)),
        ("http://my_shop.example/", ("http", "my_shop.example", 80, "/", False)),
        ("http://x.example/[1].png", ("http", "x.example", 80, "/%5B1%5D.png", False)),
    ],
)
def test_a_url_is_read(text: str, read: tuple[str, str, int, str, bool]) -> None:
    assert read_url(text) == ParsedUrl(*read)
    assert read_url(read_url(text).text) == ParsedUrl(*read[:4], has_user=False)


@pytest.mark.parametrize(
    "text",
    [
        "", "a.png", "/a.png", "//host/a.png", "ftp://x/a.png", "http:", "http://", "http:///a", "http:/a.b/",
        "http://:80/", "http://a b.example/", "http://a.example:x/", "http://a.example:99999/", "http://a..b/",
        "http://-a.example/", "http://a%2eexample/", "http://a.example\\@b.example/", "http://a.example/\n",
        "http://a\t.example/", "http://a\0.example/", "http://127.1/", "http://0x7f.1/", "http://01.2.3.4/",
        "http://1.2.3.4.5/", "http://256.1.1.1/", "http://a.123/", "http://①.①.①.①/", "http://１.1.1.1/",
        "http://[::1/", "http://[fe80::1%25lo]/", "http://[1.1.1.1]/", "http://[v1.x]/", "http://℀.example/",
        "http://" + "a" * 64 + ".example/", "http://" + "a." * 130 + "example/", "http://a\u200e.example/",
    ],
)  # fmt: skip
def test_a_text_that_is_no_url_is_unreadable(text: str) -> None:
    with pytest.raises(UrlUnreadable) as raised:
        read_url(text)
    assert raised.value.status == 422


def test_a_relative_scheme_is_read_as_https_where_the_caller_says_so() -> None:
    assert read_url("//cdn.example/a.png", scheme_relative=True).text == "https://cdn.example/a.png"
    assert read_url("http://cdn.example/a.png", scheme_relative=True).text == "http://cdn.example/a.png"
    with pytest.raises(UrlUnreadable):
        read_url("/a.png", scheme_relative=True)
