"""What operations are sent: a body, a file or a query that works, for a given shop."""

import io
import itertools
import zipfile
from collections.abc import Callable
from typing import Any

from kasuwa.base.ids import new_id
from tests import banking
from tests.conftest import picture_bytes
from tests.contract.cast import Cast
from tests.contract.proofs import PIN
from tests.mobiles import as_dialled, new_mobile
from tests.second_factors import code_now

Json = dict[str, Any]


def _registration(_: Cast) -> Json:
    mark = new_id().hex
    return {
        "firstname": "Ngozi",
        "lastname": "Eze",
        "username": f"ngozi.{mark}",
        "password": "seven green baskets",
        "email": f"ngozi.{mark}@shop.example",
        "mobile": as_dialled(new_mobile()),
        "storeName": "Ngozi Fabrics",
        "storeCountryCode": "NG",
        "acceptTerms": True,
    }


def _new_customer(cast: Cast) -> Json:
    mark = new_id().hex
    return {
        "firstname": f"{cast.mark} Efe",
        "lastname": f"{cast.mark} Umar",
        "username": f"efe.{mark}",
        "password": "four slow canoes",
        "email": f"efe.{mark}@shop.example",
        "mobile": as_dialled(new_mobile()),
        "address": f"{cast.mark} lane",
        "birthday": 29,
        "birthmonth": 2,
        "birthyear": 1996,
        "consents": ["terms", "marketing_email"],
    }


def _simple_product(cast: Cast) -> Json:
    return {
        "name": f"{cast.mark} stool",
        "sku": new_id().hex,
        "prices": {"sellingPrice": 500, "costPrice": 350},
        "categoryIds": [str(cast.category_id)],
        "quantity": 3,
        "locationQuantities": [{"storeId": str(cast.other_store_id), "quantity": 2}],
    }


def _new_colleague(cast: Cast) -> Json:
    mark = new_id().hex
    return {
        "firstname": "Bola",
        "lastname": f"{cast.mark} Ade",
        "username": f"bola.{mark}",
        "email": f"bola.{mark}@shop.example",
        "role": "CASHIER",
        "storeIds": [str(cast.other_store_id)],
        "posPin": "4821",
    }


_sizes = itertools.cycle(range(2, 60))


def _variant(cast: Cast, option: str, value: str) -> Json:
    return {
        "sku": new_id().hex,
        "options": [{"name": option, "value": value}],
        "prices": {"sellingPrice": 600},
        "quantity": 3,
        "locationQuantities": [{"storeId": str(cast.other_store_id), "quantity": 2}],
    }


def _varied_product(cast: Cast) -> Json:
    return {
        "name": f"{cast.mark} dress",
        "sku": new_id().hex,
        "prices": {"sellingPrice": 500, "costPrice": 350},
        "categoryIds": [str(cast.category_id)],
        "options": [{"name": "Size", "values": ["M"]}],
        "variants": [_variant(cast, "Size", "M")],
    }


def _bulk(cast: Cast) -> Json:
    return {"items": [_simple_product(cast), _varied_product(cast)], "atomic": True}


def _first_variants(cast: Cast) -> Json:
    """Another value each time: the second call widens what the first one made."""
    value = f"{cast.mark} {new_id().hex}"
    return {
        "options": [{"name": "Size", "values": [value]}],
        "variants": [_variant(cast, "Size", value)],
    }


def _more_variants(cast: Cast) -> Json:
    return {"variants": [_variant(cast, f"{cast.mark} size", f"{cast.mark} {next(_sizes)}")]}


def _bank_account(cast: Cast) -> Json:
    return banking.body(userBankAccName=f"{cast.mark} Stores", accountType="savings")


def _stock_query(cast: Cast) -> Json:
    return {
        "text": cast.mark,
        "storeIds": [str(cast.store_id)],
        "filters": [
            {"field": "itemId", "op": "in", "values": [str(cast.product_id)]},
            {"field": "categoryId", "value": str(cast.category_id)},
        ],
        "facets": ["category", "inStock"],
    }


