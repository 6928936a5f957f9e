"""Products as a file, sent while it is made."""

from kasuwa.api.manage.contract import ExportProductsQuery
from kasuwa.api.manage.service import api
from kasuwa.base.context import Context
from kasuwa.base.http.streams import Stream
from kasuwa.domain.exchange.exports import EXPORTS

_MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@api.operation("exportProducts")
async def export_products(context: Context, query: ExportProductsQuery) -> Stream:
    return Stream(EXPORTS[query.format](context), _MEDIA_TYPES[query.format], f"products.{query.format}")
