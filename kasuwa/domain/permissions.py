"""What a caller may do, and which role or scope brings it."""

from collections.abc import Collection
from enum import StrEnum

from msgspec import Struct


class Permission(StrEnum):
    STOCK_READ = "stock.read"
    STOCK_WRITE = "stock.write"
    STOCK_PRICE = "stock.price"
    STOCK_COST = "stock.cost"
    STOCK_QUANTITY = "stock.quantity"
    STOCK_COUNT = "stock.count"
    STOCK_AUDIT = "stock.audit"
    CATEGORY_WRITE = "category.write"
    CUSTOMER_AUTH = "customer.auth"
    CUSTOMER_WRITE = "customer.write"
    CUSTOMER_READ = "customer.read"
    CUSTOMER_SUSPEND = "customer.suspend"
    CUSTOMER_ERASE = "customer.erase"
    INVOICE_WRITE = "invoice.write"
    USER_READ = "user.read"
    USER_WRITE = "user.write"
    BANK_READ = "bank.read"
    BANK_WRITE = "bank.write"
    STORE_WRITE = "store.write"
    AUDIT_READ = "audit.read"
    MESSAGE_SEND = "message.send"
    TOKEN_WRITE = "token.write"  # noqa: S105
    TILL_OPEN = "till.open"
    COMPLAINT_WRITE = "complaint.write"


class Role(StrEnum):
    OWNER = "OWNER"
    MANAGER = "MANAGER"
    CASHIER = "CASHIER"


_OWNER = frozenset(Permission)
_MANAGER = _OWNER - {
    Permission.BANK_WRITE,
    Permission.STORE_WRITE,
    Permission.USER_WRITE,
    Permission.TOKEN_WRITE,
    Permission.CUSTOMER_ERASE,
}
_CASHIER = frozenset(
    {
        Permission.STOCK_READ,
        Permission.STOCK_COUNT,
        Permission.CUSTOMER_AUTH,
        Permission.CUSTOMER_WRITE,
        Permission.CUSTOMER_READ,
    }
)

PERMISSIONS_OF_ROLE: dict[str, frozenset[str]] = {
    Role.OWNER: _OWNER,
    Role.MANAGER: _MANAGER,
    Role.CASHIER: _CASHIER,
}

# Four digits prove enough to sell and count, not to change people, proofs or where the money goes.
NOT_BY_PIN = frozenset(
    {
        Permission.BANK_READ,
        Permission.BANK_WRITE,
        Permission.STORE_WRITE,
        Permission.USER_WRITE,
        Permission.AUDIT_READ,
        Permission.MESSAGE_SEND,
        Permission.TOKEN_WRITE,
        Permission.TILL_OPEN,
        Permission.COMPLAINT_WRITE,
        Permission.CUSTOMER_SUSPEND,
        Permission.CUSTOMER_ERASE,
    }
)

_READING = frozenset({Permission.STOCK_READ, Permission.STOCK_COST})
PERMISSIONS_OF_SCOPE: dict[str, frozenset[str]] = {
    "read_product": _READING,
    "write_product": _READING | {Permission.STOCK_WRITE, Permission.STOCK_PRICE, Permission.STOCK_QUANTITY},
}


# What an app proves itself for with a developer key: the operations that name the scope in the contract.
KEY_SCOPES = frozenset(
    {
        "open_session",
        "register_store",
        "reset_password",
        "verify_address",
        "read_reference",
        "read_credentials",
    }
)
# Whether strangers may found a merchant here is the operator's to say.
KEY_SCOPES_OF_STORES = KEY_SCOPES - {"register_store"}


def permissions_of_membership(role: str, extra: Collection[str], *, is_at_till: bool) -> frozenset[str]:
    """What somebody may do at a location: by their role there and what they were given besides it.

    A PIN at a till does not prove enough for all of that.
    """
    brought = PERMISSIONS_OF_ROLE.get(role, frozenset())
    permissions = brought.union(extra) if extra else brought
    return permissions - NOT_BY_PIN if is_at_till else permissions


# Of a membership `m`, with the parameters that `holding()` gives.
HOLDS_PERMISSION = "(m.role = ANY(:roles::text[]) OR :permission = ANY(m.extra_permissions))"


def holding(permission: Permission) -> dict[str, object]:
    """What HOLDS_PERMISSION asks for: the roles that bring the permission, or itself given besides a role."""
    roles = [str(role) for role, brought in PERMISSIONS_OF_ROLE.items() if permission in brought]
    return {"roles": roles, "permission": permission}


def permissions_of_scopes(scopes: list[str]) -> frozenset[str]:
    """What a token with these scopes may do."""
    return frozenset().union(*(PERMISSIONS_OF_SCOPE.get(scope, frozenset()) for scope in scopes))


class RoleFacts(Struct, frozen=True):
    """A role as people read it. `level` is its rank, up to 100: who grants roles grants lower ones only."""

    role: Role
    name: str
    description: str
    level: int

    @property
    def permissions(self) -> frozenset[str]:
        return PERMISSIONS_OF_ROLE[self.role]


ROLES = (
    RoleFacts(Role.OWNER, "Owner", "Everything, bank accounts and other people's roles included.", 100),
    RoleFacts(Role.MANAGER, "Manager", "Runs the shop: products, prices, stock and reports.", 50),
    RoleFacts(Role.CASHIER, "Cashier", "Sells and counts; sees neither costs nor bank accounts.", 10),
)
"""Every role, the highest first."""


def may_grant(granter: str, role: Role) -> bool:
    """Whether somebody with the role `granter` may give `role` to another: a lower one than their own."""
    levels = {facts.role.value: facts.level for facts in ROLES}
    may_write = Permission.USER_WRITE in PERMISSIONS_OF_ROLE.get(granter, frozenset())
    return may_write and levels[role] < levels.get(granter, 0)
