"""What was sent, what became of it, and the languages of it."""

from typing import Any

from kasuwa.api.manage.contract import ListMessagesQuery, MessageLanguageChoice, ResendMessagePath
from kasuwa.api.manage.paging import page, read_cursor
from kasuwa.api.manage.service import api
from kasuwa.base.context import Context
from kasuwa.base.ids import read_id
from kasuwa.domain.messages.actions import choose_language, resend_message
from kasuwa.domain.messages.errors import MessageNotFound
from kasuwa.domain.messages.queries import MessageFilter, get_languages
from kasuwa.domain.messages.queries import list_messages as list_summaries
from kasuwa.domain.messages.records import Languages, MessageSummary
from kasuwa.domain.users.confirming import require_login

Json = dict[str, Any]


@api.operation("listMessages")
async def list_messages(context: Context, query: ListMessagesQuery) -> Json:
    wanted = MessageFilter(status=query.status, channel=query.channel)
    after = read_cursor(query.cursor)
    rows = await list_summaries(context, wanted, after=after, size=query.size + 1)
    return page(rows, query.size, view, lambda row: row.message_id)


@api.operation("resendMessage")
async def resend(context: Context, path: ResendMessagePath) -> Json:
    message_id = read_id(path.messageid)
    if message_id is None:
        raise MessageNotFound()
    return view(await resend_message(context, message_id))


@api.operation("getMessageLanguage")
async def get_language(context: Context) -> Json:
    return _languages(await get_languages(context))


@api.operation("chooseMessageLanguage")
async def choose(context: Context, body: MessageLanguageChoice) -> Json:
    require_login(context)
    return _languages(await choose_language(context, body.language, for_shop=body.scope == "shop"))


def _languages(languages: Languages) -> Json:
    return {"known": list(languages.known), "shop": languages.shop, "own": languages.own}


def view(message: MessageSummary) -> Json:
    return {
        "messageId": message.message_id,
        "channel": message.channel,
        "to": message.masked_to,
        "template": message.template,
        "status": message.status,
        "attempts": message.attempts,
        "lastError": message.last_error,
        "createdAt": message.created_at,
        "lastTriedAt": message.tried_at,
        "sentAt": message.sent_at,
        "canResend": message.can_resend,
    }
