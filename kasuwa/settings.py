"""Every setting: its type, its default and the reason for it. Settings are environment variables."""

import os
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any, get_args

from msgspec import Struct, field


class Setting(Struct, frozen=True):
    """One setting as the documentation shows it."""

    name: str
    type: str
    default: str
    reason: str


class SettingWrong(Exception):
    """A setting that cannot be read; the message says how to write it."""


def _setting(default: Any, reason: str) -> Any:
    _REASONS.append(reason)
    return field(default=default)


_REASONS: list[str] = []


class Settings(Struct, frozen=True, kw_only=True):
    """The settings of one process. Seconds, bytes and pixels are in the names."""

    data: str = _setting(
        "", "Folder of the database, the files and the keys; empty: /var/lib/kasuwa as root, else ~/.kasuwa."
    )
    host: str = _setting("127.0.0.1", "Address to listen on; the default lets nobody in from outside.")
    port: int = _setting(8000, "Port to listen on; 0 takes a free one.")
    workers: int = _setting(1, "Processes that answer requests; one a core is enough.")
    public_url: str = _setting(
        "", "Address customers use, such as https://shop.example, for links in messages."
    )
    hosts: str = _setting(
        "",
        "More host names, parted by commas, that links in answers may repeat.",
    )
    behind_proxy: bool = _setting(False, "A proxy in front ends TLS: no warning about a public address.")
    tls_certificate: str = _setting("", "PEM file with the certificate chain, to end TLS here; empty: HTTP.")
    tls_key: str = _setting("", "PEM file with the certificate's private key.")
    trusted_proxies: str = _setting(
        "",
        "Proxies, parted by commas, whose X-Forwarded-For and -Proto are believed.",
    )
    cors_origins: str = _setting("", "Web origins, parted by commas, whose pages may call the APIs.")
    database_url: str = _setting("", "PostgreSQL by address, as an administrator; empty: the embedded one.")
    database_name: str = _setting("kasuwa", "Name of the database, made when it is missing.")
    database_connections: int = _setting(10, "Connections of each worker to PostgreSQL.")
    pg_bin: str = _setting("", "Folder of PostgreSQL's programs; empty: those that came with Kasuwa.")
    storage_url: str = _setting(
        "", "Where pictures lie, such as s3://bucket/prefix?endpoint=…; empty: the data folder."
    )
    secret_key: str = _setting(
        "",
        "Keys that seal secrets, newest first, parted by commas; empty: made at first start.",
    )
    originals: bool = _setting(False, "Keep the uploaded file as it came, privately.")
    picture_processes: int = _setting(2, "Child processes of each worker that decode pictures.")
    picture_zoom_px: str = _setting("1280x1280", "Box of the largest rendition, in pixels.")
    picture_standard_px: str = _setting("386x513", "Box of the rendition for product pages, in pixels.")
    picture_thumbnail_px: str = _setting("190x250", "Box of the rendition for lists, in pixels.")
    picture_tiny_px: str = _setting("40x53", "Box of the smallest rendition, in pixels.")
    fetch_allow: str = _setting(
        "", "host:port pairs, parted by commas, that picture URLs may point at although they are private."
    )
    fetch_user_agent: str = _setting(
        "Mozilla/5.0 (compatible; Kasuwa)",
        "How the fetcher of picture URLs introduces itself.",
    )
    quota_file_bytes: int = _setting(
        0, "Bytes of pictures, as uploaded, and of files with complaints that a merchant may keep; 0: any."
    )
    quota_files: int = _setting(0, "Pictures that a merchant may show; 0: any number.")
    quota_products: int = _setting(0, "Products that a merchant may have; 0: any number.")
    quota_variants: int = _setting(0, "Variants that a merchant may sell, one for a simple product; 0: any.")
    quota_customers: int = _setting(0, "Customers that a merchant may have; 0: any number.")
    max_in_flight: int = _setting(200, "Requests a worker handles at once; the rest is told 503.")
    header_seconds: float = _setting(10.0, "Time to send a request's headers in.")
    body_seconds: float = _setting(300.0, "Time to send a request's body in, so long as 8 KB/s arrive.")
    keep_alive_seconds: float = _setting(15.0, "How long an idle connection stays open.")
    stop_seconds: float = _setting(30.0, "How long a stop waits for requests that run.")
    storeharmony_requests_per_second: int = _setting(20, "Quota of one session; three times that at once.")
    bigcommerce_requests_per_window: int = _setting(150, "Quota of a store in each 30 s.")
    shoplazza_burst: int = _setting(40, "Requests of one token at once; two more each second.")
    shoplazza_store_burst: int = _setting(80, "Requests of one store at once; twenty more each second.")
    login_tries: int = _setting(5, "Wrong passwords for one account and address before waiting begins.")
    country: str = _setting("NG", "Country whose way of dialling a mobile is read at log-in.")
    session_idle_days: int = _setting(30, "A session that is not used ends after this.")
    session_absolute_days: int = _setting(90, "Every session ends after this.")
    web_session_idle_minutes: int = _setting(30, "A browser's session that is not used ends after this.")
    web_session_absolute_hours: int = _setting(12, "Every session of a browser ends after this.")
    pin_session_idle_minutes: int = _setting(15, "What a PIN opened at a till ends after this, unused.")
    pin_session_absolute_hours: int = _setting(12, "Whatever a PIN opened at a till ends after this.")
    smtp_url: str = _setting(
        "",
        "Mail server, such as smtp://user:password@host:587; empty: outbox.jsonl in the data folder.",
    )
    smtp_password_file: str = _setting("", "File with the mail server's password, instead of in the URL.")
    mail_from: str = _setting("Kasuwa <no-reply@localhost>", "Sender of mails.")
    sms_url: str = _setting(
        "", "SMS or WhatsApp provider, asked for each message; empty: outbox.jsonl in the data folder."
    )
    sms_body: str = _setting("", "What the provider is sent, JSON or a form; empty: GET, all is in the URL.")
    sms_headers: str = _setting("", 'Headers for the provider, a JSON object such as {"apiKey": "{key}"}.')
    sms_key: str = _setting("", "The provider's secret, {key} in the three settings before.")
    sms_key_file: str = _setting("", "File with the provider's secret, instead of KASUWA_SMS_KEY.")
    sms_accepted: str = _setting(
        "", "Text that the provider's answer has when it took the message; empty: a status of 2xx is enough."
    )
    sms_private: bool = _setting(False, "The provider is at a private address, such as a gateway next door.")
    sms_codes_per_number: int = _setting(10, "Codes that one number is sent by SMS in a day.")
    sms_codes_per_address: int = _setting(
        100,
        "Codes by SMS in a day that one IP address asks for (a /64 of IPv6); a mobile network shares one.",
    )
    sms_codes_per_merchant: int = _setting(300, "Codes by SMS in a day to the people of one merchant.")
    sms_codes_per_day: int = _setting(5000, "Codes by SMS in a day in all: what they may cost you at most.")
    message_seconds: float = _setting(30.0, "Longest that one try to send a message takes.")
    message_days: int = _setting(90, "How long the list of messages goes back.")
    bank_lookup: str = _setting(
        "",
        "Who is asked for the holder of a bank account: paystack or flutterwave; empty: nobody.",
    )
    bank_lookup_url: str = _setting("", "Address of that provider; empty: its own.")
    bank_lookup_key: str = _setting("", "Secret key of an account with that provider.")
    bank_lookup_seconds: float = _setting(5.0, "How long the provider may take; then there is no name.")
    log_level: str = _setting("info", "debug, info, warning or error.")

    def data_folder(self) -> Path:
        if self.data:
            return Path(self.data).absolute()
        return Path("/var/lib/kasuwa") if os.geteuid() == 0 else Path.home() / ".kasuwa"

    def quotas(self) -> dict[str, int]:
        """What a merchant may keep, by kind, unless the operator said otherwise; 0 is any number."""
        return {
            "file_bytes": self.quota_file_bytes,
            "files": self.quota_files,
            "products": self.quota_products,
            "variants": self.quota_variants,
            "customers": self.quota_customers,
        }

    def host_names(self) -> tuple[str, ...]:
        return words(self.hosts)

    def check_bank_lookup(self) -> None:
        """Raises SettingWrong for a provider of account holders that is not known, or has no key."""
        if self.bank_lookup not in ("", "paystack", "flutterwave"):
            raise SettingWrong(
                f"KASUWA_BANK_LOOKUP must be paystack, flutterwave or empty, not {self.bank_lookup!r}"
            )
        if self.bank_lookup and not self.bank_lookup_key:
            raise SettingWrong(
                "KASUWA_BANK_LOOKUP needs a secret key of that provider in KASUWA_BANK_LOOKUP_KEY"
            )

    def picture_sizes(self) -> dict[str, tuple[int, int]]:
        return {
            "zoom": _box("KASUWA_PICTURE_ZOOM_PX", self.picture_zoom_px),
            "standard": _box("KASUWA_PICTURE_STANDARD_PX", self.picture_standard_px),
            "thumbnail": _box("KASUWA_PICTURE_THUMBNAIL_PX", self.picture_thumbnail_px),
            "tiny": _box("KASUWA_PICTURE_TINY_PX", self.picture_tiny_px),
        }


