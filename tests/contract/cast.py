"""A shop with one of everything that an operation may name, and the people who call."""

import secrets
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from kasuwa.base.context import Services, StoreId
from kasuwa.base.ids import new_id
from kasuwa.base.passwords import hash_password
from kasuwa.domain.catalogue.actions import create_product
from kasuwa.domain.catalogue.categories import create_category
from kasuwa.domain.catalogue.records import (
    NewProduct,
    NewVariant,
    OpeningStock,
    OptionValue,
    Price,
    ProductOption,
)
from kasuwa.domain.complaints.actions import log_complaint
from kasuwa.domain.complaints.records import Attachment, NewComplaint
from kasuwa.domain.customers.actions import register
from kasuwa.domain.customers.records import Customer, NewCustomer
from kasuwa.domain.exchange.imports import begin_import, run_import
from kasuwa.domain.exchange.records import ImportOptions
from kasuwa.domain.media.actions import show_picture
from kasuwa.domain.media.keeping import keep_bytes
from kasuwa.domain.media.records import STOREHARMONY_FORMATS, KeptPicture, Place
from kasuwa.domain.merchants.actions import join_store, open_session
from kasuwa.domain.messages.actions import send_message
from kasuwa.domain.messages.records import Message
from kasuwa.domain.permissions import Role
from kasuwa.domain.stocktakes.actions import start_stocktake
from kasuwa.domain.stores.settings.actions import change_settings
from kasuwa.domain.stores.settings.banners import add_banner
from kasuwa.domain.stores.settings.records import GatewayWish, NewBanner, PointWish, SettingsChange
from kasuwa.domain.transfers.actions import draft_transfer, send
from kasuwa.domain.transfers.records import NewTransfer, WantedLine
from kasuwa.domain.users.actions import VERIFY_LINK_LIFETIME, VERIFY_PURPOSE, add_link
from kasuwa.domain.users.pictures import set_picture
from tests.banking import new_account
from tests.client import ORIGIN
from tests.conftest import picture_bytes
from tests.contract.proofs import ways_in
from tests.mobiles import new_mobile
from tests.shop import Shop, new_shop

_COUNTERS = ("product", "variant", "product_picture", "category")


class Cast(Struct, frozen=True, kw_only=True):
    """What a request of this shop's owner may name. Every text that is free has `mark` in it."""

    mark: str
    shop: Shop
    store_id: UUID
    store_hash: str
    user_id: UUID
    email: str
    password: str
    link_token: str
    product_id: UUID
    product_number: int
    sku: str
    variant_id: UUID
    stocktake_id: UUID
    import_id: UUID
    running_import_id: UUID
    category_id: UUID
    category_number: int
    picture_id: UUID
    picture_number: int
    media_path: str
    # A product with variants, and the first of them.
    varied_product_id: UUID
    varied_variant_id: UUID
    # On its way to the shop's first store; and from there: one to change, one to ship, one to cancel.
    transfer_id: UUID
    draft_id: UUID
    ready_id: UUID
    doomed_id: UUID
    # One that failed and whose words are kept.
    message_id: UUID
    # The store's default bank account and its number, and one more.
    bank_id: UUID
    bank_number: str
    spare_bank_id: UUID
    # Somebody who buys, whose password is the cast's; and one to erase.
    customer_id: UUID
    customer_email: str
    customer_mobile: str
    doomed_customer_id: UUID
    # A simple product whose shelf is empty: it may get variants.
    bare_product_id: UUID
    # A cashier of the store with a PIN, and a session of theirs; a till to enter at.
    staff_id: UUID
    staff_session_id: UUID
    till_token: str
    # One more session of the owner's, a token and a developer key to rotate, and a second factor that waits
    # for its first code.
    session_id: UUID
    token_id: UUID
    key_id: UUID
    factor_secret: str
    # What the store shows of itself, and what somebody complained of there.
    banner_id: UUID
    gateway_id: UUID
    point_id: UUID
    complaint_id: UUID

    @property
    def other_store_id(self) -> UUID:
        """The shop's other location."""
        first, second = self.shop.store_id, self.shop.second_store_id
        return first if self.store_id == second else second

    @property
    def media_url(self) -> str:
        """One of the shop's own pictures: read from the store, without the network."""
        return ORIGIN + self.media_path


