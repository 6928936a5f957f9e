"""Who a token is: the one way from a request to a merchant."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct

from kasuwa.base.coalescing import Coalesced
from kasuwa.base.context import Caller, MerchantId, StoreId, UserId
from kasuwa.base.db import Pool
from kasuwa.base.ids import token_hash
from kasuwa.domain.permissions import permissions_of_membership, permissions_of_scopes

# Longer than any token of ours; what is longer is not worth a hash.
_LONGEST_TOKEN = 256


class SessionFacts(Struct, frozen=True):
    """A session as the database knows it."""

    merchant_id: UUID
    user_id: UUID
    store_id: UUID
    original_store_id: UUID
    role: str
    extra_permissions: list[str]
    expires_at: datetime
    session_id: UUID
    login_id: UUID
    till_id: UUID | None

    def caller(self) -> Caller:
        is_at_till = self.till_id is not None
        return Caller(
            kind="user",
            id=f"{self.user_id}/{self.session_id}",
            merchant_id=MerchantId(self.merchant_id),
            store_id=StoreId(self.store_id),
            original_store_id=StoreId(self.original_store_id),
            user_id=UserId(self.user_id),
            role=self.role,
            permissions=permissions_of_membership(self.role, self.extra_permissions, is_at_till=is_at_till),
            session_id=self.session_id,
            login_id=self.login_id,
            is_at_till=is_at_till,
        )


class TokenFacts(Struct, frozen=True):
    """An API token of a store. `store_status` may say that the store is switched off."""

    merchant_id: UUID
    token_id: UUID
    store_id: UUID
    store_hash: str
    scopes: list[str]
    store_status: str
    currency: str

    def caller(self) -> Caller:
        return Caller(
            kind="token",
            id=str(self.token_id),
            merchant_id=MerchantId(self.merchant_id),
            store_id=StoreId(self.store_id),
            permissions=permissions_of_scopes(self.scopes),
        )


async def resolve_session(pool: Pool, token: str, *, kind: str = "store") -> SessionFacts | None:
    """The session behind a `sessiontoken` (kind "store"), an account's access token ("account"), a browser's
    cookie ("web") or a till's token ("till")."""
    if not token or len(token) > _LONGEST_TOKEN:
        return None
    wanted = _Wanted(token_hash(token), kind)
    found = await sessions.ask(pool, wanted)
    if found is None or found.is_settled:
        return found
    async with pool.autocommit() as db:
        return await db.find(
            """
            SELECT merchant_id, user_id, store_id, original_store_id, role, extra_permissions, expires_at,
                   session_id, login_id, till_id
            FROM resolve_session(:token_hash, :kind)
            """,
            into=SessionFacts,
            token_hash=wanted.token_hash,
            kind=wanted.kind,
        )


class _Wanted(NamedTuple):
    token_hash: bytes
    kind: str


class _Found(SessionFacts, frozen=True, kw_only=True):
    """What a look that changes nothing finds. Settled: its use has nothing to write, as the first one has."""

    line: int
    is_settled: bool


async def _read_sessions(pool: Pool, together: Sequence[_Wanted]) -> list[_Found | None]:
    async with pool.autocommit() as db:
        rows = await db.all(
            """
            SELECT line, merchant_id, user_id, store_id, original_store_id, role, extra_permissions,
                   expires_at, session_id, login_id, till_id, is_settled
            FROM read_sessions(:token_hashes, :kinds)
            """,
            into=_Found,
            token_hashes=[one.token_hash for one in together],
            kinds=[one.kind for one in together],
        )
    found = {row.line: row for row in rows}
    return [found.get(line) for line in range(1, len(together) + 1)]


sessions = Coalesced(_read_sessions)


async def resolve_access_token(pool: Pool, token: str) -> TokenFacts | None:
    """The store behind a token of the BigCommerce and Shoplazza APIs."""
    if not token or len(token) > _LONGEST_TOKEN:
        return None
    async with pool.autocommit() as db:
        return await db.find(
            """
            SELECT merchant_id, token_id, store_id, store_hash, scopes, store_status, currency
            FROM resolve_access_token(:token_hash)
            """,
            into=TokenFacts,
            token_hash=token_hash(token),
        )


class KeyFacts(Struct, frozen=True):
    """A developer key. One without a merchant is the installation's and opens the door for everybody."""

    key_id: UUID
    merchant_id: UUID | None
    scopes: list[str]

    @property
    def merchant(self) -> MerchantId | None:
        return None if self.merchant_id is None else MerchantId(UUID(int=self.merchant_id.int))


async def resolve_developer_key(pool: Pool, key: str) -> KeyFacts | None:
    """The app behind a developer key that works."""
    if not key or len(key) > _LONGEST_TOKEN:
        return None
    async with pool.autocommit() as db:
        return await db.find(
            "SELECT key_id, merchant_id, scopes FROM resolve_developer_key(:key_hash)",
            into=KeyFacts,
            key_hash=token_hash(key),
        )


class LoginFacts(Struct, frozen=True):
    """Whose log-in name it is."""

    merchant_id: UUID
    user_id: UUID


async def find_login(pool: Pool, name: str) -> LoginFacts | None:
    """Who has the log-in name, spelled as `login_key` does."""
    async with pool.autocommit() as db:
        return await db.find("SELECT merchant_id, user_id FROM find_login(:name)", into=LoginFacts, name=name)
