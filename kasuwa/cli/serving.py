"""`kasuwa serve`: database and workers for as long as they are wanted."""

import base64
import binascii
import ipaddress
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from kasuwa.base.http.server import ServerOptions, serve
from kasuwa.base.postgres.process import dies_with
from kasuwa.base.secrets import KeyWrong
from kasuwa.cli.output import say, warn
from kasuwa.database import sealing_keys, serving_database
from kasuwa.domain.messages.courier import check_couriers
from kasuwa.handover import WorkerSetup, handed
from kasuwa.settings import Settings, SettingWrong, setting_environment


def run_server(settings: Settings, *, demo: bool = False) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. Raises DatabaseFault and SettingWrong."""
    settings.check_bank_lookup()
    keys = sealing_keys(settings) if settings.secret_key else []
    for line in public_address_warnings(settings, keys):
        warn(line)
    certificate, key = _tls(settings)
    check_couriers(settings)
    with serving_database(settings) as urls:
        options = ServerOptions(
            app_factory="kasuwa.app:create_app",
            render_error="kasuwa.app:render_error",
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            metrics_folder=settings.data_folder() / "metrics",
            stop_deadline_seconds=round(settings.stop_seconds),
            log_level=settings.log_level.upper(),
            limits={
                "head_seconds": settings.header_seconds,
                "body_seconds": settings.body_seconds,
                "keep_alive_seconds": settings.keep_alive_seconds,
            },
            tls_certificate=certificate,
            tls_key=key,
        )
        announcement = Announcement(settings, demo=demo)
        try:
            return serve(
                options,
                on_ready=announcement.begin,
                on_tick=announcement.look,
                handed=_WorkerEnvironment(settings, urls.application),
            )
        except OSError as error:
            raise SettingWrong(
                f"Cannot listen on {settings.host}:{settings.port} ({error.strerror}). "
                "Name another by --host and --port; --port 0 takes a free one."
            ) from None
        finally:
            announcement.end()


class _WorkerEnvironment:
    """What each worker is handed at its start: the file of the keys may have changed since the last one's."""

    def __init__(self, settings: Settings, application_url: str) -> None:
        self._setup = WorkerSetup(settings, application_url, sealing_keys(settings))

    def __call__(self) -> dict[str, str]:
        try:
            keys = sealing_keys(self._setup.settings)
            self._setup = msgspec.structs.replace(self._setup, keys=keys)
        except (OSError, KeyWrong) as error:
            warn(f"kasuwa: the sealing keys cannot be read, so workers go on with those of before: {error}")
        return handed(self._setup)


class Announcement:
    """What the operator reads once the server answers: its addresses at once, the demo shop when it is there.

    The demo is filled by a command of its own beside the server, which answers meanwhile.
    """

    def __init__(self, settings: Settings, *, demo: bool) -> None:
        self._settings = settings
        self._demo = demo
        self._child: subprocess.Popen[bytes] | None = None

    def begin(self, url: str) -> None:
        say(f"ready on {url}")
        say(f"  documentation of the APIs  {url}/docs")
        say(f"  health, metrics            {url}/readyz  {url}/metrics")
        words = [sys.executable, "-m", "kasuwa", "demo", "--url", url]
        words.append("--begin" if self._demo else "--show")
        environment = {**os.environ, **setting_environment(self._settings)}
        # In a session of its own: Ctrl+C is for the server, which then ends this child in order.
        # It goes even when we are killed: it would start the database itself and keep our successor out.
        self._child = subprocess.Popen(
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=dies_with(os.getpid(), signal.SIGTERM),
        )

    def look(self) -> None:
        """Collect the child once it has ended; it has said what there is to say."""
        if self._child is not None and self._child.poll() is not None:
            self._child = None

    def end(self) -> None:
        """The server stops: what is not filled yet is filled at the next start."""
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()
            self._child.wait()


def public_address_warnings(settings: Settings, keys: list[str]) -> list[str]:
    """What is unwise about this address. Raises SettingWrong for a sealing key that is no secret."""
    if is_private_address(settings.host):
        return []
    if any(is_sample_key(key) for key in keys):
        raise SettingWrong(
            f"KASUWA_SECRET_KEY is a sample that anybody knows, and {settings.host} is open to others. "
            "Take it away, and a random one is made at the next start."
        )
    if settings.behind_proxy or settings.tls_certificate:
        return []
    return [
        f"kasuwa: {settings.host} is open to others over plain HTTP: passwords and tokens can be read on the "
        "way. Set --tls-certificate and --tls-key, or let a proxy end TLS and say so by --behind-proxy."
    ]


def is_private_address(host: str) -> bool:
    """Whether nobody outside this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_sample_key(key: str) -> bool:
    """Whether somebody typed the key or copied it from a text: 32 random bytes are never so regular."""
    try:
        content = base64.urlsafe_b64decode(key)
    except (ValueError, binascii.Error):
        return False
    return len(set(content)) <= 8 or all(32 <= byte < 127 for byte in content)


def _tls(settings: Settings) -> tuple[Path | None, Path | None]:
    if not settings.tls_certificate and not settings.tls_key:
        return None, None
    files = []
    for name, text in (
        ("KASUWA_TLS_CERTIFICATE", settings.tls_certificate),
        ("KASUWA_TLS_KEY", settings.tls_key),
    ):
        if not text or not os.access(text, os.R_OK):
            raise SettingWrong(f"{name} must name a PEM file that can be read, not {text!r}")
        files.append(Path(text))
    return files[0], files[1]