def _settings(cast: Cast) -> Json:
    return {
        "business": {"name": f"{cast.mark} Corner", "stateCode": "NG-LA", "groups": [f"{cast.mark} group"]},
        "tax": {"vatPercent": 7.5, "vatType": "inclusive"},
        "site": {"title": f"{cast.mark} shop", "googleKey": f"{cast.mark} key"},
        "pages": {"privacyPolicy": f"{cast.mark} keeps nothing"},
        "walkIn": {"customerId": str(cast.customer_id)},
        "features": {"skypeId": f"{cast.mark} skype", "cashOnDelivery": True},
        "openingHours": [{"day": "MONDAY", "opens": "08:00", "closes": "17:00"}],
        "deliveryPoints": [{"pointId": str(cast.point_id), "name": f"{cast.mark} station"}],
        "paymentGateways": [
            {
                "gatewayId": str(cast.gateway_id),
                "provider": f"{cast.mark} payments",
                "secretKey": f"{cast.mark} secret",
            }
        ],
    }


def _bc_image(cast: Cast) -> Json:
    return {
        "id": cast.picture_number,
        "product_id": cast.product_number,
        "image_url": cast.media_url,
        "description": f"{cast.mark} side",
    }


def _bc_product(cast: Cast) -> Json:
    return {
        "name": f"{cast.mark} mat {new_id().hex}",
        "type": "physical",
        "weight": 1,
        "price": 500,
        "categories": [cast.category_number],
        "related_products": [cast.product_number],
        "images": [{"image_url": cast.media_url, "description": f"{cast.mark} side"}],
    }


def _slz_product(cast: Cast) -> Json:
    return {
        "product": {
            "title": f"{cast.mark} lamp",
            "has_only_default_variant": False,
            "need_variant_image": False,
            "options": [{"name": "Size", "values": ["S"]}],
            "images": [{"src": cast.media_url}],
            "variants": [{"option1": "S", "price": "9.50", "image": {"src": cast.media_url}}],
        }
    }


