"""Tokens of the BigCommerce and Shoplazza APIs, as a store's owner keeps them."""

from datetime import timedelta
from typing import Any

from kasuwa.api.manage.contract import (
    AccessTokenWish,
    RevokeAccessTokenPath,
    RotateAccessTokenPath,
    TokenRotation,
)
from kasuwa.api.manage.service import api
from kasuwa.base.context import Context
from kasuwa.base.ids import read_id
from kasuwa.domain.merchants import tokens
from kasuwa.domain.merchants.records import MadeToken

Json = dict[str, Any]


@api.operation("listAccessTokens")
async def list_access_tokens(context: Context) -> Json:
    return {"data": [_facts(token) for token in await tokens.list_tokens(context)]}


@api.operation("createAccessToken")
async def create_access_token(context: Context, body: AccessTokenWish) -> Json:
    return _made(await tokens.create_token(context, body.name, body.scopes))


@api.operation("rotateAccessToken")
async def rotate_access_token(context: Context, path: RotateAccessTokenPath, body: TokenRotation) -> Json:
    overlap = timedelta(minutes=body.overlapMinutes)
    return _made(await tokens.rotate_token(context, read_id(path.tokenid), overlap))


@api.operation("revokeAccessToken")
async def revoke_access_token(context: Context, path: RevokeAccessTokenPath) -> Json:
    return _facts(await tokens.end_token(context, read_id(path.tokenid)))


def _made(made: MadeToken) -> Json:
    return {
        "tokenId": made.token_id,
        "accessToken": made.token,
        "storeHash": made.store.store_hash,
        "shop": made.store.shop,
        "scopes": made.scopes,
    }


def _facts(token: tokens.KnownToken) -> Json:
    return {
        "tokenId": token.token_id,
        "name": token.name,
        "scopes": token.scopes,
        "createdAt": token.created_at,
        "endsAt": token.ends_at,
    }
