"""Files without a name: what is put aside for a while goes with its process, however that ends."""

import errno
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from kasuwa.base.problems import NoSpace

_FULL = (errno.ENOSPC, errno.EDQUOT)


class NamelessFile:
    """An empty file on the disk of `folder` that no folder lists: freed as soon as nobody has it open.

    A process that is killed, or a machine that loses its power, leaves nothing to be swept. Raises NoSpace.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._file = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115 - it is ours, 0600
        except OSError as error:
            if error.errno in _FULL:
                raise NoSpace("There is no room for the file on this machine now.") from None
            raise

    @property
    def path(self) -> Path:
        """Opens the file anew as often as one likes, until it is closed: in this process and its children."""
        return Path(f"/proc/{os.getpid()}/fd/{self._file.fileno()}")

    def close(self) -> None:
        """Free it, once whoever has opened `path` has closed that too."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
