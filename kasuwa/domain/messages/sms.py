"""SMS and WhatsApp by the provider that the operator names: one HTTP request a message, by a template.

The template's placeholders are `{to}` (E.164), `{number}` (E.164 without its plus), `{text}`, `{key}` (the
provider's secret) and `{id}` (the message's, the same at each try). A value is written as its place asks: in
an address and a form percent-encoded, in JSON as a string, so that no text ends a field or begins another.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import quote, quote_plus, urlsplit
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.fetch import Fetched, Fetcher, FetchFailed, ParsedUrl, Question, UrlUnreadable, read_url
from kasuwa.domain.messages.errors import DeliveryFailed
from kasuwa.domain.messages.records import Message
from kasuwa.settings import SettingWrong

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")
_NAMES = frozenset({"to", "number", "text", "key", "id"})
_NAMES_OF_HEADERS = frozenset({"key", "id"})
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_ANSWER_BYTES = 64 * 1024
# What a provider says of the moment, not of the message.
_RETRIED = frozenset({408, 425, 429})
# What the operator can put right meanwhile.
_HINTS = {
    301: ": set KASUWA_SMS_URL to where it moved",
    302: ": set KASUWA_SMS_URL to where it moved",
    307: ": set KASUWA_SMS_URL to where it moved",
    308: ": set KASUWA_SMS_URL to where it moved",
    401: ": check KASUWA_SMS_KEY",
    402: ": see to your credit there",
    403: ": check KASUWA_SMS_KEY and the sender",
}

BodyKind = Literal["none", "form", "json"]


class Provider(Struct, frozen=True):
    """How a message is handed over. `accepted` is a text that the answer must contain, or empty."""

    url: str
    headers: dict[str, str]
    kind: BodyKind
    form: str
    json: Any
    key: str
    accepted: str
    private: bool

    @property
    def target(self) -> ParsedUrl:
        return read_url(self.url)


def read_provider(settings: Any, key: str) -> Provider | None:
    """The provider of the settings KASUWA_SMS_…, or None where no address is set. Raises SettingWrong."""
    url: str = settings.sms_url
    if not url:
        return None
    headers = _read_json("KASUWA_SMS_HEADERS", settings.sms_headers or "{}")
    if not isinstance(headers, dict) or not all(_is_header(*pair) for pair in headers.items()):
        raise SettingWrong(
            'KASUWA_SMS_HEADERS must be a JSON object of texts, such as {"apiKey": "{key}"}; '
            "only {key} and {id} may stand in it"
        )
    body: str = settings.sms_body
    is_json = body.lstrip().startswith(('{"', "["))
    kind: BodyKind = "json" if is_json else "form" if body else "none"
    provider = Provider(
        url=url,
        headers=headers,
        kind=kind,
        form=body if kind == "form" else "",
        json=_read_json("KASUWA_SMS_BODY", body) if is_json else None,
        key=key,
        accepted=settings.sms_accepted,
        private=settings.sms_private,
    )
    _check(provider, body)
    return provider


def open_fetcher(provider: Provider, **options: Any) -> Fetcher:
    """A fetcher that goes to this provider alone; to a private address only where the setting says so."""
    target = provider.target
    host = f"[{target.host}]" if ":" in target.host else target.host
    allow = [f"{host}:{target.port}"] if provider.private else []
    return Fetcher(allow=allow, ports={target.port}, user_agent="Kasuwa", keep_alive=False, **options)


def question_of(provider: Provider, message_id: UUID, message: Message) -> Question:
    """The request that hands this message over."""
    values = {
        "to": message.to,
        "number": message.to.removeprefix("+"),
        "text": message.text,
        "key": provider.key,
        "id": str(message_id),
    }
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    content = b""
    if provider.kind == "json":
        headers["Content-Type"] = "application/json"
        content = msgspec.json.encode(_fill_json(provider.json, values))
    elif provider.kind == "form":
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        content = _fill(provider.form, values, quote_plus).encode()
    headers |= {name: _fill(text, values, str) for name, text in provider.headers.items()}
    url = _fill(provider.url, values, lambda value: quote(value, safe=""))
    return Question("GET" if provider.kind == "none" else "POST", url, headers, content)


async def send_sms(
    provider: Provider, fetcher: Fetcher, message_id: UUID, message: Message, *, seconds: float
) -> None:
    """Hand the message over within `seconds`. Raises DeliveryFailed."""
    question = question_of(provider, message_id, message)
    try:
        answer = await fetcher.ask(question, seconds=seconds, max_bytes=_ANSWER_BYTES)
    except FetchFailed as failure:
        raise DeliveryFailed(_REASONS.get(failure.reason, "The SMS provider cannot be reached.")) from None
    _judge(provider, answer)


_REASONS = {
    "refused": "The SMS provider's address is private: set KASUWA_SMS_PRIVATE=true if it is meant.",
    "timeout": "The SMS provider did not answer in time.",
}


def _judge(provider: Provider, answer: Fetched) -> None:
    status = answer.status
    if 200 <= status < 300:
        if provider.accepted and provider.accepted.encode() not in answer.content:
            raise DeliveryFailed("The SMS provider answered, but did not take the message.", permanent=True)
        return
    hint = _HINTS.get(status, "")
    if hint or status in _RETRIED or status >= 500:
        raise DeliveryFailed(
            f"The SMS provider answered {status}{hint}.", retry_after_seconds=answer.retry_after_seconds
        )
    raise DeliveryFailed(f"The SMS provider answered {status}.", permanent=True)


def _check(provider: Provider, body: str) -> None:
    try:
        target = provider.target
    except UrlUnreadable as error:
        raise SettingWrong(f"KASUWA_SMS_URL cannot be read: {error}") from None
    if target.has_user or "{" in urlsplit(provider.url).netloc:
        raise SettingWrong(
            "KASUWA_SMS_URL must not have a user or a placeholder in its host: use KASUWA_SMS_HEADERS"
        )
    if target.scheme != "https" and not provider.private:
        raise SettingWrong(
            "KASUWA_SMS_URL must begin with https://, or the key and the codes could be read on the way; "
            "http:// is for a private address with KASUWA_SMS_PRIVATE=true"
        )
    used = set(_PLACEHOLDER.findall(" ".join([provider.url, body, *provider.headers.values()])))
    unknown = sorted(used - _NAMES)
    if unknown:
        raise SettingWrong(
            f"KASUWA_SMS_URL or KASUWA_SMS_BODY has {{{unknown[0]}}}; "
            "there are {to}, {number}, {text}, {key} and {id}"
        )
    if "text" not in used or not used & {"to", "number"}:
        raise SettingWrong("KASUWA_SMS_URL or KASUWA_SMS_BODY must have {text}, and {to} or {number}")
    if "key" in used and not provider.key:
        raise SettingWrong(
            "KASUWA_SMS_… has {key}: set KASUWA_SMS_KEY, or KASUWA_SMS_KEY_FILE to a file with it"
        )


def _is_header(name: Any, value: Any) -> bool:
    return (
        isinstance(value, str)
        and value.isprintable()
        and bool(_HEADER_NAME.fullmatch(name))
        and set(_PLACEHOLDER.findall(value)) <= _NAMES_OF_HEADERS
    )


def _read_json(name: str, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise SettingWrong(f"{name} is not JSON: write texts and placeholders in double quotes") from None


def _fill(template: str, values: Mapping[str, str], write: Callable[[str], str]) -> str:
    # In one pass: a value that looks like a placeholder stays what it is.
    return _PLACEHOLDER.sub(lambda found: write(values[found[1]]), template)


def _fill_json(template: Any, values: Mapping[str, str]) -> Any:
    if isinstance(template, str):
        return _fill(template, values, str)
    if isinstance(template, list):
        return [_fill_json(one, values) for one in template]
    if isinstance(template, dict):
        return {name: _fill_json(one, values) for name, one in template.items()}
    return template
