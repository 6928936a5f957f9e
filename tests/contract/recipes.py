"""How to call an operation so that it works: its ids, its query and its body, for a given shop.

What an operation takes is read from the contracts and `registered_operations`; only the values are written
here. An operation whose parameters or body nobody has written a value for is refused with its name.
"""

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
from msgspec import UNSET, Struct, UnsetType

from kasuwa.app import APIS
from kasuwa.base.http.api import Api, Registered
from kasuwa.base.ids import new_id
from tests.banking import new_number
from tests.client import ORIGIN, Web
from tests.contract.bodies import BODIES, FILES, QUERIES
from tests.contract.callers import Caller
from tests.contract.cast import Cast
from tests.contract.leaves import HEADERS, MissingRecipe, contract_of, put_leaf

Json = dict[str, Any]


# Ids -----------------------------------------------------------------------------------------------


class Identity(Struct, frozen=True):
    """A thing of a shop, and one in the same spelling that nobody has."""

    of: Callable[[Cast], str | int]
    unknown: Callable[[], str | int]


def _uuid(field: str) -> Identity:
    return Identity(lambda cast: str(getattr(cast, field)), lambda: str(new_id()))


def _number(field: str) -> Identity:
    return Identity(lambda cast: int(getattr(cast, field)), lambda: 2_000_000_011)


def _everybodys(value: str) -> Identity:
    return Identity(lambda cast: value, lambda: value)


def _unknown_url() -> str:
    digest = new_id().hex + new_id().hex
    return f"{ORIGIN}/media/{new_id()}/{digest[:2]}/{digest}/zoom.png"


_EMAIL = Identity(lambda cast: cast.email, lambda: f"ada.{new_id().hex}@shop.example")
_CUSTOMER_EMAIL = Identity(lambda cast: cast.customer_email, lambda: f"efe.{new_id().hex}@shop.example")
_PICTURE_URL = Identity(lambda cast: cast.media_url, _unknown_url)

IDENTITIES: dict[str, dict[str, Identity]] = {
    "storeharmony": {
        "storeid": _uuid("store_id"),
        "storeids": _uuid("store_id"),
        "accountid": _uuid("user_id"),
        "itemid": _uuid("product_id"),
        "variantid": _uuid("variant_id"),
        "userid": _uuid("user_id"),
        "destinationstoreid": _uuid("other_store_id"),
        "categoryid": _uuid("category_id"),
        "categoryids": _uuid("category_id"),
        "parentid": _uuid("category_id"),
        "moveitemsto": _uuid("category_id"),
        "transferid": _uuid("transfer_id"),
        "removeimageids": _uuid("picture_id"),
        "variantids": _uuid("varied_variant_id"),
        "bankid": _uuid("bank_id"),
        "internalaccountno": _uuid("bank_id"),
        "replacementbankid": _uuid("bank_id"),
        # The world's, not a shop's: the same for everybody.
        "countrycode": _everybodys("NG"),
        "statecode": _everybodys("NG-LA"),
        "bankcode": _everybodys("058"),
        "accountno": _everybodys(new_number("058", "246813579")),
        "sku": Identity(lambda cast: cast.sku, lambda: f"SKU-{new_id().hex[:18]}"),
        "username": _EMAIL,
        "usertoken": _EMAIL,
        "customerid": _uuid("customer_id"),
    },
    "bigcommerce": {
        "store_hash": Identity(lambda cast: cast.store_hash, lambda: new_id().hex[-10:]),
        "product_id": _number("product_number"),
        "image_id": _number("picture_number"),
        "image_url": _PICTURE_URL,
        "id": _number("product_number"),
        "sku": Identity(lambda cast: cast.sku, lambda: f"SKU-{new_id().hex[:18]}"),
        "categories": _number("category_number"),
        "related_products": _number("product_number"),
    },
    "shoplazza": {
        "product_id": _uuid("product_id"),
        "image_id": _uuid("picture_id"),
        "ids": _uuid("product_id"),
        "src": _PICTURE_URL,
    },
    "manage": {
        "storeid": _uuid("store_id"),
        "stocktakeid": _uuid("stocktake_id"),
        "variantid": _uuid("variant_id"),
        "sku": Identity(lambda cast: cast.sku, lambda: f"SKU-{new_id().hex[:18]}"),
        "subjectid": _uuid("product_id"),
        "transferid": _uuid("transfer_id"),
        "messageid": _uuid("message_id"),
        "lineid": _uuid("transfer_id"),
        "importid": _uuid("import_id"),
        "userid": _uuid("staff_id"),
        "sessionid": _uuid("session_id"),
        "tokenid": _uuid("token_id"),
        "keyid": _uuid("key_id"),
        "customerid": _uuid("customer_id"),
        "destinationstoreid": _uuid("other_store_id"),
        "itemid": _uuid("product_id"),
        "bannerid": _uuid("banner_id"),
        "gatewayid": _uuid("gateway_id"),
        "pointid": _uuid("point_id"),
        "complaintid": _uuid("complaint_id"),
        "kind": _everybodys("logo"),
        "position": _everybodys("1"),
    },
}
"""By API and name in lower case. A name that looks like an id and is not here must be in NOT_IDS."""

