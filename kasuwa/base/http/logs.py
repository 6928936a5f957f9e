"""Logs: one JSON object a line (people get colours on a terminal), and no secret in any of them.

Redaction goes by key and by pattern. What no rule can know is left out altogether: of an exception its
types, places and database codes are logged, never its message or its local variables, because both
carry what the caller sent.
"""

import asyncio
import logging
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from types import TracebackType
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

MASK = "[redacted]"
MAX_TEXT_CHARS = 2000
MAX_FRAMES = 25

_TELLING_KEYS = (
    "password|passwd|passphrase|token|secret|authorization|cookie|credential|api[_-]?key|bvn|"
    "account[_-]?n(?:o|um|umber)|card[_-]?(?:no|number)|signature|private[_-]?key"
)
_SECRET_KEY = re.compile(rf"(?i){_TELLING_KEYS}")
_SECRET_WHOLE_KEYS = frozenset(
    {"code", "pin", "otp", "pan", "cvv", "nin", "totp", "query", "headers", "body"}
)
# Written by this package from checked values; they are on every line, so they are not searched.
_CHECKED_KEYS = frozenset({"timestamp", "level", "request_id", "merchant_id", "method", "route", "logger"})
_SECRET_TEXT = re.compile(
    rf"(?i)\b(?:bearer|basic)\s+\S+"
    rf"|(?:{_TELLING_KEYS}|\b(?:code|pin|otp|cvv))[\"']?\s*[=:]\s*[\"']?(?:(?:bearer|basic)\s+)?[^\s\"',;&]+"
    r"|[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})+"
    r"|\b\d(?:[ -]?\d){9,18}\b"
    r"|\b[\w-]{40,}"
)

_CODE = re.compile(r"[A-Za-z0-9_-]{1,40}")


def redact_text(text: str) -> str:
    """The text without tokens, passwords, e-mail addresses and numbers as long as an account's."""
    return _SECRET_TEXT.sub(MASK, text[:MAX_TEXT_CHARS])


@lru_cache(1024)
def _tells(key: str) -> bool:
    """Whether what stands under the key is a secret. The same few keys come all the time."""
    return key.lower() in _SECRET_WHOLE_KEYS or _SECRET_KEY.search(key) is not None


def _redact_value(key: str, value: object) -> object:
    if _tells(key):
        return MASK
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {redact_text(str(k)): _redact_value(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redact_value("", item) for item in value]
    return redact_text(str(value))


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if key not in _CHECKED_KEYS and key != "exc_info":
            event[key] = _redact_value(key, value)
    return event


def _places(trace: TracebackType | None) -> list[str]:
    places = []
    while trace is not None:
        code = trace.tb_frame.f_code
        file_name = "/".join(code.co_filename.split("/")[-3:])
        places.append(f"{file_name}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return places[-MAX_FRAMES:]


def describe_exception(error: BaseException, depth: int = 0) -> dict[str, Any]:
    """Type, places, database and system codes, and the cause; never the message."""
    kind = type(error)
    about: dict[str, Any] = {
        "type": f"{kind.__module__}.{kind.__qualname__}",
        "places": _places(error.__traceback__),
    }
    for name in ("sqlstate", "constraint_name", "table_name", "errno", "status", "code"):
        value = getattr(error, name, None)
        if isinstance(value, int) or (isinstance(value, str) and _CODE.fullmatch(value)):
            about[name] = value
    if isinstance(error, BaseExceptionGroup) and depth < 3:
        about["exceptions"] = [describe_exception(e, depth + 1) for e in error.exceptions[:5]]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and depth < 3:
        about["cause"] = describe_exception(cause, depth + 1)
    return about


def _describe(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    raised = event.pop("exc_info", None)
    if raised is True:
        raised = sys.exc_info()
    if isinstance(raised, tuple):
        raised = raised[1]
    if isinstance(raised, BaseException):
        event["exception"] = describe_exception(raised)
    return event


def _encode(event: EventDict, default: Any) -> bytes:
    return msgspec.json.encode(event, enc_hook=default)


class _StandardLogs(logging.Handler):
    """Brings what libraries log through the same processors."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger()
        logger.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


def configure(*, level: str = "INFO", stream: TextIO | None = None, redaction: bool = True) -> None:
    """Send all logs of this process to `stream` (standard error). `redaction=False` is for its own test."""
    out = stream or sys.stderr
    rank = logging.getLevelNamesMapping()[level]
    safe: list[Processor] = [redact] if redaction else []
    render: list[Processor]
    factory: Any
    if out.isatty():
        render = [structlog.dev.ConsoleRenderer()]
        factory = structlog.PrintLoggerFactory(out)
    else:
        render = [structlog.processors.JSONRenderer(serializer=_encode)]
        factory = structlog.BytesLoggerFactory(out.buffer)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *safe,
            _describe if redaction else structlog.processors.format_exc_info,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(rank),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    take_over_standard_logs(rank)


def take_over_standard_logs(rank: int = logging.WARNING) -> None:
    """Send what libraries log our way; again after a framework was loaded, as it may have put up its own."""
    root = logging.getLogger()
    root.handlers = [_StandardLogs()]
    # Below a warning libraries tell too much: an HTTP client names each URL with its query.
    root.setLevel(max(rank, logging.WARNING))
    for library in list(logging.Logger.manager.loggerDict):
        logger = logging.getLogger(library)
        logger.handlers = []
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    # Its line would print the query string; ours comes from the edge.
    logging.getLogger("uvicorn.access").disabled = True
    logging.captureWarnings(True)


def bind_merchant(merchant_id: str) -> None:
    """Name the merchant on every further log line of this request."""
    structlog.contextvars.bind_contextvars(merchant_id=merchant_id)


def log_loop_fault(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The event loop's exception handler: its own would print the exception and the task's arguments."""
    structlog.get_logger().error("event loop fault", exc_info=context.get("exception"))
