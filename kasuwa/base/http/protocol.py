"""HTTP/1.1 on the socket, with deadlines: uvicorn's protocol holds a slow or rude caller for ever.

Uvicorn parses, runs the app and keeps idle connections to their time. Added here: the head must be whole
in time and small, a body must keep a pace and end, an answer must be taken, framing that two parsers
could read in two ways is refused, and every refusal speaks the words of the API that owns the path.
Each connection looks at itself once a second, so a request pays no timer of its own.
"""

import asyncio
import math
import socket
import struct
from collections import deque
from typing import Any, ClassVar, cast

import httptools
from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from kasuwa.base.http import metrics
from kasuwa.base.http.gathering import GatheringTransport
from kasuwa.base.http.identity import RenderError, begin_request, id_header
from kasuwa.base.http.security_headers import security_headers

# tcpi_bytes_acked in Linux' struct tcp_info.
_ACKED_OFFSET_BYTES = 120
_ACKED_END_BYTES = 128
_WRITE_BUFFER_BYTES = 64 * 1024
# A chunk of one byte brings five bytes of framing with it.
_MAX_FRAMING_FACTOR = 8


class ProtocolLimits(Struct, frozen=True, kw_only=True):
    """Deadlines and sizes of one connection."""

    head_seconds: float = 10
    head_bytes: int = 16 * 1024
    body_seconds: float = 300
    body_window_seconds: float = 15
    body_bytes_per_second: int = 8 * 1024
    # The largest that any operation takes, a file of products; each has its own limit below it.
    max_body_bytes: int = 256 * 1024 * 1024
    keep_alive_seconds: float = 15
    answer_window_seconds: float = 20
    answer_bytes_per_second: int = 1024
    # How long bytes are read and dropped after a refusal, so that its answer arrives.
    linger_seconds: float = 2
    look_seconds: float = 1


class DrainingState(ServerState):
    """Uvicorn's state of a server; once `draining`, each answer closes its connection."""

    def __init__(self) -> None:
        super().__init__()
        self.draining = False


class _RefusedError(Exception):
    """Leaves the parser's callback; the protocol then answers with `refusal`."""


class _Pace:
    """Bytes over a sliding window."""

    def __init__(self, window_seconds: float, bytes_per_second: int) -> None:
        self.window_seconds = window_seconds
        self.least_bytes = window_seconds * bytes_per_second
        self.samples: deque[tuple[float, int]] = deque()

    def pause(self) -> None:
        """Nothing was asked of the caller: the window begins anew."""
        self.samples.clear()

    def is_too_slow(self, now: float, total_bytes: int) -> bool:
        samples = self.samples
        samples.append((now, total_bytes))
        while len(samples) > 1 and samples[1][0] <= now - self.window_seconds:
            samples.popleft()
        since, then_bytes = samples[0]
        return now - since >= self.window_seconds and total_bytes - then_bytes < self.least_bytes


_IDLE, _HEAD, _BODY = range(3)


