"""The text pages of a store, which are open to everybody."""

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
    page = await get_page(await visit_store(context, read_id(path.storeid)), "about")
    return EstorePage(
        kind="about",
        title="About us",
        content=page.content,
        contentType="text/plain",
        updatedTime=page.updated_at,
    )


@api.operation("loadPrivacypolicy")
async def load_privacy_policy(context: Context, path: LoadPrivacypolicyPath) -> EstorePage:
    page = await get_page(await visit_store(context, read_id(path.storeid)), "privacy")
    return EstorePage(
        kind="privacy",
        title="Privacy policy",
        content=page.content,
        contentType="text/plain",
        updatedTime=page.updated_at,
    )


@api.operation("loadDeliverypolicy")
async def load_delivery_policy(context: Context, path: LoadDeliverypolicyPath) -> EstorePage:
    page = await get_page(await visit_store(context, read_id(path.storeid)), "delivery")
    return EstorePage(
        kind="delivery",
        title="Delivery policy",
        content=page.content,
        contentType="text/plain",
        updatedTime=page.updated_at,
    )
