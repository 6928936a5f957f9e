"""The words of proofs: over which channel an address is proved, and what a code is for."""

from typing import Literal, Protocol

Channel = Literal["email", "mobile"]
Purpose = Literal["email", "mobile", "reset"]


class Addressed(Protocol):
    """Whoever has addresses, proved or not; "" is one that they do not have."""

    def address(self, channel: Channel) -> str: ...

    def is_verified(self, channel: Channel) -> bool: ...
