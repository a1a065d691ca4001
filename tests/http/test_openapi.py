"""The description of the API: whole, valid, and true of the server that gives it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from ordermill.engine import OrderEngine, OrderStatus
from ordermill.http import problems
from ordermill.http.app import routes
from ordermill.http.call import Answer
from ordermill.http.openapi import describe
from ordermill.http.payloads import encode
from ordermill.http.route import Operation, Route
from ordermill.store.order import IDENTIFIER, MAX_ITEMS

if TYPE_CHECKING:
    from tests.http.conftest import Client

Tree = dict[str, Any]


def read(body: bytes) -> Any:
    """JSON with its exact numbers: in those of floats, 19.99 is no multiple of 0.01."""
    return json.loads(body, parse_float=Decimal)


TABLE = routes(OrderEngine("never-opened.db"), max_waiting=1)
DOCUMENT = read(encode(describe(TABLE)))
OPERATIONS = [(path, method, tree) for path, item in DOCUMENT["paths"].items() for method, tree in item.items()]
SCHEMAS = DOCUMENT["components"]["schemas"]

each_operation = pytest.mark.parametrize(
    ("path", "method", "operation"), OPERATIONS, ids=[tree["operationId"] for *_, tree in OPERATIONS]
)


def contents(operation: Tree) -> Iterator[Tree]:
    """Every body that a call takes or gives, with its schema and its examples."""
    yield from operation.get("requestBody", {}).get("content", {}).values()
    for response in operation["responses"].values():
        yield from response["content"].values()


def test_the_description_is_served_as_it_is_made(client: Client) -> None:
    reply = client.get("/openapi.json")

    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert read(reply.body) == DOCUMENT
    assert client.get("/openapi.json?format=yaml").status == 422


def test_the_description_is_valid_openapi() -> None:
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


def test_every_route_but_the_pages_about_the_api_is_described() -> None:
    about = {"/openapi.json", "/docs", "/docs/docs.js", "/docs/docs.css", "/docs/swagger.js", "/docs/swagger.css"}

    served = {(route.path, route.method.lower()) for route in TABLE if route.path not in about}

    assert served <= {(path, method) for path, method, _ in OPERATIONS}


def test_what_is_described_beyond_the_routes_is_an_order_whose_id_is_a_word_of_a_path(client: Client) -> None:
    routed = {(route.path, route.method.lower()) for route in TABLE}

    beyond = {(path, method) for path, method, _ in OPERATIONS} - routed

    assert beyond == {("/orders/bulk", "get")}
    assert DOCUMENT["paths"]["/orders/bulk"]["get"]["description"] == "For the order whose id is `bulk`."
    client.post("/orders", {"order_id": "bulk", "user_id": "u-1", "item_ids": ["sku-1"], "total_amount": 1})
    assert client.get("/orders/bulk").json["order_id"] == "bulk"


def test_every_call_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for *_, operation in OPERATIONS]

    assert len(set(names)) == len(names)


@each_operation
def test_a_call_is_described_whole(path: str, method: str, operation: Tree) -> None:
    assert operation["summary"]
    assert operation["tags"][0] in {tag["name"] for tag in DOCUMENT["tags"]}
    assert any(status.startswith("2") for status in operation["responses"])
    assert {"422", "500"} <= operation["responses"].keys()
    assert ("404" in operation["responses"]) == path.startswith("/orders/") * (
        path != "/orders/bulk" or method == "get"
    )
    for parameter in operation["parameters"]:
        assert parameter["description"]
        assert parameter["schema"]["examples"]
    for content in contents(operation):
        assert "example" in content or content["examples"]


@each_operation
def test_every_example_is_valid(path: str, method: str, operation: Tree) -> None:  # noqa: ARG001
    for parameter in operation["parameters"]:
        for example in parameter["schema"]["examples"]:
            check(parameter["schema"], example)
    for content in contents(operation):
        examples = [example["value"] for example in content.get("examples", {}).values()]
        for example in examples or [content["example"]]:
            check(content["schema"], example)


def check(schema: Tree, example: object) -> None:
    """The example is valid, and has no field that the description does not know."""
    closed = {name: {"additionalProperties": False} | component for name, component in SCHEMAS.items()}
    Draft202012Validator(schema | {"components": {"schemas": closed}}).validate(example)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_type_is_described(name: str) -> None:
    assert not SCHEMAS[name]["description"].startswith(f"{name}(")


def test_limits_and_statuses_are_those_of_the_store() -> None:
    fields = SCHEMAS["OrderRequest"]["properties"]

    assert fields["order_id"]["pattern"] == f"^{IDENTIFIER.pattern}$"
    assert fields["item_ids"]["maxItems"] == MAX_ITEMS
    assert SCHEMAS["OrderStatus"]["enum"] == sorted(OrderStatus)
    assert all(f"`{status}`: " in SCHEMAS["OrderStatus"]["description"] for status in OrderStatus)
    assert SCHEMAS["OrderRequest"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("amount", "is_valid"),
    [
        *[(amount, True) for amount in (0, 19.99, 20, 0.01, 9999999999.99, "0", "19.9", "19.99", "9999999999.99")],
        *[
            (amount, False)
            for amount in (-1, 19.999, 10000000000, "-1", "1e2", "19.999", "10000000000", "", True, None)
        ],
    ],
)
def test_the_description_of_money_takes_what_the_server_takes(client: Client, amount: object, is_valid: bool) -> None:
    schema = SCHEMAS["OrderRequest"] | {"components": DOCUMENT["components"]}
    order = {"order_id": "o-1", "user_id": "u-1", "item_ids": ["sku-1"], "total_amount": amount}

    assert client.post("/orders", order).status == (201 if is_valid else 422)
    assert Draft202012Validator(schema).is_valid(read(json.dumps(order).encode())) == is_valid


def test_what_is_sent_later_tells_when_to_come_back() -> None:
    for *_, operation in OPERATIONS:
        later = operation["responses"].get("503", {})
        if problems.MEDIA_TYPE in later.get("content", {}):
            assert later["headers"]["Retry-After"]["required"] is True


def test_an_order_that_was_sent_leads_to_everything_that_can_be_asked_about_it() -> None:
    links = DOCUMENT["paths"]["/orders"]["post"]["responses"]["201"]["links"]

    assert links.keys() == {tree["operationId"] for path, _, tree in OPERATIONS if "{order_id}" in path}


class Headers(msgspec.Struct, rename={"key": "Idempotency-Key"}):
    """The headers of a call that there is not."""

    key: Annotated[str, msgspec.Meta(description="A key.", extra={"rule": "must be there"}, examples=["k-1"])]


def test_the_headers_of_a_request_are_described_where_a_route_declares_them() -> None:
    operation = Operation("send", "Tag", replies=(), headers=Headers)
    route = Route("POST", "/send", lambda _: Answer(b""), operation)

    (described,) = describe([route])["paths"]["/send"]["post"]["parameters"]

    assert described == {
        "name": "Idempotency-Key",
        "in": "header",
        "required": True,
        "description": "A key.",
        "schema": {"type": "string", "examples": ["k-1"]},
    }
