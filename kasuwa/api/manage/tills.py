"""A till that people share, and the PIN that each of them enters with."""

from typing import Any

from kasuwa.api.manage.contract import NewPin, TillEntry
from kasuwa.api.manage.service import api
from kasuwa.base.context import Context
from kasuwa.base.ids import read_id
from kasuwa.domain.staff import pins, tills

Json = dict[str, Any]


@api.operation("setPin")
async def set_pin(context: Context, body: NewPin) -> Json:
    return {"hasPin": await pins.set_pin(context, body.pin, body.password)}


@api.operation("openTill")
async def open_till(context: Context) -> Json:
    opened = await tills.open_till(context)
    return {"tillToken": opened.token, "sessionId": opened.session_id, "expiresAt": opened.expires_at}


@api.operation("listTillPeople")
async def list_till_people(context: Context) -> Json:
    return {
        "data": [
            {
                "userId": person.user_id,
                "firstname": person.first_name,
                "lastname": person.last_name,
                "role": person.role,
            }
            for person in await tills.list_till_people(context)
        ]
    }


@api.operation("enterTill")
async def enter_till(context: Context, body: TillEntry) -> Json:
    entered = await tills.enter_till(context, read_id(body.userId), body.pin)
    return {
        "userId": entered.user_id,
        "sessiontoken": entered.session.token,
        "role": entered.role,
        "expiresAt": entered.session.expires_at,
    }