SETTINGS: tuple[Setting, ...] = tuple(
    Setting(
        name=f"KASUWA_{name.upper()}",
        type=getattr(Settings.__annotations__[name], "__name__", "str"),
        default=str(default),
        reason=reason,
    )
    for name, default, reason in zip(
        Settings.__struct_fields__, Settings.__struct_defaults__, _REASONS, strict=True
    )
)


def read_settings(environment: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """The settings of the environment; `overrides` (a command's options) win where they are not None."""
    environment = os.environ if environment is None else environment
    values: dict[str, object] = {}
    for name in Settings.__struct_fields__:
        text = environment.get(f"KASUWA_{name.upper()}")
        if text is not None:
            values[name] = _read(f"KASUWA_{name.upper()}", text, Settings.__annotations__[name])
    values.update({name: value for name, value in overrides.items() if value is not None})
    return Settings(**values)  # type: ignore[arg-type]


def setting_environment(settings: Settings) -> dict[str, str]:
    """The environment that gives a child the same settings; what is at its default is left out."""
    return {
        f"KASUWA_{name.upper()}": str(value)
        for name, default in zip(Settings.__struct_fields__, Settings.__struct_defaults__, strict=True)
        if (value := getattr(settings, name)) != default
    }


def words(text: str) -> tuple[str, ...]:
    """The parts of a setting that is a list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _read(name: str, text: str, kind: type) -> object:
    assert not get_args(kind)
    if kind is bool:
        known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}
        if text.lower() not in known:
            raise SettingWrong(f"{name} must be true or false, not {text!r}")
        return known[text.lower()]
    if kind is str:
        return text
    try:
        value = kind(text)
    except ValueError:
        raise SettingWrong(f"{name} must be a number, not {text!r}") from None
    if not (isfinite(value) and value >= 0):
        raise SettingWrong(f"{name} must be 0 or more, not {text!r}")
    return value


def _box(name: str, text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    sides = [int(side) for side in (width, height) if side.isdecimal()]
    if len(sides) != 2 or not all(0 < side <= 10_000 for side in sides):
        raise SettingWrong(f"{name} must be width x height in pixels, such as 1280x1280, not {text!r}")
    return sides[0], sides[1]
