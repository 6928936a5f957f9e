"""The stage on which the fetcher's tests play."""

import socket
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.base.fetch.staging import (
    Server,
    Stage,
    Watch,
    bind,
    bind_pair,
    count_as_public,
)


@pytest.fixture(scope="session")
def installed_watch() -> Watch:
    watch = Watch()
    sys.addaudithook(watch)  # for the life of the process: there is no way to take it back
    return watch


@pytest.fixture
def watch(installed_watch: Watch) -> Iterator[Watch]:
    installed_watch.attempts.clear()
    installed_watch.on = True
    yield installed_watch
    installed_watch.on = False


@pytest.fixture
async def everywhere() -> AsyncIterator[tuple[Server, int]]:
    """A listener on every address of this machine."""
    server = Server()
    listener = bind("::" if socket.has_dualstack_ipv6() else "0.0.0.0")
    async with server.listen(listener):
        yield server, listener.getsockname()[1]


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    count_as_public(monkeypatch)
    public, private = bind_pair()
    stage = Stage(public.getsockname()[1])
    async with stage.public.listen(public), stage.private.listen(private):
        yield stage
        await stage.fetcher.close()
