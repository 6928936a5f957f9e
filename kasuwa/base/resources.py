"""Folders that stand beside the package in a clone, and in `share/kasuwa` once it is installed."""

import sysconfig
from functools import cache
from pathlib import Path

_CLONE = Path(__file__).parent.parent.parent


@cache
def resource_folder(name: str) -> Path:
    """The folder `migrations` or `contract`. Raises FileNotFoundError when the installation lacks it."""
    installed = [Path(sysconfig.get_path("data")), *_CLONE.parents]
    for folder in (_CLONE / name, *(place / "share" / "kasuwa" / name for place in (_CLONE, *installed))):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"Kasuwa's own folder {name} is missing: install Kasuwa again.")