class GuardedProtocol(HttpToolsProtocol):
    """Made for a server by `guarded_protocol`."""

    limits: ClassVar[ProtocolLimits] = ProtocolLimits()
    render_error: ClassVar[RenderError]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        limits = self.limits
        # Uvicorn's annotation says whole seconds; the event loop takes fractions.
        self.timeout_keep_alive = cast("int", limits.keep_alive_seconds)
        self.phase = _IDLE
        self.head_since: float | None = None
        self.head_bytes = self.raw_head_bytes = 0
        self.body_since = 0.0
        self.body_bytes = 0
        self.raw_body_bytes = 0
        self.body_pace = _Pace(limits.body_window_seconds, limits.body_bytes_per_second)
        self.answer_pace = _Pace(limits.answer_window_seconds, limits.answer_bytes_per_second)
        self.resumed_writes = 0
        self.refusal = 0
        self.leaving = False
        self.leave_at = math.inf
        self.watch: asyncio.TimerHandle | None = None

    @property
    def is_expected(self) -> bool:
        """Whether the caller has connected, or begun a head, and the request is still to come."""
        return self.head_since is not None and not self.leaving

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.head_since = self.loop.time()
        self.watch = self.loop.call_later(self.limits.look_seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.watch is not None:
            self.watch.cancel()
            self.watch = None
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        self.resumed_writes += 1
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self.leaving or self.parser is None:
            return
        self._unset_keepalive_if_required()
        scope = self.scope
        if self.phase == _BODY:
            self.raw_body_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(self.refusal or 400)
            return
        except httptools.HttpParserUpgrade:
            # We stay with HTTP/1.1 as RFC 9110 allows; what follows is in another protocol.
            self.cycle.keep_alive = False
            self.leaving = True
            return
        if self.phase == _HEAD and self.scope is scope:
            # An unfinished header is not seen otherwise.
            self.raw_head_bytes += len(data)
            if self.raw_head_bytes > self.limits.head_bytes:
                self._refuse(431)
        elif self.phase == _BODY:
            if self.raw_body_bytes > self.limits.head_bytes + _MAX_FRAMING_FACTOR * self.body_bytes:
                self._refuse(400)
        elif (
            self.phase == _IDLE
            and self.head_since is None
            and self.cycle is not None
            and self.cycle.response_complete
        ):
            # Empty lines between requests, or the end of a body that was answered early.
            self.head_since = self.loop.time()

    # What the parser finds

    def on_message_begin(self) -> None:
        self.phase = _HEAD
        self.head_bytes = self.raw_head_bytes = 0
        if self.head_since is None:
            self.head_since = self.loop.time()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.phase == _BODY:
            return  # a trailer is not a header: what checked the head has not seen it
        self.head_bytes += len(name) + len(value) + 4
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._check_head()
        self.head_since = None
        self.phase = _BODY
        self.body_since = self.loop.time()
        self.body_bytes = self.raw_body_bytes = 0
        self.body_pace.pause()
        super().on_headers_complete()
        self.cycle.transport = cast("asyncio.Transport", GatheringTransport(self.transport, self.loop))
        if getattr(self.server_state, "draining", False):
            self.cycle.keep_alive = False

    def _check_head(self) -> None:
        if self.head_bytes + len(self.url) > self.limits.head_bytes:
            self._give_up(431)
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._give_up(505)
        hosts = 0
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                if int(value) > self.limits.max_body_bytes:
                    self._give_up(413)
            elif name == b"transfer-encoding" and (version == "1.0" or value.strip().lower() != b"chunked"):
                self._give_up(400)
        if hosts > 1 or (hosts == 0 and version == "1.1"):
            self._give_up(400)

    def _give_up(self, status: int) -> None:
        self.refusal = status
        raise _RefusedError

    def on_body(self, body: bytes) -> None:
        self.body_bytes += len(body)
        if self.body_bytes > self.limits.max_body_bytes:
            self._give_up(413)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.phase = _IDLE
        super().on_message_complete()

    # Deadlines

    def _look(self) -> None:
        now = self.loop.time()
        self.watch = self.loop.call_later(self.limits.look_seconds, self._look)
        if self._reads_too_slowly(now):
            metrics.refused_connections.labels("slow-reader").inc()
            self._drop_answer()
        elif self.leaving:
            if now >= self.leave_at:
                self.transport.abort()
        elif self.head_since is not None:
            if now - self.head_since >= self.limits.head_seconds:
                if self.phase == _HEAD:
                    self._refuse(408)
                else:
                    metrics.refused_connections.labels("silent").inc()
                    self.transport.close()
        elif self.phase == _BODY:
            self._look_at_body(now)

    def _look_at_body(self, now: float) -> None:
        limits = self.limits
        if not self.cycle.response_complete and (
            self.flow.read_paused or self.cycle.waiting_for_100_continue
        ):
            self.body_pace.pause()  # it is our app that does not read
        elif now - self.body_since >= limits.body_seconds or self._brings_too_little(now):
            # Also the rest of a body that was answered early: it is read and dropped at the same pace.
            self._refuse(408)

    def _brings_too_little(self, now: float) -> bool:
        return self.body_pace.is_too_slow(now, self.body_bytes)

    def _reads_too_slowly(self, now: float) -> bool:
        waiting_bytes = self.transport.get_write_buffer_size()
        if waiting_bytes == 0:
            self.answer_pace.pause()
            return False
        return self.answer_pace.is_too_slow(now, self._taken_bytes(waiting_bytes))

    def _taken_bytes(self, waiting_bytes: int) -> int:
        """How much of what was written the caller has taken.

        Linux counts what the peer acknowledged. Elsewhere our own buffer tells, which moves in steps.
        """
        sock = self.transport.get_extra_info("socket")
        if hasattr(socket, "TCP_INFO") and sock is not None and sock.family != socket.AF_UNIX:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED_END_BYTES)
            if len(info) >= _ACKED_END_BYTES:
                return int(struct.unpack_from("=Q", info, _ACKED_OFFSET_BYTES)[0])
        return self.resumed_writes * _WRITE_BUFFER_BYTES - waiting_bytes

    def _drop_answer(self) -> None:
        """Reset the connection: a plain close would leave what is unsent with the kernel, for ever."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    # Saying no

    def _refuse(self, status: int) -> None:
        """Answer with an error where that is still possible, and end the connection."""
        metrics.refused_connections.labels(str(status)).inc()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self.phase != _BODY:
                # An earlier request is being answered: the caller gets that, and nothing after it.
                cycle.keep_alive = False
                self.leaving = True
                return
            # From here on the app's own answer goes nowhere, and the body it reads has no end.
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started or self.pipeline:
                self.transport.abort()
                return
        elif self.phase == _BODY and cycle is not None:
            self.transport.close()  # answered long ago; only its body was left
            return
        self._send_error(status)
        self._leave()

    def _send_error(self, status: int) -> None:
        path = _path_in(getattr(self, "url", b""))
        request_id = begin_request(None)
        headers, body = type(self).render_error(path, status)
        if not any(name.lower() == id_header(path) for name, _ in headers):
            headers = [*headers, (id_header(path), request_id.encode())]
        present = {name.lower(): value for name, value in headers}
        headers = [*headers, *security_headers(present, https=self.scheme == "https")]
        lines = [STATUS_LINE[status]]
        for name, value in [*self.server_state.default_headers, *headers]:
            lines += [name, b": ", value, b"\r\n"]
        lines += [b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body), body]
        self.transport.write(b"".join(lines))

    def _leave(self) -> None:
        """Close so that the answer arrives: bytes that we never read would make the kernel drop it."""
        self.leaving = True
        self.leave_at = self.loop.time() + self.limits.linger_seconds
        if self.transport.can_write_eof():
            self.flow.resume_reading()
            self.transport.write_eof()
        else:
            self.transport.close()


def _path_in(url: bytes) -> str:
    """The path, as far as it has come, of a path with a query or of a whole address; else nothing."""
    try:
        return (httptools.parse_url(url).path or b"").decode("latin-1")
    except httptools.HttpParserError:
        return ""


def guarded_protocol(
    render_error: RenderError, limits: ProtocolLimits | None = None
) -> type[GuardedProtocol]:
    """The protocol class to give to uvicorn as `http=`."""
    members = {"render_error": staticmethod(render_error), "limits": limits or ProtocolLimits()}
    return type("KasuwaProtocol", (GuardedProtocol,), members)
