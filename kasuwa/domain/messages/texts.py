"""The words of messages: one subject and one text for each template and language.

A translation is another entry of `TEXTS`; a language without the template falls back to English. No message
to an unproved address carries words that whoever asked for it chose: it would make us a sender of theirs.
"""

from string import Template

from msgspec import Struct


class Words(Struct, frozen=True):
    subject: str
    text: str


TEXTS: dict[str, dict[str, Words]] = {
    "en": {
        "verify-email": Words(
            "Confirm your e-mail address",
            "Hello,\n\n"
            "your code is $code. It works for $minutes minutes.\n\n"
            "$link\n\n"
            "If you did not open an account, ignore this message.\n",
        ),
        "verify-mobile": Words(
            "Confirm your mobile", "Your code is $code. It works for $minutes minutes. Give it to nobody."
        ),
        "reset-password": Words(
            "Your code for a new password",
            "Hello,\n\n"
            "your code for a new password is $code. It works for $minutes minutes.\n\n"
            "If you did not ask for it, ignore this message: your password stays as it is.\n",
        ),
        "password-changed": Words(
            "Your password was changed",
            "Hello,\n\n"
            "the password of your account was changed and every open session has ended.\n\n"
            "If that was not you, ask for a new password at once.\n",
        ),
    }
}


def words_of(template: str, language: str = "en", **values: str) -> Words:
    """The words with the values in their places. KeyError for a template or value that is missing."""
    words = TEXTS.get(language, {}).get(template) or TEXTS["en"][template]
    return Words(
        Template(words.subject).substitute(values),
        Template(words.text).substitute(values),
    )
