"""Write `docs/permissions.md` from the code: `python -m tools.document_permissions`.

Each cell follows from the operation's security scheme, its `x-permission` or `x-scope` and the table of
roles and scopes; the suite calls every operation as everybody and compares.
"""

import sys
from collections.abc import Mapping

from kasuwa.app import APIS
from kasuwa.base.http.contract import Operation
from kasuwa.domain.permissions import (
    KEY_SCOPES,
    NOT_BY_PIN,
    PERMISSIONS_OF_ROLE,
    PERMISSIONS_OF_SCOPE,
    Permission,
    Role,
)
from tools.set_up import ROOT

PAGE = ROOT / "docs" / "permissions.md"

CALLERS = (
    "owner",
    "manager",
    "cashier",
    "owner by PIN",
    "read token",
    "write token",
    "app key",
    "till",
    "customer",
    "nobody",
)
"""An owner, manager or cashier has a session at the store; by PIN is one that was opened at a till; a token
has the scope of its name; an app key has every scope; a till is one that nobody is at; a customer is the
shop's, logged in there."""

KEY_CALLERS = tuple(sorted(KEY_SCOPES))
"""Developer keys with one scope each."""

BY_PIN = "owner by PIN"
_ROLES: Mapping[str, Role] = {
    "owner": Role.OWNER,
    "manager": Role.MANAGER,
    "cashier": Role.CASHIER,
    BY_PIN: Role.OWNER,
}
SESSIONS = tuple(_ROLES)
"""Those of the callers who come with a person's session."""
_SCOPES: Mapping[str, str] = {"read token": "read_product", "write token": "write_product"}

HEAD = """\
# Who may call what

A session belongs to a person at a store and brings the permissions of their role there. A token belongs to a
store and has the scope `read_product` or `write_product`. An app key is a developer key. `yes` is an answer,
`401` says that these are no credentials of this operation, `403` that they do not suffice. Only what is built
is listed. `+ app key` after the permission: a person's session needs an app key beside it. A till is its
token alone, before anybody has entered by PIN; `owner by PIN` has: four digits prove enough to sell and
count, not to change people, proofs or where the money goes. A customer has logged in at the shop. This page
is written by `python -m tools.document_permissions`.
"""

KEYS_HEAD = """
## The scopes of a developer key

A key of a store has any of them but `register_store`, and proves its app for people of its merchant alone. In
the table above the app key has them all. Where a session is asked for beside the key, it is there.
"""


def cell(dialect: str, operation: Operation, caller: str) -> str:
    """`yes`, `401` or `403`: the best that any of the operation's alternatives gives."""
    if not operation.security:
        return "yes"
    found = [_cell_of(set(alternative), dialect, operation, caller) for alternative in operation.security]
    return min(found, key=("yes", "403", "401").index)


def needs_both(operation: Operation) -> bool:
    """Whether a session alone does not do: an app key must come with it."""
    return any({"developerKey", "sessiontoken"} <= set(alternative) for alternative in operation.security)


def _cell_of(schemes: set[str], dialect: str, operation: Operation, caller: str) -> str:
    if "sessiontoken" in schemes:
        if caller not in _ROLES:
            return "401"
        held = PERMISSIONS_OF_ROLE[_ROLES[caller]] - (NOT_BY_PIN if caller == BY_PIN else frozenset())
        if operation.permission is None:
            return "403" if caller == BY_PIN and _is_of_the_account(operation) else "yes"
        return "yes" if operation.permission in held else "403"
    if "tilltoken" in schemes:
        return "yes" if caller == "till" else "401"
    if "customerToken" in schemes:
        return "yes" if caller == "customer" else "401"
    if schemes & {"developerKey", "bearerAuth"}:
        return "yes" if caller == "app key" else "401"
    if caller not in _SCOPES:
        return "401"
    return "yes" if _permission_of(operation) in PERMISSIONS_OF_SCOPE[_SCOPES[caller]] else "403"


def _is_of_the_account(operation: Operation) -> bool:
    """Whether it changes what is the person's own and asks no permission for that, but a log-in."""
    return not operation.safe and operation.scope is None


def key_cell(operation: Operation, scope: str) -> str:
    """`yes` or `403`: what a developer key with this scope alone is answered where it is taken."""
    return "yes" if operation.scope == scope else "403"


def takes_key(operation: Operation) -> bool:
    return any("developerKey" in alternative for alternative in operation.security)


def page() -> str:
    """The whole of docs/permissions.md."""
    parts = [HEAD.rstrip("\n")]
    seen: set[str] = set()
    for api in APIS:
        name = api.dialect.name
        if name in seen:
            continue  # Another version of the same API: who may call is the same.
        seen.add(name)
        parts.append(f"\n## {name}\n")
        parts.append("| operation | needs | " + " | ".join(CALLERS) + " |")
        parts.append("|---" * (len(CALLERS) + 2) + "|")
        for operation_id in sorted(api.registered):
            operation = api.registered[operation_id].operation
            needs = operation.permission or operation.scope or _permission_of(operation) or "–"
            needs += " + app key" if needs_both(operation) else ""
            cells = " | ".join(cell(name, operation, caller) for caller in CALLERS)
            parts.append(f"| `{operation_id}` | {needs} | {cells} |")
    parts.append(KEYS_HEAD)
    parts.append("| operation | " + " | ".join(KEY_CALLERS) + " |")
    parts.append("|---" * (len(KEY_CALLERS) + 1) + "|")
    with_keys = (entry.operation for api in APIS for entry in api.registered.values())
    for operation in sorted(filter(takes_key, with_keys), key=lambda one: one.operation_id):
        cells = " | ".join(key_cell(operation, scope) for scope in KEY_CALLERS)
        parts.append(f"| `{operation.operation_id}` | {cells} |")
    return "\n".join(parts) + "\n"


def _permission_of(operation: Operation) -> str | None:
    """The permission that a session or a token must bring; None where any session, or an app key, will do."""
    schemes = {scheme for alternative in operation.security for scheme in alternative}
    if not schemes & {"authToken", "accessToken"}:
        return operation.permission
    return Permission.STOCK_READ if operation.safe else Permission.STOCK_WRITE


def main() -> None:
    text = page()
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
            sys.exit(
                "docs/permissions.md is not what the code says: run `python -m tools.document_permissions`"
            )
        return
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