OF_OPERATION: dict[tuple[str, str], Identity] = {
    # One that the ledger does not know, so that nothing of it is left.
    ("removeProductByItemId", "itemid"): _uuid("bare_product_id"),
    ("delete_product", "product_id"): _uuid("bare_product_id"),
    ("addVariantsToProduct", "itemid"): _uuid("bare_product_id"),
    ("addVariantsToExistingProduct", "itemid"): _uuid("varied_product_id"),
    ("removeVariantsFromProduct", "itemid"): _uuid("varied_product_id"),
    ("getProductVariants", "itemid"): _uuid("varied_product_id"),
    # Somebody else: nobody changes their own role or removes themselves.
    ("getStoreUser", "userid"): _uuid("staff_id"),
    ("editStoreUser", "userid"): _uuid("staff_id"),
    ("deleteStoreUser", "userid"): _uuid("staff_id"),
    ("endUserSession", "sessionid"): _uuid("staff_session_id"),
    ("changeTransfer", "transferid"): _uuid("draft_id"),
    ("shipTransfer", "transferid"): _uuid("ready_id"),
    ("cancelTransfer", "transferid"): _uuid("doomed_id"),
    ("deleteStoreBankAccount", "bankid"): _uuid("spare_bank_id"),
    ("deactivateStoreBankAccount", "bankid"): _uuid("spare_bank_id"),
    ("setDefaultStoreBank", "bankid"): _uuid("spare_bank_id"),
    ("crmLoginCustomer", "username"): _CUSTOMER_EMAIL,
    ("crmResetCustomerPassword", "username"): _CUSTOMER_EMAIL,
    ("eraseCustomer", "customerid"): _uuid("doomed_customer_id"),
    ("cancelProductImport", "importid"): _uuid("running_import_id"),
}
"""By operation and name: an operation that works on a thing of its own kind."""

NOT_IDS: dict[tuple[str, str], str] = {
    ("manage", "insurancetrackid"): "an insurer's, kept as it was sent",
    ("manage", "skypeid"): "a name at a network",
    ("storeharmony", "platformid"): "what the app calls its own device",
    ("storeharmony", "categories"): "new ones; none of them has an id yet",
    ("bigcommerce", "id:not_in"): "leaves out; it never brings a row that was not there",
    ("bigcommerce", "id:min"): "a bound of the caller's own rows",
    ("bigcommerce", "id:max"): "a bound of the caller's own rows",
    ("bigcommerce", "id:greater"): "a bound of the caller's own rows",
    ("bigcommerce", "id:less"): "a bound of the caller's own rows",
    ("bigcommerce", "brand_id"): "kept as it was sent; a brand is a name here",
    ("bigcommerce", "tax_class_id"): "kept as it was sent; there are no tax classes to name",
}

