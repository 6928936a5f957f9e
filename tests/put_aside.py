"""What processes have put aside: files of a folder that they have open and that no folder lists."""

import os
from contextlib import suppress
from pathlib import Path


def put_aside(pid: int, folder: Path) -> list[int]:
    """The sizes in bytes of the files without a name below `folder` that the process holds."""
    sizes = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed while we look
            place = os.readlink(entry)
            if place.startswith(f"{folder.resolve()}/") and place.endswith(" (deleted)"):
                sizes.append(entry.stat().st_size)
    return sizes
