"""The text pages of a store, which are open to everybody."""

from typing import Literal

from kasuwa.api.storeharmony.contract import (
    EstorePage,
    LoadAboutUsPath,
    LoadDeliverypolicyPath,
    LoadPrivacypolicyPath,
)
from kasuwa.api.storeharmony.service import api
from kasuwa.base.context import Context
from kasuwa.base.ids import read_id
from kasuwa.domain.stores.queries import visit_store
from kasuwa.domain.stores.settings.queries import get_page


@api.operation("loadAboutUs")
async def load_about_us(context: Context, path: LoadAboutUsPath) -> EstorePage:
    return await _page(context, path.storeid, "about", "About us")


@api.operation("loadPrivacypolicy")
async def load_privacy_policy(context: Context, path: LoadPrivacypolicyPath) -> EstorePage:
    return await _page(context, path.storeid, "privacy", "Privacy policy")


@api.operation("loadDeliverypolicy")
async def load_delivery_policy(context: Context, path: LoadDeliverypolicyPath) -> EstorePage:
    return await _page(context, path.storeid, "delivery", "Delivery policy")


async def _page(
    context: Context, store: str, kind: Literal["about", "privacy", "delivery"], title: str
) -> EstorePage:
    page = await get_page(await visit_store(context, read_id(store)), kind)
    return EstorePage(
        kind=kind, title=title, content=page.content, contentType="text/plain", updatedTime=page.updated_at
    )