BODIES: dict[tuple[str, str], Callable[[Cast], Any]] = {
    ("storeharmony", "registerNewStore"): _registration,
    ("storeharmony", "verifyUserRegistration"): lambda cast: {
        "accountId": str(cast.user_id),
        "channel": "email",
    },
    ("storeharmony", "verifyUserRegistrationFromWebsite"): lambda cast: {"token": cast.link_token},
    ("storeharmony", "userLoginForApps"): lambda cast: {"username": cast.email, "password": cast.password},
    ("storeharmony", "authenticateUser"): lambda cast: {
        "userToken": cast.email,
        "passToken": cast.password,
    },
    ("storeharmony", "resetUserPassword"): lambda cast: {"username": cast.email, "channel": "email"},
    ("storeharmony", "updateUserInformation"): lambda cast: {
        "otherNames": f"{cast.mark} Chidi",
        "countryCode": "NG",
        "timezone": "Africa/Lagos",
    },
    ("storeharmony", "changeUserPassword"): lambda cast: {
        "oldPassword": cast.password,
        "newPassword": "three tall baobab trees",
        "revokeOtherSessions": False,
    },
    ("storeharmony", "setStoreFinancialInfo"): lambda cast: {
        "taxRate": 7.5,
        "vatType": "inclusive",
        "currency": "NGN",
    },
    ("storeharmony", "logUserComplaint"): lambda cast: {
        "subject": f"{cast.mark} printer",
        "message": f"{cast.mark} prints the total twice",
        "category": "HARDWARE",
        "storeId": str(cast.store_id),
        "reference": f"{cast.mark} receipt",
    },
    ("storeharmony", "addUserToStore"): _new_colleague,
    ("storeharmony", "editStoreUser"): lambda cast: {"lastname": f"{cast.mark} Bello", "role": "MANAGER"},
    ("storeharmony", "crmRegisterCustomer"): _new_customer,
    ("storeharmony", "crmLoginCustomer"): lambda cast: {
        "username": cast.customer_email,
        "password": cast.password,
    },
    ("storeharmony", "crmVerifyCustomerEmail"): lambda cast: {"email": cast.customer_email},
    ("storeharmony", "crmVerifyCustomerMobile"): lambda cast: {"mobile": cast.customer_mobile},
    ("storeharmony", "crmResetCustomerPassword"): lambda cast: {"username": cast.customer_email},
    ("manage", "noteCustomerConsents"): lambda cast: {
        "consents": [{"purpose": "profiling", "given": True, "evidence": f"{cast.mark} form"}]
    },
    ("storeharmony", "createNewStoreLocation"): lambda cast: {"storeName": f"{cast.mark} Yaba"},
    ("storeharmony", "createSimpleProduct"): _simple_product,
    ("storeharmony", "createBulkProducts"): _bulk,
    ("storeharmony", "createProductWithVariants"): _varied_product,
    ("storeharmony", "addVariantsToProduct"): _first_variants,
    ("storeharmony", "addVariantsToExistingProduct"): _more_variants,
    ("storeharmony", "removeVariantsFromProduct"): lambda cast: {"variantIds": [str(cast.varied_variant_id)]},
    ("storeharmony", "updateProductByItemId"): lambda cast: {
        "name": f"{cast.mark} basket, new",
        "categoryIds": [str(cast.category_id)],
        "removeImageIds": [str(cast.picture_id)],
    },
    ("storeharmony", "addNewQuantityToProduct"): lambda cast: {
        "quantity": 24,
        "variantId": str(cast.variant_id),
        "unitCost": 350,
        "batchNo": f"{cast.mark} lot",
        "expiryDate": "2031-05-31",
        "reference": f"{cast.mark} GRN",
    },
    ("storeharmony", "deductQuantityFromProduct"): lambda cast: {
        "quantity": 1,
        "variantId": str(cast.variant_id),
        "reason": "damage",
        "note": f"{cast.mark} fell",
    },
    ("storeharmony", "createStoreCategory"): lambda cast: {"name": f"{cast.mark} {new_id().hex}"},
    ("storeharmony", "createStoreSubCategory"): lambda cast: {"name": f"{cast.mark} {new_id().hex}"},
    ("storeharmony", "updateStoreCategory"): lambda cast: {"name": f"{cast.mark} rack", "parentId": None},
    ("storeharmony", "createBulkStoreCategory"): lambda cast: {
        "categories": [{"name": f"{cast.mark} {new_id().hex}", "children": [{"name": f"{cast.mark} box"}]}]
    },
    ("storeharmony", "getProductsWithComplexQuery"): _stock_query,
    ("manage", "createTransfer"): lambda cast: {
        "destinationStoreId": str(cast.other_store_id),
        "lines": [{"variantId": str(cast.variant_id), "quantity": 2, "batchNo": f"{cast.mark} lot"}],
        "reference": f"{cast.mark} paper",
    },
    ("manage", "changeTransfer"): lambda cast: {
        "lines": [{"variantId": str(cast.variant_id), "quantity": 3}],
        "note": f"{cast.mark} by the van",
    },
    ("manage", "receiveTransfer"): lambda cast: {
        "lines": [
            {
                "lineId": str(cast.transfer_id),
                "outcome": "damaged",
                "quantity": 0.5,
                "reason": f"{cast.mark} fell",
            }
        ]
    },
    ("manage", "cancelTransfer"): lambda cast: {"fate": "returned", "reason": f"{cast.mark} van"},
    ("storeharmony", "updateProductPrices"): lambda cast: {
        "prices": {"sellingPrice": 1600, "promoPrice": 1400, "promoEndsAt": "2031-01-01T00:00:00Z"},
        "variantPrices": [{"variantId": str(cast.variant_id), "prices": {"costPrice": 950}}],
        "reason": f"{cast.mark} costs more",
    },
    ("storeharmony", "createStoreBankAccount"): _bank_account,
    ("storeharmony", "updateStoreBankAccount"): _bank_account,
    ("storeharmony", "deactivateStoreBankAccount"): lambda cast: {
        "reason": f"{cast.mark} closed",
        "replacementBankId": str(cast.bank_id),
    },
    ("storeharmony", "setDefaultWalletBankAccount"): lambda cast: {
        "storeId": str(cast.store_id),
        "internalAccountNo": str(cast.bank_id),
    },
    ("bigcommerce", "createProductImage"): _bc_image,
    ("bigcommerce", "updateProductImage"): _bc_image,
    ("bigcommerce", "createProduct"): _bc_product,
    ("bigcommerce", "updateProduct"): _bc_product,
    ("bigcommerce", "updateProducts"): lambda cast: [_bc_product(cast) | {"id": cast.product_number}],
    ("shoplazza", "create_product"): _slz_product,
    ("shoplazza", "create_product_image"): lambda cast: {
        "image": {"src": cast.media_url, "alt": f"{cast.mark} side"}
    },
    ("shoplazza", "update_product_image"): lambda cast: {
        "image": {"src": cast.media_url, "alt": f"{cast.mark} back"}
    },
    ("manage", "chooseMessageLanguage"): lambda cast: {"scope": "me", "language": "fr"},
    ("manage", "startStocktake"): lambda cast: {"name": f"{cast.mark} shelves"},
    ("manage", "addStocktakeCounts"): lambda cast: {
        "counts": [{"variantId": str(cast.variant_id), "quantity": 3, "zone": f"{cast.mark} window"}],
    },
    ("manage", "closeStocktake"): lambda cast: {"uncounted": "keep", "note": f"{cast.mark} done"},
    ("manage", "cancelStocktake"): lambda cast: {"note": f"{cast.mark} wrong day"},
    ("manage", "changeStoreSettings"): _settings,
    ("manage", "changeBanner"): lambda cast: {
        "title": f"{cast.mark} days",
        "itemId": str(cast.product_id),
        "position": 1,
        "endsAt": "2031-01-01T00:00:00Z",
    },
    ("manage", "changeComplaintStatus"): lambda cast: {
        "status": "IN_PROGRESS",
        "note": f"{cast.mark} comes tomorrow",
    },
    ("manage", "setPacks"): lambda cast: {"packs": [{"name": f"{cast.mark[:20]} carton", "units": 24}]},
    ("manage", "makeOwner"): lambda cast: {"password": cast.password},
    ("manage", "enrolSecondFactor"): lambda cast: {"password": cast.password},
    ("manage", "confirmSecondFactor"): lambda cast: {"code": code_now(cast.factor_secret)},
    ("manage", "renewRecoveryCodes"): lambda cast: {"code": code_now(cast.factor_secret)},
    ("manage", "turnOffSecondFactor"): lambda cast: {"password": cast.password},
    ("manage", "setPin"): lambda cast: {"pin": "7304", "password": cast.password},
    ("manage", "enterTill"): lambda cast: {"userId": str(cast.staff_id), "pin": PIN},
    ("manage", "createAccessToken"): lambda cast: {
        "name": f"{cast.mark} feed",
        "scopes": ["read_product"],
    },
    ("manage", "rotateAccessToken"): lambda cast: {"overlapMinutes": 5},
    ("manage", "createDeveloperKey"): lambda cast: {
        "name": f"{cast.mark} app",
        "scopes": ["open_session"],
    },
    ("manage", "rotateDeveloperKey"): lambda cast: {"overlapMinutes": 5},
    ("manage", "changeStock"): lambda cast: {
        "reference": f"{cast.mark} GRN",
        "lines": [{"variantId": str(cast.variant_id), "change": 2, "note": f"{cast.mark} late"}],
    },
}


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("NEW-1.png", picture_bytes("PNG", size=(8, 6), seed=6))
    return out.getvalue()


