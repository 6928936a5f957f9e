"""Registering a customer and proving their addresses."""

from datetime import UTC, date, datetime
from uuid import UUID

from msgspec import Struct, structs

from kasuwa.base.audit import write_audit
from kasuwa.base.context import Context
from kasuwa.base.db import Database
from kasuwa.base.ids import new_id
from kasuwa.base.passwords import hash_password
from kasuwa.base.problems import FieldFault, Invalid, TooManyRequests
from kasuwa.domain.customers.claims import (
    allow_claim_code,
    claims_of,
    hold_claimants,
    is_proved_by_another,
    lock_names,
    only_claim,
    prove_address,
    read_claims,
)
from kasuwa.domain.customers.consents import Answer, keep_answers
from kasuwa.domain.customers.errors import CustomerNameTaken, CustomerNotFound
from kasuwa.domain.customers.letters import compose
from kasuwa.domain.customers.queries import read_customer
from kasuwa.domain.customers.records import Birthday, Customer, NewCustomer, Verification
from kasuwa.domain.merchants.actions import login_key
from kasuwa.domain.messages.actions import refuse_message, send_message
from kasuwa.domain.permissions import Permission
from kasuwa.domain.proofs.codes import (
    CODE_LIFETIME,
    TOO_MANY_SMS,
    TRIES_PER_CODE,
    allow_sending,
    allow_sms_code,
    issue_code,
    require_sms_code,
    spend_try_of_any,
    use_code,
)
from kasuwa.domain.proofs.names import check_password, check_username
from kasuwa.domain.proofs.records import Channel
from kasuwa.domain.reference.words import folded

_CODE_MINUTES = int(CODE_LIFETIME.total_seconds()) // 60
# One that has a 29th of February, for a birthday without its year.
_LEAP_YEAR = 2000


class _Kept(Struct, frozen=True):
    name: str


async def register(context: Context, new: NewCustomer, *, address: str = "") -> Customer:
    """Make a customer of the merchant, known at all of its stores, and send a code to each address.

    `address` is where the customer's own request came from, "" when the shop's people ask. To the shop an
    address that another customer gave is taken: that one is to be found. To a customer it is no hindrance:
    whoever proves it first has it, and where somebody has, the address is told so instead of given a code.
    Raises Invalid, WeakPassword, UsernameRefused, CustomerNameTaken.
    """
    context.require(Permission.CUSTOMER_WRITE)
    if not new.email and not new.mobile:
        raise Invalid(faults=[FieldFault("/email", "required", "Give an e-mail or a mobile.")])
    check_birthday(new.birthday)
    username = new.username or new.email or new.mobile
    check_username(username, new.email, new.mobile)
    password_hash = ""
    if new.password is not None:
        about = (username, new.email.partition("@")[0], new.first_name, new.last_name)
        check_password(new.password, *about, pointer="/password")
        password_hash = await hash_password(new.password)
    silent = await _too_often_given(context, new)
    sms_wait = 0.0
    if new.mobile and "mobile" not in silent:
        sms_wait = await allow_sms_code(context, new.mobile, address=address, merchant_id=context.merchant_id)
    customer_id = new_id()
    async with context.transaction() as db:
        await _keep(context, db, customer_id, structs.replace(new, username=username), password_hash)
        await _take_names(db, customer_id, username, new.email, new.mobile, is_shops=not address)
        given = [Answer(purpose=purpose, is_given=True) for purpose in new.consents]
        await keep_answers(context, db, customer_id, given)
        # Which facts, not what they are: nothing of the trail can be taken back when a person is erased.
        facts = sorted(name for name, value in structs.asdict(new).items() if value)
        await write_audit(context, db, "customer.register", "customer", customer_id, after={"given": facts})
        await context.note_person(db, customer_id)
        customer = await read_customer(db, customer_id)
        channels: tuple[Channel, ...] = ("email", "mobile")
        for channel in channels:
            if customer.address(channel) and channel not in silent:
                refused = channel == "mobile" and sms_wait > 0
                await _send_code(context, db, customer, channel, refused=refused)
    return customer


