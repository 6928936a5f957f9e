"""Builds that tell who has an account, or let anybody guess: faults of log-ins, resets and registration."""

from collections.abc import Awaitable, Callable
from typing import Any

from kasuwa.base import passwords
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.domain.customers import login as customer_login
from kasuwa.domain.customers import passwords as customer_resets
from kasuwa.domain.merchants.errors import LoginNameTaken
from kasuwa.domain.proofs import codes
from kasuwa.domain.proofs.errors import WrongCode
from kasuwa.domain.proofs.records import Channel
from kasuwa.domain.staff import tills
from kasuwa.domain.users import actions as accounts
from kasuwa.domain.users import checks, login, second_factor
from kasuwa.domain.users import passwords as resets
from kasuwa.domain.users.errors import WrongCredentials
from kasuwa.domain.users.records import User


def hash_only_the_known() -> None:
    """Whoever has no account is refused a log-in without the hash that a known one costs."""
    verify = passwords.verify_password

    async def shortcut(kept: str | None, password: str) -> bool:
        return kept is not None and await verify(kept, password)

    for logging_in in (login, customer_login):
        vars(logging_in)["verify_password"] = shortcut


def work_for_the_known() -> None:
    """A name costs a hash more where somebody has it: at both steps of a reset, and at a registration."""

    def costly(look_up: Any) -> Any:
        async def found(*words: Any) -> Any:
            one = await look_up(*words)
            if one is not None:
                await passwords.hash_password("only where somebody is")
            return one

        return found

    of_users, of_customers, of_founders = vars(resets), vars(customer_resets), vars(accounts)
    find_user = of_users["find_login"] = costly(of_users["find_login"])
    find_customer = of_customers["find_by_name"] = costly(of_customers["find_by_name"])
    order_users, order_customers = of_users["order_reset"], of_customers["order_reset"]
    found_in = of_founders["found_in"]

    async def users_first(context: Context, job: str, name: str, *rest: Any, **more: Any) -> Any:
        await find_user(context.services.pool, name)
        return await order_users(context, job, name, *rest, **more)

    async def customers_first(context: Context, job: str, name: str, *rest: Any, **more: Any) -> Any:
        async with context.reading() as database:
            await find_customer(database, name)
        return await order_customers(context, job, name, *rest, **more)

    async def founders_first(context: Context, database: Database, store: Any, owner: Any) -> Any:
        for name in (owner.email, owner.mobile):
            await find_user(context.services.pool, name)
        return await found_in(context, database, store, owner)

    of_users["order_reset"], of_customers["order_reset"] = users_first, customers_first
    of_founders["found_in"] = founders_first


def name_the_unknown() -> None:
    """Whoever has no account is told so, after the same work; and so is whoever registers with one."""
    verify = passwords.verify_password

    async def told(kept: str | None, password: str) -> bool:
        is_right = await verify(kept, password)
        if kept is None:
            raise WrongCredentials("There is no such user.")
        return is_right

    for logging_in in (login, customer_login):
        vars(logging_in)["verify_password"] = told
    for resetting, question in ((resets, "find_login"), (customer_resets, "find_by_name")):
        vars(resetting)[question] = _named(vars(resetting)[question])
    vars(accounts)["send_code"] = _refusing_the_known(accounts.send_code)


def _named(find: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def find_or_tell(*asked: Any) -> Any:
        found = await find(*asked)
        if found is None:
            raise WrongCode("There is nobody of this name.")
        return found

    return find_or_tell


def _refusing_the_known(send: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def send_or_refuse(
        context: Context, db: Database, user: User, channel: Channel, **said: Any
    ) -> Any:
        name = user.address(channel)
        if await db.value("SELECT logs_in_elsewhere(:name, :me)", name=name, me=user.user_id):
            raise LoginNameTaken()
        return await send(context, db, user, channel, **said)

    return send_or_refuse


def forget_tries() -> None:
    """Codes take any number of tries, and so do a PIN and a second factor."""
    for module in (codes, checks):
        vars(module)["TRIES_PER_CODE"] = 30_000

    async def forget(*_: Any) -> None:
        return None

    for module in (tills, login, second_factor):
        vars(module)["take_tries"] = forget
