"""The headers that keep a browser from doing more with an answer than it should."""

from collections.abc import Mapping

Headers = list[tuple[bytes, bytes]]

_CSP = b"content-security-policy"
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_REFERRER = (b"referrer-policy", b"no-referrer")
_NOTHING = (_CSP, b"default-src 'none'; frame-ancestors 'none'")
_HTML = (_CSP, b"frame-ancestors 'none'")
_HSTS = (b"strict-transport-security", b"max-age=31536000")


def security_headers(present: Mapping[bytes, bytes], *, https: bool) -> Headers:
    """Those that an answer with the headers `present` (names in lower case) still lacks."""
    lacking = []
    if b"x-content-type-options" not in present:
        lacking.append(_NOSNIFF)
    if b"referrer-policy" not in present:
        lacking.append(_REFERRER)
    if _CSP not in present:
        html = present.get(b"content-type", b"").startswith(b"text/html")
        lacking.append(_HTML if html else _NOTHING)
    if https:
        lacking.append(_HSTS)
    return lacking
