"""The life of a request, once for all APIs: admit, read, act, keep, answer.

A dialect says who may come in and how its errors read; the contract says what each operation takes and
gives; a handler does the work. Handlers name what they want by parameter: `context`, `exchange`, `path`,
`query` and `body`.
"""

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import structlog
from litestar import Request
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.status_codes import HTTP_204_NO_CONTENT, HTTP_304_NOT_MODIFIED
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct

from kasuwa.base.context import Context, Sender, Services
from kasuwa.base.http.body import read_body, require_media_type
from kasuwa.base.http.caching import etag, not_modified, refuse_head
from kasuwa.base.http.contract import Checks, Operation, check_headers, decode, encode, read_path, read_query
from kasuwa.base.http.identity import current_request_id
from kasuwa.base.http.origin import base_url, caller_address
from kasuwa.base.http.streams import BegunStream, Stream, begin
from kasuwa.base.once import KeptAnswer, Once, Replay, packed
from kasuwa.base.problems import FieldFault, Invalid, NotImplementedHere, Problem

log = structlog.get_logger("kasuwa.api")

AnyRequest = Request[Any, Any, Any]
Handler = Callable[..., Awaitable[Any]]
Read = Callable[["Exchange"], Awaitable[Any]]

BODY_BYTES = 10 * 1024 * 1024
# Longer ones are decoded in a thread: they would hold everybody else up.
_DECODED_IN_PLACE_BYTES = 128 * 1024
# Statuses whose answers have no body, and so no length of one.
_WITHOUT_BODY = frozenset({HTTP_204_NO_CONTENT, HTTP_304_NOT_MODIFIED})
_KEY = re.compile(r"[A-Za-z0-9._:-]{8,128}")


class Answer(Struct, frozen=True):
    """What a handler gives when it is not just the success body of the contract.

    A read with `Cache-Control: no-store` among its headers has no ETag; any other may be kept by the caller.
    `state` is what the ETag stands for, so that If-Match takes it however the body was cut; a change that
    gives one answers with its ETag too.
    """

    body: Any = None
    status: int | None = None
    headers: Mapping[str, str] = {}
    state: bytes = b""


class RawJson(Struct, frozen=True):
    """JSON that is written already, such as a page put together by the database."""

    content: bytes


class RawFile(Struct, frozen=True):
    """A file as it is, such as a picture that only its owner may see."""

    content: bytes
    media_type: str


class InternalFault(Problem):
    """A fault of ours: the caller learns the request id and nothing else."""

    status = 500
    code = "internal"
    title = "The server failed"


class Exchange:
    """One request and what goes back with its answer, whatever becomes of it."""

    __slots__ = ("at_end", "context", "dialect", "fingerprint", "headers", "operation", "request")

    def __init__(
        self, dialect: "Dialect", request: AnyRequest, operation: Operation | None, context: Context
    ) -> None:
        self.dialect = dialect
        self.request = request
        self.operation = operation
        self.context = context
        self.headers: dict[str, str] = {}
        # What makes two requests the same for an Idempotency-Key, beside method and address.
        self.fingerprint = b""
        # Done before the answer leaves, whatever it is: what was put aside for the request goes.
        self.at_end: list[Callable[[], Awaitable[None]]] = []


class Dialect:
    """One API: its contract, who may come in, and how its errors read."""

    name: ClassVar[str]
    base_paths: ClassVar[tuple[str, ...]]
    operations: ClassVar[Mapping[str, Operation]]
    checks: ClassVar[Checks]
    json_types: ClassVar[frozenset[str]] = frozenset({"application/json"})
    # Whether a file in contract/ promises the operations.
    has_contract: ClassVar[bool] = True
    # Headers whose absence is a 401, which `admit` says.
    credential_headers: ClassVar[tuple[str, ...]] = ()

    async def admit(self, exchange: Exchange) -> None:
        """Prove the caller, spend their quota and check what the path says about them.

        Sets `exchange.context` to the caller's and adds the quota's headers.
        """
        raise NotImplementedError

    def refusal(self, problem: Problem, exchange: Exchange | None) -> tuple[Any, str, Mapping[str, str]]:
        """Body, media type and headers of the problem in this API's words.

        Without an exchange the fault lies in the protocol: there is no request yet.
        """
        raise NotImplementedError

    def unrouted(self, problem: Problem, method: str) -> Problem:
        """What a path or method without an operation means in this API."""
        return problem

    def success(self, body: Any, exchange: Exchange) -> Any:
        """The success body as it goes out: an envelope, where the API has one."""
        return body

    def reread(self, problem: Invalid, place: str) -> Problem:
        """What a fault of `path`, `query`, `header` or `body` means in this API."""
        return problem

    def status_of(self, problem: Problem, exchange: Exchange | None) -> int:
        return problem.status


class Registered(Struct, frozen=True):
    dialect: Dialect
    operation: Operation
    handler: Handler | None
    read: Read | None


