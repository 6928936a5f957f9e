"""A real S3 server, and the two kinds of storage."""

import random
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kasuwa.base.storage import (
    Blobs,
    open_blobs,
)
from tests.base.storage.staging import open_s3


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    with server, server.stderr as log:
        try:
            found = next(found for line in log if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
            # Nobody reads the log further: a full pipe would stop the server.
            threading.Thread(target=lambda: [None for _ in log], daemon=True).start()
            yield found.group()
        finally:
            server.terminate()
            server.wait()


@pytest.fixture
def s3_url(s3_endpoint: str) -> str:
    bucket = f"shop-{random.getrandbits(64):x}"
    urllib.request.urlopen(urllib.request.Request(f"{s3_endpoint}/{bucket}", method="PUT")).close()
    return f"s3://{bucket}/files?endpoint={s3_endpoint}&region=us-east-1"


@pytest.fixture(params=["folder", "s3"])
async def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Blobs]:
    if request.param == "folder":
        opened = open_blobs(f"file://{tmp_path}/files")
    else:
        opened = open_s3(request.getfixturevalue("s3_url"))
    yield opened
    await opened.close()
