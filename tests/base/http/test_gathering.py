"""An answer's head and body in one write; a head alone goes at once all the same."""

import asyncio
from typing import cast

import pytest

from kasuwa.base.http.gathering import GatheringTransport

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Socket:
    """What arrives at the transport, call by call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bytes]] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.calls.append(("write", data))

    def writelines(self, parts: list[bytes]) -> None:
        self.calls.append(("writelines", b"|".join(parts)))

    def close(self) -> None:
        self.calls.append(("close", b""))

    def is_closing(self) -> bool:
        return self.closing


@pytest.fixture
def socket() -> Socket:
    return Socket()


@pytest.fixture
async def gathering(socket: Socket) -> GatheringTransport:
    return GatheringTransport(cast("asyncio.Transport", socket), asyncio.get_running_loop())


async def test_a_body_in_the_same_moment_goes_with_its_head(
    socket: Socket, gathering: GatheringTransport
) -> None:
    gathering.write(HEAD)
    gathering.write(b"{}")
    await asyncio.sleep(0)
    gathering.write(b"more")
    assert socket.calls == [("writelines", HEAD + b"|{}"), ("write", b"more")]


async def test_a_head_does_not_wait_for_a_slow_body(socket: Socket, gathering: GatheringTransport) -> None:
    gathering.write(HEAD)
    assert socket.calls == []
    await asyncio.sleep(0)
    gathering.write(b"{}")
    assert socket.calls == [("write", HEAD), ("write", b"{}")]


async def test_a_head_alone_goes_before_the_end(socket: Socket, gathering: GatheringTransport) -> None:
    gathering.write(HEAD)
    gathering.close()
    await asyncio.sleep(0)
    assert socket.calls == [("write", HEAD), ("close", b"")]


async def test_a_connection_that_was_cut_gets_nothing(socket: Socket, gathering: GatheringTransport) -> None:
    gathering.write(HEAD)
    socket.closing = True
    await asyncio.sleep(0)
    assert socket.calls == []
