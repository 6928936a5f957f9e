"""The kinds of store that a new location can be. A location may also be of a kind of its own."""

from decimal import Decimal
from typing import Literal

from msgspec import Struct

Module = Literal[
    "INVENTORY",
    "POS",
    "ONLINE_STORE",
    "RESTAURANT",
    "TABLES",
    "PHARMACY",
    "LOYALTY",
    "INVOICING",
    "WHOLESALE",
    "BOOKINGS",
]


class ProfileType(Struct, frozen=True):
    """`is_taxed`: what it mostly sells bears the VAT of the country; where not, 0 % is proposed."""

    code: str
    name: str
    description: str
    modules: tuple[Module, ...]
    is_taxed: bool = True


_SHOP: tuple[Module, ...] = ("INVENTORY", "POS", "ONLINE_STORE", "LOYALTY", "INVOICING")

PROFILE_TYPES = (
    ProfileType("RETAIL", "Retail shop", "Sells goods over the counter and online.", _SHOP),
    ProfileType("SUPERMARKET", "Supermarket", "Many goods, packs, batches and expiry dates.", _SHOP),
    ProfileType("FASHION", "Fashion", "Clothes, shoes and fabrics in sizes and colours.", _SHOP),
    ProfileType("ELECTRONICS", "Electronics", "Goods with serial numbers.", _SHOP),
    ProfileType("BEAUTY", "Beauty", "Cosmetics, and appointments.", (*_SHOP, "BOOKINGS")),
    # Medical and pharmaceutical products bear no VAT in Nigeria (VAT Act, First Schedule).
    ProfileType("PHARMACY", "Pharmacy", "Medicines with batches and expiry.", (*_SHOP, "PHARMACY"), False),
    ProfileType(
        "RESTAURANT",
        "Restaurant",
        "Food and drinks at tables and to take away.",
        (*_SHOP, "RESTAURANT", "TABLES"),
    ),
    ProfileType("WHOLESALE", "Wholesale", "Sells by the carton at wholesale prices.", (*_SHOP, "WHOLESALE")),
    ProfileType("SERVICES", "Services", "Sells work and appointments.", ("POS", "INVOICING", "BOOKINGS")),
    ProfileType("WAREHOUSE", "Warehouse", "Keeps goods for the other locations.", ("INVENTORY",)),
)

_VAT_OF_COUNTRY = {"NG": Decimal("7.5")}


def proposed_rate(kind: ProfileType, country_code: str) -> Decimal | None:
    """The VAT in percent to propose; None for a country whose rate is not known here.

    Source for Nigeria: Finance Act 2019, kept by the Nigeria Tax Act 2025.
    """
    rate = _VAT_OF_COUNTRY.get(country_code)
    return rate if rate is None or kind.is_taxed else Decimal(0)