_LOOKS_LIKE_AN_ID = re.compile(r"(?i)(?:[a-z0-9]|_)ids?\Z|\Aids?(?::\w+)?\Z")
_ALSO_IDS = frozenset(
    {
        "sku",
        "sku:in",
        "username",
        "usertoken",
        "internalaccountno",
        "src",
        "image_url",
        "categories",
        "related_products",
        "moveitemsto",
    }
)
# A body that makes something gives it these names; it does not ask for what has them.
_GIVEN_NAMES = frozenset({"sku", "username"})
_MAKERS = frozenset(
    {
        "createBulkProducts",
        "createSimpleProduct",
        "createProductWithVariants",
        "addVariantsToProduct",
        "addVariantsToExistingProduct",
        "updateProductByItemId",
        "registerNewStore",
        "addUserToStore",
        "crmRegisterCustomer",
        "create_product",
        "createProduct",
        "updateProduct",
        "updateProducts",
    }
)

STORE_BOUND = frozenset(
    {
        "storeid",
        "storeids",
        "store_hash",
        "accountid",
        "userid",
        "bankid",
        "internalaccountno",
        "replacementbankid",
        "tokenid",
        "keyid",
        "sessionid",
        "stocktakeid",
        "complaintid",
        "bannerid",
        "gatewayid",
        "pointid",
    }
)
"""What a colleague at another location has no business with; the catalogue is the whole merchant's."""

MERCHANTS_OWN = {
    ("getProductAudit", "userid"): "what was done to a product, by whomever of the merchant's",
    ("getProductsWithComplexQuery", "storeids"): "who sells looks up where else a thing lies",
}
"""By operation and name: what is the whole merchant's although it is named here, and why."""


# Operations and calls ------------------------------------------------------------------------------


class Place(Struct, frozen=True):
    """Where an operation takes an id: in `path`, `query` or `body`, there by a JSON pointer."""

    where: str
    name: str
    pointer: str = ""
    many: bool = False

    def __str__(self) -> str:
        return f"{self.where} {self.pointer or self.name}"


class Entry:
    """One built operation of one contract."""

    def __init__(self, api: Api, registered: Registered) -> None:
        self.dialect = api.dialect.name
        self.operation = registered.operation
        self.base = api.dialect.base_paths[0]
        self.key = (self.dialect, self.operation.operation_id)
        self.contract = contract_of(self.dialect, self.base)
        item = self.contract.document["paths"][self.operation.path]
        self.document: Json = item[self.operation.method.lower()]

    def __str__(self) -> str:
        return f"{self.contract.name} {self.operation.operation_id}"

    @property
    def writes(self) -> bool:
        return self.operation.method.upper() != "GET" or not self.operation.safe

    @property
    def path_names(self) -> list[str]:
        return re.findall(r"\{(\w+)\}", self.base + self.operation.path)

    def identity(self, name: str, pointer: str = "") -> Identity:
        own = OF_OPERATION.get((self.operation.operation_id, name))
        if own is not None:
            return own
        known = IDENTITIES[self.dialect]
        if pointer.endswith("images/0/id"):
            return known["image_id"]
        found = known.get(name.lower().partition(":")[0])
        if found is None:
            raise MissingRecipe(
                f"{self}: {name} looks like an id; give its value in IDENTITIES of recipes.py, or a reason in"
                " NOT_IDS"
            )
        return found

    def parameters(self, where: str) -> list[Json]:
        found = [self.contract.follow(one) for one in self.document.get("parameters", [])]
        return [one for one in found if one["in"] == where]

    def body_schema(self) -> Json | None:
        content = self.contract.follow(self.document.get("requestBody", {})).get("content", {})
        schema: Json | None = content.get("application/json", {}).get("schema")
        return schema

    def places(self) -> list[Place]:
        """Every place of the contract that takes an id."""
        found = [Place("path", name) for name in self.path_names]
        found += [
            Place("query", one["name"]) for one in self.parameters("query") if self._takes_id(one["name"])
        ]
        schema = self.body_schema()
        if schema is not None:
            found += self._body_places(schema, "", 0)
        for place in found:
            self.identity(place.name, place.pointer)
        return list(dict.fromkeys(found))

    def _takes_id(self, name: str) -> bool:
        if (self.dialect, name.lower()) in NOT_IDS:
            return False
        return bool(_LOOKS_LIKE_AN_ID.search(name)) or name.lower() in _ALSO_IDS

    def _body_places(self, schema: Json, pointer: str, depth: int) -> Iterator[Place]:
        schema = self.contract.follow(schema)
        if depth > 8:
            return
        for part in (*schema.get("allOf", ()), *schema.get("anyOf", ()), *schema.get("oneOf", ())):
            yield from self._body_places(part, pointer, depth + 1)
        if isinstance(schema.get("items"), dict):
            item = self.contract.follow(schema["items"])
            # A recipe has one item of each kind, in their order.
            for place, kind in enumerate(item.get("oneOf", (item,))):
                yield from self._body_places(kind, f"{pointer}/{place}", depth + 1)
        for name, part in schema.get("properties", {}).items():
            if self._takes_id(name) and not (name in _GIVEN_NAMES and self.operation.operation_id in _MAKERS):
                many = self.contract.follow(part).get("type") == "array"
                yield Place("body", name, f"{pointer}/{name}", many)
            yield from self._body_places(part, f"{pointer}/{name}", depth + 1)

    def call(self, cast: Cast) -> "Call":
        """A call that works for the shop's owner."""
        path = {name: str(self.identity(name).of(cast)) for name in self.path_names}
        query = QUERIES[self.key](cast) if self.key in QUERIES else {}
        for one in self.parameters("query"):
            if one.get("required") and one["name"] not in query:
                raise MissingRecipe(f"{self}: give a value for ?{one['name']} in QUERIES of bodies.py")
        call = Call(entry=self, path=path, query=query)
        if self.key in FILES:
            call.content, call.media_type = FILES[self.key]
        elif self.key in BODIES:
            call.json = BODIES[self.key](cast)
        elif self.operation.body:
            raise MissingRecipe(f"{self}: say in BODIES of bodies.py how to fill its body")
        return call


