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
from bench.shop import PASSWORD, USERNAME, BenchShop, build_shop
from bench.tables import Figure, Report
from kasuwa.base import passwords

_BROKEN = slow_rows("session", ms=20)


def measure(*, smoke: bool = False, broken: bool = False) -> Report:
    """CPU-ms of each kind of log-in over HTTP, one at a time, and of Argon2 alone with the same password.

    The kinds take turns within a round, so that a slow moment of the machine is everybody's.
    """
    times, rounds = (3, 1) if smoke else (30, 9)
    with data_folder() as data:
        shop = build_shop(data, products=2, sessions=1, breaking=_BROKEN if broken else "")
        with serving(data, storeharmony_requests_per_second=1_000_000) as server:
            requests = _requests(data, server, shop)
            ours: dict[str, list[Used]] = {name: [] for name in requests}
            ratios: dict[str, list[float]] = {name: [] for name in requests}
            hashes: list[float] = []
            for number in range(rounds + 1):
                for name, request in requests.items():
                    used, hashed = _logged_in(server, request, times), _hashed(times)
                    if number:  # the first one warms up
                        ours[name].append(used)
                        hashes.append(hashed)
                        ratios[name].append(used.total_ms / times / hashed)
    figures = [Figure(name="Argon2id alone", value=statistics.median(hashes), unit="CPU-ms")]
    for name, used_each in ours.items():
        figures += [
            Figure(
                name=f"{name}, all processes",
                value=statistics.median(one.total_ms / times for one in used_each),
                unit="CPU-ms",
            ),
            Figure(
                name="  PostgreSQL",
                value=statistics.median(one.postgres_ms / times for one in used_each),
                unit="CPU-ms",
            ),
            Figure(
                name="  ratio",
                value=statistics.median(ratios[name]),
                unit="times",
                limit=1.2,
                note="median over the rounds",
            ),
        ]
    return Report(
        title=f"Log-ins with a right password, one worker, {rounds} rounds of {times}", figures=figures
    )


def _requests(data: Path, server: Started, shop: BenchShop) -> dict[str, bytes]:
    """A log-in by an app with a developer key to one store and to all, and a customer's by the shop's app."""
    app = {"Authorization": f"Bearer {_developer_key(data)}"}
    customers = f"/cloudapi/crm/{shop.store_id}/customers"
    session = {"sessiontoken": shop.sessions[0]}
    _register_customer(server, f"{customers}/register", session)
    username = {"username": USERNAME, "password": PASSWORD}
    bodies = {
        "authenticateUser": (
            "/cloudapi/app/access/login",
            app,
            {"userToken": USERNAME, "passToken": PASSWORD},
        ),
        "userLoginForApps": ("/cloudapi/app/access/", app, username),
        "crmLoginCustomer": (f"{customers}/login", session, username),
    }
    return {
        name: post(server.port, path, headers, msgspec.json.encode(body))
        for name, (path, headers, body) in bodies.items()
    }


def _developer_key(data: Path) -> str:
    words = ["key", "create", "--name", "bench", "--json", "--data", str(data)]
    done = subprocess.run([sys.executable, "-m", "kasuwa", *words], capture_output=True, check=True)
    key: str = json.loads(done.stdout)["key"]
    return key


def _register_customer(server: Started, path: str, session: dict[str, str]) -> None:
    person = {"email": USERNAME, "firstname": "Ada", "lastname": "Obi", "password": PASSWORD}
    request = post(server.port, path, session, msgspec.json.encode(person))
    done = ask(Work(host="127.0.0.1", port=server.port, requests=[request], times=1, connections=1))
    assert set(done.statuses) == {200}, f"answers: {done.statuses}"


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