FILES: dict[tuple[str, str], tuple[bytes, str]] = {
    ("storeharmony", "uploadProductPicture"): (picture_bytes("PNG", size=(8, 6), seed=9), "image/png"),
    ("storeharmony", "uploadProfileImage"): (picture_bytes("PNG", size=(8, 6), seed=6), "image/png"),
    ("storeharmony", "uploadCategoryPicture"): (picture_bytes("PNG", size=(8, 6), seed=8), "image/png"),
    ("manage", "setStorePicture"): (picture_bytes("PNG", size=(8, 6), seed=5), "image/png"),
    ("manage", "addBanner"): (picture_bytes("PNG", size=(8, 6), seed=4), "image/png"),
    ("manage", "startProductImport"): (b"sku,name,price\nNEW-1,Malt,500\n", "text/csv"),
    ("manage", "startPictureImport"): (_zip(), "application/zip"),
}
"""Bodies that are no JSON object: content and its media type."""

QUERIES: dict[tuple[str, str], Callable[[Cast], dict[str, str]]] = {
    ("manage", "addBanner"): lambda cast: {"itemid": str(cast.product_id), "title": f"{cast.mark} days"},
    ("manage", "listStockAsAt"): lambda cast: {"at": "2031-01-01T00:00:00Z"},
    ("storeharmony", "verifyMobile"): lambda cast: {"mobile": as_dialled(new_mobile())},
    ("storeharmony", "verifyEmailAddress"): lambda cast: {"email": f"{new_id().hex}@shop.example"},
    ("storeharmony", "findBySKU"): lambda cast: {"sku": cast.sku},
    ("storeharmony", "listProductsPricesForRecentChanges"): lambda cast: {"since": "2026-01-01T00:00:00Z"},
    ("storeharmony", "authenticateUser"): lambda cast: {"storeid": str(cast.store_id)},
    ("bigcommerce", "deleteProducts"): lambda cast: {"id:in": str(cast.product_number)},
}
"""What the query must have, and what makes it the shop's own; the rest is left out."""
