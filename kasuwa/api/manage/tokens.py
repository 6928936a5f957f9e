"""Tokens of the BigCommerce and Shoplazza APIs, and developer keys, as a store's owner keeps them."""

from datetime import timedelta
from typing import Any

from kasuwa.api.manage.contract import (
    AccessTokenWish,
    DeveloperKeyWish,
    RevokeAccessTokenPath,
    RevokeDeveloperKeyPath,
    RotateAccessTokenPath,
    RotateDeveloperKeyPath,
    TokenRotation,
)
from kasuwa.api.manage.service import api
from kasuwa.base.context import Context
from kasuwa.base.ids import read_id
from kasuwa.domain.merchants import keys, tokens
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


@api.operation("listDeveloperKeys")
async def list_developer_keys(context: Context) -> Json:
    return {"data": [_key_facts(key) for key in await keys.list_keys(context)]}


@api.operation("createDeveloperKey")
async def create_developer_key(context: Context, body: DeveloperKeyWish) -> Json:
    return _made_key(await keys.create_key(context, body.name, body.scopes))


@api.operation("rotateDeveloperKey")
async def rotate_developer_key(context: Context, path: RotateDeveloperKeyPath, body: TokenRotation) -> Json:
    overlap = timedelta(minutes=body.overlapMinutes)
    return _made_key(await keys.rotate_key(context, read_id(path.keyid), overlap))


@api.operation("revokeDeveloperKey")
async def revoke_developer_key(context: Context, path: RevokeDeveloperKeyPath) -> Json:
    return _key_facts(await keys.end_key(context, read_id(path.keyid)))


def _made_key(made: keys.MadeKey) -> Json:
    return {"keyId": made.key_id, "key": made.key, "scopes": made.scopes}


def _key_facts(key: keys.KnownKey) -> Json:
    return {
        "keyId": key.key_id,
        "name": key.name,
        "scopes": key.scopes,
        "createdAt": key.created_at,
        "endsAt": key.ends_at,
    }


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
