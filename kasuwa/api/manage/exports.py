"""Products as a file, sent while it is made."""

from kasuwa.api.manage.contract import ExportProductsQuery
from kasuwa.api.manage.service import api
from kasuwa.base.context import Context
from kasuwa.base.http.streams import Stream
from kasuwa.domain.exchange.exports import export_csv, export_jsonl


@api.operation("exportProducts")
async def export_products(context: Context, query: ExportProductsQuery) -> Stream:
    if query.format == "jsonl":
        return Stream(export_jsonl(context), "application/jsonl", "products.jsonl")
    return Stream(export_csv(context), "text/csv; charset=utf-8", "products.csv")
