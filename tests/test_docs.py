"""What the documents say: links lead somewhere, every page is reached, and tables are the code's."""

import re
from collections.abc import Iterator
from pathlib import Path

from kasuwa.base.fetch import FETCH_SECONDS, REDIRECTS_MAX
from kasuwa.base.imaging import DEFAULT_SIZES
from kasuwa.base.imaging.pool import MEMORY_BYTES
from kasuwa.base.rendering.decode import JPEG_LIMIT_PIXELS, LIMIT_FRAMES, LIMIT_PIXELS
from kasuwa.domain.media.records import (
    BIGCOMMERCE_FORMATS,
    MOST_BYTES,
    MOST_PICTURES,
    SHOPLAZZA_FORMATS,
    STOREHARMONY_FORMATS,
)
from tools.set_up import ROOT

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.M)


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for target in _LINK.findall(page.read_text(encoding="utf-8")):
            if "://" not in target:
                yield page, target


def anchors(page: Path) -> set[str]:
    """The names that a reader of Markdown gives to the headings."""
    headings = _HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    there = (page.parent / path).resolve() if path else page
    return not there.exists() or (bool(anchor) and anchor not in anchors(there))


def test_every_link_leads_somewhere() -> None:
    found = list(links())
    assert len(found) > 20
    assert [(page.name, target) for page, target in found if broken(page, target)] == []
    readme = ROOT / "README.md"
    assert broken(readme, "docs/nothing.md")
    assert broken(readme, "docs/operations.md#no-such-heading")


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        if page.is_dir():
            waiting += page.glob("*.md")
            continue
        targets = (target.partition("#")[0] for target in _LINK.findall(page.read_text(encoding="utf-8")))
        waiting += [
            there
            for there in ((page.parent / path).resolve() for path in targets if path and "://" not in path)
            if there.is_dir() or there.suffix == ".md"
        ]
    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in reached] == []


def table(page: str, first: str) -> dict[str, list[str]]:
    """The table of that page whose first column is called so: its rows by their first cell."""
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = {}
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[name] = cells
    return rows


def test_the_table_of_formats_is_the_codes() -> None:
    rows = table("pictures.md", "format")
    rest = rows.pop("SVG, TIFF, PDF, HEIC, everything else")
    assert rest == ["no", "no", "no"]
    taken = (STOREHARMONY_FORMATS, BIGCOMMERCE_FORMATS, SHOPLAZZA_FORMATS)
    said = {
        name.partition(" (")[0].upper().replace(" ", ""): tuple(cell == "yes" for cell in cells)
        for name, cells in rows.items()
    }
    assert said == {name: tuple(name in one for one in taken) for name in frozenset().union(*taken)}


def test_the_tables_of_limits_and_renditions_are_the_codes() -> None:
    limits = {name: cells[0] for name, cells in table("pictures.md", "limit").items()}
    assert limits == {
        "file": f"{MOST_BYTES // 1024**2} MB",
        "pixels": (
            f"{JPEG_LIMIT_PIXELS // 10**6} million for JPEG, {LIMIT_PIXELS // 10**6} million for the others,"
            f" and {MEMORY_BYTES // 1024**2} MB of memory to decode"
        ),
        "frames": str(LIMIT_FRAMES),
        "pictures of a product": str(MOST_PICTURES),
        "URL": (
            f"{FETCH_SECONDS:.0f} s to fetch, {REDIRECTS_MAX} redirects, public addresses only; 6 s in all"
        ),
    }
    boxes = {name: cells[0] for name, cells in table("pictures.md", "rendition").items()}
    assert boxes == {name: f"{width} x {height}" for name, (width, height) in DEFAULT_SIZES.items()}
