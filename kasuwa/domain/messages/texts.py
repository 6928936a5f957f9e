"""The words of messages, for each language.

A translation is another entry of `TEXTS`; a template that a language lacks falls back to English. No message
to an unproved address carries words that whoever asked for it chose: it would make us a sender of theirs.
"""

from string import Template

from msgspec import Struct

from kasuwa.domain.messages.french import FRENCH
from kasuwa.domain.messages.records import Channel
from kasuwa.domain.messages.wording import Wording

DEFAULT_LANGUAGE = "en"


class Words(Struct, frozen=True):
    subject: str
    text: str


ENGLISH: dict[str, Wording] = {
    "verify-email": Wording(
        subject="Confirm your e-mail address",
        text="Hello,\n\n"
        "your code is $code. It works for $minutes minutes.\n\n"
        "Or open this link: $link\n\n"
        "If you did not open an account, ignore this message.\n",
    ),
    "verify-email-by-token": Wording(
        subject="Confirm your e-mail address",
        text="Hello,\n\n"
        "your code is $code. It works for $minutes minutes.\n\n"
        "A website may ask for this instead of the code: $token\n\n"
        "If you did not open an account, ignore this message.\n",
    ),
    "verify-mobile": Wording(
        subject="Confirm your mobile",
        sms="Your code is $code. It works for $minutes minutes. Give it to nobody.",
    ),
    "reset-password": Wording(
        subject="Your code for a new password",
        text="Hello,\n\n"
        "your code for a new password is $code. It works for $minutes minutes.\n\n"
        "If you did not ask for it, ignore this message: your password stays as it is.\n",
        sms="Your code for a new password is $code. It works for $minutes minutes. Give it to nobody.",
    ),
    "password-changed": Wording(
        subject="Your password was changed",
        text="Hello,\n\n"
        "the password of your account was changed and every open session has ended.\n\n"
        "If that was not you, ask for a new password at once.\n",
        sms="Your password was changed and every open session has ended. "
        "If that was not you, ask for a new password at once.",
    ),
}

TEXTS: dict[str, dict[str, Wording]] = {"en": ENGLISH, "fr": FRENCH}


def words_of(
    template: str, language: str = DEFAULT_LANGUAGE, *, channel: Channel = "email", **values: str
) -> Words:
    """The words with the values in their places. KeyError for a template or value that is missing."""
    wording = TEXTS.get(language, {}).get(template) or ENGLISH[template]
    text = wording.sms if channel == "sms" else wording.text
    if not text:
        raise KeyError(f"{template} has no words for {channel}")
    return Words(Template(wording.subject).substitute(values), Template(text).substitute(values))
