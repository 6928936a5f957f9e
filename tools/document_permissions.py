"""Write `docs/permissions.md` from the code: `python -m tools.document_permissions`.

Each cell follows from the operation's security scheme, its `x-permission` or `x-scope` and the table of
roles and scopes; the suite calls every operation as everybody and compares.
"""

import sys
from collections.abc import Mapping

from kasuwa.app import APIS
from kasuwa.base.http.contract import Operation
from kasuwa.domain.permissions import PERMISSIONS_OF_ROLE, PERMISSIONS_OF_SCOPE, Permission, Role
from tools.set_up import ROOT

PAGE = ROOT / "docs" / "permissions.md"

CALLERS = ("owner", "manager", "cashier", "read token", "write token", "app key", "nobody")
"""An owner, manager or cashier has a session at the store; a token has the scope of its name."""

_ROLES: Mapping[str, Role] = {"owner": Role.OWNER, "manager": Role.MANAGER, "cashier": Role.CASHIER}
_SCOPES: Mapping[str, str] = {"read token": "read_product", "write token": "write_product"}

HEAD = """\
# Who may call what

A session belongs to a person at a store and brings the permissions of their role there. A token belongs to a
store and has the scope `read_product` or `write_product`. An app key is a developer key. `yes` is an answer,
`401` says that these are no credentials of this operation, `403` that they do not suffice. Only what is built
is listed. `+ app key` after the permission: a person's session needs an app key beside it. This page is
written by `python -m tools.document_permissions`. What a till's token opens is none of theirs: people enter
there by PIN.
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
        held = PERMISSIONS_OF_ROLE[_ROLES[caller]]
        return "yes" if operation.permission is None or operation.permission in held else "403"
    if "tilltoken" in schemes:
        return "401"  # A till is none of them.
    if schemes & {"developerKey", "bearerAuth"}:
        return "yes" if caller == "app key" else "401"
    if caller not in _SCOPES:
        return "401"
    return "yes" if _permission_of(operation) in PERMISSIONS_OF_SCOPE[_SCOPES[caller]] else "403"


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
            needs = operation.scope or _permission_of(operation) or "–"
            needs += " + app key" if needs_both(operation) else ""
            cells = " | ".join(cell(name, operation, caller) for caller in CALLERS)
            parts.append(f"| `{operation_id}` | {needs} | {cells} |")
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