async def send_verification_code(
    context: Context, channel: Channel, owned: str, *, customer_id: UUID | None = None, address: str = ""
) -> Verification:
    """Send a new code to the address `owned`, normalised, unless it is proved.

    `customer_id` says whose it is to be, where several claim it. `address` is where the customer's own
    request came from. Raises CustomerNotFound, Invalid (without the id), TooManyRequests.
    """
    context.require(Permission.CUSTOMER_AUTH)
    claims = await read_claims(context, channel, owned)
    claim = only_claim(claims_of(claims, customer_id))
    async with context.reading() as db:
        customer = await read_customer(db, claim.customer_id)
    if claim.is_sure:
        return Verification(customer)
    await allow_sending(context, f"{customer.customer_id}/{channel}")
    if len(claims) > 1:
        await allow_claim_code(context, owned)
    if channel == "mobile":
        await require_sms_code(context, owned, address=address)
    async with context.transaction() as db:
        customer = await read_customer(db, customer.customer_id, lock=True)
        if not customer.address(channel):
            raise CustomerNotFound()  # somebody else proved it in this moment
        expires_at = await _send_code(context, db, customer, channel)
        await context.note_person(db, customer.customer_id)
    return Verification(customer, expires_at, TRIES_PER_CODE)


async def verify_by_code(
    context: Context, channel: Channel, owned: str, code: str, *, customer_id: UUID | None = None
) -> Verification:
    """Prove the address `owned`, normalised, with the code sent to it.

    Of several who claim it, it is theirs whose code it is, and has to be `customer_id`'s where that is given.
    One that is proved already has no code left: any is refused. Raises CustomerNotFound, WrongCode.
    """
    context.require(Permission.CUSTOMER_AUTH)
    claims = claims_of(await read_claims(context, channel, owned), customer_id)
    holders = [claim.customer_id for claim in claims]
    spent = await spend_try_of_any(context, context.merchant_id, holders, channel, code)
    async with context.transaction() as db:
        proof = await prove_address(context, db, spent.holder_id, channel)
        await use_code(db, spent.holder_id, channel, spent)
    return Verification(proof.customer)


def check_birthday(birthday: Birthday) -> None:
    """Raises Invalid for half a day, one that no calendar has, and one that is yet to come."""
    day, month, year = birthday.day, birthday.month, birthday.year
    today = datetime.now(UTC).date()
    if (day is None) != (month is None):
        missing = "/birthday" if day is None else "/birthmonth"
        raise Invalid(faults=[FieldFault(missing, "required", "Give day and month together, or neither.")])
    if year is not None and year > today.year:
        raise Invalid(faults=[FieldFault("/birthyear", "maximum", "Give a year that has begun.")])
    if day is None or month is None:
        return
    try:
        born = date(year or _LEAP_YEAR, month, day)
    except ValueError:
        fault = FieldFault(
            "/birthday", "range", "That month has no such day; the 29th of February needs a leap year."
        )
        raise Invalid(faults=[fault]) from None
    if year is not None and born > today:
        raise Invalid(faults=[FieldFault("/birthday", "maximum", "Give a day until today.")])


async def _too_often_given(context: Context, new: NewCustomer) -> set[Channel]:
    """The addresses that were sent enough codes today.

    Each is counted, whether somebody else gave it or nobody: so neither answer nor time tells which.
    """
    given: dict[Channel, str] = {"email": new.email, "mobile": new.mobile}
    found: set[Channel] = set()
    for channel, owned in given.items():
        try:
            if owned:
                await allow_claim_code(context, owned)
        except TooManyRequests:
            found.add(channel)
    return found


