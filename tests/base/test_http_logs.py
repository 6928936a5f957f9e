"""No secret in any line: canaries in every place of a request, in real servers' whole output."""

import json
from pathlib import Path

import httpx
import pytest

from kasuwa.base.http.logs import describe_exception, redact, redact_text
from tests.base.http_serving import server_process

CANARY = "zqCanary~"


def _ask_everything(url: str) -> list[int]:
    """Succeed, be refused, crash, lose a task, miss a route and break the framing, with canaries all over."""
    headers = {
        name: f"{CANARY}{name}"
        for name in (
            "sessiontoken", "customertoken", "X-Auth-Token", "Access-Token", "Cookie", "Idempotency-Key",
            "X-Request-Id", "User-Agent", "Referer", "X-Forwarded-For", "Origin", "If-None-Match",
        )
    }  # fmt: skip
    headers["Authorization"] = f"Bearer {CANARY}authorization"
    statuses = []
    for then in ("succeed", "refuse", "crash", "lose-a-task"):
        body = {
            "then": then,
            "password": f"{CANARY}password",
            "token": f"{CANARY}token",
            "pin": f"{CANARY}pin",
            "account": "0123456789",
            CANARY: CANARY,
        }
        with httpx.Client(base_url=url, headers=headers, params={"q": f"{CANARY}query"}) as client:
            statuses.append(client.post(f"/tell/{CANARY}path", json=body).status_code)
            client.get(f"/nowhere/{CANARY}path")
            client.post("/form", content=f"{CANARY}body", headers={"Content-Type": f"multipart/{CANARY}"})
            client.request(f"{CANARY.upper()[:5]}", "/ping")
    return statuses


def test_no_canary_is_in_the_output_of_a_server(tmp_path: Path) -> None:
    with server_process("tests.base.http_toy:worker_app", 1, tmp_path) as server:
        assert _ask_everything(server.url) == [200, 400, 500, 200]
        metrics = httpx.get(f"{server.url}/metrics").text
        server.stop()
        log = server.log
    assert CANARY not in log
    assert "0123456789" not in log
    assert CANARY not in metrics
    lines = [json.loads(line) for line in log.splitlines()]
    asked = [line for line in lines if line["event"] == "request" and line["route"] == "/tell/{word}"]
    assert [line["status"] for line in asked] == [200, 400, 500, 200]
    assert all(len(line["request_id"]) == 24 and line["ms"] > 0 for line in asked)
    crash = next(line for line in lines if line["event"] == "request failed")
    assert crash["exception"]["type"] == "tests.base.http_toy.TellingError"
    assert crash["exception"]["cause"]["type"] == "builtins.KeyError"
    assert any("http_toy.py" in place for place in crash["exception"]["places"])
    assert any(line["event"] == "event loop fault" for line in lines)


def test_negative_control_without_redaction_the_canaries_are_found(tmp_path: Path) -> None:
    with server_process("tests.base.http_toy:unredacted_app", 1, tmp_path) as server:
        _ask_everything(server.url)
        server.stop()
        log = server.log
    for place in ("password", "token", "query", "sessiontoken", "authorization"):
        assert f"{CANARY}{place}" in log
    assert "0123456789" in log


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Bearer abc.def", "abc"),
        ("sent sessiontoken=abc123 twice", "abc123"),
        ('{"password": "hunter2"}', "hunter2"),
        ("card 4111 1111 1111 1111 was used", "4111"),
        ("bvn 22212345678", "222123"),
        ("mail ada@shop.example now", "ada@"),
        ("code: 123456", "123456"),
        ("key " + "Ab1_" * 11, "Ab1_Ab1_"),
    ],
)
def test_texts_lose_what_looks_like_a_secret(text: str, kept: str) -> None:
    assert kept not in redact_text(text)


def test_plain_words_and_short_numbers_stay() -> None:
    text = "order 1042 of 3 items at 12:30:55 took 250 ms, 019a6f3e-7c1d-7a2b-9c3d-4e5f6a7b8c9d"
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "newPassword",
        "sessiontoken",
        "X-Auth-Token",
        "code",
        "PIN",
        "bvnNo",
        "accountNumber",
        "secret",
    ],
)
def test_values_of_telling_keys_are_masked_at_any_depth(key: str) -> None:
    event = {"event": "x", key: "canary", "list": [{"inner": {key: "canary"}}]}
    assert "canary" not in str(redact(None, "info", event))


def test_an_exception_is_told_without_message_and_locals() -> None:
    try:
        _fail("canary")
    except ValueError as error:
        about = describe_exception(error)
    assert about["type"] == "builtins.ValueError"
    assert about["cause"]["errno"] == 28
    assert "_fail" in about["places"][-1]
    assert "canary" not in str(about)


def _fail(word: str) -> None:
    kept_in_a_local = word
    try:
        raise OSError(28, f"no space for {kept_in_a_local}", f"/{word}")
    except OSError as error:
        raise ValueError(word) from error