class Staff(Struct, frozen=True):
    """Somebody who works at a store, logged in there."""

    user_id: UUID
    email: str
    session: str
    session_id: UUID


_HASHES: dict[str, str] = {}


async def new_cast(services: Services, *, password: str = "the cast's own password") -> Cast:
    """A merchant of its own. Its numbers begin high, so that no two merchants have one in common."""
    mark = f"zq{secrets.token_hex(8)}"
    shop = await new_shop(services, name=f"{mark} Corner")
    if password not in _HASHES:
        _HASHES[password] = await hash_password(password)
    context = shop.owner
    link_token = await _mark_people(mark, shop, _HASHES[password])
    category_id = await create_category(context, f"{mark} shelf")
    new = _product(mark, shop, category_id)
    product = await create_product(context, new)
    kept = await keep_bytes(context, picture_bytes("PNG", size=(8, 6), seed=7), STOREHARMONY_FORMATS)
    varied = await create_product(context, _varied_product(mark, shop))
    price = Price(currency="NGN", selling_minor=150_000)
    empty = (OpeningStock(shop.store_id), OpeningStock(shop.second_store_id))
    bare = await create_product(
        context, NewProduct(name=f"{mark} mug", variants=(NewVariant(price=price, opening=empty),))
    )
    await set_picture(context, kept)
    placed = await show_picture(context, product.product_id, kept, Place(alt_text=f"{mark} front"))
    bank, spare = [await new_account(context, holder_name=f"{mark} Stores") for _ in range(2)]
    stocktake = await start_stocktake(context, name=f"{mark} year's end", blind=False)
    buyer, doomed = await _customers(mark, shop, _HASHES[password])
    return Cast(
        mark=mark,
        shop=shop,
        store_id=shop.store_id,
        store_hash=shop.store_hash,
        user_id=shop.user_id,
        email=shop.email,
        password=password,
        link_token=link_token,
        product_id=product.product_id,
        product_number=product.number,
        sku=product.main.sku,
        variant_id=product.main.variant_id,
        stocktake_id=stocktake.stocktake_id,
        **await _imports(mark, shop),
        category_id=category_id,
        category_number=product.categories[0].number,
        picture_id=placed.picture.product_picture_id,
        picture_number=placed.picture.number,
        media_path=placed.picture.rendition("zoom").path,
        varied_product_id=varied.product_id,
        varied_variant_id=varied.variants[0].variant_id,
        **await _transfers(mark, shop),
        customer_id=buyer.customer_id,
        customer_email=buyer.email,
        customer_mobile=buyer.mobile,
        doomed_customer_id=doomed.customer_id,
        message_id=await _failed_message(mark, shop),
        bank_id=bank.bank_account_id,
        bank_number=bank.number,
        spare_bank_id=spare.bank_account_id,
        bare_product_id=bare.product_id,
        **await ways_in(mark, shop, await hire(shop, Role.CASHIER, shop.store_id)),
        **await _settings(mark, shop, kept, product.product_id),
        complaint_id=await _complaint(mark, shop),
    )


async def _mark_people(mark: str, shop: Shop, password_hash: str) -> str:
    """Put the mark on the owner and the stores, and let numbers begin high; a link's token."""
    async with shop.owner.transaction() as db:
        for counter in _COUNTERS:
            await db.value(
                f"SELECT take_numbers('{counter}', :first)", first=10**8 + secrets.randbelow(10**9)
            )
        await db.execute(
            "UPDATE user_account SET password_hash = :hash, first_name = :first, last_name = :last"
            " WHERE merchant_id = current_merchant()",
            hash=password_hash,
            first=f"{mark} first",
            last=f"{mark} last",
        )
        await db.execute(
            "UPDATE store SET state = :mark || ' state', city = :mark || ' city',"
            " address = :mark || ' street', seats = 1000 WHERE merchant_id = current_merchant()",
            mark=mark,
        )
        link_token, _ = await add_link(db, shop.user_id, VERIFY_PURPOSE, VERIFY_LINK_LIFETIME)
    return link_token


