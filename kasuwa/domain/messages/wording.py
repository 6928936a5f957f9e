"""The shape of a template."""

from msgspec import Struct


class Wording(Struct, frozen=True, kw_only=True):
    """A template in one language: a subject, and the text of a mail, of an SMS, or both. `$name` is a value.

    Without `sms` the template never goes over a telephone, without `text` never by mail.
    """

    subject: str
    text: str = ""
    sms: str = ""
