"""How a file names a category: by its path, "Drinks > Malt", the names from the top down."""

from functools import lru_cache

from kasuwa.domain.catalogue.category_lists import MOST_LEVELS, category_key
from kasuwa.domain.exchange.cells import CellWrong, Read, check_text, join_list, split_list, unescape

Path = tuple[str, ...]
MOST_LETTERS = 120


@lru_cache(1000)
def path_key(path: Path) -> Path:
    """What makes two paths the same: at each level what makes the names of two siblings the same."""
    return tuple(category_key(name) for name in path)


def path_text(path: Path) -> str:
    return join_list(path, ">", " > ")


def read_paths(most: int) -> Read:
    """Paths parted by semicolons, as the APIs would take their names."""

    def read(cell: str) -> tuple[Path, ...]:
        texts = [text for text in split_list(unescape(cell), ";") if text]
        paths = tuple(_path(text) for text in texts)
        if len(paths) > most or len({path_key(path) for path in paths}) < len(paths):
            raise CellWrong("list", f"Give at most {most} categories, each once, parted by semicolons.")
        return paths

    return read


@lru_cache(1000)
def _path(text: str) -> Path:
    path = tuple(split_list(text, ">"))
    if len(path) > MOST_LEVELS:
        raise CellWrong("too_deep", f"Give at most {MOST_LEVELS} levels; here are {len(path)}.")
    for name in path:
        if not name.strip():
            raise CellWrong("blank", 'Give each level a name, like "Drinks > Malt".')
        check_text(name, 1, MOST_LETTERS)
    return path
