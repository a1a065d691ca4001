"""Queues over HTTP: orders that name one, and what operators set about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.http.conftest import Client

MakeOrder = Callable[..., dict[str, Any]]


def put(client: Client, queue: str, body: Any) -> Any:
    return client.send_json("PUT", f"/queues/{queue}", body, {})


def test_a_queue_is_set_and_told(client: Client) -> None:
    reply = put(client, "mail", {"paused": True, "concurrency": 5, "rate": 2.5, "reason": "night"})

    assert reply.status == 200
    told = reply.json
    changed_at = told.pop("changed_at")
    assert changed_at.endswith("Z")
    assert told == {
        "queue": "mail",
        "paused": True,
        "concurrency": 5,
        "rate": 2.5,
        "pending": 0,
        "processing": 0,
        "slowed_until": None,
        "reason": "night",
        "by": None,
    }
    default, mail = client.get("/queues").json["queues"]
    assert (default["queue"], default["concurrency"]) == ("default", None)
    assert mail == reply.json
    assert put(client, "mail", {"rate": None}).json["rate"] is None
    assert [entry["action"] for entry in client.get("/audit").json["entries"]] == ["set queue", "set queue"]


def test_an_order_waits_in_its_queue_and_says_so(client: Client, order: MakeOrder) -> None:
    put(client, "mail", {"paused": True})
    sent = {**order("o-1"), "queue": "mail"}

    created = client.post("/orders", sent)
    plain = client.post("/orders", order("o-2"))

    assert (created.status, created.json["queue"]) == (201, "mail")
    assert "queue" not in plain.json
    assert client.get("/orders/o-2?wait=30").json["status"] == "Completed"
    assert client.get("/orders/o-1").json["status"] == "Pending"
    assert client.post("/orders", sent).status == 200
    assert client.post("/orders", {**sent, "queue": "other"}).status == 409
    assert client.post("/orders", order("o-1")).status == 409
    assert [one["order_id"] for one in client.get("/orders?queue=mail").json["orders"]] == ["o-1"]
    assert [one["order_id"] for one in client.get("/orders?queue=default").json["orders"]] == ["o-2"]
    moved = client.post("/orders/o-1/reschedule", {"queue": "default"})
    assert (moved.status, "queue" in moved.json) == (200, False)
    assert client.get("/orders/o-1?wait=30").json["status"] == "Completed"


def test_the_default_queue_may_be_named(client: Client, order: MakeOrder) -> None:
    assert client.post("/orders", {**order("o-1"), "queue": "default"}).status == 201
    assert client.post("/orders", order("o-1")).status == 200


def test_orders_of_a_bulk_name_their_queues(client: Client, order: MakeOrder) -> None:
    sent = [{**order("o-1"), "queue": "mail"}, {**order("o-2"), "queue": "a b"}, {**order("o-3"), "queue": 5}]

    results = client.post("/orders/bulk", sent).json["results"]

    assert [result["outcome"] for result in results] == ["accepted", "rejected", "rejected"]
    assert results[1]["detail"].startswith("/queue: must be a string of 1 to 64 characters")


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({}, "", "must have paused, concurrency or rate"),
        ({"reason": "night"}, "", "must have paused, concurrency or rate"),
        ({"paused": 1}, "/paused", "must be true or false"),
        ({"concurrency": 0}, "/concurrency", "must be a whole number from 1 to 1000000, or null"),
        ({"concurrency": 1.5}, "/concurrency", "must be a whole number from 1 to 1000000, or null"),
        ({"rate": 0}, "/rate", "must be a number above 0 to 1000000, or null"),
        ({"rate": "5"}, "/rate", "must be a number above 0 to 1000000, or null"),
        ({"paused": True, "until": 5}, "/until", "unknown field"),
    ],
)
def test_what_no_queue_can_have_is_refused(client: Client, body: Any, pointer: str, detail: str) -> None:
    reply = put(client, "mail", body)

    assert reply.status == 422
    (fault,) = reply.json["errors"]
    assert (fault["pointer"], fault["detail"]) == (pointer, detail)


def test_there_is_no_queue_of_a_name_that_none_can_have(client: Client) -> None:
    assert put(client, "a%20b", {"paused": True}).status == 404
    assert client.get("/orders?queue=a%20b").status == 422


def test_of_too_many_queues_a_further_one_is_a_conflict(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ordermill.store.queues.MAX_QUEUES", 1)

    reply = put(client, "mail", {"paused": True})

    assert (reply.status, reply.json["type"]) == (409, "urn:ordermill:problem:too-many-queues")
