"""Bringing pictures in: the slow part, outside of the request's transaction.

A row claims the bytes before their files are written, so that the sweep, which works under the row's lock,
can never take files that somebody is about to show. See docs/decisions/picture-claims.md.
"""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.fetch import FetchFailed
from kasuwa.base.ids import new_id
from kasuwa.base.imaging import ImagingBusy, NotAPicture, Rendered
from kasuwa.base.jobs import enqueue
from kasuwa.base.problems import Problem
from kasuwa.domain.media.records import MOST_BYTES, KeptPicture, Rendition
from kasuwa.domain.permissions import Permission

MEDIA_PATH = "/media/"
SWEEP_JOB = "media.sweep"
# How long files outlive the last product that showed them.
UNUSED_DAYS = 1

_SHA256 = re.compile(r"[0-9a-f]{64}")
_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}
_FETCHES_AT_ONCE = 8


async def keep_bytes(
    context: Context,
    content: bytes,
    accepted: frozenset[str],
    *,
    permission: Permission | None = Permission.STOCK_WRITE,
) -> KeptPicture:
    """Store the picture's files, once for each merchant. Without a `permission` anybody of the merchant may.

    Raises NotAPicture (also for a format that is not among `accepted`), PictureTooBig, ImagingBusy, NoSpace,
    FileQuotaReached.
    """
    if permission is not None:
        context.require(permission)
    sha256 = await sha256_of(content)
    claim = await _claim(context, sha256, len(content))
    if claim.format is not None:
        if claim.format not in accepted:
            raise NotAPicture(f"{claim.format} is not among the formats of this API")
        await _keep_original(context, sha256, content)
        return KeptPicture(claim.picture_id, sha256)
    rendered = await context.services.imaging.render(content, accepted)
    renditions = await _put(context, rendered)
    await _keep_original(context, sha256, content)
    await _finish(context, claim.picture_id, rendered, renditions, len(content))
    return KeptPicture(claim.picture_id, sha256)


async def sha256_of(content: bytes) -> str:
    """In a thread: a large picture takes longer than others should wait."""
    return await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())


async def keep_url(
    context: Context, url: str, accepted: frozenset[str], *, seconds: float = 4.0
) -> KeptPicture:
    """Fetch the picture at the URL and store it. One of our own is found without the network.

    Raises FetchRefused and FetchFailed beside what `keep_bytes` raises.
    """
    context.require(Permission.STOCK_WRITE)
    if is_ours(context, url):
        return await _keep_ours(context, url, accepted)
    fetched = await context.services.fetcher.fetch(url, seconds=seconds, max_bytes=MOST_BYTES)
    return await keep_bytes(context, fetched.content, accepted)


async def keep_urls(
    context: Context, urls: Sequence[str], accepted: frozenset[str], *, seconds: float = 5.0
) -> list[KeptPicture | Problem]:
    """Every URL's picture, or why it could not be kept, in the order of the URLs, within `seconds` in all."""
    slots = asyncio.Semaphore(_FETCHES_AT_ONCE)
    end = monotonic() + seconds

    async def keep(url: str) -> KeptPicture | Problem:
        async with slots:
            left = end - monotonic()
            if left <= 0:
                return FetchFailed("timeout")
            try:
                async with asyncio.timeout(left + 0.5):
                    return await keep_url(context, url, accepted, seconds=min(4.0, left))
            except TimeoutError:
                # The fetch has a limit of its own: what took too long is what came after it.
                return ImagingBusy("It could not be rendered in time. Send it again.", retry_after_seconds=2)
            except Problem as problem:
                return problem

    return list(await asyncio.gather(*(keep(url) for url in urls)))


def is_ours(context: Context, url: str) -> bool:
    """Whether the URL is one of our own picture addresses, which are paths where no host may be named."""
    try:
        parts, base = urlsplit(url), urlsplit(context.url_base)
    except ValueError:
        return False
    return parts.netloc.lower() == base.netloc.lower() and parts.path.startswith(MEDIA_PATH)


class _Claim(Struct, frozen=True):
    picture_id: UUID
    format: str | None


def _claimed(picture_id: UUID, format: str | None, room: object) -> _Claim:  # noqa: A002
    return _Claim(picture_id, format)


