"""A shop that is written to while something else is tried."""

import threading
import time

from msgspec import Struct

from tests import checked
from tests.cli.staging import DEADLINE_SECONDS, Installation
from tests.conftest import picture_bytes


class Full(Struct, frozen=True):
    """An installation with a shop in it, not running; `session` is the owner's."""

    installation: Installation
    store_id: str
    session: str


class Load:
    """Products and pictures that come in until it is told to stop.

    `acknowledged` are the products' ids, `pictures` the paths of their pictures.
    """

    def __init__(self, url: str, full: Full) -> None:
        self.acknowledged: list[str] = []
        self.pictures: list[str] = []
        self.faults: list[str] = []
        self._base = f"{url}/cloudapi/app/{full.store_id}/stock"
        self._headers = {"sessiontoken": full.session}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with checked.Client(headers=self._headers, timeout=30) as client:
            while not self._ending.is_set():
                number = len(self.acknowledged)
                product = {"name": f"Load {number}", "prices": {"sellingPrice": 100}}
                made = client.post(self._base, json=product)
                if made.status_code not in (200, 201):
                    self.faults.append(made.text)
                    return
                shown = client.post(
                    f"{self._base}/{made.json()['itemId']}/addpicture",
                    content=picture_bytes("PNG", seed=number),
                    headers={"Content-Type": "image/png"},
                )
                if shown.status_code not in (200, 201):
                    self.faults.append(shown.text)
                    return
                self.pictures.append(shown.json())
                self.acknowledged.append(made.json()["itemId"])

    def wait_for(self, count: int) -> None:
        """Until so many more are acknowledged."""
        wanted = len(self.acknowledged) + count
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(self.acknowledged) < wanted:
            assert not self.faults, self.faults
            assert time.monotonic() < deadline, f"nothing gets through: {len(self.acknowledged)}"
            time.sleep(0.01)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
