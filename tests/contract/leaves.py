"""What the recipes stand on: where a contract's secrets go, and how a value is put into a body."""

from typing import Any

from tests.contract.harness import ContractAnswers, contracts_of


class MissingRecipe(AssertionError):
    """An operation was built and nobody said how to call it."""


HEADERS = {
    "sessiontoken": "sessiontoken",
    "tilltoken": "tilltoken",
    "customerToken": "customertoken",
    "authToken": "x-auth-token",
    "accessToken": "access-token",
    "developerKey": "authorization",
    "bearerAuth": "authorization",
}
"""The header of each security scheme."""


def contract_of(dialect: str, base: str) -> ContractAnswers:
    """The contract whose paths lie under that base."""
    return next(one for one in contracts_of(dialect) if one.path_within(f"{base}/") is not None)


def put_leaf(value: Any, steps: list[str], new: Any, what: str) -> None:
    """Set the leaf inside an object that the recipe must have filled."""
    for step in steps[:-1]:
        key = int(step) if isinstance(value, list) else step
        try:
            value = value[key]
        except (KeyError, IndexError):
            raise MissingRecipe(f"{what} takes an id that the recipe leaves out; fill it in BODIES") from None
    value[steps[-1]] = new
