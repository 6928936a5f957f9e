"""One ASGI layer around the whole app: what every request and every answer gets.

One layer, not a stack of them, because each pays its own wrapper on each message. It names the request,
finds the real caller, refuses what is over the worker's capacity, turns HEAD into GET, adds the security
and CORS headers, compresses, counts and logs.
"""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog
from msgspec import Struct

from kasuwa.base.http import metrics
from kasuwa.base.http.body import BodyMemory
from kasuwa.base.http.compression import MIN_BYTES, Compressor, accepts_gzip, compressible
from kasuwa.base.http.identity import RenderError, begin_request, id_header
from kasuwa.base.http.origin import CrossOrigin, TrustedProxies
from kasuwa.base.http.security_headers import Headers, security_headers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

PROBE_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
# What the log and the metrics call an answer that was never begun because the caller had gone.
CALLER_GONE = 499
_log = structlog.get_logger()


class EdgeOptions(Struct, frozen=True, kw_only=True):
    """What the edge is told; each value is a setting of the server.

    `max_in_flight` requests may work at the same time in one worker (those that wait for their body do
    not count); more are told 503. `max_body_memory_bytes` is what their bodies may take together.
    """

    render_error: RenderError
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    max_in_flight: int = 256
    max_body_memory_bytes: int = 256 * 1024 * 1024


class _RequestMeters:
    """The counters of (operation, method, status), looked up once each."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def count(self, operation: str, method: str, status: int, seconds: float) -> None:
        key = (operation, method, status)
        meters = self._known.get(key)
        if meters is None:
            meters = self._known[key] = (
                metrics.requests.labels(operation, method, str(status)),
                metrics.request_seconds.labels(operation, str(status)),
            )
        meters[0].inc()
        meters[1].observe(seconds)


class _Answer:
    """Stands between the app's `send` and the server's."""

    __slots__ = ("compressor", "extra", "gzip", "held", "https", "send_on", "started", "status")

    def __init__(self, send_on: Send, extra: Headers, gzip: bool, https: bool) -> None:
        self.send_on = send_on
        self.extra = extra
        self.gzip = gzip
        self.https = https
        self.held: Message | None = None
        self.compressor: Compressor | None = None
        self.started = False
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._start(message)
        elif self.held is not None:
            await self._first_body(message)
        elif self.compressor is not None:
            last = not message.get("more_body", False)
            body = await self.compressor.add(message.get("body", b""), last=last)
            await self.send_on({"type": "http.response.body", "body": body, "more_body": not last})
        else:
            await self.send_on(message)

    async def _start(self, message: Message) -> None:
        self.started = True
        self.status = message["status"]
        headers: Headers = list(message.get("headers", ()))
        present = {name.lower(): value for name, value in headers}
        headers += self.extra
        headers += security_headers(present, https=self.https)
        message["headers"] = headers
        if compressible(self.status, present):
            headers.append((b"vary", b"Accept-Encoding"))
            if self.gzip:
                self.held = message
                return
        await self.send_on(message)

    async def _first_body(self, message: Message) -> None:
        start, self.held = self.held, None
        assert start is not None
        body = message.get("body", b"")
        last = not message.get("more_body", False)
        if last and len(body) < MIN_BYTES:
            await self.send_on(start)
            await self.send_on(message)
            return
        self.compressor = Compressor()
        packed = await self.compressor.add(body, last=last)
        headers: Headers = [(b"content-encoding", b"gzip")]
        if last:
            headers.append((b"content-length", str(len(packed)).encode()))
        for name, value in start["headers"]:
            lower = name.lower()
            if lower == b"etag" and not value.startswith(b"W/"):
                headers.append((name, b"W/" + value))
            elif lower != b"content-length":
                headers.append((name, value))
        start["headers"] = headers
        await self.send_on(start)
        await self.send_on({"type": "http.response.body", "body": packed, "more_body": not last})


class Edge:
    """Wraps the whole ASGI app. What it leaves in `scope["state"]`:

    `request_id` (str), `head` (True when a GET answers a HEAD). What it reads there afterwards:
    `operation` (the name in the metrics, else the route's template) and `merchant_id`.
    """

    def __init__(self, app: App, options: EdgeOptions) -> None:
        self.app = app
        self.options = options
        self.proxies = TrustedProxies(options.trusted_proxies)
        self.cross_origin = CrossOrigin(options.cors_origins)
        self.body_memory = BodyMemory(options.max_body_memory_bytes)
        self.meters = _RequestMeters()
        self.working = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        headers = dict(scope["headers"])
        path: str = scope["path"]
        method: str = scope["method"]
        name = id_header(path)
        request_id = begin_request(headers.get(name))
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["body_memory"] = self.body_memory
        self.proxies.apply(scope)
        extra = [(name, request_id.encode()), *self.cross_origin.headers(headers.get(b"origin"))]
        answer = _Answer(
            send, extra, accepts_gzip(headers.get(b"accept-encoding")), scope["scheme"] == "https"
        )
        if method == "HEAD":
            # The server still knows that it answers a HEAD and leaves the body out.
            state["head"] = True
            scope = {**scope, "method": "GET"}
        structlog.contextvars.bind_contextvars(request_id=request_id)
        self.working += 1
        metrics.in_flight.inc()
        try:
            await self._answer(scope, receive, answer, headers)
        finally:
            self.working -= 1
            metrics.in_flight.dec()
            self.body_memory.release(scope)
            self._record(scope, method, answer.status or CALLER_GONE, time.perf_counter() - began)

    async def _answer(
        self, scope: Scope, receive: Receive, answer: _Answer, headers: dict[bytes, bytes]
    ) -> None:
        path = scope["path"]
        if self.cross_origin.is_preflight(scope["method"], headers):
            answer.extra = [answer.extra[0], *self.cross_origin.preflight_headers(headers[b"origin"])]
            await answer.send({"type": "http.response.start", "status": 204, "headers": []})
            await answer.send({"type": "http.response.body", "body": b""})
        elif self.working > self.options.max_in_flight and path not in PROBE_PATHS:
            await self._send_error(path, 503, answer)
        else:

            async def wait_for_body() -> Message:
                # Whoever only waits for a slow caller takes no place from those who work.
                self.working -= 1
                try:
                    return await receive()
                finally:
                    self.working += 1

            try:
                await self.app(scope, wait_for_body, answer.send)
            except Exception:
                _log.error("request failed", exc_info=True)
                if answer.started and answer.held is None:
                    raise
                answer.held = None
                await self._send_error(path, 500, answer)

    async def _send_error(self, path: str, status: int, answer: _Answer) -> None:
        headers, body = self.options.render_error(path, status)
        named = answer.extra[0][0]
        headers = [(name, value) for name, value in headers if name.lower() != named]
        headers.append((b"content-length", str(len(body)).encode()))
        if status == 503 and not any(name.lower() == b"retry-after" for name, _ in headers):
            headers.append((b"retry-after", b"1"))
        await answer.send({"type": "http.response.start", "status": status, "headers": headers})
        await answer.send({"type": "http.response.body", "body": body})

    def _record(self, scope: Scope, method: str, status: int, seconds: float) -> None:
        """Never the path, query or headers themselves: only the route's template."""
        state = scope["state"]
        route = scope.get("path_template") or "unmatched"
        self.meters.count(state.get("operation") or route, method, status, seconds)
        if status < 400 and scope["path"] in PROBE_PATHS:
            return
        line = {"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 1)}
        merchant_id = state.get("merchant_id")
        if merchant_id is not None:
            line["merchant_id"] = str(merchant_id)
        _log.info("request", **line)
