"""What a log-in costs beside the hash of its password, which is slow on purpose."""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from argon2 import PasswordHasher

from bench.broken import slow_rows
from bench.client import Work, ask, post
from bench.places import data_folder
from bench.processes import Started, Used, serving, used_by
from bench.shop import PASSWORD, USERNAME, build_shop
from bench.tables import Figure, Report
from kasuwa.base import passwords

_BROKEN = slow_rows("session", ms=20)


def measure(*, smoke: bool = False, broken: bool = False) -> Report:
    """CPU-ms of a log-in over HTTP, one at a time, and of Argon2 alone comparing the same password."""
    times, rounds = (3, 1) if smoke else (30, 9)
    with data_folder() as data:
        build_shop(data, products=2, sessions=1, breaking=_BROKEN if broken else "")
        with serving(data, storeharmony_requests_per_second=1_000_000) as server:
            request = _request(data, server)
            ours: list[Used] = []
            hashes: list[float] = []
            for number in range(rounds + 1):
                spent = _logged_in(server, request, times), _hashed(times)
                if number:  # the first one warms up
                    ours.append(spent[0])
                    hashes.append(spent[1])
    each = [one.total_ms / times for one in ours]
    ratio = statistics.median(o / h for o, h in zip(each, hashes, strict=True))
    return Report(
        title=f"Log-ins with a right password, one worker, {rounds} rounds of {times}",
        figures=[
            Figure(name="a log-in, all processes", value=statistics.median(each), unit="CPU-ms"),
            Figure(
                name="  PostgreSQL",
                value=statistics.median(one.postgres_ms / times for one in ours),
                unit="CPU-ms",
            ),
            Figure(name="Argon2id alone", value=statistics.median(hashes), unit="CPU-ms"),
            Figure(name="ratio", value=ratio, unit="times", limit=1.2, note="median over the rounds"),
        ],
    )


def _request(data: Path, server: Started) -> bytes:
    """A log-in by an app with a developer key."""
    words = [
        sys.executable,
        "-m",
        "kasuwa",
        "key",
        "create",
        "--name",
        "bench",
        "--json",
        "--data",
        str(data),
    ]
    key = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)["key"]
    body = msgspec.json.encode({"userToken": USERNAME, "passToken": PASSWORD})
    return post(server.port, "/cloudapi/app/access/login", {"Authorization": f"Bearer {key}"}, body)


def _logged_in(server: Started, request: bytes, times: int) -> Used:
    before = used_by(server.pid)
    done = ask(Work(host="127.0.0.1", port=server.port, requests=[request], times=times, connections=1))
    assert set(done.statuses) == {200}, f"answers: {done.statuses}"
    return used_by(server.pid) - before


def _hashed(times: int) -> float:
    """With the parameters that the server has."""
    hasher: PasswordHasher = passwords.HASHER
    kept = hasher.hash(PASSWORD)
    begun = time.process_time()
    for _ in range(times):
        hasher.verify(kept, PASSWORD)
    return (time.process_time() - begun) * 1000 / times
