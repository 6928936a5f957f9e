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
        "check-email": Words(
            "Your code",
            "Hello,\n\n"
            "your code is $code. It works for $minutes minutes.\n\n"
            "If you did not ask for a code, ignore this message.\n",
        ),
        "check-mobile": Words(
            "Your code", "Your code is $code. It works for $minutes minutes. Give it to nobody."
        ),
        "invitation-email": Words(
            "You are invited to work at a shop",
            "Hello,\n\n"
            "somebody has added you to their shop on Kasuwa. Open the app, choose that you have forgotten the"
            " password, and type this address (or the user name that you were told), the code $code and a"
            " password of your own. The code works until $until; later you may ask for a new one there.\n\n"
            "If you do not know about this, ignore this message.\n",
        ),
        "invitation-mobile": Words(
            "You are invited",
            "Somebody added you to their shop. In the app choose a forgotten password, type this number, the"
            " code $code and a password. It works until $until.",
        ),
        "invitation-elsewhere": Words(
            "Somebody wants to add you to their shop",
            "Hello,\n\n"
            "somebody wants to add you to their shop on Kasuwa, but this address logs in to another account"
            " already. Give them another e-mail address or mobile of yours, or a user name that you wish.\n\n"
            "If you do not know about this, ignore this message: nothing has changed.\n",
        ),
        "added-to-store": Words(
            "You can open another location",
            "Hello,\n\nyou were added to another location of your shop. Log in again to see it.\n",
        ),
        "address-changed": Words(
            "The address of your account was changed",
            "Hello,\n\n"
            "the $what of your account was changed, and this one is no longer it.\n\n"
            "If that was not you, tell the owner of your shop, and ask for a new password at once.\n",
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
