"""How many SMS a text takes: 160 characters of the GSM alphabet (3GPP TS 23.038), or 70 of any other."""

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("^{}\\[~]|€\f")


def count_segments(text: str) -> int:
    """The number of SMS that the text is sent and paid as; at least one."""
    if all(character in _BASIC or character in _EXTENDED for character in text):
        return _parts(sum(2 if character in _EXTENDED else 1 for character in text), 160, 153)
    return _parts(len(text.encode("utf-16-be")) // 2, 70, 67)


def _parts(length: int, alone: int, joined: int) -> int:
    return 1 if length <= alone else -(-length // joined)