async def _customers(mark: str, shop: Shop, password_hash: str) -> list[Customer]:
    """Two people who buy here, without the messages that went to them."""
    first = NewCustomer(
        first_name=f"{mark} efe",
        last_name=f"{mark} umar",
        street=f"{mark} lane",
        email=f"efe.{mark}@shop.example",
        mobile=new_mobile(),
    )
    second = NewCustomer(first_name=f"{mark} doomed", email=f"doomed.{mark}@shop.example")
    customers = [await register(shop.owner, new) for new in (first, second)]
    async with shop.owner.transaction() as db:
        await db.execute(
            "UPDATE customer SET password_hash = :hash WHERE merchant_id = current_merchant()",
            hash=password_hash,
        )
        await db.execute("DELETE FROM message WHERE merchant_id = current_merchant()")
    return customers


async def _failed_message(mark: str, shop: Shop) -> UUID:
    """A mail that the server refused."""
    message = Message(
        channel="email",
        to=f"{mark}@shop.example",
        template="password-changed",
        subject=f"{mark} subject",
        text=f"{mark} text",
    )
    async with shop.owner.transaction() as db:
        await send_message(shop.owner, db, message)
        await db.execute(
            "UPDATE message SET status = 'failed', failed_at = now(), last_error = 'refused'"
            " WHERE merchant_id = current_merchant()"
        )
        found: UUID = await db.value("SELECT message_id FROM message WHERE merchant_id = current_merchant()")
    return UUID(int=found.int)


async def _settings(mark: str, shop: Shop, kept: KeptPicture, product_id: UUID) -> dict[str, Any]:
    """Texts, secrets, a gateway, a delivery point and a banner."""
    settings = await change_settings(
        shop.owner,
        SettingsChange(
            written={"site_title": f"{mark} online", "tag_line": f"{mark} for all"},
            features={"skypeId": f"{mark} skype"},
            # Everybody may read these, so that nothing of them is the shop's alone.
            pages={"about": "We weave.", "privacy": "We keep nothing.", "delivery": "Within a week."},
            secrets={"bvn": "22212345678", "google_key": f"{mark} key"},
            delivery_points=(PointWish(None, f"{mark} park"),),
            gateways=(
                GatewayWish(gateway_id=None, provider=f"{mark} payments", secret_key=f"{mark} secret"),
            ),
        ),
    )
    banner = await add_banner(shop.owner, NewBanner(title=f"{mark} week", product_id=product_id), kept)
    return {
        "banner_id": banner.banner_id,
        "gateway_id": settings.gateways[0].gateway_id,
        "point_id": settings.delivery_points[0].point_id,
    }


async def _complaint(mark: str, shop: Shop) -> UUID:
    """With a file."""
    new = NewComplaint(
        category="HARDWARE",
        severity="LOW",
        subject=f"{mark} till",
        message=f"{mark} till is slow",
        attachments=(Attachment(f"{mark}.pdf", "application/pdf", b"%PDF-1.7 receipt"),),
    )
    return (await log_complaint(shop.owner, new)).complaint_id


async def _imports(mark: str, shop: Shop) -> dict[str, Any]:
    """One that has ended with a row that failed, and one that nobody has gone on with."""
    ids = []
    with tempfile.TemporaryDirectory() as folder:
        for name, price in (("ended", "cheap"), ("begun", "5")):
            path = Path(folder) / f"{mark} {name}.csv"
            path.write_text(f"sku,name,price\n{mark}-{name},{mark} {name},{price}\n", encoding="utf-8")
            run = await begin_import(shop.owner, path, path.name, ImportOptions())
            if name == "ended":
                await run_import(shop.owner, run, path)
            ids.append(run.import_id)
    return {"import_id": ids[0], "running_import_id": ids[1]}


