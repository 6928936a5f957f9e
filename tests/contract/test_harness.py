"""The check of answers refuses each kind of broken answer, and nothing else."""

from typing import Any

import msgspec
import pytest

from tests.contract import harness
from tests.contract.harness import DIALECTS, METHODS, contracts_of, validate_answer
from tests.contract.instances import Instances

PROBLEM = {"content-type": "application/problem+json"}
JSON = {"Content-Type": "application/json; charset=utf-8"}
IMAGES = "/stores/shop1/v3/catalog/products/7/images"
SLZ_ID = "0198c7f2-5a10-7cc1-8d5e-2b1f4a6c9e01"
SLZ_PRODUCT = f"/openapi/2022-01/products/{SLZ_ID}"
BC_404 = b'{"status": 404, "title": "No such product", "type": "https://example.com/404"}'
BC_DEEP = b'{"status": 404, "title": "No", "type": "about:blank", "deep": {"a": 1}}'
SLZ_401 = b'{"error": "no"}'


def problem(status: int) -> bytes:
    return msgspec.json.encode({"type": "about:blank", "title": "No", "status": status})


def test_an_answer_as_promised_is_accepted() -> None:
    validate_answer("bigcommerce", "GET", IMAGES, 404, JSON, BC_404)
    validate_answer("bigcommerce", "DELETE", IMAGES + "/3", 204, {}, b"")
    validate_answer(
        "shoplazza",
        "GET",
        f"/openapi/2022-01/products/{SLZ_ID}",
        401,
        JSON | {"Request-Id": "r1"},
        SLZ_401,
    )
    envelope = b'{"code": "Unauthorized", "message": "no"}'
    with pytest.raises(AssertionError):
        validate_answer("shoplazza", "GET", f"/openapi/2022-01/products/{SLZ_ID}", 401, JSON, envelope)


@pytest.mark.parametrize(
    ("dialect", "method", "path", "status", "headers", "body", "fault"),
    [
        ("bigcommerce", "GET", IMAGES, 418, JSON, b"{}", "documents only"),
        ("bigcommerce", "GET", IMAGES, 500, JSON, b"{}", "the server broke"),
        ("bigcommerce", "GET", IMAGES, 404, {"content-type": "text/html"}, b"<p>", "content type"),
        ("bigcommerce", "GET", IMAGES, 404, {}, b"{}", "content type"),
        ("bigcommerce", "GET", IMAGES, 404, JSON, b'{"status": "404"}', "status"),
        ("bigcommerce", "GET", IMAGES, 404, JSON, b'{"status": 404', "not good JSON"),
        ("bigcommerce", "GET", IMAGES, 404, JSON, b'{"status": 404, "status": 404}', "not good JSON"),
        ("bigcommerce", "GET", IMAGES, 404, JSON, BC_DEEP, "deep"),
        ("bigcommerce", "DELETE", IMAGES + "/3", 204, {}, b"{}", "no body"),
        ("bigcommerce", "HEAD", IMAGES, 404, JSON, b'{"status": 404}', "HEAD has a body"),
        ("bigcommerce", "GET", IMAGES, 429, JSON | {"X-Retry-After": "soon"}, b"{}", "X-Retry-After"),
        ("bigcommerce", "GET", "/stores/shop1/v3/nothing", 200, JSON, b"{}", "no such path"),
        ("bigcommerce", "DELETE", IMAGES, 404, JSON, b"{}", "no such method"),
        ("bigcommerce", "DELETE", IMAGES, 405, JSON, b"{}", "Allow"),
        (
            "shoplazza",
            "GET",
            f"/openapi/2022-01/products/{SLZ_ID}",
            401,
            JSON,
            SLZ_401,
            "Request-Id",
        ),
    ],
)
def test_a_broken_answer_is_refused(
    dialect: str, method: str, path: str, status: int, headers: dict[str, str], body: bytes, fault: str
) -> None:
    with pytest.raises(AssertionError, match=fault):
        validate_answer(dialect, method, path, status, headers, body)


def test_undocumented_properties_pass_only_where_the_caller_says_so() -> None:
    validate_answer("bigcommerce", "GET", IMAGES, 404, JSON, BC_DEEP, known_only=False)
    with pytest.raises(AssertionError, match="deep"):
        validate_answer("bigcommerce", "GET", IMAGES, 404, JSON, BC_DEEP)


def test_unknown_paths_methods_and_unbuilt_operations_have_the_apis_error_body() -> None:
    validate_answer("storeharmony", "GET", "/cloudapi/no/such/path/at/all", 404, PROBLEM, problem(404))
    validate_answer("bigcommerce", "DELETE", IMAGES, 405, JSON | {"Allow": "GET, POST"}, BC_404)
    validate_answer("bigcommerce", "PATCH", IMAGES, 501, JSON, BC_404)
    with pytest.raises(AssertionError, match="content type"):
        validate_answer("storeharmony", "GET", "/cloudapi/no/such/path/at/all", 404, JSON, problem(404))


def test_head_never_does_what_a_get_that_acts_does() -> None:
    path = "/cloudapi/user/u1/switchStore/s1"
    validate_answer("storeharmony", "HEAD", path, 405, PROBLEM | {"Allow": "GET"}, b"")
    for status, headers in ((200, PROBLEM), (405, PROBLEM)):
        with pytest.raises(AssertionError, match="HEAD must not do"):
            validate_answer("storeharmony", "HEAD", path, status, headers, b"")


def test_a_501_is_allowed_for_listed_operations_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "open_operations", lambda: {("bigcommerce", "getProductImages")})
    validate_answer("bigcommerce", "GET", IMAGES, 501, JSON, BC_404)
    for method, path in (("POST", IMAGES), ("GET", IMAGES + "/3")):
        with pytest.raises(AssertionError, match="documents only"):
            validate_answer("bigcommerce", method, path, 501, JSON, BC_404)


def test_a_fixed_path_is_found_before_one_with_a_parameter() -> None:
    for dialect in DIALECTS:
        for contract in contracts_of(dialect):
            for path, item in contract.document["paths"].items():
                assert contract.find_path(path.replace("{", "x").replace("}", "")) is item, path


@pytest.mark.parametrize("dialect", ["storeharmony", "bigcommerce", "shoplazza"])
def test_a_good_answer_of_each_operation_is_accepted_and_a_spoilt_one_refused(dialect: str) -> None:
    for contract in contracts_of(dialect):
        schemas = contract.document["components"]["schemas"]
        base = contract.document["servers"][0]["url"].replace("{store_hash}", "shop1")
        for path, item in contract.document["paths"].items():
            for method in METHODS:
                for status, answer in item.get(method, {}).get("responses", {}).items():
                    answer = contract.follow(answer)
                    for media, content in answer.get("content", {}).items():
                        if status != "500" and media.endswith("json"):
                            url_path = base + path.replace("{", "x").replace("}", "")
                            value = Instances(schemas).good(content["schema"], 1)[0]
                            _assert_judged(dialect, method.upper(), url_path, int(status), media, value)


def _assert_judged(dialect: str, method: str, path: str, status: int, media: str, value: Any) -> None:
    headers = {"content-type": media, "Request-Id": "r1"}
    validate_answer(dialect, method, path, status, headers, msgspec.json.encode(value))
    with pytest.raises(AssertionError):
        validate_answer(dialect, method, path, status, headers, b"7")
