"""Pictures that are the body of a request."""

from kasuwa.base.http.api import Exchange
from kasuwa.base.http.body import media_type, read_body
from kasuwa.base.problems import Malformed, UnsupportedMediaType
from kasuwa.domain.media.records import MOST_BYTES


async def read_picture(exchange: Exchange) -> bytes:
    """The picture's bytes. What it is, its content says."""
    kind = media_type(exchange.request)
    if kind != "application/octet-stream" and not kind.startswith("image/"):
        raise UnsupportedMediaType("Send the picture's bytes as image/* or application/octet-stream.")
    content = await read_body(exchange.request, MOST_BYTES)
    if not content:
        raise Malformed("Send the picture's bytes in the body.")
    exchange.fingerprint = content
    return content
