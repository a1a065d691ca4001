"""What the description says is what happens: its examples are sent, and each of its problems is provoked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from jsonschema import Draft202012Validator

from ordermill.engine import Order, OrderEngine, Reject, StoreUnavailable
from ordermill.http.app import routes
from ordermill.http.openapi import describe
from ordermill.http.orders import MAX_BULK
from ordermill.http.payloads import encode
from ordermill.store import queries
from ordermill.store.ledger import Ledger

if TYPE_CHECKING:
    from tests.http.conftest import Client, Gate, Reply

    Start = Callable[..., Client]

Tree = dict[str, Any]

DOCUMENT = json.loads(encode(describe(routes(OrderEngine("never-opened.db"), max_waiting=1))))
OPERATIONS = {tree["operationId"]: (p, m, tree) for p, item in DOCUMENT["paths"].items() for m, tree in item.items()}
ORDER = OPERATIONS["submitOrder"][2]["requestBody"]["content"]["application/json"]["example"]
PROBLEM = "application/problem+json"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


class Request:
    """The example of a call, as a request."""

    def __init__(self, name: str) -> None:
        path, method, self.operation = OPERATIONS[name]
        self.method = method.upper()
        examples = {p["name"]: p["schema"]["examples"][0] for p in self.operation["parameters"]}
        self.path = path.format_map(examples)
        self.query = {name: example for name, example in examples.items() if f"{{{name}}}" not in path}
        self.bodies = self.operation.get("requestBody", {}).get("content", {})

    def body(self, media_type: str) -> bytes:
        """The body, as it is sent."""
        example = self.bodies[media_type]["example"]
        return (example if isinstance(example, str) else json.dumps(example)).encode()

    def send(self, client: Client, query: str = "", media_type: str = "application/json", **headers: str) -> Reply:
        """Send it; with a body where the call takes one."""
        path = f"{self.path}?{query}" if query else self.path
        if not self.bodies:
            return client.send(self.method, path, headers=headers)
        return client.send(self.method, path, self.body(media_type), {"Content-Type": media_type} | headers)

    def talk(self, client: Client, length: int | None, body: bytes = b"", *, is_all: bool = True) -> Reply:
        """Send it with a body and a length that need not fit."""
        head = f"{self.method} {self.path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        head += "" if length is None else f"Content-Length: {length}\r\n"
        reply = client.talk(f"{head}\r\n".encode() + body, is_all=is_all)
        client.check(self.method, self.path, reply)
        return reply


def completed(client: Client, *order_ids: str) -> Client:
    """The same client, when these orders are Completed or Failed."""
    for order_id in order_ids:
        client.post("/orders", ORDER | {"order_id": order_id})
        client.get(f"/orders/{order_id}?wait=30")
    return client


def reject(_: Order) -> None:
    """A handler."""
    raise Reject("nothing to pay")


@pytest.fixture
def begin(start_server: Start, gate: Gate, request: pytest.FixtureRequest) -> Callable[[str], Client]:
    """Starts a server that is in the state which the example of a call begins with."""

    def start(name: str) -> Client:
        match name:
            case "submitOrder" | "submitOrders":
                return start_server()
            case "cancelOrder":
                client = start_server(gate, processors=1)
                client.post("/orders", ORDER | {"order_id": "o-0"})
                gate.wait_until_entered()
                client.post("/orders", ORDER)
                return client
            case "retryOrder":
                return completed(start_server(reject), "o-1")
            case "settleOrder":
                reviewed: Client = request.getfixturevalue("reviewed")
                return reviewed
            case "readOrderBulk":
                return completed(start_server(), "bulk")
            case _:
                return completed(start_server(), "o-0", "o-1")

    return start


def cases(*names: str) -> pytest.MarkDecorator:
    """Every call, or these, by name."""
    return pytest.mark.parametrize("name", names or OPERATIONS)


@cases()
def test_the_example_of_a_call_is_answered_as_described(begin: Callable[[str], Client], name: str) -> None:
    request, client = Request(name), begin(name)

    reply = request.send(client, urlencode(request.query))

    assert reply.status < 300
    answer = reply.json
    example = request.operation["responses"][str(reply.status)]["content"]["application/json"]["example"]
    if name == "readMetrics":  # whose numbers are of the moment
        assert answer.keys() == example.keys()
    elif name == "readOrderBulk":
        assert answer["order_id"] == "bulk"
    else:
        assert TIME.sub("TIME", json.dumps(answer)) == TIME.sub("TIME", json.dumps(example))


def test_an_order_that_is_sent_again_is_answered_as_described(client: Client) -> None:
    request = Request("submitOrder")
    completed(client, "o-1")

    reply = request.send(client)

    assert reply.status == 200
    assert reply.json["status"] == "Completed"


def test_many_orders_are_taken_in_every_media_type_as_described(client: Client) -> None:
    request = Request("submitOrders")

    replies = [request.send(client, media_type=media_type).json for media_type in request.bodies]

    assert [(reply["accepted"], reply["duplicates"], reply["rejected"]) for reply in replies] == [(1, 0, 1), (0, 1, 1)]


@pytest.mark.parametrize("media_type", OPERATIONS["readMetrics"][2]["responses"]["200"]["content"])
def test_metrics_are_given_in_every_media_type_as_described(client: Client, media_type: str) -> None:
    request = Request("readMetrics")

    reply = request.send(client, Accept=media_type)

    assert reply.headers.get_content_type() == media_type


@cases("readLiveness", "readReadiness")
def test_what_is_not_well_is_answered_as_described(client: Client, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(OrderEngine, "trouble", lambda _: ("the pool actor has died",))
    monkeypatch.setattr(OrderEngine, "dead_actors", lambda _: ("the pool actor has died",))
    request = Request(name)

    reply = request.send(client)

    assert reply.status == 503
    assert reply.json["reasons"] == ["the pool actor has died"]


@cases()
def test_a_call_takes_the_parameters_that_are_described_and_no_others(client: Client, name: str) -> None:
    request = Request(name)

    (error,) = request.send(client, "nothing=1").json["errors"]

    assert error["detail"] == f"is unknown here; known: {', '.join(request.query) or 'none'}"


@pytest.mark.parametrize(
    ("name", "parameter"), [(name, parameter) for name in OPERATIONS for parameter in Request(name).query]
)
def test_a_parameter_is_checked_as_described(client: Client, name: str, parameter: str) -> None:
    schemas = {p["name"]: p["schema"] for p in Request(name).operation["parameters"]}
    schema = schemas[parameter] | {"components": DOCUMENT["components"]}
    for value in ("0", "1", "30", "31", "1000", "1001", "-1", "a", "A", "a b", "Completed", "null", "true", ""):
        number = json.loads(value) if re.fullmatch(r"-?[0-9]+", value) else value
        is_number = {"integer", "number"} & {schema.get("type")}

        reply = Request(name).send(client, urlencode({parameter: value}))

        expected = Draft202012Validator(schema).is_valid(number if is_number else value)
        assert (reply.status != 422) == expected, value


def problems(name: str) -> list[tuple[str, str, int]]:
    """Every problem that a call is described to answer with, and its status."""
    responses = OPERATIONS[name][2]["responses"]
    return [
        (name, kind.rpartition(":")[2], int(status))
        for status, response in responses.items()
        if PROBLEM in response["content"]
        for kind in response["content"][PROBLEM]["schema"]["properties"]["type"]["enum"]
    ]


@pytest.mark.parametrize(
    ("name", "kind", "status"),
    [
        pytest.param(*problem, marks=pytest.mark.slow if "body-timeout" in problem else ())
        for name in OPERATIONS
        for problem in problems(name)
    ],
)
def test_every_problem_that_is_described_can_be_met(
    start_server: Start, gate: Gate, monkeypatch: pytest.MonkeyPatch, name: str, kind: str, status: int
) -> None:
    request = Request(name)

    reply = provoke(request, kind, status, start_server, gate, monkeypatch)

    assert reply.status == status
    assert reply.json["type"].rpartition(":")[2] == kind


def provoke(
    request: Request, kind: str, status: int, start_server: Start, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> Reply:
    """Have a call answered with a problem."""
    if kind == "body-timeout":
        return request.talk(start_server(socket_seconds=1), 2, b"{", is_all=False)
    if kind == "backlog-full":
        client = start_server(gate, max_backlog=1)
        client.post("/orders", ORDER | {"order_id": "o-0"})
        return request.send(client)
    if (kind, status) == ("blank", 413):
        return request.talk(start_server(max_body_bytes=1024), 1025)
    client = start_server()
    match kind:
        case "invalid-parameter":
            return request.send(client, "nothing=1")
        case "unsupported-media-type":
            return client.send(request.method, request.path, b"x", {"Content-Type": "text/csv"})
        case "length-required":
            return request.talk(client, None)
        case "truncated-body":
            return request.talk(client, 2, b"{")
        case "not-json":
            return request.talk(client, 1, b"{")
        case "invalid-order":
            return request.talk(client, 2, b"{}")
        case "content-too-large":
            return client.post(request.path, [None] * (MAX_BULK + 1))
        case "order-conflict":
            client.post("/orders", ORDER | {"item_ids": ["sku-3"]})
        case "transition-refused":
            completed(client, "o-1")
        case "stopping":
            client.engine.stop()
        case "store-unavailable":
            completed(client, "o-1")
            fail_with(StoreUnavailable(OSError("database or disk is full")), monkeypatch, Ledger, "record")
            fail_with(StoreUnavailable(OSError("disk I/O error")), monkeypatch, queries, "find", "history", "page")
        case "blank":
            calls = ("submit", "submit_many", "order", "status", "history", "orders", "cancel", "retry", "settle")
            fail_with(RuntimeError(), monkeypatch, OrderEngine, *calls, "metrics", "trouble", "dead_actors")
        case _:
            assert kind == "order-not-found"
    return request.send(client)


def fail_with(error: Exception, monkeypatch: pytest.MonkeyPatch, target: object, *names: str) -> None:
    """Have these functions raise an error."""

    def fail(*_: object, **__: object) -> None:
        raise error

    for name in names:
        monkeypatch.setattr(target, name, fail)