async def _transfers(mark: str, shop: Shop) -> dict[str, Any]:
    """Of goods of their own, so that the product stays one that nothing holds."""
    variant = NewVariant(
        price=Price(currency="NGN", selling_minor=20_000),
        opening=tuple(OpeningStock(store, Decimal(50)) for store in (shop.store_id, shop.second_store_id)),
    )
    goods = await create_product(
        shop.owner, NewProduct(name=f"{mark} crate", unit="litre", variants=(variant,))
    )
    there = shop.owner.acting_as(
        msgspec.structs.replace(shop.owner.caller, store_id=StoreId(shop.second_store_id))
    )

    def new(destination_id: UUID) -> NewTransfer:
        line = WantedLine(variant_id=goods.main.variant_id, quantity=Decimal(4))
        return NewTransfer(
            destination_id=destination_id, lines=(line,), reference=f"{mark} paper", note=f"{mark} note"
        )

    drafts = [await draft_transfer(shop.owner, new(shop.second_store_id)) for _ in range(2)]
    return {
        "transfer_id": (await send(there, new(shop.store_id))).transfer.transfer_id,
        "draft_id": drafts[0].transfer_id,
        "ready_id": drafts[1].transfer_id,
        "doomed_id": (await send(shop.owner, new(shop.second_store_id))).transfer.transfer_id,
    }


def _product(mark: str, shop: Shop, category_id: UUID) -> NewProduct:
    variant = NewVariant(
        price=Price(currency="NGN", selling_minor=150_000, cost_minor=90_000),
        sku=f"SKU-{mark}",
        barcode=f"BAR-{mark}",
        opening=(OpeningStock(shop.store_id, Decimal(1000)), OpeningStock(shop.second_store_id)),
    )
    return NewProduct(
        name=f"{mark} basket",
        variants=(variant,),
        description=f"{mark} woven by hand",
        brand=f"{mark} weavers",
        tags=(f"{mark} tag",),
        category_ids=(category_id,),
    )


def _varied_product(mark: str, shop: Shop) -> NewProduct:
    """Two variants of many that it could have."""
    option = ProductOption(f"{mark} size", tuple(f"{mark} {size}" for size in range(60)))
    variants = tuple(
        NewVariant(
            sku=f"VAR-{size}-{mark}",
            options=(OptionValue(option.name, option.values[size]),),
            opening=(OpeningStock(shop.store_id), OpeningStock(shop.second_store_id)),
        )
        for size in range(2)
    )
    main = NewVariant(price=Price(currency="NGN", selling_minor=900_000), sku=f"OWN-{mark}")
    return NewProduct(name=f"{mark} shirt", kind="variant", options=(option,), main=main, variants=variants)


async def hire(shop: Shop, role: Role, store_id: UUID) -> Staff:
    """Somebody new with that role at that store only."""
    user_id, mark = new_id(), new_id().hex
    email = f"staff.{mark}@shop.example"
    async with shop.owner.transaction() as db:
        await db.execute(
            """
            INSERT INTO user_account (merchant_id, user_id, username, email, mobile, first_name, last_name,
                                      password_hash, default_store_id, status, email_verified_at,
                                      picture_id)
            SELECT merchant_id, :user_id, :email, :email, :mobile, 'Musa', 'Bello', password_hash, :store_id,
                   'active', now(), picture_id
            FROM user_account WHERE merchant_id = current_merchant() AND user_id = :owner_id
            """,
            user_id=user_id,
            email=email,
            mobile=f"+234{int(mark[-12:], 16) % 10**10:010d}",
            store_id=store_id,
            owner_id=shop.user_id,
        )
        await db.value("SELECT add_account(:user_id)", user_id=user_id)
        await join_store(db, user_id, store_id, role)
        session = await open_session(shop.owner, db, user_id, store_id)
    return Staff(user_id, email, session.token, session.session_id)
