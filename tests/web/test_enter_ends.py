"""The link that a log-in gives for the web ends with that log-in."""

import pytest

from kasuwa.base.context import Context
from kasuwa.domain.users.errors import LinkNotFound
from kasuwa.domain.users.login import enter_by_link, log_in
from tests.client import Web
from tests.shop import PASSWORD, Shop

NEW = "nine brown kettles"


@pytest.mark.parametrize("ended", ["log-out", "other sessions", "a new password", "the control"])
async def test_a_link_of_a_log_in_that_has_ended_opens_nothing(web: Web, shop: Shop, ended: str) -> None:
    nobody = Context(web.services, request_id="test")
    entered = await log_in(nobody, shop.email, PASSWORD, address="198.51.100.7")
    [own, _] = [{"sessiontoken": store.token} for store in entered.stores]
    sessions = f"/manage/{entered.stores[0].store_id}/sessions"
    if ended == "log-out":
        answer = await web.delete(f"{sessions}/current", headers=own)
    elif ended == "other sessions":
        answer = await web.delete(sessions, headers={"sessiontoken": shop.session})
    elif ended == "a new password":
        body = {"oldPassword": PASSWORD, "newPassword": NEW}
        answer = await web.post(f"/cloudapi/user/{shop.user_id}/changePassword", headers=own, json=body)
    else:
        # Another log-in's end is none of this one's.
        later = await log_in(nobody, shop.email, PASSWORD, address="198.51.100.7")
        other = {"sessiontoken": later.stores[0].token}
        answer = await web.delete(f"{sessions}/current", headers=other)
    assert answer.is_success, answer.text
    if ended == "the control":
        await enter_by_link(nobody, entered.link_token)
    else:
        with pytest.raises(LinkNotFound):
            await enter_by_link(nobody, entered.link_token)
