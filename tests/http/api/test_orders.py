"""The calls about one order, and the list of orders."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import Order, OrderStatus, Reject
from ordermill.engine.testing import ManualClock

if TYPE_CHECKING:
    from tests.http.conftest import Client, Reply

    from ordermill.engine.testing import Held

    MakeOrder = Callable[..., dict[str, Any]]

TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z")
CALLS_FOR_AN_ORDER = [
    ("GET", ""),
    ("GET", "?wait=30"),
    ("GET", "/status"),
    ("GET", "/history"),
    ("GET", "/outlook"),
    ("POST", "/cancel"),
    ("POST", "/retry"),
]


def reject(_: object) -> None:
    raise Reject("the card was declined")


def fail(_: object) -> None:
    raise ConnectionError("no answer")


def identity(reply: Reply) -> tuple[int, str]:
    """The status and the kind of a problem."""
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json["status"] == reply.status
    return reply.status, reply.json["type"].removeprefix("urn:ordermill:problem:")


def await_waiting(waiting: list[Future[Reply]]) -> None:
    """Return once two of these requests wait: there is no more room with four threads, so that one is answered."""
    for _, future in zip(waiting[2:], as_completed(waiting, timeout=60), strict=False):
        assert future.result().json["status"] == "Processing"


def test_a_new_order_is_created_with_its_location(start_server: Callable[..., Client], order: MakeOrder) -> None:
    client = start_server(clock=ManualClock())

    reply = client.post("/orders", order(item_ids=["sku-2", "sku-1", "sku-2"]))

    assert reply.status == 201
    assert reply.headers["Location"] == "/orders/o-1"
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json == {
        "order_id": "o-1",
        "user_id": "u-1",
        "item_ids": ["sku-2", "sku-1", "sku-2"],
        "total_amount": "19.99",
        "status": "Pending",
        "attempts": 0,
        "failures": 0,
        "last_error": None,
        "ready_at": "2027-01-15T08:00:00.000000Z",
        "created_at": "2027-01-15T08:00:00.000000Z",
        "updated_at": "2027-01-15T08:00:00.000000Z",
    }


NEEDS = {
    "priority": 9,
    "not_before": "2026-12-24T18:00:00+01:00",
    "complete_by": "2026-12-25T17:00:00.000000Z",
    "key": "ann@example.org",
    "metadata": {"shop": "b", "gifts": [1, 2.5, True, None]},
}
"""What an order may say of its own."""


def test_what_an_order_says_of_its_own_is_shown_and_given_to_the_handler(
    start_server: Callable[..., Client], order: MakeOrder
) -> None:
    handled: list[Order] = []
    client = start_server(handled.append)

    reply = client.post("/orders", order(**NEEDS | {"not_before": "2026-01-24T18:00:00+01:00"}))

    expected = NEEDS | {"not_before": "2026-01-24T17:00:00.000000Z"}
    assert {name: reply.json[name] for name in NEEDS} == expected
    found = client.get("/orders/o-1?wait=30").json
    assert {name: found[name] for name in NEEDS} == expected
    assert (handled[0].priority, handled[0].key, handled[0].metadata) == (9, NEEDS["key"], NEEDS["metadata"])
    assert client.get("/orders").json["orders"] == [found]


def test_an_order_that_says_nothing_of_its_own_has_no_such_field(client: Client, order: MakeOrder) -> None:
    assert NEEDS.keys() & client.post("/orders", order(priority=4)).json.keys() == set()


@pytest.mark.parametrize("name", NEEDS)
def test_what_an_order_says_of_its_own_is_part_of_it(held: Client, order: MakeOrder, name: str) -> None:
    assert held.post("/orders", order(**NEEDS)).status == 201

    assert held.post("/orders", order(**NEEDS)).status == 200
    other = {key: value for key, value in NEEDS.items() if key != name}
    assert identity(held.post("/orders", order(**other))) == (409, "order-conflict")


def test_orders_of_many_at_once_may_say_what_they_need_and_one_of_a_key_waits_for_the_other(
    held: Client, gate: Held, order: MakeOrder
) -> None:
    sent = [order("a", key="k"), order("b", key="k"), order("x", priority=10), order("c", priority=9)]

    reply = held.post("/orders/bulk", sent)

    assert [result["outcome"] for result in reply.json["results"]] == ["accepted", "accepted", "rejected", "accepted"]
    assert {gate.begun(60), gate.begun(60)} == {"a", "c"}
    assert held.get("/orders/b").json["status"] == "Pending"
    gate.release()
    assert held.get("/orders/b?wait=30").json["status"] == "Completed"


def test_an_operator_moves_the_order_that_halts_its_key(start_server: Callable[..., Client], order: MakeOrder) -> None:
    bad = ["a"]

    def handle(given: Order) -> None:
        if given.order_id in bad:
            bad.remove(given.order_id)
            raise Reject("the card was declined")

    client = start_server(handle, key_policy="halt")
    client.post("/orders/bulk", [order("a", key="k"), order("b", key="k")])
    assert client.get("/orders/a?wait=30").json["status"] == "Failed"
    assert client.get("/orders/b").json["status"] == "Pending"

    assert client.post("/orders/a/retry").status == 200

    assert client.get("/orders/b?wait=30").json["status"] == "Completed"


def test_an_order_that_waits_is_rescheduled(start_server: Callable[..., Client], gate: Held, order: MakeOrder) -> None:
    client = start_server(gate, processors=1)
    client.post("/orders/bulk", [order("first"), order("a"), order("b")])
    assert gate.begun(60) == "first"

    put_off = client.post("/orders/a/reschedule", {"not_before": "2099-12-24T18:00:00+01:00", "reason": "on holiday"})
    hurried = client.post("/orders/b/reschedule", {"priority": 9})

    assert (put_off.status, put_off.json["status"]) == (200, "Pending")
    assert put_off.json["not_before"] == put_off.json["ready_at"] == "2099-12-24T17:00:00.000000Z"
    assert hurried.json["priority"] == 9
    reason = client.get("/orders/a/history").json["transitions"][-1]["reason"]
    assert reason == "rescheduled: priority 4, not before 2099-12-24T17:00:00.000000Z; on holiday"
    assert client.get("/audit").json["entries"][0]["action"] == "reschedule"
    assert "not_before" not in client.post("/orders/a/reschedule", {"not_before": None}).json
    by = client.post("/orders/a/reschedule", {"complete_by": "2099-12-24T18:00:00+01:00"}).json["complete_by"]
    assert by == "2099-12-24T17:00:00.000000Z"
    assert "complete_by" not in client.post("/orders/a/reschedule", {"complete_by": None}).json
    gate.release()
    assert client.get("/orders/a?wait=30").json["status"] == "Completed"
    assert identity(client.post("/orders/a/reschedule", {"priority": 9})) == (409, "transition-refused")


PASSED = "2001-01-01T00:00:00Z"


def test_a_new_order_is_answered_with_how_likely_it_is_in_time(client: Client, order: MakeOrder) -> None:
    late = client.post("/orders", order("late", complete_by=PASSED))
    unknown = client.post("/orders", order("o-1", complete_by="2099-01-01T00:00:00Z"))

    assert (late.status, late.json["complete_by_confidence"]) == (201, 0.0)
    assert unknown.json["complete_by_confidence"] is None
    assert "complete_by_confidence" not in client.get("/orders/late").json
    assert "complete_by_confidence" not in client.post("/orders", order("plain")).json


def test_an_order_that_is_unlikely_to_be_in_time_is_refused(
    start_server: Callable[..., Client], order: MakeOrder
) -> None:
    client = start_server(lambda _: None, min_confidence=0.9)

    refused = client.post("/orders", order("late", complete_by=PASSED))
    bulk = client.post("/orders/bulk", [order("a"), order("late", complete_by=PASSED)])

    assert identity(refused) == (503, "deadline-unlikely")
    detail = refused.json["detail"]
    assert detail.startswith("Order 'late' is completed by 2001-01-01T00:00:00+00:00 with a probability of 0.00")
    assert refused.headers["Retry-After"] == "60"
    assert (bulk.status, bulk.json["accepted"], bulk.json["rejected"]) == (200, 1, 1)
    assert bulk.json["results"][1]["detail"] == refused.json["detail"]
    assert client.get("/orders/late").status == 404


@pytest.mark.parametrize(
    ("content", "pointer"),
    [
        ({}, ""),
        ({"reason": "why"}, ""),
        ({"priority": None}, "/priority"),
        ({"priority": 10}, "/priority"),
        ({"not_before": "soon"}, "/not_before"),
        ({"complete_by": "soon"}, "/complete_by"),
        ({"priority": 1, "key": "k"}, "/key"),
        ({"priority": 1, "reason": ""}, "/reason"),
    ],
)
def test_a_schedule_that_is_none_is_refused(client: Client, content: object, pointer: str) -> None:
    reply = client.post("/orders/o-1/reschedule", content)

    assert identity(reply) == (422, "invalid-order")
    assert [fault["pointer"] for fault in reply.json["errors"]] == [pointer]


def test_the_location_of_a_new_order_leads_to_it(client: Client, order: MakeOrder) -> None:
    created = client.post("/orders", order())

    found = client.get(created.headers["Location"] + "?wait=30")

    assert found.status == 200
    changing = {"status": "Completed", "attempts": 1, "ready_at": None, "updated_at": found.json["updated_at"]}
    assert found.json == created.json | changing
    assert TIME.fullmatch(found.json["created_at"])
    assert TIME.fullmatch(found.json["updated_at"])
    assert found.json["updated_at"] >= found.json["created_at"]


def test_the_very_same_order_again_is_200_and_the_stored_order(client: Client, order: MakeOrder) -> None:
    client.post("/orders", order(total_amount="19.90"))
    stored = client.get("/orders/o-1?wait=30")

    reply = client.post("/orders", order(total_amount=19.9))

    assert reply.status == 200
    assert "Location" not in reply.headers
    assert reply.json == stored.json
    assert reply.json["status"] == "Completed"


@pytest.mark.parametrize(
    "other", [{"user_id": "u-2"}, {"item_ids": ["sku-1", "sku-1"]}, {"total_amount": "19.98"}], ids=" ".join
)
def test_other_content_under_a_taken_id_is_a_conflict_and_changes_nothing(
    client: Client, order: MakeOrder, other: dict[str, Any]
) -> None:
    client.post("/orders", order())
    before = client.get("/orders/o-1?wait=30").json

    reply = client.post("/orders", order(**other))

    assert identity(reply) == (409, "order-conflict")
    assert "'o-1'" in reply.json["detail"]
    assert client.get("/orders/o-1").json == before


@pytest.mark.parametrize(("method", "rest"), CALLS_FOR_AN_ORDER)
@pytest.mark.parametrize("order_id", ["nobody", "not%20an%20id", "x" * 65, "caf%C3%A9"])
def test_an_order_that_is_not_there_is_404(client: Client, method: str, rest: str, order_id: str) -> None:
    assert identity(client.send(method, f"/orders/{order_id}{rest}")) == (404, "order-not-found")


def test_the_status_call_says_where_an_order_is(held: Client, gate: Held, order: MakeOrder) -> None:
    held.post("/orders", order())
    gate.begun()

    reply = held.get("/orders/o-1/status")

    assert (reply.status, reply.json) == (200, {"order_id": "o-1", "status": "Processing"})


def test_the_history_tells_every_step(start_server: Callable[..., Client], order: MakeOrder) -> None:
    client = start_server(clock=ManualClock())
    client.send_json("POST", "/orders", order(), {"X-Request-ID": "r-1"})
    client.get("/orders/o-1?wait=30")

    reply = client.get("/orders/o-1/history")

    at = "2027-01-15T08:00:00.000000Z"
    assert reply.status == 200
    assert reply.json == {
        "order_id": "o-1",
        "transitions": [
            {"from": None, "to": "Pending", "at": at, "attempt": 0, "reason": "accepted", "request_id": "r-1"},
            {"from": "Pending", "to": "Processing", "at": at, "attempt": 1, "reason": "assigned to a processor"},
            {"from": "Processing", "to": "Completed", "at": at, "attempt": 1, "reason": "the handler returned"},
        ],
        "next_cursor": None,
    }


def test_a_long_history_comes_a_page_at_a_time(start_server: Callable[..., Client], order: MakeOrder) -> None:
    client = start_server()
    client.post("/orders", order())
    client.get("/orders/o-1?wait=30")
    whole = client.get("/orders/o-1/history").json["transitions"]

    first = client.get("/orders/o-1/history?limit=2").json
    rest = client.get(f"/orders/o-1/history?limit=2&cursor={first['next_cursor']}").json

    assert first["transitions"] + rest["transitions"] == whole
    assert (len(whole), len(first["transitions"]), rest["next_cursor"]) == (3, 2, None)
    assert client.get("/orders/o-1/history?cursor=99").json["transitions"] == []
    assert client.get("/orders/none/history?cursor=1").status == 404
    assert identity(client.get("/orders/o-1/history?limit=1001")) == (422, "invalid-parameter")
    assert identity(client.get("/orders/o-1/history?cursor=-")) == (422, "invalid-parameter")


def test_waiting_is_answered_as_soon_as_the_order_is_terminal(held: Client, gate: Held, order: MakeOrder) -> None:
    held.post("/orders", order())
    gate.begun()
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(held.get, "/orders/o-1?wait=30") for _ in range(3)]
        await_waiting(waiting)

        gate.release()

        statuses = sorted(future.result(timeout=60).json["status"] for future in waiting)
    assert statuses == ["Completed", "Completed", "Processing"]


def test_waiting_that_takes_too_long_is_answered_with_the_order_as_it_is(held: Client, order: MakeOrder) -> None:
    held.post("/orders", order())

    reply = held.get("/orders/o-1?wait=0.01")

    assert reply.status == 200
    assert reply.json["status"] in {"Pending", "Processing"}


@pytest.mark.parametrize("value", ["30.001", "31", "-1", "-0.001", "nan", "inf", "1e400", "soon", ""])
def test_a_wait_out_of_range_is_refused_by_name(client: Client, order: MakeOrder, value: str) -> None:
    client.post("/orders", order())

    reply = client.get(f"/orders/o-1?wait={value}")

    assert identity(reply) == (422, "invalid-parameter")
    detail = "must be a number of seconds from 0 to 30"
    assert reply.json["errors"] == [{"pointer": "/query/wait", "detail": detail}]


def test_a_pending_order_is_cancelled(start_server: Callable[..., Client], gate: Held, order: MakeOrder) -> None:
    client = start_server(gate, processors=1)
    client.post("/orders", order())
    gate.begun()
    client.post("/orders", order("o-2"))

    reply = client.post("/orders/o-2/cancel")

    assert reply.status == 200
    assert (reply.json["order_id"], reply.json["status"], reply.json["attempts"]) == ("o-2", "Cancelled", 0)
    assert client.get("/orders/o-2").json == reply.json
    gate.release()
    assert client.get("/orders/o-1?wait=30").json["status"] == "Completed"


def test_an_order_in_hand_or_over_is_not_cancelled(held: Client, gate: Held, order: MakeOrder) -> None:
    held.post("/orders", order())
    gate.begun()

    assert identity(held.post("/orders/o-1/cancel")) == (409, "transition-refused")
    gate.release()
    assert held.get("/orders/o-1?wait=30").json["status"] == "Completed"
    refused = held.post("/orders/o-1/cancel")
    assert identity(refused) == (409, "transition-refused")
    assert refused.json["detail"] == "Order 'o-1' is Completed, which does not allow it to become Cancelled."


def test_a_failed_order_is_retried(start_server: Callable[..., Client], order: MakeOrder) -> None:
    calls: Iterator[Callable[[object], None]] = iter([reject, lambda _: None])
    client = start_server(lambda order: next(calls)(order))
    client.post("/orders", order())
    assert client.get("/orders/o-1?wait=30").json["status"] == "Failed"

    reply = client.post("/orders/o-1/retry")

    assert (reply.status, reply.json["status"], reply.json["attempts"]) == (200, "Pending", 1)
    done = client.get("/orders/o-1?wait=30").json
    assert (done["status"], done["attempts"]) == ("Completed", 2)
    reasons = [step["reason"] for step in client.get("/orders/o-1/history").json["transitions"]]
    assert reasons[2:4] == ["rejected: the card was declined", "retried by an operator"]


def test_only_a_failed_order_is_retried(held: Client, gate: Held, order: MakeOrder) -> None:
    held.post("/orders", order())
    gate.begun()

    assert identity(held.post("/orders/o-1/retry")) == (409, "transition-refused")
    gate.release()
    assert held.get("/orders/o-1?wait=30").json["status"] == "Completed"
    assert identity(held.post("/orders/o-1/retry")) == (409, "transition-refused")


@pytest.mark.parametrize("status", ["Completed", "Failed"])
def test_an_order_in_review_is_settled(reviewed: Client, status: str) -> None:
    assert reviewed.get("/orders/o-1").json["status"] == "Review"

    reply = reviewed.post("/orders/o-1/settle", {"status": status, "reason": "asked the bank"})

    assert (reply.status, reply.json["status"]) == (200, status)
    assert reviewed.get("/orders/o-1").json == reply.json
    last = reviewed.get("/orders/o-1/history").json["transitions"][-1]
    assert (last["from"], last["to"], last["reason"]) == ("Review", status, "asked the bank")


def test_a_settlement_needs_no_reason(reviewed: Client) -> None:
    reviewed.post("/orders/o-1/settle", {"status": "Failed"})

    assert reviewed.get("/orders/o-1/history").json["transitions"][-1]["reason"] == "settled by an operator"


@pytest.mark.parametrize("content", [None, {}, {"reason": "ordered twice"}], ids=str)
def test_a_cancellation_may_have_a_reason(
    start_server: Callable[..., Client], gate: Held, order: MakeOrder, content: object
) -> None:
    held = start_server(gate, processors=1)
    held.post("/orders", order("o-0"))
    gate.begun()
    held.post("/orders", order())

    reply = held.post("/orders/o-1/cancel") if content is None else held.post("/orders/o-1/cancel", content)

    assert reply.json["status"] == "Cancelled"
    reason = held.get("/orders/o-1/history").json["transitions"][-1]["reason"]
    assert reason == ("ordered twice" if content else "cancelled before work began")


def test_a_retry_may_have_a_reason(start_server: Callable[..., Client], order: MakeOrder) -> None:
    client = start_server(reject)
    client.post("/orders", order())
    client.get("/orders/o-1?wait=30")

    client.post("/orders/o-1/retry", {"reason": "the card was renewed"})

    reasons = [step["reason"] for step in client.get("/orders/o-1/history").json["transitions"]]
    assert "the card was renewed" in reasons


@pytest.mark.parametrize("call", ["cancel", "retry"])
@pytest.mark.parametrize(
    ("content", "pointer"),
    [
        ({"reason": ""}, "/reason"),
        ({"reason": "x" * 501}, "/reason"),
        ({"reason": "a\nb"}, "/reason"),
        ({"reason": None}, "/reason"),
        ({"reason": 5}, "/reason"),
        ({"why": "x"}, "/why"),
        ([], ""),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_reason_that_is_none_is_refused(client: Client, call: str, content: object, pointer: str) -> None:
    reply = client.post(f"/orders/o-1/{call}", content)

    assert identity(reply) == (422, "invalid-order")
    assert [error["pointer"] for error in reply.json["errors"]] == [pointer]


def test_an_order_tells_what_went_wrong_and_when_it_is_tried_again(
    start_server: Callable[..., Client], order: MakeOrder
) -> None:
    client = start_server(fail, clock=ManualClock(), retry_seconds=60)
    client.post("/orders", order())
    while (shown := client.get("/orders/o-1").json)["failures"] == 0:
        pass

    assert (shown["status"], shown["attempts"], shown["failures"]) == ("Pending", 1, 1)
    assert shown["last_error"] == "ConnectionError: no answer"
    assert "2027-01-15T08:00:30" <= shown["ready_at"] <= "2027-01-15T08:01:00.000000Z"
    assert client.get("/orders").json["orders"] == [shown]


def test_an_order_in_review_is_retried(reviewed: Client) -> None:
    assert reviewed.post("/orders/o-1/retry").json["status"] == "Pending"

    assert reviewed.get("/orders/o-1?wait=30").json["status"] == "Completed"


def test_an_order_in_review_is_not_cancelled(reviewed: Client) -> None:
    assert identity(reviewed.post("/orders/o-1/cancel")) == (409, "transition-refused")


def test_only_an_order_in_review_is_settled(client: Client, order: MakeOrder) -> None:
    client.post("/orders", order())
    client.get("/orders/o-1?wait=30")

    assert identity(client.post("/orders/o-1/settle", {"status": "Failed"})) == (409, "transition-refused")
    assert identity(client.post("/orders/o-9/settle", {"status": "Failed"})) == (404, "order-not-found")


@pytest.mark.parametrize(
    ("request_", "pointer"),
    [
        ({"status": "Pending"}, "/status"),
        ({"status": "Cancelled"}, "/status"),
        ({"status": "Done"}, "/status"),
        ({"reason": "no status"}, "/status"),
        ({"status": "Failed", "reason": 5}, "/reason"),
        ({"status": "Failed", "reason": ""}, "/reason"),
        ({"status": "Failed", "reason": "a" * 501}, "/reason"),
        ({"status": "Failed", "reason": "a\nb"}, "/reason"),
        ({"status": "Failed", "order_id": "o-2"}, "/order_id"),
        (["Failed"], ""),
    ],
)
def test_a_settlement_that_is_none_is_refused(reviewed: Client, request_: object, pointer: str) -> None:
    reply = reviewed.post("/orders/o-1/settle", request_)

    assert identity(reply) == (422, "invalid-order")
    assert [error["pointer"] for error in reply.json["errors"]] == [pointer]
    assert reviewed.get("/orders/o-1").json["status"] == "Review"


def test_a_settlement_that_is_not_json_is_refused(reviewed: Client) -> None:
    assert identity(reviewed.post_text("{", "/orders/o-1/settle")) == (400, "not-json")


@pytest.fixture
def many(client: Client, order: MakeOrder) -> Client:
    """A client of a server with o-01 to o-25, all Completed, the odd ones of u-1 and the even ones of u-0."""
    lines = [order(f"o-{number:02}", user_id=f"u-{number % 2}") for number in range(1, 26)]
    assert client.post("/orders/bulk", lines).json["accepted"] == 25
    client.engine.drain(timeout=30)
    return client


def ids(reply: Reply) -> list[str]:
    """The ids of the orders of a page."""
    assert reply.status == 200
    assert sorted(reply.json) == ["next_cursor", "orders"]
    return [order["order_id"] for order in reply.json["orders"]]


def test_the_list_is_newest_first(many: Client) -> None:
    reply = many.get("/orders")

    assert ids(reply) == [f"o-{number:02}" for number in range(25, 0, -1)]
    assert reply.json["next_cursor"] is None
    assert reply.json["orders"][0] == many.get("/orders/o-25").json


def test_the_list_of_no_orders_is_empty(client: Client) -> None:
    assert client.get("/orders").json == {"orders": [], "next_cursor": None}


@pytest.mark.parametrize("limit", [1, 4, 5, 24, 25, 26])
def test_the_cursor_leads_through_all_orders_without_repeats(many: Client, limit: int) -> None:
    seen: list[str] = []
    cursor = ""
    while True:
        reply = many.get(f"/orders?limit={limit}{cursor}")
        seen += ids(reply)
        if reply.json["next_cursor"] is None:
            break
        assert len(ids(reply)) == limit
        cursor = f"&cursor={reply.json['next_cursor']}"

    assert seen == [f"o-{number:02}" for number in range(25, 0, -1)]


def test_orders_that_come_meanwhile_do_not_shift_the_pages(many: Client, order: MakeOrder) -> None:
    first = many.get("/orders?limit=20")
    many.post("/orders", order("newer"))

    second = many.get(f"/orders?limit=20&cursor={first.json['next_cursor']}")

    assert ids(second) == [f"o-{number:02}" for number in range(5, 0, -1)]


def test_the_list_is_filtered_by_user_and_by_status(many: Client) -> None:
    assert ids(many.get("/orders?user_id=u-1&limit=2")) == ["o-25", "o-23"]
    assert ids(many.get("/orders?user_id=u-0&status=Completed&limit=2")) == ["o-24", "o-22"]
    assert len(ids(many.get("/orders?status=Completed"))) == 25
    assert ids(many.get("/orders?status=Pending")) == []
    assert ids(many.get("/orders?user_id=nobody")) == []


def test_the_filters_hold_on_every_page(many: Client) -> None:
    first = many.get("/orders?user_id=u-0&limit=7")

    second = many.get(f"/orders?user_id=u-0&limit=7&cursor={first.json['next_cursor']}")

    assert ids(first) + ids(second) == [f"o-{number:02}" for number in range(24, 0, -2)]
    assert second.json["next_cursor"] is None


KNOWN = (
    "status, user_id, queue, order_id_prefix, error, created_from, created_to, updated_from, updated_to, limit, cursor"
)


@pytest.mark.parametrize("status", list(OrderStatus))
def test_every_status_may_be_asked_for(client: Client, status: OrderStatus) -> None:
    assert ids(client.get(f"/orders?status={status}")) == []


@pytest.mark.parametrize(
    ("query", "name", "detail"),
    [
        ("page=2", "page", f"is unknown here; known: {KNOWN}"),
        ("Status=Failed", "Status", f"is unknown here; known: {KNOWN}"),
        ("limit=5&limit=5", "limit", "is given more than once"),
        ("status=Failed&user_id=a&status=Pending", "status", "is given more than once"),
        ("status=pending", "status", "must be one of Pending, Processing, Completed, Failed, Cancelled, Review"),
        ("status=", "status", "must be one of Pending, Processing, Completed, Failed, Cancelled, Review"),
        ("order_id_prefix=", "order_id_prefix", "must be 1 to 64 characters of A-Z a-z 0-9 . _ : -"),
        ("error=", "error", "must be a string of 1 to 200 characters, none of them a control"),
        ("created_from=yesterday", "created_from", "must be a time such as 2026-11-23T06:39:00Z"),
        ("updated_to=2026-11-23", "updated_to", "must be a time such as 2026-11-23T06:39:00Z"),
        ("limit=0", "limit", "must be a whole number from 1 to 1000"),
        ("limit=1001", "limit", "must be a whole number from 1 to 1000"),
        ("limit=-5", "limit", "must be a whole number from 1 to 1000"),
        ("limit=2.5", "limit", "must be a whole number from 1 to 1000"),
        ("limit=%D9%A1", "limit", "must be a whole number from 1 to 1000"),
        pytest.param("limit=" + "9" * 5000, "limit", "must be a whole number from 1 to 1000", id="5000 digits"),
        ("limit=", "limit", "must be a whole number from 1 to 1000"),
    ],
)
def test_a_bad_parameter_is_refused_by_name(client: Client, query: str, name: str, detail: str) -> None:
    reply = client.get(f"/orders?{query}")

    assert identity(reply) == (422, "invalid-parameter")
    assert reply.json["detail"] == f"The parameter {name!r} {detail}."
    assert reply.json["errors"] == [{"pointer": f"/query/{name}", "detail": detail}]


@pytest.mark.parametrize("cursor", ["", "0", "05", "-1", "A", "g", "1.0", "0x1", "2%0A", "%C3%A9", "8" + "0" * 15])
def test_a_cursor_that_no_page_has_given_is_refused(many: Client, cursor: str) -> None:
    reply = many.get(f"/orders?cursor={cursor}")

    assert identity(reply) == (422, "invalid-parameter")
    assert [error["pointer"] for error in reply.json["errors"]] == ["/query/cursor"]


@pytest.mark.parametrize("user_id", ["", "a%20b", "u-1%0A", "u" * 129])
def test_a_user_that_cannot_be_is_refused_by_name(client: Client, user_id: str) -> None:
    reply = client.get(f"/orders?user_id={user_id}")

    assert identity(reply) == (422, "invalid-parameter")
    detail = "must be 1 to 128 visible characters of ASCII, without blanks, double quotes and backslashes"
    assert reply.json["errors"] == [{"pointer": "/query/user_id", "detail": detail}]


@pytest.mark.parametrize("call", ["/orders", "/orders/bulk"])
def test_a_submission_refuses_any_parameter(client: Client, order: MakeOrder, call: str) -> None:
    assert identity(client.post(f"{call}?dry_run=1", order())) == (422, "invalid-parameter")
    assert client.get("/orders/o-1").status == 404


@pytest.mark.parametrize("call", ["/orders/o-1/status", "/webhooks"])
def test_a_call_without_parameters_refuses_any(client: Client, order: MakeOrder, call: str) -> None:
    client.post("/orders", order())

    reply = client.get(f"{call}?wait=1")

    assert identity(reply) == (422, "invalid-parameter")
    assert reply.json["detail"] == "The parameter 'wait' is unknown here; known: none."


@pytest.mark.parametrize("call", ["cancel", "retry"])
def test_an_unknown_parameter_keeps_an_order_where_it_is(
    start_server: Callable[..., Client], gate: Held, order: MakeOrder, call: str
) -> None:
    client = start_server(gate, processors=1)
    client.post("/orders", order())
    gate.begun()
    client.post("/orders", order("o-2"))

    assert identity(client.post(f"/orders/o-2/{call}?force=1")) == (422, "invalid-parameter")
    assert client.get("/orders/o-2").json["status"] == "Pending"


def test_a_full_backlog_is_503_with_a_time_to_come_back(
    start_server: Callable[..., Client], gate: Held, order: MakeOrder
) -> None:
    client = start_server(gate, max_backlog=2, clock=ManualClock())
    stored = [order(), order("o-0")]
    client.post("/orders/bulk", stored)
    gate.begun()

    for bulk, seconds in ([order("o-2")], "1"), ([order("o-2"), order("o-3")], "2"):
        reply = client.post("/orders/bulk", bulk)
        assert identity(reply) == (503, "backlog-full")
        assert reply.headers["Retry-After"] == seconds
    too_many = client.post("/orders/bulk", [order("o-2"), order("o-3"), order("o-4")])
    assert (identity(too_many), too_many.headers["Retry-After"]) == ((413, "submission-too-large"), None)
    assert client.post("/orders", order()).status == 200
    assert client.post("/orders", order(user_id="u-2")).status == 409
    assert client.post("/orders/bulk", stored).json["duplicates"] == 2
    assert client.get("/orders/o-2").status == 404

    gate.release()
    client.engine.wait("o-1", timeout=30)  # unlike a look at the database, it ends after intake has been told
    assert client.post("/orders", order("o-2")).status == 201


@pytest.mark.engine_at_hand
def test_a_stopped_engine_is_503_with_a_time_to_come_back(client: Client, order: MakeOrder) -> None:
    client.engine.stop()

    for reply in (
        client.post("/orders", order()),
        client.post("/orders/bulk", [order()]),
        client.get("/orders/o-1"),
        client.get("/orders"),
        client.post("/orders/o-1/cancel"),
        client.get("/metrics"),
    ):
        assert identity(reply) == (503, "stopping")
        assert reply.headers["Retry-After"] == "5"


def test_waits_end_when_the_door_is_about_to_close(held: Client, gate: Held, order: MakeOrder) -> None:
    held.post("/orders", order())
    gate.begun()
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(held.get, "/orders/o-1?wait=30") for _ in range(3)]
        await_waiting(waiting)

        held.engine.interrupt_waits()

        replies = [future.result(timeout=60) for future in waiting]
    assert [(reply.status, reply.json["status"]) for reply in replies] == [(200, "Processing")] * 3


def test_orders_are_accepted_while_clients_wait(held: Client, gate: Held, order: MakeOrder) -> None:
    held.post("/orders", order())
    gate.begun()
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(held.get, "/orders/o-1?wait=30") for _ in range(5)]
        await_waiting(waiting)

        assert held.post("/orders", order("o-2")).status == 201

        gate.release()
    assert sorted(future.result().json["status"] for future in waiting) == ["Completed"] * 2 + ["Processing"] * 3


def test_an_order_is_handled_once_however_often_it_is_sent(
    start_server: Callable[..., Client], order: MakeOrder
) -> None:
    handled: list[str] = []
    client = start_server(lambda order: handled.append(order.order_id))
    barrier = threading.Barrier(8)

    def send(_: int) -> int:
        barrier.wait(timeout=60)
        return client.post("/orders", order()).status

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(send, range(8)))
    client.engine.drain(timeout=30)

    assert statuses == [200] * 7 + [201]
    assert handled == ["o-1"]


def test_an_order_whose_id_is_a_word_of_a_path_is_refused_since_nobody_could_ask_for_it(
    client: Client, order: MakeOrder
) -> None:
    reply = client.post("/orders", order("bulk"))

    assert (reply.status, reply.json["type"]) == (422, "urn:ordermill:problem:invalid-order")
    assert reply.json["errors"] == [
        {
            "pointer": "/order_id",
            "detail": "must not be 'bulk', a word of the API's own paths: nobody could ask for the order",
        }
    ]
    assert client.get("/orders/bulk").status == 405
    assert client.get("/orders").json["orders"] == []


TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("sent", "stored"), [(TRACEPARENT, [(1, TRACEPARENT)]), ("00-nonsense", []), (None, [])], ids=str
)
def test_the_trace_of_a_request_is_stored_with_its_order(
    client: Client, order: MakeOrder, sql: Callable[[str], list[Any]], sent: str | None, stored: list[Any]
) -> None:
    headers = {} if sent is None else {"traceparent": sent}

    assert client.send_json("POST", "/orders", order(), headers).status == 201

    assert sql("SELECT sequence, traceparent FROM trace_contexts") == stored


def test_an_outlook_tells_where_an_order_is_and_why_it_waits(
    start_server: Callable[..., Client], order: MakeOrder
) -> None:
    client = start_server()
    client.post("/control/pause", {"reason": "stocktaking"})
    for name in ("o-1", "o-2"):
        client.post("/orders", order(name))

    reply = client.get("/orders/o-2/outlook")

    assert (reply.status, reply.json["status"], reply.json["position"]) == (200, "Pending", 2)
    assert [wait["reason"] for wait in reply.json["waiting_for"]] == ["pause", "processors"]
    assert reply.json["waiting_for"][0] == {"reason": "pause", "detail": "the engine is paused: stocktaking"}
    assert (reply.json["expected"], reply.json["accuracy"]) == (None, None)