class Api:
    """The operations of one dialect, gathered by `@api.operation("operationId")`."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.registered: dict[str, Registered] = {}

    def operation(self, operation_id: str, *, read: Read | None = None) -> Callable[[Handler], Handler]:
        """Register the handler. `read` reads a body that is more than one JSON document."""
        operation = self.dialect.operations[operation_id]

        def register(handler: Handler) -> Handler:
            assert operation_id not in self.registered, f"{operation_id} is registered twice"
            self.registered[operation_id] = Registered(self.dialect, operation, handler, read)
            return handler

        return register

    def routes(self, services: Callable[[], Services]) -> list[HTTPRouteHandler]:
        """Litestar's handlers, one for each path; operations that are not built yet say so."""
        at: dict[str, dict[str, Registered]] = {}
        for base in self.dialect.base_paths:
            for name, operation in self.dialect.operations.items():
                registered = self.registered.get(name) or _unbuilt(self.dialect, operation)
                at.setdefault(_template(operation, base), {})[operation.method.upper()] = registered
        return [_route(path, operations, services) for path, operations in at.items()]


def _unbuilt(dialect: Dialect, operation: Operation) -> Registered:
    """An operation that the contract promises and nobody has built."""
    return Registered(dialect, operation, None, None)


def _template(operation: Operation, base: str) -> str:
    """The path of the operation as Litestar writes it."""
    return re.sub(r"\{(\w+)\}", r"{\1:str}", base + operation.path)


def _route(
    path: str, operations: Mapping[str, Registered], services: Callable[[], Services]
) -> HTTPRouteHandler:
    """One handler for all methods of a path: Litestar takes as long for each handler as for each path."""
    methods = {"OPTIONS", *operations}
    allow = {"allow": ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))}
    wanted = {method: _wanted(one) for method, one in operations.items()}

    async def handle(request: AnyRequest) -> ASGIApp:
        registered = operations.get(request.method)
        if registered is None:
            return _Written(KeptAnswer(HTTP_204_NO_CONTENT, allow, b""), {})
        operation = registered.operation
        request.scope["state"]["operation"] = operation.operation_id
        exchange = Exchange(registered.dialect, request, operation, begin_context(services(), request))
        return await answer(exchange, lambda: _act(registered, exchange, wanted[request.method]))

    return HTTPRouteHandler(
        path,
        http_method=[HttpMethod(method) for method in sorted(methods)],
        status_code=200,  # each answer says its own
    )(handle)


def _wanted(registered: Registered) -> frozenset[str]:
    """What the handler asks for, by the names of its parameters."""
    wanted = frozenset(inspect.signature(registered.handler or _nothing).parameters)
    unknown = wanted - {"context", "exchange", "path", "query", "body"}
    assert not unknown, f"{registered.operation.operation_id} asks for {sorted(unknown)}"
    return wanted


def _nothing() -> None:
    """What an operation that is not built asks for."""


def begin_context(services: Services, request: AnyRequest) -> Context:
    """The context of a request before anybody has proved who asks."""
    settings = services.settings
    return Context(
        services,
        request_id=current_request_id(),
        url_base=base_url(request, settings.public_url, settings.host_names()),
        find_sender=partial(_sender_of, request),
    )


def _sender_of(request: AnyRequest) -> Sender:
    return Sender(caller_address(request), request.headers.get("user-agent", ""))


async def answer(exchange: Exchange, act: Callable[[], Awaitable[KeptAnswer | BegunStream]]) -> ASGIApp:
    """Run `act`; whatever happens becomes an answer in the dialect's words."""
    given: KeptAnswer | BegunStream
    try:
        given = await act()
    except Replay as replay:
        given = replay.answer
    except Problem as problem:
        given = refuse(problem, exchange)
    except Exception as error:
        log.exception("request.failed", error=type(error).__name__)
        given = refuse(InternalFault(), exchange)
    finally:
        # What a keyed request has not completed is undone, also when its caller has gone.
        await exchange.context.complete(None)
        for end in exchange.at_end:
            await end()
    if isinstance(given, BegunStream):
        given.headers = exchange.headers
        return given
    return _Written(given, exchange.headers)


class _Written:
    """An answer that is bytes already: a response of Litestar's would look at it from all sides first."""

    __slots__ = ("given", "headers")

    def __init__(self, given: KeptAnswer, headers: Mapping[str, str]) -> None:
        self.given = given
        self.headers = {**given.headers, **headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = self.given
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in self.headers.items()]
        if given.status not in _WITHOUT_BODY:
            headers.append((b"content-length", b"%d" % len(given.body)))
        await send({"type": "http.response.start", "status": given.status, "headers": headers})
        await send({"type": "http.response.body", "body": given.body, "more_body": False})


