"""What goes wrong around an operation is told in the words of the API whose path was called.

Over real sockets: most of it never reaches the application.
"""

import socket
from collections.abc import Iterator
from http.client import HTTPResponse

import pytest
from msgspec import Struct

from kasuwa.app import create_app, render_error
from kasuwa.base.http import api as operations
from kasuwa.base.http.protocol import ProtocolLimits, guarded_protocol
from kasuwa.handover import WorkerSetup
from tests.api.editors import check_refused
from tests.api.shoplazza_calls import BASES
from tests.base.http_serving import serving
from tests.shop import Shop

APIS = ("storeharmony", "manage", "bigcommerce", "bigcommerce-v2", *BASES)
_SECRET = "what only the log may say"
_LIMITS = ProtocolLimits(head_seconds=0.5, body_window_seconds=0.5, linger_seconds=0.2, look_seconds=0.1)


class Told(Struct, frozen=True):
    """An answer as `check_refused` takes it."""

    status_code: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return f"{self.status_code} {self.headers} {self.content!r}"


class Paths(Struct, frozen=True):
    """Where an API is called: its base, one of its writing operations, and a caller who may."""

    base: str
    write: str
    credentials: str


@pytest.fixture(scope="module")
def server(worker_setup: WorkerSetup) -> Iterator[int]:
    """The application behind its real protocol, which is patient for half a second. Its port."""
    app = create_app(worker_setup, run_jobs=False)
    with serving(app, guarded_protocol(render_error, _LIMITS)) as port:
        yield port


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def paths(api: str, shop: Shop) -> Paths:
    if api in ("storeharmony", "manage"):
        header = f"sessiontoken: {shop.session}"
        if api == "manage":
            return Paths("/manage", f"/manage/{shop.store_id}/tokens", header)
        return Paths("/cloudapi", f"/cloudapi/app/{shop.store_id}/categories", header)
    if api.startswith("bigcommerce"):
        base = f"/stores/{shop.store_hash}/" + ("v2" if api.endswith("v2") else "v3")
        write = "/products/1/images" if api.endswith("v2") else "/catalog/products"
        return Paths(base, base + write, f"X-Auth-Token: {shop.token}")
    return Paths(api, f"{api}/products", f"Access-Token: {shop.token}")


def ask(port: int, *parts: str) -> Told:
    """What is answered to these bytes, whatever they are."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as caller:
        for part in parts:
            caller.sendall(part.encode())
        answer = HTTPResponse(caller)
        answer.begin()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Told(answer.status, headers, answer.read())


def head(method: str, path: str, *headers: str) -> str:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", *headers, "", ""])


def post(paths: Paths, *headers: str) -> str:
    return head("POST", paths.write, paths.credentials, "Content-Type: application/json", *headers)


def test_a_path_without_an_operation_is_404(server: int, api: str, paths: Paths) -> None:
    check_refused(api, ask(server, head("GET", f"{paths.base}/nothing")), 404)


def test_a_method_that_the_path_has_not_is_405(server: int, api: str, paths: Paths) -> None:
    told = ask(
        server,
        head("PUT", paths.write if api != "bigcommerce" else f"{paths.base}/catalog/products/1/images"),
    )
    check_refused(api, told, 405)
    assert "POST" in told.headers["allow"]


def test_a_body_that_comes_too_slowly_is_408(server: int, api: str, paths: Paths) -> None:
    check_refused(api, ask(server, post(paths, "Content-Length: 100000"), "{"), 408)


def test_a_head_that_comes_too_slowly_is_408(server: int, api: str, paths: Paths) -> None:
    check_refused(api, ask(server, f"GET {paths.write} HTTP/1.1\r\nHost: a\r\n"), 408)


@pytest.mark.parametrize("size", [11 * 2**20, 300 * 2**20], ids=["for the operation", "for any"])
def test_a_body_that_is_too_large_is_413(server: int, api: str, paths: Paths, size: int) -> None:
    check_refused(api, ask(server, post(paths, f"Content-Length: {size}")), 413)


def test_headers_that_are_too_large_are_431(server: int, api: str, paths: Paths) -> None:
    check_refused(api, ask(server, head("GET", paths.write, "X-Long: " + "x" * 20_000)), 431)


def test_an_address_that_is_too_long_is_431(server: int, api: str, paths: Paths) -> None:
    check_refused(api, ask(server, head("GET", f"{paths.write}?search=" + "x" * 20_000)), 431)


def test_framing_that_can_be_read_in_two_ways_is_400(server: int, api: str, paths: Paths) -> None:
    check_refused(api, ask(server, head("GET", paths.write, "Host: b")), 400)


def test_another_version_of_http_is_505(server: int, api: str, paths: Paths) -> None:
    check_refused(api, ask(server, f"GET {paths.write} HTTP/2.0\r\nHost: a\r\n\r\n"), 505)


def test_a_fault_of_an_operation_is_500_and_keeps_its_reason(
    server: int, api: str, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError(_SECRET)

    monkeypatch.setattr(operations, "_act", fail)
    told = ask(server, post(paths, "Content-Length: 0"))
    check_refused(api, told, 500)
    assert _SECRET not in told.text


def test_a_fault_before_any_operation_is_500_and_keeps_its_reason(
    server: int, api: str, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError(_SECRET)

    monkeypatch.setattr("kasuwa.app._Routes.__call__", fail)
    told = ask(server, head("GET", paths.write))
    check_refused(api, told, 500)
    assert _SECRET not in told.text


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("no protocol at all\r\n\r\n", 400),
        ("GET\r\n\r\n", 400),
        # More than is read at once: the first reading alone may still be a good beginning.
        (f"GET /{'x' * 600_000}", 431),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ],
    ids=["no request", "no path", "no end of the path", "a star", "a host"],
)
def test_what_names_no_path_is_told_in_our_own_words(server: int, sent: str, status: int) -> None:
    """Before there is a path nobody can know the API: StoreHarmony's problems are what we speak then."""
    check_refused("storeharmony", ask(server, sent), status)


def test_a_whole_address_in_the_first_line_names_its_api_too(server: int, api: str, paths: Paths) -> None:
    """As a proxy writes it."""
    address = f"http://a{paths.base}/nothing"
    check_refused(api, ask(server, head("GET", address)), 404)
    check_refused(api, ask(server, head("GET", address, "Host: b")), 400)


# The controls --------------------------------------------------------------------------------------


def test_an_answer_in_the_words_of_another_api_would_be_noticed(server: int, api: str, paths: Paths) -> None:
    told = ask(server, head("GET", f"{paths.base}/nothing"))
    alike = ({"storeharmony", "manage"}, set(BASES[1:]))
    own = next((names for names in alike if api in names), {api})
    for other in set(APIS) - own:
        with pytest.raises((AssertionError, KeyError, TypeError, ValueError)):
            check_refused(other, told, 404)


def test_a_status_that_has_no_problem_of_its_own_would_be_noticed(
    server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body would name another status than the answer."""
    monkeypatch.setattr("kasuwa.app._GENERAL", ())
    told = ask(server, head("GET", "/cloudapi", "X-Long: " + "x" * 20_000))
    with pytest.raises(AssertionError):
        check_refused("storeharmony", told, 431)
