"""Moving many orders over HTTP: tried first, begun, watched and stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import Order, Reject

if TYPE_CHECKING:
    from tests.http.conftest import Client

MakeOrder = Callable[..., dict[str, Any]]


def reject_bad(order: Order) -> None:
    """A handler."""
    if "bad" in order.item_ids:
        raise Reject(f"{order.order_id} is bad")


@pytest.fixture
def shop(start_server: Callable[..., Client], order: MakeOrder) -> Client:
    """A server with 20 failed orders of two users, and 5 others."""
    client = start_server(reject_bad)
    orders = [order(f"bad-{number}", user_id=f"u-{number % 2}", item_ids=["bad"]) for number in range(20)]
    client.post("/orders/bulk", orders + [order(f"good-{number}") for number in range(5)])
    client.engine.drain(timeout=60)
    return client


def over(client: Client, action_id: str) -> dict[str, Any]:
    """The action, when it is over, and the recorder has told the others so: before, it answers nobody."""
    while (action := client.get(f"/orders/actions/{action_id}").json)["state"] == "running":
        time.sleep(0.01)
    client.get("/control")
    found: dict[str, Any] = action
    return found


def test_failures_are_grouped_by_their_error(shop: Client) -> None:
    (group,) = shop.get("/failures").json["groups"]

    assert (group["error"], group["count"], group["waiting"]) == ("rejected: {order_id} is bad", 20, 0)
    assert group["example"] == "bad-19"
    listed = shop.get("/orders?error=rejected:%20%7Border_id%7D%20is%20bad&user_id=u-1&limit=3").json
    assert [one["order_id"] for one in listed["orders"]] == ["bad-19", "bad-17", "bad-15"]


def test_orders_are_listed_by_every_filter(shop: Client) -> None:
    created = shop.get("/orders/bad-7").json["created_at"]

    for query, count in {
        "error=rejected": 20,
        "error=other": 0,
        "order_id_prefix=bad-1": 11,
        "order_id_prefix=good": 5,
        f"created_from={created}": 25,
        f"created_to={created}": 0,
        "updated_from=2026-01-01T00:00:00Z": 25,
        "updated_to=2026-01-01T00:00:00%2B02:00": 0,
        "status=Failed&user_id=u-0&order_id_prefix=bad-1&error=rejected": 5,
    }.items():
        assert len(shop.get(f"/orders?{query}").json["orders"]) == count, query


def test_a_dry_run_tells_and_does_nothing(shop: Client) -> None:
    body = {"action": "retry", "where": {"error": "rejected", "user_id": "u-1"}, "dry_run": True}

    preview = shop.post("/orders/actions", body)

    assert (preview.status, preview.json["matched"]) == (200, 10)
    assert [order["order_id"] for order in preview.json["examples"]][:2] == ["bad-19", "bad-17"]
    assert shop.get("/audit").json["entries"] == []


@pytest.mark.slow
@pytest.mark.usefixtures("short_rehearsals")
@pytest.mark.parametrize("dry_run", [True, False])
def test_an_action_that_is_rehearsed_is_not_carried_out(shop: Client, dry_run: bool) -> None:
    body = {"action": "retry", "where": {"error": "rejected"}, "dry_run": dry_run, "rehearse": True}

    preview = shop.post("/orders/actions", body)

    assert (preview.status, preview.json["matched"]) == (200, 20)
    rehearsal = preview.json["rehearsal"]
    assert (rehearsal["after"]["backlog"], rehearsal["without"]["backlog"]) == (20, 0)
    assert rehearsal["after"]["attempts"] == 25
    assert [point["at"] for point in rehearsal["after"]["points"]] == [
        point["at"] for point in rehearsal["without"]["points"]
    ]
    assert shop.get("/orders/actions").json["actions"] == []


def test_an_action_moves_its_orders_and_says_how_far_it_is(shop: Client) -> None:
    shop.post("/control/pause", {})
    body = {"action": "retry", "where": {"error": "rejected", "user_id": "u-1"}, "reason": "mended"}

    started = shop.post("/orders/actions", body)

    assert started.status == 202
    assert started.json == {"action_id": "1", "matched": 10}
    assert started.headers["Location"] == "/orders/actions/1"
    action = over(shop, "1")
    assert (action["state"], action["moved"], action["refused"]) == ("done", 10, 0)
    assert action["orders"] == "orders where user_id=u-1, error=rejected"
    assert shop.get("/metrics").json["orders_by_status"]["Pending"] == 10
    assert shop.get("/orders/bad-19/history").json["transitions"][-1]["reason"] == "mended"
    assert shop.post("/orders/actions/1/stop", {}).json == action


def test_pending_orders_are_cancelled(start_server: Callable[..., Client], order: MakeOrder) -> None:
    client = start_server()
    client.post("/control/pause", {})
    client.post("/orders/bulk", [order(f"o-{number}") for number in range(5)])

    number = client.post("/orders/actions", {"action": "cancel", "where": {"order_id_prefix": "o-"}}).json["action_id"]

    assert over(client, number)["moved"] == 5


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({"where": {}}, "/action", "must be cancel, retry, settle"),
        ({"action": "delete", "where": {}}, "/action", "must be cancel, retry, settle"),
        ({"action": "retry"}, "/where", "missing"),
        ({"action": "retry", "where": []}, "/where", "must be a JSON object"),
        ({"action": "retry", "where": {"state": 1}}, "/where/state", "unknown field"),
        ({"action": "retry", "where": {"user_id": ""}}, "/where/user_id", "must be 1 to 128 visible characters"),
        (
            {"action": "retry", "where": {"status": "Lost"}},
            "/where/status",
            "must be Failed or Pending or Review for",
        ),
        (
            {"action": "retry", "where": {"status": "Completed"}},
            "/where/status",
            "must be Failed or Pending or Review for",
        ),
        ({"action": "cancel", "where": {"status": "Failed"}}, "/where/status", "must be Pending for this action"),
        ({"action": "settle", "where": {}}, "/status", "missing"),
        ({"action": "settle", "where": {}, "status": "Pending"}, "/status", "must be Completed or Failed"),
        ({"action": "retry", "where": {}, "status": "Failed"}, "/status", "unknown field"),
        ({"action": "retry", "where": {}, "dry_run": "yes"}, "/dry_run", "must be true or false"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(client: Client, body: object, pointer: str, detail: str) -> None:
    reply = client.post("/orders/actions", body)

    assert (reply.status, reply.json["type"]) == (422, "urn:ordermill:problem:invalid-body")
    (error,) = reply.json["errors"]
    assert error["pointer"] == pointer
    assert error["detail"].startswith(detail)


@pytest.mark.parametrize("number", ["7", "x", "0", "9" * 30])
def test_an_action_that_is_not_there_is_a_404(client: Client, number: str) -> None:
    reply = client.get(f"/orders/actions/{number}")

    assert (reply.status, reply.json["type"]) == (404, "urn:ordermill:problem:action-not-found")


def test_actions_are_listed_newest_first_a_page_at_a_time(shop: Client) -> None:
    assert shop.get("/orders/actions").json == {"actions": [], "next_cursor": None}
    for user in ("u-0", "u-1", "u-2"):
        body = {"action": "retry", "where": {"user_id": user}, "reason": "mended"}
        over(shop, shop.post("/orders/actions", body).json["action_id"])

    newest = shop.get("/orders/actions?limit=2").json
    oldest = shop.get(f"/orders/actions?limit=2&cursor={newest['next_cursor']}").json

    assert [action["action_id"] for action in newest["actions"]] == ["3", "2"]
    assert oldest == {"actions": [shop.get("/orders/actions/1").json], "next_cursor": None}
