"""What the description says is what happens: its examples are sent, and each of its problems is provoked."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from jsonschema import Draft202012Validator

from ordermill.engine import (
    ActionState,
    Engine,
    Order,
    OrderEngine,
    RehearsalFailed,
    Reject,
    StoreUnavailable,
    interface,
)
from ordermill.engine.actors import steering
from ordermill.engine.actors import webhooks as webhook_changes
from ordermill.engine.rehearsal import rehearsals
from ordermill.http.api.event_feed import EventFeed
from ordermill.http.api.problems import PROBLEM_KINDS
from ordermill.http.api.responses import encode
from ordermill.http.api.waiting_places import WaitingPlaces
from ordermill.http.loop_engine import LoopEngine
from ordermill.http.openapi.describe import describe
from ordermill.http.processes.remote_engine import RemoteEngine
from ordermill.http.routes import routes
from ordermill.http.security.api_keys import Role, create_key
from ordermill.http.security.keyring import Keyring
from ordermill.http.security.protection import UNPROTECTED
from ordermill.http.transport.buffer_budget import BufferBudget
from ordermill.http.wire.request_head import MAX_FIELDS, MAX_TARGET_BYTES
from ordermill.store import audit_log, bulk_actions, engines, event_log, failures, queries, search
from ordermill.store.ledger import Ledger

if TYPE_CHECKING:
    from tests.http.conftest import Client, Reply

    from ordermill.engine.testing import Held

    Start = Callable[..., Client]
    Provoke = Callable[[str, "Request"], Reply]

Tree = dict[str, Any]

ENGINE = OrderEngine("never-opened.db")
TABLE = routes(ENGINE, EventFeed(ENGINE, 1), 1, UNPROTECTED)
DOCUMENT, GUARDED = (json.loads(encode(describe(TABLE, PROBLEM_KINDS, needs_keys=needed))) for needed in (False, True))
OPERATIONS = {tree["operationId"]: (p, m, tree) for p, item in DOCUMENT["paths"].items() for m, tree in item.items()}
ORDER = OPERATIONS["submitOrder"][2]["requestBody"]["content"]["application/json"]["example"]
REQUEST_ID = OPERATIONS["submitOrder"][2]["parameters"][0]["schema"]["examples"][0]
PROBLEM = "application/problem+json"
METRICS = re.compile(r"event: metrics\n.*\n\n")
VARIES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z|wh_[0-9a-f]{16}|whsec_[^\"]{44}")


class Request:
    """The example of a call, as a request."""

    def __init__(self, name: str) -> None:
        path, method, self.operation = OPERATIONS[name]
        self.method = method.upper()
        examples = {p["name"]: p["schema"]["examples"][0] for p in self.operation["parameters"]}
        self.path = path.format_map(examples)
        self.query, self.headers = (
            {p["name"]: p["schema"]["examples"][0] for p in self.operation["parameters"] if p["in"] == place}
            for place in ("query", "header")
        )
        self.bodies = self.operation.get("requestBody", {}).get("content", {})

    def body(self, media_type: str) -> bytes:
        """The body, as it is sent."""
        example = self.bodies[media_type]["example"]
        return (example if isinstance(example, str) else json.dumps(example)).encode()

    def send(self, client: Client, query: str = "", media_type: str = "application/json", **headers: str) -> Reply:
        """Send it; with a body where the call takes one."""
        if self.path == "/events" and "timeout" not in query:  # or it would not end
            query = f"{query}&timeout=0"
        path = f"{self.path}?{query}" if query else self.path
        if not self.bodies:
            return client.send(self.method, path, headers=headers)
        return client.send(self.method, path, self.body(media_type), {"Content-Type": media_type} | headers)

    def talk(
        self,
        client: Client,
        *lines: str,
        body: bytes = b"",
        query: str = "",
        is_all: bool = True,
        is_head_whole: bool = True,
    ) -> Reply:
        """Send it with these lines in its head, and a body that need not fit."""
        head = [
            f"{self.method} {self.path}{query} HTTP/1.1",
            "Host: localhost",
            "Content-Type: application/json",
            *lines,
        ]
        end = ["", ""] if is_head_whole else []
        return client.talk("\r\n".join([*head, *end]).encode() + body, is_all=is_all)


def completed(client: Client, *order_ids: str) -> Client:
    """The same client, when these orders are Completed or Failed."""
    for order_id in order_ids:
        client.send_json("POST", "/orders", ORDER | {"order_id": order_id}, {"X-Request-ID": REQUEST_ID})
        client.get(f"/orders/{order_id}?wait=30")
    return client


AS_JSON = {"Content-Type": "application/json"}


def finished(client: Client, action_id: int) -> None:
    """Wait until an action on many orders is over."""
    while client.engine.action(action_id).state is ActionState.RUNNING:
        time.sleep(0.002)


def with_webhook(client: Client, sql: Callable[[str], list[Any]]) -> Client:
    """The same client, when there is a webhook that an event was delivered to."""
    engine = client.engine
    engine.create_webhook(
        "https://shop.example/hooks", events=("order.completed", "order.failed"), description="the shop"
    )
    sql("UPDATE webhooks SET webhook_id = 'wh_0123456789abcdef'")
    event = "'evt_0123456789abcdef01234567', 1, 3, 'o-1', 'order.completed', 10, '{}'"
    sql(f"INSERT INTO outbox (event_id, sequence, number, order_id, type, at, subject) VALUES ({event})")
    sql(
        "INSERT INTO deliveries (webhook, event, sequence, attempts, created_at, ended_at, is_delivered)"
        f" VALUES (1, 1, 1, 1, 10, {time.time_ns() // 1000}, 1)"
    )
    attempt = "1, 1, 10, 200, 'ok', 12345"
    sql(f"INSERT INTO delivery_attempts (delivery, number, at, status, answer, latency) VALUES ({attempt})")
    return client


def reject(_: Order) -> None:
    """A handler."""
    raise Reject("nothing to pay")


@pytest.fixture
def begin(start_server: Start, gate: Held, request: pytest.FixtureRequest) -> Callable[[str], Client]:
    """Starts a server that is in the state which the example of a call begins with."""

    def start(name: str) -> Client:
        match name:
            case "submitOrder" | "submitOrders":
                return start_server()
            case "cancelOrder" | "rescheduleOrder":
                client = start_server(gate, processors=1)
                client.post("/orders", ORDER | {"order_id": "o-0"})
                gate.begun()
                client.post("/orders", ORDER)
                return client
            case "retryOrder":
                return completed(start_server(reject), "o-1")
            case "listOrders" | "listFailures":
                return completed(start_server(reject), "o-0", "o-1")
            case "startAction" | "readAction" | "stopAction" | "listActions":
                client = completed(start_server(reject), "o-0", "o-1")
                client.post("/control/pause", {})
                if name != "startAction":
                    client.send("POST", "/orders/actions", Request("startAction").body("application/json"), AS_JSON)
                    finished(client, 1)
                return client
            case "readAudit":
                client = start_server()
                client.post("/control/pause", {})
                client.post("/orders", ORDER)
                client.send_json(
                    "POST", "/orders/o-1/cancel", {"reason": "ordered twice"}, {"X-Request-ID": REQUEST_ID}
                )
                return client
            case "settleOrder":
                reviewed: Client = request.getfixturevalue("reviewed")
                return reviewed
            case _ if "Webhook" in name and name != "createWebhook":
                return with_webhook(start_server(), request.getfixturevalue("sql"))
            case _:
                return completed(start_server(), "o-0", "o-1")

    return start


def rehearsing(client: Client, call: Request) -> Reply:
    """Send a call so that something is rehearsed."""
    if call.path == "/rehearsals":
        return call.send(client)
    return client.post(call.path, {"action": "retry", "where": {}, "dry_run": True, "rehearse": True})


def cases(*names: str) -> pytest.MarkDecorator:
    """Every call, or these, by name."""
    return pytest.mark.parametrize("name", names or OPERATIONS)


@cases()
def test_the_example_of_a_call_is_answered_as_described(begin: Callable[[str], Client], name: str) -> None:
    request, client = Request(name), begin(name)

    reply = request.send(client, urlencode(request.query), **request.headers)

    assert reply.status < 300
    assert reply.headers["X-Request-ID"] == request.headers["X-Request-ID"]
    ((media_type, content),) = [
        (kind, content)
        for kind, content in request.operation["responses"][str(reply.status)]["content"].items()
        if kind == reply.headers.get_content_type()
    ]
    answer = reply.json if media_type == "application/json" else METRICS.sub("", reply.body.decode())
    example = content["example"]
    if name in {
        "readMetrics",
        "readMetricsHistory",
        "readOutlook",
        "rehearse",
        "listEngines",
    }:  # whose numbers are of the moment
        assert answer.keys() == example.keys()
    else:
        assert VARIES.sub("…", json.dumps(answer)) == VARIES.sub("…", json.dumps(example))


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
    for engine_type in (OrderEngine, RemoteEngine):
        monkeypatch.setattr(engine_type, "unready_reasons", lambda _: ("the pool actor has died",))
        monkeypatch.setattr(engine_type, "dead_actors", lambda _: ("the pool actor has died",))
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

        request = Request(name)
        if name == "followEvents":
            request.method = "HEAD"  # which ends, whatever `timeout` says

        reply = request.send(client, urlencode({parameter: value}))

        expected = Draft202012Validator(schema).is_valid(number if is_number else value)
        assert (reply.status != 422) == expected, value


UNROUTED = {"malformed-request", "target-too-long", "header-too-large", "length-required", "truncated-body"}
UNROUTED |= {"request-timeout", "busy", "content-too-large"}
"""Problems that are answered before anybody looks at the path."""


def problems(name: str) -> list[tuple[str, str, int]]:
    """Every problem that a call is described to answer with, and its status."""
    path, method, _ = OPERATIONS[name]
    return [
        (name, kind.rpartition(":")[2], int(status))
        for status, kind in sorted(
            {
                (status, kind)
                for document in (DOCUMENT, GUARDED)
                for status, response in document["paths"][path][method]["responses"].items()
                if PROBLEM in response.get("content", {})
                for kind in response["content"][PROBLEM]["schema"]["properties"]["type"]["enum"]
            }
        )
    ]


@pytest.mark.parametrize(
    ("name", "kind", "status"),
    [
        # A facade reads by itself, until it is told that the engine of the other process has stopped.
        pytest.param(*problem, marks=pytest.mark.engine_at_hand if problem[1] == "stopping" else ())
        for name in OPERATIONS
        for problem in problems(name)
    ],
)
def test_every_problem_that_is_described_can_be_met(provoke: Provoke, name: str, kind: str, status: int) -> None:
    reply = provoke(kind, Request(name))

    assert reply.status == status
    assert reply.json["type"].rpartition(":")[2] == kind


@pytest.fixture
def provoke(start_server: Start, gate: Held, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Provoke:
    """Has a call answered with a problem of some kind."""
    keyed = {"Idempotency-Key": "k-1"}

    def with_key(call: Request, role: Role | None) -> Reply:
        key = create_key(tmp_path / "keys", [role or Role.READ])
        client = start_server(keys_file=str(tmp_path / "keys"))
        return call.send(client, **({} if role is None else {"Authorization": f"Bearer {key}"}))

    def full(call: Request, **settings: Any) -> Reply:
        client = start_server(gate, **settings)
        client.post("/orders", ORDER | {"order_id": "o-0"})
        return call.send(client)

    def broken(kind: str, call: Request) -> Reply:
        client = start_server()
        match kind:
            case "malformed-request":
                return call.talk(client, "no colon")
            case "target-too-long":
                return call.talk(client, query="?" + "a" * MAX_TARGET_BYTES)
            case "header-too-large":
                return call.talk(client, *["X: a"] * MAX_FIELDS)
            case "length-required":
                return call.talk(client, "Transfer-Encoding: gzip")
            case "truncated-body":
                return call.talk(client, "Content-Length: 2", body=b"{")
            case "request-timeout":
                client.server.socket_seconds = 0
                return call.talk(client, "Content-Length: 2", body=b"{", is_all=False)
            case "busy":
                monkeypatch.setattr(BufferBudget, "take", lambda *_: False)
                return call.talk(client, *["X: " + "a" * 1_000] * 20, is_all=False, is_head_whole=False)
            case _:
                assert kind == "content-too-large"
                return call.talk(client, f"Content-Length: {client.server.max_body_bytes + 1}")

    def refused(kind: str, call: Request) -> Reply:
        client = start_server()
        match kind:
            case "misdirected":
                return call.send(client, Host="shop.example")
            case "cross-origin":
                return call.send(client, Origin="https://shop.example")
            case "invalid-parameter":
                return call.send(client, "nothing=1")
            case "unsupported-media-type":
                return client.send(call.method, call.path, b"x", {"Content-Type": "text/csv"})
            case "not-json":
                return call.talk(client, "Content-Length: 1", body=b"{")
            case "invalid-body":
                return call.talk(client, "Content-Length: 7", body=b'{"a":1}')
            case "invalid-order":
                return call.talk(client, "Content-Length: 7", body=b'{"a":1}')
            case "idempotency-key-reused":
                client.send_json("POST", "/orders", ORDER | {"order_id": "o-0"}, keyed)
                return call.send(client, **keyed)
            case "idempotency-key-busy":
                orders = client.application._router.find("POST", "/orders").route.handler.__self__
                orders._in_flight["", "k-1"] = object()
                return call.send(client, **keyed)
            case "too-many-watchers":
                watching = client.application._router.find("GET", "/events").route.handler.__self__
                watching._feed._places = WaitingPlaces(0)
            case "no-such-resource":  # by a name that no queue can have
                return client.send_json("PUT", "/queues/a%20b", {"paused": True}, {})
            case "too-many-queues":
                monkeypatch.setattr("ordermill.store.queues.MAX_QUEUES", 1)
            case "rehearsals-busy":
                monkeypatch.setattr(rehearsals, "MOST_AT_ONCE", 0)
                return rehearsing(client, call)
            case "rehearsal-failed":
                fail_with(RehearsalFailed("it was too long"), monkeypatch, rehearsals, "_rehearse")
                return rehearsing(client, call)
            case "webhook-not-found":
                pass
            case "invalid-webhook":
                monkeypatch.setattr("ordermill.store.webhooks.MAX_WEBHOOKS", 0)
            case "order-conflict":
                client.post("/orders", ORDER | {"item_ids": ["sku-3"]})
            case "transition-refused":
                completed(client, "o-1")
            case _:
                assert kind in {"order-not-found", "action-not-found"}
        return call.send(client)

    def failing(kind: str, call: Request) -> Reply:
        client = completed(start_server(), "o-1")
        match kind:
            case "stopping":
                client.engine.stop()
            case "store-unavailable":
                fail_with(StoreUnavailable(OSError("database or disk is full")), monkeypatch, Ledger, "record")
                fail_with(StoreUnavailable(OSError("disk I/O error")), monkeypatch, queries, "find", "history_page")
                fail_with(StoreUnavailable(OSError("disk I/O error")), monkeypatch, search, "page")
                fail_with(StoreUnavailable(OSError("disk I/O error")), monkeypatch, failures, "groups")
                fail_with(StoreUnavailable(OSError("disk I/O error")), monkeypatch, event_log, "last_id")
                fail_with(StoreUnavailable(OSError("disk I/O error")), monkeypatch, audit_log, "page")
                fail_with(StoreUnavailable(OSError("disk I/O error")), monkeypatch, engines, "listed")
                fail_with(StoreUnavailable(OSError("disk full")), monkeypatch, steering, "write_control")
                fail_with(StoreUnavailable(OSError("disk full")), monkeypatch, steering, "write_queue", "queue_states")
                fail_with(
                    StoreUnavailable(OSError("disk full")), monkeypatch, bulk_actions, "start", "find", "page", "stop"
                )
                fail_with(StoreUnavailable(OSError("disk full")), monkeypatch, webhook_changes, "change_webhooks")
                queried = ("all_webhooks", "find_webhook", "deliveries")
                fail_with(StoreUnavailable(OSError("disk I/O error")), monkeypatch, interface, *queried)
            case _:
                assert kind == "blank"
                calls = ["submit", "wait", "cancel", "retry", "settle", "reschedule", "metrics", "chart"]
                calls += ["outlook", "action", "stop_action", "control", "pause", "resume", "set_processors"]
                calls += ["rehearsal", "change_webhooks", "queues", "set_queue"]
                for engine_type in (Engine, LoopEngine):
                    fail_with(RuntimeError(), monkeypatch, engine_type, *(f"begin_{name}" for name in calls))
                reads = [
                    "order",
                    "history_page",
                    "order_page",
                    "failures",
                    "audit",
                    "engines",
                    "last_event_id",
                    "action",
                ]
                reads += ["actions", "webhooks", "webhook", "webhook_deliveries"]
                fail_with(RuntimeError(), monkeypatch, Engine, *reads)
                for engine_type in (OrderEngine, RemoteEngine):
                    fail_with(RuntimeError(), monkeypatch, engine_type, "unready_reasons", "dead_actors")
        return call.send(client)

    def answer(kind: str, call: Request) -> Reply:
        match kind:
            case "key-required":
                return with_key(call, None)
            case "keys-unreadable":
                monkeypatch.setattr(Keyring, "_has_been_unreadable_for_long", lambda _: True)
                return with_key(call, Role.OPERATE)
            case "key-not-enough":
                return with_key(
                    call, Role.READ if call.method == "POST" and call.path != "/rehearsals" else Role.SUBMIT
                )
            case "too-many-orders":
                return full(call, user_rate=0.001, user_burst=1)
            case "user-backlog-full":
                return full(call, user_backlog=1)
            case "backlog-full":
                return full(call, max_backlog=1)
            case "deadline-unlikely":
                passed = ORDER | {"complete_by": "2001-01-01T00:00:00Z"}
                return start_server(min_confidence=0.5).post(call.path, passed)
            case "submission-too-large":
                return start_server(max_backlog=1).post(call.path, [ORDER, ORDER | {"order_id": "o-2"}])
            case "user-submission-too-large":
                return start_server(user_backlog=1).post(call.path, [ORDER, ORDER | {"order_id": "o-2"}])
            case "stopping" | "store-unavailable" | "blank":
                return failing(kind, call)
            case _ if kind in UNROUTED:
                return broken(kind, call)
            case _:
                return refused(kind, call)

    return answer


def fail_with(error: Exception, monkeypatch: pytest.MonkeyPatch, target: object, *names: str) -> None:
    """Have these functions raise an error."""

    def fail(*_: object, **__: object) -> None:
        raise error

    for name in names:
        monkeypatch.setattr(target, name, fail)
