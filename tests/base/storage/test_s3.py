"""What S3 must keep, and how its refusals are told."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import obstore
import pytest
from obstore.store import S3Store

from kasuwa.base.problems import NoSpace, Problem, Unavailable
from kasuwa.base.storage import (
    Blobs,
    S3Blobs,
    open_blobs,
)
from tests.base.storage.staging import KEY, keys, open_s3

# What S3 must say.


async def test_s3_keeps_the_content_type(s3_url: str, s3_endpoint: str) -> None:
    blobs = open_s3(s3_url)
    await blobs.put(KEY, b"x", "image/webp")
    bucket = s3_url.removeprefix("s3://").split("/")[0]
    store = S3Store(
        bucket,
        endpoint=s3_endpoint,
        region="us-east-1",
        access_key_id="key",
        secret_access_key="secret",
        client_options={"allow_http": True},
    )
    answer = await obstore.get_async(store, f"files/{KEY}")
    assert answer.attributes["Content-Type"] == "image/webp"


async def test_s3_takes_the_usual_environment(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    blobs = open_blobs(s3_url)
    await blobs.put(KEY, b"x", "image/webp")
    assert await blobs.get(KEY) == b"x"


async def each_verb_raises(blobs: Blobs, problem: type[Problem]) -> None:
    verbs = [
        blobs.put(KEY, b"x", "image/jpeg"),
        blobs.get(KEY),
        blobs.delete([KEY]),
        blobs.probe(),
        keys(blobs),
    ]
    for verb in verbs:
        with pytest.raises(problem):
            await verb


async def test_an_unreachable_s3_is_unavailable() -> None:
    await each_verb_raises(
        S3Blobs(
            "shop",
            endpoint="http://127.0.0.1:9",
            region="us-east-1",
            access_key_id="key",
            secret_access_key="secret",
        ),
        Unavailable,
    )


async def test_a_missing_bucket_is_unavailable_and_not_a_missing_blob(s3_url: str) -> None:
    await each_verb_raises(open_s3(s3_url.replace("s3://", "s3://no-")), Unavailable)


@pytest.mark.parametrize(
    ("status", "code", "problem"),
    [
        (507, "XMinioStorageFull", NoSpace),
        (403, "QuotaExceeded", NoSpace),
        (403, "AccessDenied", Unavailable),
        (401, "InvalidAccessKeyId", Unavailable),
        (400, "InvalidRequest", Unavailable),
    ],
)
async def test_what_s3_refuses_is_told_apart(status: int, code: str, problem: type[Problem]) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = f"<Error><Code>{code}</Code></Error>".encode()
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        blobs = open_s3(f"s3://shop?endpoint=http://127.0.0.1:{server.server_port}&region=us-east-1")
        with pytest.raises(problem):
            await blobs.put(KEY, b"x", "image/jpeg")
        server.shutdown()
