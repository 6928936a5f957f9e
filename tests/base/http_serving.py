"""Real servers for the tests of the edge: in a thread, or as processes."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from kasuwa.base.http.middleware import App
from kasuwa.base.http.protocol import GuardedProtocol, ProtocolLimits, guarded_protocol
from tests.base.http_toy import render_error

_PARENT = """
import sys
import msgspec
from kasuwa.base.http.server import ServerOptions, serve
options = msgspec.json.decode(sys.argv[1], type=ServerOptions, dec_hook=lambda kind, value: kind(value))
sys.exit(serve(options, on_ready=lambda url: print("ready on", url, flush=True)))
"""


def wait_until(condition: Any, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


@contextlib.contextmanager
def serving(app: App, protocol: type[GuardedProtocol] | str) -> Iterator[int]:
    """The port of a server in a thread, on uvloop as in production."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(
        app,
        http=protocol,
        loop="uvloop",
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        assert wait_until(lambda: server.started)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def quick_protocol(**limits: Any) -> type[GuardedProtocol]:
    """Our protocol with everything in tenths of seconds."""
    quick: dict[str, Any] = {
        "head_seconds": 0.6,
        "body_seconds": 20,
        "body_window_seconds": 0.6,
        "body_bytes_per_second": 8192,
        "keep_alive_seconds": 0.8,
        "answer_window_seconds": 0.8,
        "linger_seconds": 0.3,
        "look_seconds": 0.1,
    }
    return guarded_protocol(render_error, ProtocolLimits(**{**quick, **limits}))


class ServerProcess:
    """`serve` in a process of its own, with what it printed."""

    def __init__(self, app_factory: str, workers: int, folder: Path, more: dict[str, Any]) -> None:
        self.log_path = folder / "log"
        options = {
            "app_factory": app_factory,
            "render_error": "tests.base.http_toy:render_error",
            "port": 0,
            "workers": workers,
            "metrics_folder": str(folder / "metrics"),
            "stop_grace_seconds": 0.3,
            **more,
        }
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _PARENT, json.dumps(options)],
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.getcwd()},
            )
        assert self.process.stdout is not None
        self.ready_line = self.process.stdout.readline().decode().strip()
        self.url = self.ready_line.removeprefix("ready on ")

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextlib.contextmanager
def server_process(app_factory: str, workers: int, folder: Path, **more: Any) -> Iterator[ServerProcess]:
    """`more` are fields of ServerOptions, as JSON writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    server = ServerProcess(app_factory, workers, folder, more)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()
        assert server.process.stdout is not None
        server.process.stdout.close()
