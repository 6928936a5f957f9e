"""One worker: uvicorn with our protocol on the listening socket that the server handed down.

Run as `python -m kasuwa.base.http.worker JSON`; nobody but `server.py` does.
"""

import asyncio
import contextlib
import ctypes
import gc
import importlib
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Generator, Sequence
from types import FrameType
from typing import Any

import msgspec
import structlog
import uvicorn
import uvloop

from kasuwa.base.http import health, logs
from kasuwa.base.http.protocol import DrainingState, GuardedProtocol, ProtocolLimits, guarded_protocol
from kasuwa.base.http.server import WorkerOrder

_PR_SET_PDEATHSIG = 1
_SO_ATTACH_FILTER = 26
# Classic BPF on a segment of TCP: what only begins a connection (SYN without ACK) is dropped. The last step
# of a handshake that the kernel has answered still counts: its caller believes to be connected.
_DROP_NEW = (
    (0x30, 0, 0, 13),  # load the byte of the flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # let in
)
# Time for the loop to accept what the kernel had already admitted; on a busy machine it needs more.
_ACCEPT_REST_SECONDS = 0.1
_ACCEPT_REST_LONGEST_SECONDS = 5.0
# How long a stop waits for the request of a caller who has connected and not sent it yet.
_HEAR_SECONDS = 5.0
# How long the other side may take to answer the end of a TLS connection.
_GOODBYE_SECONDS = 2
# tcpi_unacked in Linux' struct tcp_info; of a listening socket it is the length of the queue.
_QUEUE_OFFSET_BYTES = 24
_LOOK_SECONDS = 0.05
# A request makes some hundred objects that all go with it; Python's own 700 would look at them every few.
_GARBAGE_THRESHOLDS = (20_000, 10, 10)


def _die_with_parent(parent_pid: int) -> None:
    """A worker without its server would hold the port; SIGKILL because nobody is left to wait for it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def _admit_no_more(listening: Sequence[socket.socket]) -> None:
    """Have the kernel drop every new handshake, while what it admitted can still be accepted.

    Closing alone resets connections that came between the last accept and the close: their callers have
    sent a request. So they find nobody instead, and know that nothing was done. All workers share the
    socket, so this is for the last ones. Elsewhere than on Linux that short time remains.
    """
    if sys.platform != "linux":
        return
    steps = ctypes.create_string_buffer(b"".join(struct.pack("@HBBI", *step) for step in _DROP_NEW))
    program = struct.pack("@HP", len(_DROP_NEW), ctypes.addressof(steps))
    for sock in listening:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _waiting_connections(listening: Sequence[socket.socket]) -> int:
    """How many connections the kernel has admitted and nobody has accepted; 0 where it does not tell."""
    if sys.platform != "linux":
        return 0
    length = _QUEUE_OFFSET_BYTES + 4
    infos = [sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, length) for sock in listening]
    return sum(int(struct.unpack_from("=I", info, _QUEUE_OFFSET_BYTES)[0]) for info in infos)


async def _accept_rest(listening: Sequence[socket.socket]) -> None:
    """Until this worker's loop had its time and the queue of admitted connections is empty."""
    begun = time.monotonic()
    while True:
        await asyncio.sleep(_ACCEPT_REST_SECONDS)
        late = time.monotonic() - begun > _ACCEPT_REST_LONGEST_SECONDS
        if late or not _waiting_connections(listening):
            return


