"""The words of messages."""

from typing import Literal

from msgspec import Struct

Channel = Literal["email", "sms"]


class Message(Struct, frozen=True, kw_only=True):
    """A message to a person. `code` is set where it carries one."""

    channel: Channel
    to: str
    template: str
    subject: str
    text: str
    code: str | None = None
