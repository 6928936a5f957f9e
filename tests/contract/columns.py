"""Every name that the database has a column for, with a value that nothing else has: what a caller forges."""

import re
from collections import Counter
from typing import Any

import msgspec

from kasuwa.base.ids import new_id
from tests.base.database import Connection
from tests.contract.cast import Cast
from tests.contract.isolation import rows_of

FORGED_NUMBER = 987_654_321
FORGED_TIME = "2001-02-03T04:05:06Z"
_NUMBERS = frozenset({"integer", "bigint", "smallint", "numeric", "double precision"})
# What a row is, where the word is one of few: those are counted, since a forged one stands in other rows too.
_FEW = frozenset({"role", "status"})
_WORDS = {"role": "OWNER", "status": "active"}


async def forgeries(database: Connection, other: Cast) -> dict[str, Any]:
    """A value for each column of every table, in both spellings: `store_id` and `storeId`.

    An id is another merchant's, where there is one of its name; a boolean is true.
    """
    columns = await database.fetch(
        "SELECT DISTINCT column_name AS name, data_type AS type FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY 1, 2"
    )
    found: dict[str, Any] = {}
    for column in columns:
        value = _forged(column["name"], column["type"], other)
        found[column["name"]] = found[_camel(column["name"])] = value
    return found


def _forged(name: str, kind: str, other: Cast) -> Any:
    if kind == "uuid":
        return str(getattr(other, name, None) or getattr(other.shop, name, None) or new_id())
    if kind == "boolean":
        return True
    if kind in _NUMBERS:
        return FORGED_NUMBER
    if kind.startswith("timestamp"):
        return FORGED_TIME
    if kind == "ARRAY":
        return [f"zqforged{new_id().hex}"]
    return _WORDS.get(name) or f"zqforged{new_id().hex}"


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


async def taken(database: Connection, cast: Cast, values: dict[str, Any]) -> set[str]:
    """The names of forged values that stand in a row of the merchant."""
    rows = "\n".join((await rows_of(database, cast)).values())
    found = set()
    for name, value in values.items():
        text = value[0] if isinstance(value, list) else value
        if isinstance(value, bool) or text in _WORDS.values():
            continue
        # PostgreSQL writes a time in its own way, and a number anywhere in digits.
        needle = FORGED_TIME[:10] if text == FORGED_TIME else str(text)
        if needle in rows:
            found.add(name)
    return found


async def switches(database: Connection, cast: Cast) -> Counter[tuple[str, str, Any]]:
    """How often each table of the merchant says yes, no, or one of few words, by column."""
    found: Counter[tuple[str, str, Any]] = Counter()
    for table, lines in (await rows_of(database, cast)).items():
        for line in lines.splitlines():
            row = msgspec.json.decode(line)
            found.update(
                (table, name, value) for name, value in row.items() if isinstance(value, bool) or name in _FEW
            )
    return found