def load(name: str) -> Any:
    """The object that `module:attribute` names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


class _Worker(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, order: WorkerOrder, keep_alive_seconds: float) -> None:
        super().__init__(config)
        self.order = order
        self.keep_alive_seconds = keep_alive_seconds
        self.in_a_hurry = False
        self.draining = DrainingState()
        self.server_state = self.draining

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """As uvicorn's, but a signal that was obeyed is not raised again: the worker ends with code 0."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True
        self.in_a_hurry = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(logs.log_loop_fault)
        await super().startup(sockets)
        if self.started:
            os.write(self.order.ready_fd, b"1")
            os.close(self.order.ready_fd)

    async def on_tick(self, counter: int) -> bool:
        if os.getppid() != self.order.parent_pid:  # where the kernel does not tell
            os._exit(1)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Not ready first; then each answer closes its connection; then no new ones; then the end.

        A connection that is idle the whole time is closed last: its caller may just be sending.
        """
        health.begin_stop()
        self.draining.draining = True
        for connection in self.draining.connections:
            cycle = getattr(connection, "cycle", None)
            if cycle is not None and not cycle.response_complete:
                cycle.keep_alive = False
        if not self.order.has_successor:
            await asyncio.sleep(self.order.stop_grace_seconds)
            _admit_no_more(sockets or [])
            await _accept_rest(sockets or [])
        for server in self.servers:
            server.close()
        await asyncio.sleep(self.order.stop_grace_seconds)
        await self._outlast_connections()
        await super().shutdown(sockets)

    async def _outlast_connections(self) -> None:
        """Closing a connection meets a caller who is slow to send a request just then.

        A replaced worker has time: who keeps a connection asks once more, or leaves it to its end. A stopped
        one still hears those who have begun: who connects on a busy machine may need a while to ask.
        """
        begun = time.monotonic()
        for _ in range(int(self.keep_alive_seconds / _LOOK_SECONDS)):
            if not self._awaits_requests(time.monotonic() - begun):
                return
            await asyncio.sleep(_LOOK_SECONDS)

    def _awaits_requests(self, waited_seconds: float) -> bool:
        connections = self.draining.connections
        if self.in_a_hurry:
            expected = any(isinstance(one, GuardedProtocol) and one.is_expected for one in connections)
            return expected and waited_seconds < _HEAR_SECONDS
        return bool(connections)


def _loop_factory(handshake_seconds: float) -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop with times for TLS: its own are 60 s for a handshake, 30 s that a stop waits for a goodbye."""

    class Loop(uvloop.Loop):
        async def create_server(  # type: ignore[override]
            self, *args: Any, **kwargs: Any
        ) -> asyncio.AbstractServer:
            if kwargs.get("ssl") is not None:
                kwargs["ssl_handshake_timeout"] = handshake_seconds
                kwargs["ssl_shutdown_timeout"] = _GOODBYE_SECONDS
            return await super().create_server(*args, **kwargs)

    return Loop


def _replaced(worker: _Worker) -> None:
    """SIGUSR1: a successor listens on the same socket, so this one need not go on accepting."""

    def step_down(_number: int, _frame: FrameType | None) -> None:
        worker.order = msgspec.structs.replace(worker.order, has_successor=True)
        worker.should_exit = True

    signal.signal(signal.SIGUSR1, step_down)


def _allow_many_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run(order: WorkerOrder) -> int:
    _die_with_parent(order.parent_pid)
    _allow_many_connections()
    logs.configure(level=order.log_level)
    limits = msgspec.convert(order.limits, ProtocolLimits)
    # What is loaded stays: looking through it for garbage costs a tenth of the start, and pauses later.
    gc.disable()
    config = uvicorn.Config(
        order.app_factory,
        factory=True,
        http=guarded_protocol(load(order.render_error), limits),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=order.stop_deadline_seconds,
        ssl_certfile=order.tls_certificate,
        ssl_keyfile=order.tls_key,
    )
    config.load()
    gc.freeze()
    gc.enable()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
    logs.take_over_standard_logs()
    worker = _Worker(config, order, limits.keep_alive_seconds)
    _replaced(worker)
    listening = socket.socket(fileno=order.listen_fd)
    try:
        with asyncio.Runner(loop_factory=_loop_factory(limits.head_seconds)) as runner:
            runner.run(worker.serve(sockets=[listening]))
    except SystemExit:
        structlog.get_logger().error("the worker could not start")
        return 3
    return 0 if worker.started else 3


if __name__ == "__main__":
    sys.exit(run(msgspec.json.decode(sys.argv[1], type=WorkerOrder)))
