"""A caller that costs little: requests written beforehand, sent over kept connections, answers only measured.

It runs as a process of its own, `python -m bench.client`, and is told its work on standard input as JSON.
"""

import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

_RECEIVED_BYTES = 262_144


class Work(Struct, frozen=True, kw_only=True):
    """`requests` are sent in turn, `times` in all, over so many connections with one open question each."""

    host: str
    port: int
    requests: list[bytes]
    times: int
    connections: int = 4


class Done(Struct, frozen=True, kw_only=True):
    """`statuses` counts the answers; `body_bytes` is that of the last. Waits in ms, until the last byte."""

    seconds: float
    statuses: dict[int, int]
    body_bytes: int
    median_ms: float
    p99_ms: float


def ask(work: Work) -> Done:
    """Have another process do the work."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.client"],
        input=msgspec.json.encode(work),
        capture_output=True,
        check=False,
        cwd=Path(__file__).parent.parent,
    )
    assert done.returncode == 0, done.stderr.decode()
    return msgspec.json.decode(done.stdout, type=Done)


def get(port: int, path: str, headers: dict[str, str]) -> bytes:
    """The bytes of a GET."""
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *(f"{n}: {v}" for n, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def post(port: int, path: str, headers: dict[str, str], body: bytes) -> bytes:
    """The bytes of a POST of JSON."""
    headers = {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *(f"{n}: {v}" for n, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class _Connection:
    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.asked_at = 0.0
        self.received = bytearray()
        self.wanted_bytes = -1
        self.status = 0
        self.body_bytes = 0

    def ask(self, request: bytes) -> None:
        self.received.clear()
        self.wanted_bytes = -1
        self.asked_at = time.perf_counter()
        self.socket.sendall(request)

    def hear(self) -> bool:
        """Take what came; True when the answer is whole."""
        came = self.socket.recv(_RECEIVED_BYTES)
        assert came, f"the server closed the connection after {bytes(self.received[:300])!r}"
        self.received += came
        if self.wanted_bytes < 0:
            head, found, _ = self.received.partition(b"\r\n\r\n")
            if not found:
                return False
            self.status = int(head[9:12])
            length = bytes(head).lower().partition(b"content-length:")[2].split(b"\r\n")[0]
            self.body_bytes = int(length or 0)
            self.wanted_bytes = len(head) + 4 + self.body_bytes
        return len(self.received) >= self.wanted_bytes


def run(work: Work) -> Done:
    poll = select.epoll()
    open_now = [_Connection(work.host, work.port) for _ in range(min(work.connections, work.times))]
    by_number = {connection.socket.fileno(): connection for connection in open_now}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    statuses: dict[int, int] = {}
    waits: list[float] = []
    asked = 0
    begun = time.perf_counter()
    for connection in open_now:
        connection.ask(work.requests[asked % len(work.requests)])
        asked += 1
    body_bytes = 0
    while len(waits) < work.times:
        for number, _event in poll.poll():
            connection = by_number[number]
            if not connection.hear():
                continue
            waits.append(time.perf_counter() - connection.asked_at)
            statuses[connection.status] = statuses.get(connection.status, 0) + 1
            body_bytes = connection.body_bytes
            if asked < work.times:
                connection.ask(work.requests[asked % len(work.requests)])
                asked += 1
    seconds = time.perf_counter() - begun
    poll.close()
    for connection in open_now:
        connection.socket.close()
    return _summary(seconds, statuses, body_bytes, waits)


def _summary(seconds: float, statuses: dict[int, int], body_bytes: int, waits: Sequence[float]) -> Done:
    waits = sorted(waits)
    return Done(
        seconds=seconds,
        statuses=statuses,
        body_bytes=body_bytes,
        median_ms=waits[len(waits) // 2] * 1000,
        p99_ms=waits[min(len(waits) - 1, len(waits) * 99 // 100)] * 1000,
    )


if __name__ == "__main__":
    answer = run(msgspec.json.decode(sys.stdin.buffer.read(), type=Work))
    sys.stdout.buffer.write(msgspec.json.encode(answer))