async def _keep(
    context: Context, db: Database, customer_id: UUID, new: NewCustomer, password_hash: str
) -> None:
    await db.execute(
        """
        INSERT INTO customer (
          merchant_id, customer_id, store_id, username, email, mobile, first_name, last_name, name_key,
          surname_key, street, lga, lga_code, state, state_code, country, country_code, zip_code, birth_day,
          birth_month, birth_year, password_hash, password_changed_at, created_by)
        VALUES (
          current_merchant(), :customer_id, :store_id, :username, :email, :mobile, :first_name, :last_name,
          :name_key, :surname_key, :street, :lga, :lga_code, :state, :state_code, :country, :country_code,
          :zip_code, :birth_day, :birth_month, :birth_year, :password_hash,
          CASE WHEN :password_hash <> '' THEN now() END, :created_by)
        """,
        customer_id=customer_id,
        store_id=context.store_id,
        username=new.username,
        email=new.email,
        mobile=new.mobile,
        first_name=new.first_name,
        last_name=new.last_name,
        name_key=folded(f"{new.first_name} {new.last_name}"),
        surname_key=folded(f"{new.last_name} {new.first_name}"),
        street=new.street,
        lga=new.lga,
        lga_code=new.lga_code,
        state=new.state,
        state_code=new.state_code,
        country=new.country,
        country_code=new.country_code,
        zip_code=new.zip_code,
        birth_day=new.birthday.day,
        birth_month=new.birthday.month,
        birth_year=new.birthday.year,
        password_hash=password_hash,
        created_by=context.caller.user_id,
    )


async def _take_names(
    db: Database, customer_id: UUID, username: str, email: str, mobile: str, *, is_shops: bool
) -> None:
    """Let the customer be found by them. Raises CustomerNameTaken for a user name.

    `is_shops`: the shop's people register them, who are told of an address that somebody else gave as well.
    """
    kinds = {login_key(username): "username"}
    kinds |= {login_key(name): kind for name, kind in ((email, "email"), (mobile, "mobile")) if name}
    if is_shops:
        await lock_names(db, list(kinds))
    await hold_claimants(db, list(kinds))
    # In one order, so that two registrations wait for each other instead of locking up.
    rows = await db.all(
        """
        INSERT INTO customer_name (merchant_id, name, kind, customer_id, is_sure)
        SELECT current_merchant(), n.name, n.kind, :customer_id, n.kind = 'username'
        FROM unnest(:names::text[], :kinds::text[]) AS n (name, kind)
        WHERE NOT EXISTS (SELECT FROM customer_name t
                          WHERE t.merchant_id = current_merchant() AND t.name = n.name
                            AND (:is_shops OR t.is_sure AND n.kind = 'username'))
        ORDER BY n.name
        ON CONFLICT (merchant_id, name) WHERE is_sure DO NOTHING
        RETURNING name
        """,
        into=_Kept,
        customer_id=customer_id,
        names=list(kinds),
        kinds=list(kinds.values()),
        is_shops=is_shops,
    )
    kept = {row.name for row in rows}
    faults = [
        FieldFault(f"/{kind}", "taken", "Another customer of this shop has it.")
        for name, kind in kinds.items()
        if name not in kept
    ]
    if faults:
        raise CustomerNameTaken("Find the customer instead, or give another one.", faults=faults)


async def _send_code(
    context: Context, db: Database, customer: Customer, channel: Channel, *, refused: bool = False
) -> datetime:
    """Issue a code for the address and queue its message; when the code ends.

    An address that another customer has proved is told so and gets no code. The message is noted alike: what
    is known of a customer may be read to them. `refused`: it is noted, but does not leave.
    """
    code, expires_at = await issue_code(context, db, customer.customer_id, channel, channel)
    template = f"customer-verify-{channel}"
    message = await compose(
        db, customer, channel, template, code=code, expires_at=expires_at, minutes=_CODE_MINUTES
    )
    if await is_proved_by_another(db, customer, channel):
        told = await compose(db, customer, channel, "customer-address-in-use", expires_at=expires_at)
        message = structs.replace(told, template=template)
    if refused:
        await refuse_message(context, db, message, TOO_MANY_SMS)
    else:
        await send_message(context, db, message)
    return expires_at
