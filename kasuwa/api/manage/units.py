"""Packs and serial numbers of a variant."""

from typing import Any
from uuid import UUID

from msgspec import Struct

from kasuwa.api.manage.contract import (
    GetPacksPath,
    ListSerialNumbersPath,
    ListSerialNumbersQuery,
    NewPacks,
    SetPacksPath,
)
from kasuwa.api.manage.service import api
from kasuwa.api.quantities import plain
from kasuwa.base.context import Context
from kasuwa.base.cursors import read_cursor, write_cursor, wrong_cursor
from kasuwa.base.ids import read_id
from kasuwa.domain.inventory.actions import set_packs
from kasuwa.domain.inventory.errors import NoSuchVariant
from kasuwa.domain.inventory.records import Pack
from kasuwa.domain.inventory.units import Serial, list_serials, read_packs

Json = dict[str, Any]


@api.operation("getPacks")
async def get_packs(context: Context, path: GetPacksPath) -> Json:
    variant_id = _id(path.variantid)
    return _packs(variant_id, await read_packs(context, variant_id))


@api.operation("setPacks")
async def change_packs(context: Context, path: SetPacksPath, body: NewPacks) -> Json:
    variant_id = _id(path.variantid)
    await set_packs(context, variant_id, [Pack(pack.name, pack.units) for pack in body.packs])
    return _packs(variant_id, await read_packs(context, variant_id))


@api.operation("listSerialNumbers")
async def list_numbers(context: Context, path: ListSerialNumbersPath, query: ListSerialNumbersQuery) -> Json:
    rows = await list_serials(
        context,
        _id(path.variantid),
        wanted=None if query.status == "all" else query.status,
        after=None if query.cursor is None else _read_place(query.cursor),
        size=query.size + 1,
    )
    shown = rows[: query.size]
    return {
        "data": [_serial(row) for row in shown],
        "size": query.size,
        "nextCursor": write_cursor(_Place(shown[-1].serial)) if len(rows) > query.size else None,
    }


def _id(text: str) -> UUID:
    found = read_id(text)
    if found is None:
        raise NoSuchVariant()
    return found


class _Place(Struct, frozen=True):
    """Where a page ended."""

    serial: str


def _read_place(cursor: str) -> str:
    place = read_cursor(cursor, _Place)
    if "\0" in place.serial:
        raise wrong_cursor()
    return place.serial


def _packs(variant_id: UUID, packs: list[Pack]) -> Json:
    return {
        "variantId": variant_id,
        "packs": [{"name": pack.name, "units": plain(pack.units)} for pack in packs],
    }


def _serial(row: Serial) -> Json:
    return {
        "serialNumber": row.serial,
        "status": row.status,
        "batchNo": row.batch_no,
        "expiryDate": row.expires_on,
        "movedAt": row.moved_at,
    }
