"""Real servers as processes: start, crash, graceful stop, rolling restart."""

import asyncio
import os
import re
import signal
import socket
import ssl
from pathlib import Path

import httpx
import psutil
import pytest
import trustme

from kasuwa.base.http.server import ServerOptions, Supervisor
from tests.base.http_serving import ServerProcess, server_process, wait_until

TOY = "tests.base.http_toy:worker_app"


def _listens(pid: int) -> bool:
    return any(kept.status == psutil.CONN_LISTEN for kept in psutil.Process(pid).net_connections())


def _workers(server: ServerProcess) -> set[int]:
    return {child.pid for child in psutil.Process(server.process.pid).children()}


async def _asked_pids(client: httpx.AsyncClient) -> set[int]:
    asks = [client.get("/process", headers={"Connection": "close"}) for _ in range(40)]
    return {answer.json()["pid"] for answer in await asyncio.gather(*asks)}


class Load:
    """Callers that ask again and again, half on kept connections, half on new ones, and count how it went."""

    def __init__(self, url: str, callers: int = 16) -> None:
        self.url = url
        self.callers = callers
        self.answered = 0
        self.failed: list[str] = []
        self.refused = 0
        self.stopped = False

    async def _call(self, client: httpx.AsyncClient) -> None:
        while not self.stopped:
            try:
                answer = await client.get("/slow", params={"seconds": 0.02})
            except httpx.ConnectError:
                self.refused += 1  # nobody listens: this request was never begun
                await asyncio.sleep(0.01)
            except httpx.HTTPError as error:
                self.failed.append(repr(error))
            else:
                self.answered += 1
                if answer.status_code != 200:
                    self.failed.append(f"status {answer.status_code}")

    async def _call_anew(self) -> None:
        host, _, port = self.url.removeprefix("http://").partition(":")
        while not self.stopped:
            try:
                reader, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                self.refused += 1
                await asyncio.sleep(0.01)
                continue
            try:
                writer.write(b"GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                answer = await reader.read()
                if not answer.startswith(b"HTTP/1.1 200"):
                    self.failed.append(repr(answer[:20]))
                self.answered += 1
            except OSError as error:
                self.failed.append(repr(error))
            finally:
                writer.close()

    async def __aenter__(self) -> "Load":
        count = self.callers // 2
        self.clients = [httpx.AsyncClient(base_url=self.url, timeout=30) for _ in range(count)]
        calls = [self._call(client) for client in self.clients] + [self._call_anew() for _ in range(count)]
        self.tasks = [asyncio.create_task(call) for call in calls]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stopped = True
        await asyncio.gather(*self.tasks)
        for client in self.clients:
            await client.aclose()


async def _until(condition: object, seconds: float = 20) -> bool:
    return await asyncio.to_thread(wait_until, condition, seconds)


def test_ready_is_said_only_when_it_answers(tmp_path: Path) -> None:
    with server_process(TOY, 1, tmp_path) as server:
        assert re.fullmatch(r"ready on http://127\.0\.0\.1:\d+", server.ready_line)
        assert httpx.get(f"{server.url}/ping").json() == {"pong": True}
        assert server.stop() == 0


def test_a_build_that_does_not_start_ends_the_server_with_1(tmp_path: Path) -> None:
    with server_process("tests.base.http_toy:broken_app", 2, tmp_path) as server:
        assert server.process.wait(30) == 1
        assert server.ready_line == ""
        assert "RuntimeError" in server.log


def test_a_taken_port_is_an_error() -> None:
    options = ServerOptions(app_factory=TOY, render_error="", port=0)
    first = Supervisor(options)
    try:
        with pytest.raises(OSError, match="in use"):
            Supervisor(ServerOptions(app_factory=TOY, render_error="", port=first.port))
    finally:
        first.listening.close()


async def test_all_workers_answer_and_the_scrape_adds_them_up(tmp_path: Path) -> None:
    with server_process(TOY, 2, tmp_path) as server:
        async with httpx.AsyncClient(base_url=server.url) as client:
            pids: set[int] = set()
            asked = 0
            while len(pids) < 2 and asked < 2000:
                pids |= await _asked_pids(client)
                asked += 40
            assert pids == _workers(server)
            text = (await client.get("/metrics")).text
        assert (
            f'kasuwa_http_requests_total{{method="GET",operation="/process",status="200"}} {asked}.0' in text
        )


async def test_a_crashed_worker_is_replaced_and_its_counts_stay(tmp_path: Path) -> None:
    with server_process(TOY, 1, tmp_path) as server:
        async with httpx.AsyncClient(base_url=server.url) as client:
            old = (await client.get("/process")).json()["pid"]
            # A request is counted after its answer has left.
            assert 'operation="/process",status="200"} 1.0' in (await client.get("/metrics")).text
            os.kill(old, signal.SIGKILL)
            assert await _until(lambda: _workers(server) and old not in _workers(server))
            # The socket was open all the while: the request waits for the new worker.
            answer = await client.get("/process", timeout=30)
            assert answer.json()["pid"] != old
            text = (await client.get("/metrics")).text
        assert 'operation="/process",status="200"} 2.0' in text
        assert "kasuwa_http_in_flight 1.0" in text


async def test_workers_do_not_outlive_their_server(tmp_path: Path) -> None:
    with server_process(TOY, 2, tmp_path) as server:
        workers = _workers(server)
        server.process.kill()
        server.process.wait()
        assert await _until(lambda: not any(psutil.pid_exists(pid) for pid in workers))


async def _stop_under_load(app: str, workers: int, folder: Path) -> list[str]:
    """The requests that failed. The callers are in this process: their own pauses must fit the grace."""
    with server_process(f"tests.base.http_toy:{app}", workers, folder, stop_grace_seconds=1.5) as server:
        async with Load(server.url) as load:
            assert await _until(lambda: load.answered > 100, 60)
            assert await asyncio.to_thread(server.stop) == 0
        return load.failed


@pytest.mark.parametrize(("app", "workers"), [("worker_app", 1), ("worker_app", 2), ("busy_app", 1)])
async def test_a_stop_under_load_fails_no_request(tmp_path: Path, app: str, workers: int) -> None:
    assert await _stop_under_load(app, workers, tmp_path) == []


async def test_negative_control_closing_the_socket_at_once_fails_requests(tmp_path: Path) -> None:
    # Who stands at the door just then is chance.
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        if await _stop_under_load("hasty_app", 1, folder):
            return
    pytest.fail("nobody was turned away in five stops")


async def test_negative_control_killing_the_workers_fails_requests(tmp_path: Path) -> None:
    with server_process(TOY, 1, tmp_path) as server:
        async with Load(server.url) as load:
            assert await _until(lambda: load.answered > 100)
            for pid in _workers(server):
                os.kill(pid, signal.SIGKILL)
            assert await _until(lambda: load.failed)


async def test_a_long_request_is_finished_before_the_stop(tmp_path: Path) -> None:
    with server_process(TOY, 1, tmp_path) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            asked = asyncio.create_task(client.get("/slow", params={"seconds": 2}))
            await asyncio.sleep(0.5)
            assert await asyncio.to_thread(server.stop) == 0
            assert (await asked).status_code == 200
            assert (await asked).headers["connection"] == "close"


async def test_who_has_connected_before_a_stop_is_heard(tmp_path: Path) -> None:
    with server_process(TOY, 1, tmp_path) as server:
        host, _, port = server.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        # Any answer to a later caller says that the worker has accepted this one.
        async with httpx.AsyncClient() as later:
            assert (await later.get(f"{server.url}/ping")).status_code == 200
        stopping = asyncio.create_task(asyncio.to_thread(server.stop))
        await asyncio.sleep(1.5)  # longer than both graces of 0.3 s
        writer.write(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
        assert await stopping == 0


async def test_not_ready_comes_before_not_accepting(tmp_path: Path) -> None:
    with server_process(TOY, 1, tmp_path) as server:
        async with httpx.AsyncClient(base_url=server.url) as client:
            assert (await client.get("/readyz")).status_code == 200
            server.process.send_signal(signal.SIGTERM)
            statuses = []
            while True:
                try:
                    statuses.append((await client.get("/readyz")).status_code)
                except httpx.ConnectError:
                    break
            assert 503 in statuses
            assert statuses == sorted(statuses)
            assert await asyncio.to_thread(server.process.wait, 30) == 0


async def test_rolling_stops_fail_no_request(tmp_path: Path) -> None:
    with server_process(TOY, 2, tmp_path) as server:
        async with Load(server.url) as load:
            for _ in range(3):  # of two workers each; `tests.faults.rolling_stops` does twenty
                before = _workers(server)
                server.process.send_signal(signal.SIGHUP)
                gone = lambda old=before: len(_workers(server)) == 2 and not _workers(server) & old  # noqa: E731
                assert await _until(gone, 60)
            answered = load.answered
            assert await _until(lambda: load.answered > answered + 100)
        assert (load.failed, load.refused) == ([], 0)


async def test_a_new_build_that_does_not_start_leaves_the_old_one_at_work(tmp_path: Path) -> None:
    broken_by = tmp_path / "broken"
    environment = {"TOY_BROKEN_BY": str(broken_by)}
    with server_process("tests.base.http_toy:fragile_app", 1, tmp_path, environment=environment) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            old = (await client.get("/process")).json()["pid"]
            broken_by.touch()
            server.process.send_signal(signal.SIGHUP)
            assert await _until(lambda: "the old ones stay" in server.log, 60)
            assert (await client.get("/process")).json()["pid"] == old
            broken_by.unlink()
            server.process.send_signal(signal.SIGHUP)
            assert await _until(lambda: not _listens(old), 60)
            assert await asyncio.to_thread(server.stop) == 0


async def test_a_second_signal_ends_a_long_stop(tmp_path: Path) -> None:
    with server_process(TOY, 1, tmp_path) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=100) as client:
            asked = asyncio.create_task(client.get("/slow", params={"seconds": 90}))
            assert await _until(lambda: _answers_slowly(server))
            server.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(1)
            assert server.process.poll() is None
            assert await asyncio.to_thread(server.stop) == 0
            with pytest.raises(httpx.HTTPError):
                await asked


def _answers_slowly(server: ServerProcess) -> bool:
    return "kasuwa_http_in_flight 2.0" in httpx.get(f"{server.url}/metrics").text


def test_a_server_that_is_not_ready_in_time_ends_with_1(tmp_path: Path) -> None:
    with server_process(TOY, 1, tmp_path, start_deadline_seconds=0) as server:
        assert server.process.wait(30) == 1
        assert server.ready_line == ""


async def test_a_replaced_worker_waits_for_who_keeps_an_idle_connection(tmp_path: Path) -> None:
    with server_process(TOY, 1, tmp_path, limits={"keep_alive_seconds": 60}) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as slow_to_ask:
            old = (await slow_to_ask.get("/process")).json()["pid"]
            server.process.send_signal(signal.SIGHUP)
            assert await _until(lambda: not _listens(old), 60)
            await asyncio.sleep(1)  # longer than the grace of 0.3 s, after which it would close
            last = await slow_to_ask.get("/process")
            assert (last.json()["pid"], last.headers["connection"]) == (old, "close")
            assert (await slow_to_ask.get("/process")).json()["pid"] != old
            assert await _until(lambda: old not in _workers(server))
            # Whoever stops the server does not wait for idle callers.
            assert await asyncio.to_thread(server.stop) == 0


def test_tls_is_served_and_a_silent_handshake_ends(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    context = ssl.create_default_context()
    authority.configure_trust(context)
    tls = {
        "tls_certificate": str(chain),
        "tls_key": str(key),
        "limits": {"head_seconds": 1, "look_seconds": 0.1},
    }
    with server_process(TOY, 1, tmp_path, **tls) as server:
        assert server.url.startswith("https://127.0.0.1:")
        answer = httpx.get(f"{server.url}/ping", verify=context)
        assert answer.headers["strict-transport-security"]
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        with socket.create_connection(address, timeout=15) as silent:
            assert silent.recv(1) == b""
        with socket.create_connection(address, timeout=15) as raw:
            slow = context.wrap_socket(raw, server_hostname="127.0.0.1")
            slow.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n")
            assert slow.recv(1000).startswith(b"HTTP/1.1 408")
            slow.close()
