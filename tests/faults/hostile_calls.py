"""Hostile JSON for every operation that writes: good bodies, each field spoilt in turn."""

import json
import re
from collections.abc import Iterator

from kasuwa.app import APIS
from kasuwa.base.http.contract import Operation
from tests.contract.harness import DIALECTS, contracts_of
from tests.contract.instances import Instances, with_leaf
from tests.faults.uploads import Call, Product, Stage

_UNKNOWN = "01932f4e-7a10-7c3a-9d55-2f6b1c0e8a42"
# Whole bodies that no operation can take.
WHOLE = {
    "nothing": b"",
    "cut": b'{"name": "Ma',
    "no JSON": b"name=Malt",
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "a NUL between": b'{"name"\x00: 1}',
    "deep arrays": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "not a number": b'{"name": NaN}',
    "endless": b'{"name": Infinity}',
    "another type": b'"text"',
    "a number": b"1e400",
}
# What is put in the place of a value. JSON is written by hand: no writer of ours would let these out.
SPOILT = {
    "NUL": rb'"a\u0000b"',
    "half a surrogate": rb'"\ud800"',
    "very long": b'"' + b"x" * 1_000_000 + b'"',
    "huge number": b"1e400",
    "huge integer": b"9" * 400,
    "past 64 bits": b"9223372036854775808",
    "fraction": b"0.1000000000000000055511151231257827",
    "list": b"[[]]",
    "object": b'{"a": {}}',
    "null": b"null",
}
_MARK = "put it here"
_MARKED = json.dumps(_MARK).encode()


def hostile_calls(stage: Stage, product: Product) -> Iterator[tuple[str, Call]]:
    """What is sent, in words, and the call: for every operation that is built, writes and takes JSON."""
    places = {
        "storeid": str(stage.shop.store_id),
        "accountid": str(stage.shop.user_id),
        "itemid": str(product.product_id),
        "store_hash": stage.shop.store_hash,
    }
    credentials = {
        "sessiontoken": stage.shop.session,
        "x-auth-token": stage.shop.token,
        "access-token": stage.shop.token,
        "content-type": "application/json",
    }
    for api in APIS:
        for operation_id, registered in api.registered.items():
            operation, name = registered.operation, api.dialect.name
            if operation.safe or "application/json" not in operation.body:
                continue
            path = api.dialect.base_paths[0] + operation.path
            own = str(product.number) if name.startswith("bigcommerce") else str(product.product_id)
            for parameter in re.findall(r"{(\w+)}", path):
                value = own if parameter == "product_id" else places.get(parameter, _UNKNOWN)
                path = path.replace("{" + parameter + "}", value)
            for words, body in _bodies(name, operation):
                if not body and not operation.body_required:
                    continue  # there nothing is a good body
                call = Call(operation.method.upper(), path + _query(operation_id), credentials, body)
                yield f"{name} {operation_id}: {words}", call


def _query(operation_id: str) -> str:
    return "?position=1" if operation_id == "uploadProductPicture" else ""


def _bodies(dialect: str, operation: Operation) -> Iterator[tuple[str, bytes]]:
    yield from WHOLE.items()
    for contract in contracts_of(dialect) if dialect in DIALECTS else ():
        described = contract.document["paths"].get(operation.path, {}).get(operation.method.lower())
        if described is None:
            continue
        schema = described["requestBody"]["content"]["application/json"]["schema"]
        for path, good in Instances(contract.document["components"]["schemas"]).leaves(schema):
            text = json.dumps(with_leaf(good, path, _MARK)).encode()
            for words, value in SPOILT.items():
                yield f"{words} at {'/'.join(map(str, path)) or 'the top'}", text.replace(_MARKED, value)
        return
