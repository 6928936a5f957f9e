"""Texts of messages: each has its values, in each language, and an SMS is one."""

import re

import pytest

from kasuwa.domain.messages.records import Channel
from kasuwa.domain.messages.segments import count_segments
from kasuwa.domain.messages.texts import ENGLISH, TEXTS, words_of

# What the code gives to each template; the longest that can come.
VALUES: dict[str, dict[str, str]] = {
    "verify-email": {
        "code": "123456",
        "minutes": "10",
        "link": f"https://shop.example/verify?token={'x' * 43}",
    },
    "verify-email-by-token": {"code": "123456", "minutes": "10", "token": "x" * 43},
    "verify-mobile": {"code": "123456", "minutes": "10"},
    "address-in-use": {},
    "customer-verify-email": {"code": "123456", "minutes": "10"},
    "customer-verify-mobile": {"code": "123456", "minutes": "10"},
    "customer-address-in-use": {},
    "check-email": {"code": "123456", "minutes": "10"},
    "check-mobile": {"code": "123456", "minutes": "10"},
    "invitation-email": {"code": "123456", "until": "28/11 15:00 UTC"},
    "invitation-mobile": {"code": "123456", "until": "28/11 15:00 UTC"},
    "invitation-elsewhere": {},
    "added-to-store": {},
    "address-changed": {},
    "reset-password": {"code": "123456", "minutes": "10"},
    "password-changed": {},
    "account-recovered": {},
    **{
        f"complaint-{status}": {"ticket": "T-12345678"}
        for status in ("open", "in-progress", "waiting", "resolved", "closed")
    },
}
_CHANNELS: tuple[Channel, ...] = ("email", "sms")
WRITTEN = [
    (language, template, channel)
    for language, texts in TEXTS.items()
    for template, wording in texts.items()
    for channel in _CHANNELS
    if (wording.sms if channel == "sms" else wording.text)
]


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"\$\{?(\w+)", text))


def test_each_template_has_values_here_and_words_in_each_language() -> None:
    assert set(VALUES) == set(ENGLISH)
    for language, texts in TEXTS.items():
        assert set(texts) <= set(ENGLISH), language
        for template, wording in texts.items():
            english = ENGLISH[template]
            assert (bool(wording.text), bool(wording.sms)) == (bool(english.text), bool(english.sms))


def test_french_is_whole() -> None:
    assert set(TEXTS["fr"]) == set(ENGLISH)


@pytest.mark.parametrize(("language", "template", "channel"), WRITTEN)
def test_each_value_is_shown_and_no_placeholder_is_left(
    language: str, template: str, channel: Channel
) -> None:
    words = words_of(template, language, channel=channel, **VALUES[template])
    wording = TEXTS[language][template]
    assert placeholders(wording.sms if channel == "sms" else wording.text) == set(VALUES[template])
    assert all(value in words.text for value in VALUES[template].values())
    assert not re.search(r"[${}]", words.subject + words.text)
    assert words.subject == words.subject.strip() != ""
    assert "\n" not in words.subject


@pytest.mark.parametrize(("language", "template", "channel"), [one for one in WRITTEN if one[2] == "sms"])
def test_an_sms_is_one_sms(language: str, template: str, channel: Channel) -> None:
    words = words_of(template, language, channel=channel, **VALUES[template])
    assert count_segments(words.text) == 1, len(words.text)


def test_a_value_that_is_missing_and_a_channel_without_words_are_told() -> None:
    with pytest.raises(KeyError, match="minutes"):
        words_of("verify-mobile", channel="sms", code="123456")
    with pytest.raises(KeyError, match="verify-mobile"):
        words_of("verify-mobile", channel="email", **VALUES["verify-mobile"])
    with pytest.raises(KeyError, match="nothing"):
        words_of("nothing")


def test_a_language_without_the_template_falls_back_to_english(monkeypatch: pytest.MonkeyPatch) -> None:
    assert words_of("password-changed", "fr").subject == "Votre mot de passe a été modifié"
    assert words_of("password-changed", "xx") == words_of("password-changed", "en")
    monkeypatch.setitem(TEXTS, "fr", {})
    assert words_of("password-changed", "fr") == words_of("password-changed", "en")


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("é" * 160, 1),
        ("ô" * 70, 1),
        ("ô" * 71, 2),
        ("₦" * 134, 2),
        ("₦" * 135, 3),
        ("🙂" * 35, 1),
        ("🙂" * 36, 2),
    ],
)
def test_segments_are_counted_as_they_are_paid(text: str, segments: int) -> None:
    assert count_segments(text) == segments
