"""What the tests of both kinds of storage share."""

from pathlib import Path

from kasuwa.base.storage import (
    Blobs,
    FolderBlobs,
    open_blobs,
)

MERCHANT = "0198a1b2-0000-7000-8000-000000000001"
KEY = f"{MERCHANT}/ab/cdef0123.zoom.jpg"


def open_s3(url: str) -> Blobs:
    return open_blobs(url, access_key_id="key", secret_access_key="secret")


async def keys(blobs: Blobs, prefix: str = "") -> set[str]:
    return {fact.key async for fact in blobs.list(prefix)}


class InPlaceBlobs(FolderBlobs):
    """The broken variant for the controls: it writes under the final name."""

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb", buffering=0) as file:
            for start in range(0, len(content), 65536):
                file.write(content[start : start + 65536])
