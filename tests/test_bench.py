"""The measurements run: each once, small, on the real server. What they measure is never judged here."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.__main__ import MEASUREMENTS, main
from bench.client import Work, get, run
from bench.processes import family_of, used_by
from bench.tables import Figure, Report, written

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", sorted(MEASUREMENTS))
def test_a_measurement_runs_to_its_report(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", name, "--smoke", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    report = json.loads(line)
    assert report["figures"]
    assert all(figure["value"] >= 0 for figure in report["figures"])


def test_a_figure_over_its_limit_ends_the_run_with_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def said(value: float) -> Callable[..., Report]:
        figure = Figure(name="page", value=value, unit="CPU-ms", limit=1.5)
        return lambda **_: Report(title="List", figures=[figure])

    monkeypatch.setattr(sys, "argv", ["bench", "list"])
    monkeypatch.setitem(MEASUREMENTS, "list", said(1.5))
    main()
    monkeypatch.setitem(MEASUREMENTS, "list", said(1.6))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1


def test_a_shop_that_is_slow_on_purpose_costs_what_it_is_slowed_by() -> None:
    words = [sys.executable, "-m", "bench", "stock", "--smoke", "--broken", "--json"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, timeout=240)
    costs = {figure["name"]: figure["value"] for figure in json.loads(done.stdout)["figures"]}
    assert costs["addquantity, all processes"] >= 3


def test_an_unknown_measurement_is_refused_with_the_known_ones() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "lists"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "list, upload" in done.stderr


def test_the_table_says_which_figure_is_over_its_limit() -> None:
    def table(value: float) -> str:
        figure = Figure(name="page", value=value, unit="CPU-ms", limit=1.5)
        return written(Report(title="List", figures=[figure]))

    assert "OVER" in table(1.6)
    assert "OVER" not in table(1.5)


def test_processor_time_of_a_family_holds_that_of_its_children() -> None:
    before = used_by(os.getpid()).total_ms
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    assert used_by(os.getpid()).total_ms - before >= 190


def test_the_family_of_a_process_ends_with_it() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    assert child.pid in {process.pid for process in family_of(os.getpid())}
    child.communicate()
    assert child.pid not in {process.pid for process in family_of(os.getpid())}


def test_the_caller_counts_every_answer_by_its_status() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]

    def answer() -> None:
        connection, _ = listening.accept()
        with connection:
            for status in (b"200 OK", b"503 Busy", b"200 OK"):
                connection.recv(65536)
                # In two pieces: an answer is whole when its length has come, not when something has.
                connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 4\r\n\r\nab")
                connection.sendall(b"cd")

    thread = threading.Thread(target=answer)
    thread.start()
    done = run(Work(host="127.0.0.1", port=port, requests=[get(port, "/", {})], times=3, connections=1))
    thread.join()
    listening.close()
    assert done.statuses == {200: 2, 503: 1}
    assert done.body_bytes == 4
