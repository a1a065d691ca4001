"""The description of the API: whole, valid, and true of the server that gives it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from ordermill.engine import OrderEngine, OrderStatus
from ordermill.http.api.event_feed import EventFeed
from ordermill.http.api.problems import PROBLEM_KINDS
from ordermill.http.api.responses import encode
from ordermill.http.framework.body import NO_BODY
from ordermill.http.framework.parameters import NoParameters
from ordermill.http.framework.request import Inputs
from ordermill.http.framework.response import Response
from ordermill.http.framework.route import Operation, Route, Tag
from ordermill.http.openapi.describe import describe
from ordermill.http.routes import routes
from ordermill.http.security.access import PUBLIC
from ordermill.http.security.api_keys import Role, create_key
from ordermill.http.security.protection import UNPROTECTED
from ordermill.store.domain.order import IDENTIFIER, MAX_ITEMS

if TYPE_CHECKING:
    from tests.http.conftest import Client

Tree = dict[str, Any]
NAME = "X-Request-ID"


def read(body: bytes) -> Any:
    """JSON with its exact numbers: in those of floats, 19.99 is no multiple of 0.01."""
    return json.loads(body, parse_float=Decimal)


ENGINE = OrderEngine("never-opened.db")
TABLE = routes(ENGINE, EventFeed(ENGINE, 1), 1, UNPROTECTED)
DOCUMENT = read(encode(describe(TABLE, PROBLEM_KINDS)))
GUARDED = read(encode(describe(TABLE, PROBLEM_KINDS, needs_keys=True)))
OPERATIONS = [(path, method, tree) for path, item in DOCUMENT["paths"].items() for method, tree in item.items()]
SCHEMAS = DOCUMENT["components"]["schemas"]

each_operation = pytest.mark.parametrize(
    ("path", "method", "operation"), OPERATIONS, ids=[tree["operationId"] for *_, tree in OPERATIONS]
)


def contents(operation: Tree) -> Iterator[Tree]:
    """Every body that a call takes or gives, with its schema and its examples."""
    yield from operation.get("requestBody", {}).get("content", {}).values()
    for response in operation["responses"].values():
        yield from response.get("content", {}).values()


def test_the_description_is_served_as_it_is_made(client: Client) -> None:
    reply = client.get("/openapi.json")

    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert read(reply.body) == DOCUMENT
    assert client.get("/openapi.json?format=yaml").status == 422


def test_the_limit_of_an_order_is_written_down_and_kept(client: Client, order: Callable[..., dict[str, Any]]) -> None:
    assert "A body has 64 KiB at the most." in DOCUMENT["paths"]["/orders"]["post"]["description"]
    body = json.dumps(order())

    assert client.post_text(body + " " * (2**16 - len(body))).status == 201
    assert client.post_text(body + " " * (2**16 - len(body) + 1)).status == 413


@pytest.mark.parametrize("document", [DOCUMENT, GUARDED], ids=["open", "guarded"])
def test_the_description_is_valid_openapi(document: Tree) -> None:
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


@pytest.mark.parametrize("document", [DOCUMENT, GUARDED], ids=["open", "guarded"])
def test_the_description_says_where_the_api_is_what_keys_it_needs_and_what_its_groups_hold(document: Tree) -> None:
    operations = [operation for item in document["paths"].values() for operation in item.values()]

    assert document["servers"][0]["url"] == "/"
    assert document["security"] == []
    assert document["info"]["license"]["identifier"] == "MIT"
    assert all(tag["description"] for tag in document["tags"])
    assert {tag for operation in operations for tag in operation["tags"]} == {tag["name"] for tag in document["tags"]}


def test_a_server_with_keys_describes_who_may_do_what(start_server: Callable[..., Client], tmp_path: Path) -> None:
    create_key(tmp_path / "keys", [Role.READ])

    reply = start_server(keys_file=str(tmp_path / "keys")).get("/openapi.json")

    assert (reply.status, read(reply.body)) == (200, GUARDED)
    assert GUARDED["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for route in TABLE:
        if route.operation is not None:
            tree = GUARDED["paths"][route.path][route.method.lower()]
            assert tree["security"] == [{"key": [role]} for role in sorted(route.permission.roles)]
            assert {"401", "403"} & tree["responses"].keys() == ({"401", "403"} if route.permission.roles else set())
    assert "not bound to a user" in GUARDED["paths"]["/metrics"]["get"]["description"]


def test_a_server_without_keys_describes_none() -> None:
    assert "securitySchemes" not in DOCUMENT["components"]
    assert all("401" not in tree["responses"] for *_, tree in OPERATIONS)
    assert all("security" not in tree for *_, tree in OPERATIONS)


def test_every_route_but_the_pages_about_the_api_is_described_and_nothing_else() -> None:
    about = {"/", "/openapi.json", "/docs", "/docs/docs.js", "/docs/docs.css", "/docs/swagger.js", "/docs/swagger.css"}

    served = {(route.path, route.method.lower()) for route in TABLE if route.path not in about}

    assert served == {(path, method) for path, method, _ in OPERATIONS}


def test_every_call_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for *_, operation in OPERATIONS]

    assert len(set(names)) == len(names)


@each_operation
def test_a_call_is_described_whole(path: str, method: str, operation: Tree) -> None:
    assert method in {"get", "post", "put", "patch", "delete"}
    assert operation["summary"]
    assert operation["tags"][0] in {tag["name"] for tag in DOCUMENT["tags"]}
    assert any(status.startswith("2") for status in operation["responses"])
    assert {"400", "408", "411", "414", "422", "431", "500", "503"} <= operation["responses"].keys()
    assert ("413" in operation["responses"]) is ("requestBody" in operation)
    assert NAME in {parameter["name"] for parameter in operation["parameters"]}
    assert all(NAME in response["headers"] for response in operation["responses"].values())
    assert ("404" in operation["responses"]) == ("{" in path)
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
        for status in {"429", "503"} & operation["responses"].keys():
            later = operation["responses"][status]
            assert later["headers"]["Retry-After"]["required"] is ("application/json" not in later["content"])


def test_an_order_that_was_sent_leads_to_everything_that_can_be_asked_about_it() -> None:
    links = DOCUMENT["paths"]["/orders"]["post"]["responses"]["201"]["links"]

    assert links.keys() == {tree["operationId"] for path, _, tree in OPERATIONS if "{order_id}" in path}


def test_a_description_asks_for_no_more_than_what_has_changed(client: Client) -> None:
    first = client.get("/openapi.json")

    again = client.get("/openapi.json", **{"If-None-Match": first.headers["ETag"]})

    assert (again.status, again.body) == (304, b"")
    assert first.headers["Cache-Control"] == "public, no-cache"


class Headers(msgspec.Struct, rename={"key": "Idempotency-Key"}):
    """The headers of a call that there is not."""

    key: Annotated[str, msgspec.Meta(description="A key.", examples=["k-1"])]


def test_the_headers_of_a_request_are_described_where_a_route_declares_them() -> None:
    operation = Operation("send", Tag.ORDERS, Inputs(NoParameters, Headers, NO_BODY), results=())
    route = Route("POST", "/send", lambda _: Response(b""), PUBLIC, operation)

    (described,) = describe([route], PROBLEM_KINDS)["paths"]["/send"]["post"]["parameters"]

    assert described == {
        "name": "Idempotency-Key",
        "in": "header",
        "required": True,
        "description": "A key.",
        "schema": {"type": "string", "examples": ["k-1"]},
    }