class Call(Struct, kw_only=True):
    """One request, before it is sent."""

    entry: Entry
    path: dict[str, str]
    query: dict[str, str]
    headers: dict[str, str] = {}
    json: Any = UNSET
    content: bytes | UnsetType = UNSET
    media_type: str = "application/json"

    def swapped(self, place: Place, value: str | int) -> "Call":
        """The same call with another id at that place."""
        other = copy.copy(self)
        if place.where == "path":
            other.path = {**self.path, place.name: str(value)}
        elif place.where == "query":
            other.query = {**self.query, place.name: str(value)}
        else:
            other.json = copy.deepcopy(self.json)
            new = [value] if place.many else value
            put_leaf(other.json, place.pointer.split("/")[1:], new, f"{self.entry}: {place}")
        return other

    def by(self, caller: Caller) -> "Call":
        """The same call with the caller's credentials."""
        other = copy.copy(self)
        other.headers = {**self.headers, **credentials(self.entry, caller.secrets)}
        return other

    async def send(self, web: Web) -> httpx.Response:
        """Send it; the answer is checked against the contract."""
        options = self.request()
        return await web.call(options.pop("method"), options.pop("url"), **options)

    def request(self) -> Json:
        """What httpx takes."""
        path = re.sub(
            r"\{(\w+)\}", lambda match: self.path[match[1]], self.entry.base + self.entry.operation.path
        )
        options: Json = {"method": self.entry.operation.method.upper(), "url": path, "params": self.query}
        options["headers"] = dict(self.headers)
        if self.content is not UNSET:
            options["content"] = self.content
            options["headers"]["content-type"] = self.media_type
        elif self.json is not UNSET:
            options["json"] = self.json
        return options


def credentials(entry: Entry, secrets: Mapping[str, str]) -> dict[str, str]:
    """The headers in which this operation looks for the secrets."""
    schemes = {scheme for alternative in entry.operation.security for scheme in alternative}
    return {
        HEADERS[scheme]: (f"Bearer {secret}" if HEADERS[scheme] == "authorization" else secret)
        for scheme, secret in secrets.items()
        if scheme in schemes
    }


def built() -> list[Entry]:
    """Every operation that is built, once for each contract that has it."""
    return [
        Entry(api, registered)
        for api in APIS
        if api.dialect.has_contract
        for registered in api.registered.values()
    ]