def refuse(problem: Problem, exchange: Exchange) -> KeptAnswer:
    """The problem as an answer of the exchange's API."""
    body, media_type, headers = exchange.dialect.refusal(problem, exchange)
    return KeptAnswer(
        exchange.dialect.status_of(problem, exchange),
        {**problem.headers, **headers, "Content-Type": media_type, "Cache-Control": "no-store"},
        encode(body),
    )


async def _act(
    registered: Registered, exchange: Exchange, wanted: frozenset[str]
) -> KeptAnswer | BegunStream:
    dialect, operation, request = registered.dialect, registered.operation, exchange.request
    if registered.handler is None:
        raise NotImplementedHere("This operation is not built yet.")
    if not operation.safe:
        refuse_head(request)
    await dialect.admit(exchange)
    values: dict[str, Any] = {}
    try:
        place = "path"
        if operation.path_parameters is not None:
            values["path"] = read_path(operation.path_parameters, request.path_params, dialect.checks)
        place = "header"
        if operation.headers:
            check_headers(operation, request.headers, secret=dialect.credential_headers)
        place = "query"
        if operation.query is not None:
            values["query"] = read_query(operation.query, request.query_params.multi_items(), dialect.checks)
        place = "body"
        if operation.body:
            values["body"] = await (registered.read or _read_json)(exchange)
    except Invalid as problem:
        raise dialect.reread(problem, place) from problem
    if not operation.safe:
        await _once(exchange)
    values["context"], values["exchange"] = exchange.context, exchange
    result = await registered.handler(**{name: values[name] for name in wanted})
    return await _finished(exchange, result)


async def _finished(exchange: Exchange, result: Any) -> KeptAnswer | BegunStream:
    operation = exchange.operation
    assert operation is not None
    if isinstance(result, Stream):
        assert operation.safe, "what is streamed cannot be kept for an Idempotency-Key"
        return await begin(result, operation.success_status)
    given = _given(exchange, result)
    # A refusal keeps nothing: the same key may try again.
    if exchange.context.has_key:
        await exchange.context.complete(packed(given) if given.status < 400 else None)
    return given


async def _read_json(exchange: Exchange) -> Any:
    operation = exchange.operation
    assert operation is not None
    # A body that may be left out needs no media type then.
    content = None if operation.body_required else await read_body(exchange.request, BODY_BYTES)
    if content == b"":
        return None
    media_type = require_media_type(exchange.request, operation.body.keys())
    if content is None:
        content = await read_body(exchange.request, BODY_BYTES)
    exchange.fingerprint = content
    kind, checks = operation.body[media_type], exchange.dialect.checks
    if len(content) > _DECODED_IN_PLACE_BYTES:
        return await asyncio.to_thread(decode, content, kind, checks)
    return decode(content, kind, checks)


async def _once(exchange: Exchange) -> None:
    key = exchange.request.headers.get("idempotency-key")
    if key is None:
        return
    if not _KEY.fullmatch(key):
        fault = FieldFault(
            "#/header/Idempotency-Key",
            "pattern",
            "Use 8 to 128 letters, digits, dots, dashes, underscores or colons.",
        )
        raise exchange.dialect.reread(Invalid(faults=[fault]), "header")
    request, caller = exchange.request, exchange.context.caller
    # A user is the same in a new session: a till that had to log in again may repeat what it sent.
    caller_id = caller.user_id or caller.id
    who = f"{exchange.dialect.name}/{caller.kind}/{caller.merchant_id}/{caller.store_id}/{caller_id}"
    address = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    once = Once(exchange.context.services.sealer, caller=who, key=key, request=address + exchange.fingerprint)
    kept = await once.find(exchange.context.services.pool)
    if kept is not None:
        raise Replay(kept)
    exchange.context.answer_once(once)


def _given(exchange: Exchange, result: Any) -> KeptAnswer:
    operation = exchange.operation
    assert operation is not None
    status, headers, state = operation.success_status, {}, b""
    if isinstance(result, Answer):
        status, headers, state = result.status or status, dict(result.headers), result.state
        result = result.body
    if status == 204:
        return KeptAnswer(status, headers, b"")
    if isinstance(result, RawFile):
        content = result.content
        headers |= {"Content-Type": result.media_type, "X-Content-Type-Options": "nosniff"}
    else:
        body = exchange.dialect.success(result, exchange)
        content = body.content if isinstance(body, RawJson) else encode(body)
        headers["Content-Type"] = "application/json"
    is_kept = headers.get("Cache-Control") != "no-store"
    if operation.method.upper() == "GET" and operation.safe and status == 200 and is_kept:
        tag = etag(content, state)
        headers["ETag"] = tag
        headers["Cache-Control"] = "private, no-cache"
        if not_modified(exchange.request, tag):
            return KeptAnswer(HTTP_304_NOT_MODIFIED, {"ETag": tag}, b"")
    else:
        headers["Cache-Control"] = "no-store"
        if state:
            headers["ETag"] = etag(content, state)
    return KeptAnswer(status, headers, content)
