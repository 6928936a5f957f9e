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
    "address-in-use": Wording(
        subject="Somebody tried to open an account with your address",
        text="Hello,\n\n"
        "somebody tried to open an account on Kasuwa with this address, which logs in to your account"
        " already. Nothing has changed, and they are not told.\n\n"
        "If it was you, log in, or ask there for a new password if yours is lost. For another business, take"
        " another address.\n\n"
        "If it was not you, ignore this message.\n",
        sms="Somebody tried to open an account with this number, which logs in to yours already. If it was"
        " you, log in or ask for a new password. Nothing has changed.",
    ),
    "customer-verify-email": Wording(
        subject="Confirm your e-mail address",
        text="Hello,\n\n"
        "a shop has noted this address as yours. To confirm it, type the code $code where you shop, or show"
        " it to the shop. It works for $minutes minutes.\n\n"
        "If you do not know about this, ignore this message.\n",
    ),
    "customer-verify-mobile": Wording(
        subject="Confirm your mobile",
        sms="To confirm this number at the shop, type or show the code $code. It works for $minutes minutes.",
    ),
    "customer-address-in-use": Wording(
        subject="Somebody gave your address to a shop",
        text="Hello,\n\n"
        "somebody registered at a shop with this address, which is yours there already. Nothing has changed,"
        " and they are not told.\n\n"
        "If it was you, log in at the shop, or ask there for a new password if yours is lost.\n\n"
        "If it was not you, ignore this message.\n",
        sms="Somebody registered at a shop with this number, which is yours there already. If it was you,"
        " log in or ask for a new password. Nothing has changed.",
    ),
    "check-email": Wording(
        subject="Your code",
        text="Hello,\n\n"
        "your code is $code. It works for $minutes minutes.\n\n"
        "If you did not ask for a code, ignore this message.\n",
    ),
    "check-mobile": Wording(
        subject="Your code", sms="Your code is $code. It works for $minutes minutes. Give it to nobody."
    ),
    "invitation-email": Wording(
        subject="You are invited to work at a shop",
        text="Hello,\n\n"
        "somebody has added you to their shop on Kasuwa. Open the app, choose that you have forgotten the"
        " password, and type this address (or the user name that you were told), the code $code and a"
        " password of your own. The code works until $until; later you may ask for a new one there.\n\n"
        "If you do not know about this, ignore this message.\n",
    ),
    "invitation-mobile": Wording(
        subject="You are invited",
        sms="You were added to a shop. In the app choose a forgotten password: type this number, the code"
        " $code and a password of yours, until $until.",
    ),
    "invitation-elsewhere": Wording(
        subject="Somebody wants to add you to their shop",
        text="Hello,\n\n"
        "somebody wants to add you to their shop on Kasuwa, but this address logs in to another account"
        " already. Give them another e-mail address or mobile of yours, or a user name that you wish.\n\n"
        "If you do not know about this, ignore this message: nothing has changed.\n",
        sms="Somebody wants to add you to their shop, but this number logs in to another account. Give them"
        " another number, an e-mail or a user name.",
    ),
    "added-to-store": Wording(
        subject="You can open another location",
        text="Hello,\n\nyou were added to another location of your shop. Log in again to see it.\n",
        sms="You were added to another location of your shop. Log in again to see it.",
    ),
    "address-changed": Wording(
        subject="The address of your account was changed",
        text="Hello,\n\n"
        "the e-mail address of your account was changed, and this one is no longer it.\n\n"
        "If that was not you, tell the owner of your shop, and ask for a new password at once.\n",
        sms="The mobile number of your account was changed: this one is no longer it. If that was not you,"
        " tell the owner of your shop.",
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
    "account-recovered": Wording(
        subject="Your account was given a new password",
        text="Hello,\n\n"
        "whoever runs this server gave your account a new password, as for somebody who had lost"
        " everything. Every open session has ended.\n\n"
        "If you did not ask for that, speak to them at once.\n",
        sms="Whoever runs this server gave your account a new password; every open session has ended. "
        "If you did not ask for that, speak to them at once.",
    ),
    "complaint-open": Wording(
        subject="Your complaint is open again",
        text="Hello,\n\nyour complaint $ticket is open again.\n",
        sms="Your complaint $ticket is open again.",
    ),
    "complaint-in-progress": Wording(
        subject="Somebody deals with your complaint",
        text="Hello,\n\nsomebody deals with your complaint $ticket now.\n",
        sms="Somebody deals with your complaint $ticket now.",
    ),
    "complaint-waiting": Wording(
        subject="Your complaint waits for you",
        text="Hello,\n\nyour complaint $ticket waits for an answer of yours.\n",
        sms="Your complaint $ticket waits for an answer of yours.",
    ),
    "complaint-resolved": Wording(
        subject="Your complaint is resolved",
        text="Hello,\n\nyour complaint $ticket is resolved.\n",
        sms="Your complaint $ticket is resolved.",
    ),
    "complaint-closed": Wording(
        subject="Your complaint is closed",
        text="Hello,\n\nyour complaint $ticket is closed.\n",
        sms="Your complaint $ticket is closed.",
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