async def _claim(context: Context, sha256: str, size_bytes: int) -> _Claim:
    """Note that these bytes are wanted: from now on the sweep leaves them alone for a day.

    Its own transaction, and committed before a file is written; a request that fails leaves a claim that
    the sweep takes. What nothing shows yet needs room among the merchant's files: asked here, before anything
    is written, and settled when it is shown. Raises FileQuotaReached.
    """
    async with context.services.pool.transaction(context.merchant_id) as db:
        claim = await db.one(
            """
            INSERT INTO picture AS p (merchant_id, picture_id, sha256)
            VALUES (current_merchant(), :picture_id, decode(:sha256, 'hex'))
            ON CONFLICT (merchant_id, sha256) DO UPDATE SET
              unused_since = CASE WHEN p.unused_since IS NULL THEN NULL ELSE now() END
            RETURNING picture_id, format,
                      CASE WHEN p.unused_since IS NOT NULL THEN require_file_room(:size_bytes) END AS room
            """,
            into=_claimed,
            picture_id=new_id(),
            sha256=sha256,
            size_bytes=size_bytes,
        )
        await enqueue_sweep(db, context)
        return claim


async def enqueue_sweep(db: Database, context: Context) -> None:
    """Have a look at unused pictures when their day is over; one job a merchant and hour is enough."""
    due = datetime.now(UTC) + timedelta(days=UNUSED_DAYS, hours=1)
    hour = due.replace(minute=0, second=0, microsecond=0)
    await enqueue(
        db, SWEEP_JOB, {}, due=hour, unique_key=f"{SWEEP_JOB}:{context.merchant_id}:{hour.isoformat()}"
    )


async def _put(context: Context, rendered: Rendered) -> list[Rendition]:
    folder = _folder(context, rendered.sha256)
    renditions = [
        Rendition(
            r.name,
            r.content_type,
            r.width_px,
            r.height_px,
            f"{MEDIA_PATH}{folder}{r.name}-{r.width_px}x{r.height_px}.{_EXTENSIONS[r.content_type]}",
            len(r.content),
            hashlib.sha256(r.content).hexdigest(),
        )
        for r in rendered.renditions
    ]
    await asyncio.gather(
        *(
            context.blobs.put(kept.path.removeprefix(MEDIA_PATH), made.content, made.content_type)
            for kept, made in zip(renditions, rendered.renditions, strict=True)
        )
    )
    return renditions


async def _keep_original(context: Context, sha256: str, content: bytes) -> None:
    """Where the setting says so; also of a picture that came before it did, when it comes again."""
    key = f"{_folder(context, sha256)}original"
    if context.services.settings.originals and not await context.blobs.exists(key):
        await context.blobs.put(key, content, "application/octet-stream")


def _folder(context: Context, sha256: str) -> str:
    return f"{context.merchant_id}/{sha256[:2]}/{sha256}/"


async def _finish(
    context: Context, picture_id: UUID, rendered: Rendered, renditions: list[Rendition], size_bytes: int
) -> None:
    async with context.services.pool.transaction(context.merchant_id) as db:
        await db.execute(
            """
            UPDATE picture SET format = :format, width_px = :width_px, height_px = :height_px,
                               size_bytes = :size_bytes, renditions = :renditions
            WHERE merchant_id = current_merchant() AND picture_id = :picture_id
            """,
            picture_id=picture_id,
            format=rendered.format,
            width_px=rendered.width_px,
            height_px=rendered.height_px,
            size_bytes=size_bytes,
            renditions=msgspec.json.encode(renditions).decode(),
        )


async def _keep_ours(context: Context, url: str, accepted: frozenset[str]) -> KeptPicture:
    """A picture of this merchant, named by its own address. Another merchant's looks like none."""
    parts = urlsplit(url).path.removeprefix(MEDIA_PATH).split("/")
    if len(parts) != 4 or parts[0] != str(context.merchant_id) or not _SHA256.fullmatch(parts[2]):
        raise FetchFailed("status", upstream_status=404)
    async with context.services.pool.transaction(context.merchant_id) as db:
        found = await db.find(
            """
            UPDATE picture AS p
            SET unused_since = CASE WHEN p.unused_since IS NULL THEN NULL ELSE now() END
            WHERE merchant_id = current_merchant() AND sha256 = decode(:sha256, 'hex') AND format IS NOT NULL
            RETURNING picture_id, format
            """,
            into=_Claim,
            sha256=parts[2],
        )
    if found is None:
        raise FetchFailed("status", upstream_status=404)
    if found.format not in accepted:
        raise NotAPicture(f"{found.format} is not among the formats of this API")
    return KeptPicture(found.picture_id, parts[2])
