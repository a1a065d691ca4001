"""What goes around every answer: the request's id, safe defaults, compression; entity tags and preferences as well."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.http.loop_engine import LoopEngine

if TYPE_CHECKING:
    from tests.http.conftest import Client

    from ordermill.engine.testing import Held

MakeOrder = Callable[..., dict[str, Any]]
ACCESS = "ordermill.http.access"


@pytest.mark.parametrize("path", ["/orders", "/orders/nobody", "/nothing", "/healthz", "/metrics", "/orders?limit=0"])
def test_every_answer_is_safe_by_default(client: Client, path: str) -> None:
    headers = client.get(path).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers


def test_the_id_of_a_request_comes_back(client: Client, order: MakeOrder) -> None:
    assert client.get("/orders/nobody", **{"X-Request-ID": "r-1"}).headers["X-Request-ID"] == "r-1"
    made = {client.post("/orders", order()).headers["X-Request-ID"] for _ in range(3)}
    assert len(made) == 3


@pytest.mark.parametrize(("action", "content"), [("cancel", None), ("retry", None), ("settle", {"status": "Failed"})])
def test_the_history_names_the_request_that_moved_an_order(
    held: Client, sql: Callable[[str], Any], order: MakeOrder, action: str, content: object, gate: Held
) -> None:
    for number in range(9):  # more than there are processors
        held.post("/orders", order(f"o-{number}"))
    if action == "cancel":
        moved = "o-8"
    else:
        moved = "o-0"
        held.get("/orders/o-0")
        gate.release()
        held.get("/orders/o-0?wait=30")
        held.engine.drain(timeout=60)
        sql("UPDATE orders SET status = 'Review' WHERE order_id = 'o-0'")

    reply = held.send_json("POST", f"/orders/{moved}/{action}", content, {"X-Request-ID": "r-1"})

    assert reply.status == 200
    steps = held.get(f"/orders/{moved}/history").json["transitions"]
    (reason,) = [step["reason"] for step in steps if step.get("request_id") == "r-1"]
    assert reason.startswith(action[:4])


def test_the_access_line_names_request_and_order_and_no_key(
    start_server: Callable[..., Client], order: MakeOrder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", ACCESS)
    client = start_server()
    headers = {"X-Request-ID": "r-1", "Authorization": "Bearer om_000000000000_secret"}
    client.send_json("POST", "/orders", order("o-7", user_id="somebody"), headers)

    (line,) = [record for record in caplog.records if record.name == ACCESS]
    told = line.__dict__
    assert (told["request_id"], told["order_id"], told["status"], told["key_id"]) == ("r-1", "o-7", 201, None)
    assert not [name for name, value in told.items() if "secret" in str(value) or "somebody" in str(value)]


def test_an_unexpected_error_is_logged_with_the_request(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(LoopEngine, "order", fail)

    reply = client.get("/orders/o-1", **{"X-Request-ID": "r-1"})

    assert (reply.status, reply.headers["X-Request-ID"]) == (500, "r-1")
    (line,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert (line.__dict__["request_id"], line.__dict__["order_id"]) == ("r-1", "o-1")


def test_an_order_that_has_not_changed_is_not_sent_again(held: Client, order: MakeOrder, gate: Held) -> None:
    created = held.post("/orders", order())
    gate.begun()
    first = held.get("/orders/o-1")
    tag = first.headers["ETag"]

    same = held.get("/orders/o-1", **{"If-None-Match": f'"other", {tag}'})

    assert created.headers["ETag"] != tag  # it is Processing by now
    assert (same.status, same.body, same.headers["ETag"]) == (304, b"", tag)
    assert same.headers["Cache-Control"] == first.headers["Cache-Control"] == "private, no-cache"
    assert not {"Content-Type", "Content-Length"} & set(same.headers)
    gate.release()
    changed = held.get("/orders/o-1?wait=30", **{"If-None-Match": tag})
    assert (changed.status, changed.json["status"]) == (200, "Completed")
    assert changed.headers["ETag"] != tag


def test_a_connection_lives_on_after_an_answer_without_a_body(client: Client, order: MakeOrder) -> None:
    tag = client.post("/orders", order()).headers["ETag"]
    client.get("/orders/o-1?wait=30")
    tag = client.get("/orders/o-1").headers["ETag"]
    with client.raw() as connection:
        for _ in range(2):
            connection.sendall(
                b"GET /orders/o-1 HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: %b\r\n\r\n" % tag.encode()
            )
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 304 Not Modified\r\n")


@pytest.mark.parametrize("prefer", ["wait=30", "respond-async, wait=1000"])
def test_a_preference_to_wait_is_honoured_and_told(held: Client, order: MakeOrder, gate: Held, prefer: str) -> None:
    held.post("/orders", order())
    gate.begun()
    gate.release()

    reply = held.get("/orders/o-1", Prefer=prefer)

    assert (reply.json["status"], reply.headers["Preference-Applied"]) == ("Completed", "wait=30")


def test_the_query_goes_before_a_preference(held: Client, order: MakeOrder, gate: Held) -> None:
    held.post("/orders", order())
    gate.begun()

    reply = held.get("/orders/o-1?wait=0", Prefer="wait=30")

    assert reply.json["status"] == "Processing"
    assert "Preference-Applied" not in reply.headers


def test_a_long_answer_is_compressed_for_those_who_take_it(client: Client, order: MakeOrder) -> None:
    client.post("/orders/bulk", [order(f"o-{number}") for number in range(100)])
    client.engine.drain(timeout=60)
    plain = client.get("/orders")

    packed = client.get("/orders", **{"Accept-Encoding": "gzip"})
    head = client.send("HEAD", "/orders", headers={"Accept-Encoding": "gzip"})

    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == head.headers["Content-Encoding"] == "gzip"
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
    assert json.loads(gzip.decompress(packed.body)) == plain.json
    assert len(packed.body) == int(packed.headers["Content-Length"]) == int(head.headers["Content-Length"])
    assert len(packed.body) < len(plain.body) / 5


def test_a_short_answer_is_sent_as_it_is(client: Client, order: MakeOrder) -> None:
    client.post("/orders", order())

    reply = client.get("/orders/o-1", **{"Accept-Encoding": "gzip"})

    assert "Content-Encoding" not in reply.headers
    assert reply.json["order_id"] == "o-1"


def test_a_page_of_a_listed_origin_may_call(start_server: Callable[..., Client], order: MakeOrder) -> None:
    client = start_server(cors_origins="https://shop.example")
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}

    preflight = client.send("OPTIONS", "/orders", headers=asked)
    called = client.send_json("POST", "/orders", order(), {"Origin": "https://shop.example"})
    refused = client.send_json("POST", "/orders", {}, {"Origin": "https://evil.example"})

    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Methods"] == preflight.headers["Allow"]
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    for reply in (preflight, called):
        assert reply.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert "Access-Control-Allow-Origin" not in refused.headers
