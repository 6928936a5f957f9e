"""What the tests of the embedded PostgreSQL share: questions, other processes, waits."""

import asyncio
import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kasuwa.base.postgres.binaries import Binaries
from kasuwa.base.postgres.folder import Address
from kasuwa.base.postgres.server import EmbeddedPostgres, attach

WAIT_LIMIT_S = 60.0
fork = multiprocessing.get_context("fork")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes users, which only root can")


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)


def ask(dsn: str, sql: str) -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return in_thread(lambda: asyncio.run(run()))


def in_thread(work: Callable[[], Any]) -> Any:
    """Away from the suite's own event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def ask_server(server: EmbeddedPostgres, sql: str) -> Any:
    return ask(server.dsn(server.superuser, "postgres"), sql)


def serve(pipe: Pipe, data: Path, binaries: Binaries, uid: int | None) -> None:
    """The body of another process that runs the server until it is told to stop, or killed."""
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    server = EmbeddedPostgres(data, binaries)
    server.start()
    pipe.send(server.pid)
    pipe.recv()
    server.stop()
    pipe.send("stopped")


@contextlib.contextmanager
def served(data: Path, binaries: Binaries, uid: int | None = None) -> Iterator[tuple[BaseProcess, int, Pipe]]:
    """Another process that serves `data`: itself, the id of its PostgreSQL, and the pipe to it."""
    ours, theirs = fork.Pipe()
    host = fork.Process(target=serve, args=(theirs, data, binaries, uid))
    host.start()
    theirs.close()
    try:
        assert ours.poll(WAIT_LIMIT_S), "the other process did not start its server"
        yield host, ours.recv(), ours
    finally:
        ours.close()
        host.kill()
        host.join()


def attached(data: Path) -> Address:
    address = attach(data)
    assert address is not None
    return address
