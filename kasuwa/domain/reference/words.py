"""Names as they are compared: without case, accents and more than one blank."""

import unicodedata


def folded(text: str) -> str:
    """`Côte  d'Ivoire` and `cote d'ivoire` are one; also the key that names are sorted by."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(mark for mark in plain if not unicodedata.combining(mark)).split())
