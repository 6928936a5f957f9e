"""Which codes a file has had already.

Eight bytes each: a set of a million would be most of what an import holds.
"""

from array import array
from bisect import bisect_left
from hashlib import blake2b

_PARTS = 256


class SeenCodes:
    """Codes by a hash of 64 bits, in parts that stay sorted."""

    def __init__(self) -> None:
        self._parts = [array("Q") for _ in range(_PARTS)]

    def add(self, kind: str, code: str) -> bool:
        """Note the code; answer whether it is new among its kind."""
        mark = int.from_bytes(blake2b(f"{kind} {code}".encode(), digest_size=8).digest())
        part = self._parts[mark % _PARTS]
        place = bisect_left(part, mark)
        if place < len(part) and part[place] == mark:
            return False
        part.insert(place, mark)
        return True
